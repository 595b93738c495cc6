//! What managers do to a guild's economy: one transaction each, once an act, refusals included.

use poise::serenity_prelude::GuildId;
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use super::rules::{Direction, check_adjustment, check_bonus};
use super::settings::{Change, Wishes};
use super::{Currency, Refusal, Settings, store};
use crate::Result;
use crate::act::{self, Act, Person};
use crate::db::Database;

/// A manager's grant or take that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjusted {
    /// The member's bytes after it.
    pub balance: i64,
    /// What they are called.
    pub currency: Currency,
    /// Whether it promised the member a role.
    pub promised: bool,
}

/// Changes settings of the guild, once an act; what is different now.
///
/// # Errors
///
/// [`Refusal`] if nothing is wished for or a value is out of its range; else as
/// [`Database::settle`].
pub async fn change_settings(db: &Database, act: &Act, wishes: &Wishes) -> Result<Vec<Change>> {
    reconfigure(db, act, |settings| wishes.apply(settings)).await
}

/// Pays dailies `multiplier` times from a streak of `length` days on, once an act.
///
/// # Errors
///
/// [`Refusal`] if a value is out of its range or there are too many bonuses; else as
/// [`Database::settle`].
pub async fn add_bonus(
    db: &Database,
    act: &Act,
    length: i32,
    multiplier: i32,
) -> Result<Vec<Change>> {
    reconfigure(db, act, |settings| {
        check_bonus(&settings.streak_bonuses, length, multiplier)?;
        let mut settings = settings.clone();
        settings.streak_bonuses.insert(length, multiplier);
        Ok(settings)
    })
    .await
}

/// Removes the bonus at a streak of `length` days, once an act.
///
/// # Errors
///
/// [`Refusal::NoSuchBonus`]; else as [`Database::settle`].
pub async fn remove_bonus(db: &Database, act: &Act, length: i32) -> Result<Vec<Change>> {
    reconfigure(db, act, |settings| {
        let mut settings = settings.clone();
        settings.streak_bonuses.remove(&length).ok_or(Refusal::NoSuchBonus { length })?;
        Ok(settings)
    })
    .await
}

/// The guild's settings, without opening anybody's account.
///
/// # Errors
///
/// As [`Database::settle`].
pub(super) async fn settings(db: &Database, guild: GuildId) -> Result<Settings> {
    db.settle(|mut connection| async move { store::find_settings(&mut connection, guild).await })
        .await
}

/// The part of an act that changes settings.
const SETTINGS: &str = "settings";

async fn reconfigure(
    db: &Database,
    act: &Act,
    decide: impl Fn(&Settings) -> Result<Settings, Refusal> + Sync,
) -> Result<Vec<Change>> {
    let decide = &decide;
    let changes = db
        .settle(|mut connection| async move {
            let mut tx = connection.begin().await?;
            if let Some(outcome) = act::begin(&mut tx, act, SETTINGS).await? {
                return Ok(read_changes(&outcome));
            }
            store::lock_settings(&mut tx, act.guild).await?;
            let old = store::find_settings(&mut tx, act.guild).await?;
            let changes = match decide(&old) {
                Ok(new) => {
                    store::update_settings(&mut tx, act.guild, &new).await?;
                    Ok(new.changes_since(&old))
                }
                Err(refusal) => Err(refusal),
            };
            act::end(&mut tx, act, SETTINGS, &write_changes(&changes)).await?;
            tx.commit().await?;
            Ok(changes)
        })
        .await?;
    Ok(changes?)
}

fn write_changes(changes: &Result<Vec<Change>, Refusal>) -> Value {
    match changes {
        Ok(changes) => {
            let row = |change: &Change| json!([change.setting, change.old, change.new]);
            json!({ "changes": changes.iter().map(row).collect::<Vec<_>>() })
        }
        Err(refusal) => refused(refusal),
    }
}

fn read_changes(outcome: &Value) -> Result<Vec<Change>, Refusal> {
    if let Some(refusal) = refusal_of(outcome) {
        return Err(refusal);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let rows = outcome["changes"].as_array().into_iter().flatten();
    let change =
        |row: &Value| Change { setting: text(&row[0]), old: text(&row[1]), new: text(&row[2]) };
    Ok(rows.map(change).collect())
}

/// A refusal as it's kept for later deliveries: its words.
fn refused(refusal: &Refusal) -> Value {
    json!({ "refused": refusal.to_string() })
}

fn refusal_of(outcome: &Value) -> Option<Refusal> {
    outcome["refused"].as_str().map(|words| Refusal::Again(words.to_owned()))
}

/// The part of an act that grants or takes; also of its row in the ledger.
const ADJUSTMENT: &str = "adjustment";

/// Grants a member bytes or takes some, as the acting manager, once an act.
///
/// `asked` is at least 1. A grant counts in `total_received` and may earn roles; it opens no
/// account: the starting balance still comes with the member's first own command.
///
/// # Errors
///
/// [`Refusal`] if more is taken than there is, or granted than an account can hold; else as
/// [`Database::settle`].
pub async fn adjust(
    db: &Database,
    act: &Act,
    member: &Person,
    direction: Direction,
    asked: i64,
    reason: Option<&str>,
) -> Result<Adjusted> {
    let adjusted = db
        .settle(|mut connection| async move {
            let mut tx = connection.begin().await?;
            let adjusted = adjust_within(&mut tx, act, member, direction, asked, reason).await?;
            tx.commit().await?;
            Ok(adjusted)
        })
        .await?;
    Ok(adjusted?)
}

async fn adjust_within(
    tx: &mut PgConnection,
    act: &Act,
    member: &Person,
    direction: Direction,
    asked: i64,
    reason: Option<&str>,
) -> sqlx::Result<Result<Adjusted, Refusal>> {
    let (account, is_new) = store::lock_account(tx, act.guild, member.id).await?;
    let currency = store::find_settings(tx, act.guild).await?.currency;
    if let Some(balance) = store::find_adjustment(tx, act).await? {
        return Ok(Ok(Adjusted { balance, currency, promised: false }));
    }
    let said = act::outcome(tx, act, ADJUSTMENT).await?;
    let refusal = match said.as_ref().and_then(refusal_of) {
        Some(refusal) => refusal,
        None => match check_adjustment(&currency, member.id, &account, direction, asked) {
            Ok(after) => {
                store::insert_adjustment(tx, act, member, direction, asked, reason, after).await?;
                let (before, now) = (account.total_received, after.1);
                let promised =
                    store::promise_rewards(tx, act.guild, member.id, before, now).await?;
                return Ok(Ok(Adjusted { balance: after.0, currency, promised }));
            }
            Err(refusal) => {
                act::begin(tx, act, ADJUSTMENT).await?;
                act::end(tx, act, ADJUSTMENT, &refused(&refusal)).await?;
                refusal
            }
        },
    };
    if is_new {
        store::delete_account(tx, act.guild, member.id).await?;
    }
    Ok(Err(refusal))
}
