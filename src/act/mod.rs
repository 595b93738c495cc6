//! An act: one thing that one member asked for, however often Discord delivers it.

mod store;

use chrono::{DateTime, Utc};
use poise::serenity_prelude::{GuildId, InteractionId, UserId};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::Result;
use crate::db::Database;

/// Of all row ids that are derived from acts; never to change.
const NAMESPACE: Uuid = Uuid::from_u128(0x6b79_7465_6b65_4570_9572_2061_6374_7301);

/// A user as the ledger names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The Discord id.
    pub id: UserId,
    /// The username at the time, at most 100 characters.
    pub username: String,
}

impl Person {
    /// Cuts a username to what the ledger keeps; Discord's own limit is 32 characters.
    #[must_use]
    pub fn new(id: UserId, username: &str) -> Self {
        Self { id, username: username.chars().take(100).collect() }
    }
}

/// One thing that one member asked for in a guild.
///
/// Its key is the id of the interaction that began it: a second delivery is the same act, and so
/// is a press of one of its buttons, which carry the key on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Act {
    /// The guild where it happens.
    pub guild: GuildId,
    /// Who asked.
    pub member: Person,
    /// The bot itself: the other side of what is not between two members.
    pub bot: Person,
    /// The interaction that began the act.
    pub key: InteractionId,
}

impl Act {
    /// When the member asked: the time in the key, so that two processes and a late second
    /// delivery agree on it.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        *self.key.created_at()
    }

    /// The id of the row that is this act's `part`, such as `transfer`.
    #[must_use]
    pub fn row_id(&self, part: &str) -> Uuid {
        Uuid::new_v5(&NAMESPACE, format!("{}:{part}", self.key).as_bytes())
    }
}

/// Records that `part` of an act is being done; `false` if it was recorded before.
///
/// For parts that write no row of their own.
///
/// # Errors
///
/// As [`Database::settle`].
pub async fn begin_once(db: &Database, act: &Act, part: &str) -> Result<bool> {
    // A try whose answer was lost has left this token, and so is known for one's own.
    let token = Uuid::new_v4();
    db.settle(|mut connection| async move {
        store::insert_processed(&mut connection, act, part, token).await
    })
    .await
}

/// Begins `part` of an act in the caller's transaction: `None` at the first delivery, which then
/// [`conclude`]s it; else what the first one came to (null if it concluded nothing).
///
/// A delivery beside the first one waits here until that one's transaction ends.
///
/// # Errors
///
/// If Postgres fails.
pub async fn begin(
    transaction: &mut PgConnection,
    act: &Act,
    part: &str,
) -> sqlx::Result<Option<Value>> {
    if store::insert_part(transaction, act, part).await? {
        return Ok(None);
    }
    store::find_outcome(transaction, act, part).await.map(Some)
}

/// Records what `part` of an act came to, a JSON object, for later deliveries.
///
/// # Errors
///
/// If Postgres fails.
pub async fn conclude(
    transaction: &mut PgConnection,
    act: &Act,
    part: &str,
    outcome: &Value,
) -> sqlx::Result<()> {
    store::set_outcome(transaction, act, part, outcome).await
}

/// Forgets acts that are older than a day: Discord delivers nothing again after that.
///
/// # Errors
///
/// As [`Database::settle`].
pub async fn forget_old(db: &Database) -> Result<u64> {
    db.settle(|mut connection| async move { store::delete_old(&mut connection).await }).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acts_time_and_row_ids_come_from_its_key_alone() {
        let person = |id| Person::new(UserId::new(id), "x");
        let act = Act {
            guild: GuildId::new(1),
            member: person(2),
            bot: person(3),
            key: InteractionId::new(175_928_847_299_117_063),
        };

        assert_eq!(act.now().to_rfc3339(), "2016-04-30T11:18:25.796+00:00");
        assert_eq!(act.row_id("transfer").to_string(), "2419db20-ef39-57b9-b095-f0080636e541");
        assert_ne!(act.row_id("transfer"), act.row_id("starting"));
    }
}
