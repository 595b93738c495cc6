//! What the outbox brings: which feature carries it out, a line each.

use super::App;
use crate::bytes;
use crate::outbox::{Promise, Trouble};

/// Carries out what a transaction promised.
pub(crate) async fn carry_out(app: App, promise: Promise) -> Result<(), Trouble> {
    if let Some(ended) = bytes::rewards::carry_out(&app.db, &app.rest, &promise).await {
        return ended;
    }
    // A newer version's, perhaps of a process beside this one.
    Err(Trouble::Passing(format!("the effect {:?} is not known here", promise.effect)))
}
