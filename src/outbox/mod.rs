//! The outbox: what transactions promise to do in Discord, and the worker that does it.
//!
//! A row is written in the transaction that causes it ([`put`]), so it's there if and only if its
//! cause is. Workers of any number of processes claim rows; of one target (a guild's member) they
//! carry out one at a time, in the order of their numbers. What is done is deleted; what failed for
//! a passing reason is tried again; what Discord refuses for good is kept until a manager was told
//! ([`tell_failures`]).
//!
//! A row doesn't say what to do, but what to look at: who carries it out reads the database then.
//! So a late row does no harm, and each change of what it looks at must put a row of its own, in
//! its own transaction, **while it holds a lock on what the target stands for** (the member's
//! account): numbers of one target are in the order of commit then.

mod store;
#[cfg(test)]
mod tests;
mod worker;

pub(crate) use worker::run;

use std::sync::Arc;
use std::time::Duration;

use poise::serenity_prelude::{GuildId, UserId};
use serde_json::Value;
use sqlx::PgConnection;
use tokio::sync::Notify;

use crate::Result;
use crate::act::{self, Act};
use crate::db::Database;

/// Wakes this process's worker. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    promised: Arc<Notify>,
}

impl Outbox {
    /// Says that something was promised and committed, so that it's done at once.
    pub fn wake(&self) {
        self.promised.notify_one();
    }

    /// The same for an act that may have promised something.
    pub fn wake_if(&self, promised: bool) {
        if promised {
            self.wake();
        }
    }
}

/// A row that is to be carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct Promise {
    /// The guild where it happens.
    pub guild: GuildId,
    /// Its place in the order of promises.
    pub number: i64,
    /// What the effect meets: `member:<user id>`.
    pub target: String,
    /// What is to be done, by a name that a feature knows: `reward_role`.
    pub effect: String,
    /// What the feature needs to know for it: a JSON object.
    pub detail: Value,
    /// How often it was tried.
    pub attempts: i32,
}

impl Promise {
    /// What Discord limits together, as far as can be known before asking.
    fn kind(&self) -> String {
        format!("{} {}", self.guild, self.effect)
    }
}

/// Why something was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing was tried, for a limit is used up; not before so long.
    Held(Duration),
    /// It may succeed after exactly so long.
    Later(Duration),
    /// It may succeed some time; why not yet.
    Passing(String),
    /// It won't succeed; for a manager: what, for whom, and what would help. At most 500 characters.
    Refused(String),
}

/// A refusal that a manager is to be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The row's number.
    pub number: i64,
    /// What was to be done.
    pub effect: String,
    /// What, for whom, why not, and what would help.
    pub text: String,
}

/// The target of what meets a member.
#[must_use]
pub fn member(user: UserId) -> String {
    format!("member:{user}")
}

/// Promises an effect on each target with its detail, in the caller's transaction, which holds a
/// lock on what the targets stand for (see the module). [`Outbox::wake`] the worker after its
/// commit.
///
/// # Errors
///
/// If Postgres fails.
pub async fn put(
    connection: &mut PgConnection,
    guild: GuildId,
    effect: &str,
    rows: impl IntoIterator<Item = (String, Value)>,
) -> sqlx::Result<()> {
    let (targets, details): (Vec<String>, Vec<Value>) = rows.into_iter().unzip();
    store::insert_rows(connection, guild, effect, &targets, &details, Duration::ZERO).await
}

/// The same for a target without anything of its own to lock, to be done after so long.
///
/// # Errors
///
/// If Postgres fails.
pub async fn put_after(
    connection: &mut PgConnection,
    guild: GuildId,
    effect: &str,
    (target, detail): (String, Value),
    after: Duration,
) -> sqlx::Result<()> {
    store::insert_rows(connection, guild, effect, &[target], &[detail], after).await
}

/// The same as [`put`] for what is to be looked at anew though nothing changed: without the rows
/// of which an equal one waits already.
///
/// # Errors
///
/// If Postgres fails.
pub async fn put_missing(
    connection: &mut PgConnection,
    guild: GuildId,
    effect: &str,
    rows: impl IntoIterator<Item = (String, Value)>,
) -> sqlx::Result<()> {
    let (targets, details): (Vec<String>, Vec<Value>) = rows.into_iter().unzip();
    store::insert_missing(connection, guild, effect, &targets, &details).await
}

/// The refusals that a manager is told in the answer to this act: what nobody was told yet, or
/// this very act told at an earlier delivery. At most 10, in the order of promises; the next act tells
/// the next.
///
/// They count as told with the caller's transaction.
///
/// # Errors
///
/// If Postgres fails.
pub async fn tell_failures(connection: &mut PgConnection, act: &Act) -> sqlx::Result<Vec<Failure>> {
    // A second delivery, whose answer nobody may see, tells nothing new.
    if act::begin(connection, act, "failures").await?.is_none() {
        store::mark_told(connection, act).await?;
    }
    store::list_told(connection, act).await
}

/// Forgets failures 30 days after they were told, and after 90 days those that nobody asked for.
///
/// # Errors
///
/// As [`Database::settle`].
pub async fn forget_old(db: &Database) -> Result<u64> {
    db.settle(|mut connection| async move { store::delete_old(&mut connection).await }).await
}
