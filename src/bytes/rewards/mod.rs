//! Role rewards: roles that members earn by receiving bytes.
//!
//! The database functions that move bytes promise a role when `total_received` reaches its
//! threshold. Carrying that out reads the database anew: a role is given or taken as it stands then,
//! so that a late try can't undo what came after it.

pub(super) mod commands;
pub mod rules;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use poise::serenity_prelude::{GuildId, LightMethod, RoleId, Route, UserId};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use self::rules::{Due, Refusal};
use super::{Currency, store as accounts};
use crate::act::{self, Act};
use crate::db::Database;
use crate::discord::rest::{Rest, RestError};
use crate::discord::text::grouped;
use crate::outbox::{self, Failure, Promise, Trouble};
use crate::{Error, Result};

/// The effect on a member: the role of its detail is given or taken, as the database says then.
const ROLE: &str = "reward_role";
/// The effect on a role: [`ROLE`] is promised for the members of a [`Sweep`].
const SWEEP: &str = "reward_sweep";
/// How many members one step of a sweep, or one statement of a repair, promises at most.
const STEP: i64 = 2_000;
/// How long a transfer may be under way, with the settings of before in hand.
const UNDER_WAY: Duration = Duration::from_mins(1);

/// Discord's codes: <https://discord.com/developers/docs/topics/opcodes-and-status-codes#json>.
mod code {
    pub(super) const UNKNOWN_GUILD: u64 = 10_004;
    pub(super) const UNKNOWN_MEMBER: u64 = 10_007;
    pub(super) const UNKNOWN_ROLE: u64 = 10_011;
    pub(super) const UNKNOWN_USER: u64 = 10_013;
    pub(super) const MISSING_ACCESS: u64 = 50_001;
    pub(super) const MISSING_PERMISSIONS: u64 = 50_013;
}

/// Accounts whose members' roles are to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sweep {
    role: RoleId,
    /// The least `total_received`.
    from: i64,
    /// What it must be below; `None` for no bound.
    below: Option<i64>,
    /// Only those that changed since then.
    since: Option<DateTime<Utc>>,
    /// Only ids behind this one, as text; empty for all.
    after: String,
}

impl Sweep {
    fn all(role: RoleId, from: i64) -> Self {
        Self { role, from, below: None, since: None, after: String::new() }
    }

    /// Its row of the outbox.
    fn row(&self) -> (String, Value) {
        let detail = json!({
            "role": self.role.to_string(),
            "from": self.from,
            "below": self.below,
            "since": self.since,
            "after": self.after,
        });
        // What is to come later must hold nothing up.
        let kind = if self.since.is_some() { "late_reward" } else { "reward" };
        (format!("{kind}:{}", self.role), detail)
    }

    fn read(detail: &Value) -> Option<Self> {
        Some(Self {
            role: read_role(detail)?,
            from: detail["from"].as_i64()?,
            below: detail["below"].as_i64(),
            since: detail["since"].as_str().and_then(|since| since.parse().ok()),
            after: detail["after"].as_str()?.to_owned(),
        })
    }
}

fn read_role(detail: &Value) -> Option<RoleId> {
    detail["role"].as_str()?.parse::<NonZeroU64>().ok().map(RoleId::from)
}

fn role_row(member: UserId, role: RoleId) -> (String, Value) {
    (outbox::member(member), json!({ "role": role.to_string() }))
}

/// An account that has received much.
#[derive(Debug, Clone, Copy)]
struct Earner {
    member: UserId,
    received: i64,
}

/// A reward that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// What earned it before; `None` if it's new.
    pub before: Option<i64>,
    /// How many members get it by this, or lose it if it was raised.
    pub members: i64,
    /// What bytes are called.
    pub currency: Currency,
    /// What a manager is to be told.
    pub failures: Vec<Failure>,
}

/// Makes a role a reward, or changes what earns it; who passed it already is looked after in the
/// background: [`Outbox::wake`](outbox::Outbox::wake) the worker.
///
/// # Errors
///
/// [`Refusal::TooMany`]; else as [`Database::settle`].
pub async fn add(db: &Database, act: &Act, role: RoleId, received: i64) -> Result<Added> {
    const PART: &str = "reward_add";
    let added = db
        .settle(|mut connection| async move {
            let mut tx = connection.begin().await?;
            let outcome = if let Some(outcome) = act::begin(&mut tx, act, PART).await? {
                outcome
            } else {
                let (rewards, now) = store::lock_rewards(&mut tx, act.guild).await?;
                let before = rewards.get(&role).copied();
                if before.is_none() && rewards.len() >= rules::MOST {
                    act::end(&mut tx, act, PART, &json!({ "refused": true })).await?;
                    tx.commit().await?;
                    return Ok(Err(Refusal::TooMany));
                }
                store::set_reward(&mut tx, act.guild, role, received).await?;
                // Those between the old threshold and the new one.
                let sweep = Sweep {
                    from: before.map_or(received, |before| before.min(received)),
                    below: before.map(|before| before.max(received)),
                    ..Sweep::all(role, received)
                };
                let members =
                    store::count_earners(&mut tx, act.guild, sweep.from, sweep.below).await?;
                outbox::put(&mut tx, act.guild, SWEEP, [sweep.row()]).await?;
                // And who gets there by a transfer that has read the old settings.
                let since = TimeDelta::from_std(UNDER_WAY).ok().map(|length| now - length);
                let late = Sweep { since, ..Sweep::all(role, received) };
                outbox::put_after(&mut tx, act.guild, SWEEP, late.row(), UNDER_WAY).await?;
                let outcome = json!({ "before": before, "members": members });
                act::end(&mut tx, act, PART, &outcome).await?;
                outcome
            };
            if outcome["refused"] == true {
                return Ok(Err(Refusal::TooMany));
            }
            let failures = outbox::tell_failures(&mut tx, act).await?;
            let currency = accounts::find_settings(&mut tx, act.guild).await?.currency;
            tx.commit().await?;
            Ok(Ok(Added {
                before: outcome["before"].as_i64(),
                members: outcome["members"].as_i64().unwrap_or(0),
                currency,
                failures,
            }))
        })
        .await?;
    added.map_err(refused)
}

/// A role that is no reward any more: what earned it, and what a manager is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The least `total_received` that earned it.
    pub received: i64,
    /// What bytes are called.
    pub currency: Currency,
    /// What a manager is to be told.
    pub failures: Vec<Failure>,
}

/// Makes a role no reward; who has it keeps it.
///
/// # Errors
///
/// [`Refusal::NotAReward`]; else as [`Database::settle`].
pub async fn remove(db: &Database, act: &Act, role: RoleId) -> Result<Removed> {
    const PART: &str = "reward_remove";
    let removed = db
        .settle(|mut connection| async move {
            let mut tx = connection.begin().await?;
            let outcome = if let Some(outcome) = act::begin(&mut tx, act, PART).await? {
                outcome
            } else {
                let (rewards, _) = store::lock_rewards(&mut tx, act.guild).await?;
                let Some(received) = rewards.get(&role) else {
                    act::end(&mut tx, act, PART, &json!({ "refused": true })).await?;
                    tx.commit().await?;
                    return Ok(Err(Refusal::NotAReward));
                };
                store::delete_reward(&mut tx, act.guild, role).await?;
                let outcome = json!({ "received": received });
                act::end(&mut tx, act, PART, &outcome).await?;
                outcome
            };
            if outcome["refused"] == true {
                return Ok(Err(Refusal::NotAReward));
            }
            let failures = outbox::tell_failures(&mut tx, act).await?;
            let currency = accounts::find_settings(&mut tx, act.guild).await?.currency;
            tx.commit().await?;
            let received = outcome["received"].as_i64().unwrap_or(0);
            Ok(Ok(Removed { received, currency, failures }))
        })
        .await?;
    removed.map_err(refused)
}

fn refused(refusal: Refusal) -> Error {
    super::Refusal::from(refusal).into()
}

/// What a manager is to be told, once.
///
/// # Errors
///
/// As [`Database::settle`].
pub async fn tell_failures(db: &Database, act: &Act) -> Result<Vec<Failure>> {
    db.settle(|mut connection| async move {
        let mut tx = connection.begin().await?;
        let failures = outbox::tell_failures(&mut tx, act).await?;
        tx.commit().await?;
        Ok(failures)
    })
    .await
}

/// The guild's rewards: role -> least `total_received`.
///
/// # Errors
///
/// As [`Database::settle`].
pub async fn list(db: &Database, guild: GuildId) -> Result<BTreeMap<RoleId, i64>> {
    db.settle(|mut connection| async move { store::find_rewards(&mut connection, guild).await })
        .await
}

/// Who has which of the guild's reward roles, as Discord says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holders {
    /// Every member and the reward roles they have.
    pub members: BTreeMap<UserId, Vec<RoleId>>,
}

/// What a repair found and promised to mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// How many roles are to be given; without [`Holders`] how many are earned, for each is looked at.
    pub give: i64,
    /// How many roles are to be taken.
    pub take: i64,
    /// What a manager is to be told.
    pub failures: Vec<Failure>,
}

/// Promises to give and take what differs between Discord and the database, for these `roles`;
/// without knowing who `holds` them, to look at each that was earned.
///
/// # Errors
///
/// As [`Database::settle`].
pub async fn repair(
    db: &Database,
    act: &Act,
    roles: &[RoleId],
    holders: Option<&Holders>,
) -> Result<Repair> {
    const PART: &str = "reward_repair";
    db.settle(|mut connection| async move {
        let mut tx = connection.begin().await?;
        let outcome = if let Some(outcome) = act::begin(&mut tx, act, PART).await? {
            outcome
        } else {
            let rewards = store::find_rewards(&mut tx, act.guild).await?;
            let rewards: Vec<(RoleId, i64)> =
                rewards.into_iter().filter(|(role, _)| roles.contains(role)).collect();
            let (give, take) = match holders {
                Some(holders) => promise_differences(&mut tx, act.guild, &rewards, holders).await?,
                None => (promise_all(&mut tx, act.guild, &rewards).await?, 0),
            };
            let outcome = json!({ "give": give, "take": take });
            act::end(&mut tx, act, PART, &outcome).await?;
            outcome
        };
        let failures = outbox::tell_failures(&mut tx, act).await?;
        tx.commit().await?;
        Ok(Repair {
            give: outcome["give"].as_i64().unwrap_or(0),
            take: outcome["take"].as_i64().unwrap_or(0),
            failures,
        })
    })
    .await
}

/// Promises a look at each role that was earned; how many there are.
async fn promise_all(
    tx: &mut PgConnection,
    guild: GuildId,
    rewards: &[(RoleId, i64)],
) -> sqlx::Result<i64> {
    let mut earned = 0;
    for &(role, received) in rewards {
        earned += store::count_earners(tx, guild, received, None).await?;
        outbox::put_missing(tx, guild, SWEEP, [Sweep::all(role, received).row()]).await?;
    }
    Ok(earned)
}

/// Promises to mend each difference; how many roles that gives and takes.
async fn promise_differences(
    tx: &mut PgConnection,
    guild: GuildId,
    rewards: &[(RoleId, i64)],
    holders: &Holders,
) -> sqlx::Result<(i64, i64)> {
    let Some(least) = rewards.iter().map(|(_, received)| *received).min() else {
        return Ok((0, 0));
    };
    let earners = store::list_earners(tx, guild, least).await?;
    let received: BTreeMap<UserId, i64> =
        earners.into_iter().map(|earner| (earner.member, earner.received)).collect();
    let (mut give, mut take, mut rows) = (0, 0, Vec::new());
    for (&member, roles) in &holders.members {
        let received = received.get(&member).copied().unwrap_or(0);
        for &(role, threshold) in rewards {
            let (has, earned) = (roles.contains(&role), received >= threshold);
            if has != earned {
                rows.push((member, role));
                if earned { give += 1 } else { take += 1 }
            }
        }
    }
    // In the order in which everybody locks accounts, that of the ids' text.
    rows.sort_by_key(|(member, _)| member.to_string());
    for rows in rows.chunks(usize::try_from(STEP).unwrap_or(1)) {
        let members: Vec<String> = rows.iter().map(|(member, _)| member.to_string()).collect();
        store::lock_all_present(tx, guild, &members).await?;
        accounts::tell_changed(tx, guild, &members).await?;
        let rows = rows.iter().map(|&(member, role)| role_row(member, role));
        // Rows of its own: one that waits may be read before this commits.
        outbox::put(tx, guild, ROLE, rows).await?;
    }
    Ok((give, take))
}

/// Notes that a member has left the guild: they have no rank, and their roles are gone.
///
/// # Errors
///
/// As [`Database::settle`].
pub async fn member_left(db: &Database, guild: GuildId, member: UserId) -> Result<()> {
    db.settle(|mut connection| async move {
        let mut tx = connection.begin().await?;
        store::set_left(&mut tx, guild, member).await?;
        accounts::tell_changed(&mut tx, guild, &[member.to_string()]).await?;
        tx.commit().await
    })
    .await
}

/// Notes that a member has joined the guild, and promises the roles that they earned when they were
/// here before; whether there are any.
///
/// # Errors
///
/// As [`Database::settle`].
pub async fn member_joined(db: &Database, guild: GuildId, member: UserId) -> Result<bool> {
    db.settle(|mut connection| async move {
        let mut tx = connection.begin().await?;
        let Some(received) = store::lock_present(&mut tx, guild, member).await? else {
            return Ok(false);
        };
        accounts::tell_changed(&mut tx, guild, &[member.to_string()]).await?;
        let rewards = store::find_rewards(&mut tx, guild).await?;
        let earned = rewards.into_iter().filter(|&(_, threshold)| received >= threshold);
        let rows: Vec<_> = earned.map(|(role, _)| role_row(member, role)).collect();
        let promised = !rows.is_empty();
        outbox::put(&mut tx, guild, ROLE, rows).await?;
        tx.commit().await?;
        Ok(promised)
    })
    .await
}

/// Carries out what this feature promised; `None` if it's none of its effects.
pub(crate) async fn carry_out(
    db: &Database,
    rest: &Rest,
    promise: &Promise,
) -> Option<Result<(), Trouble>> {
    match promise.effect.as_str() {
        ROLE => Some(carry_out_role(db, rest, promise).await),
        SWEEP => Some(carry_out_sweep(db, promise).await),
        _ => None,
    }
}

/// A row that can't be read: of no version of the bot.
fn unreadable(promise: &Promise) -> Trouble {
    Trouble::Refused(format!("`{}` can't be read: `{}`.", promise.effect, promise.target))
}

fn from_database(error: &Error) -> Trouble {
    Trouble::Passing(error.to_string())
}

/// Whose role a promise is about, and what the database says of it now.
async fn look(db: &Database, promise: &Promise) -> Result<(UserId, RoleId, Due), Trouble> {
    let guild = promise.guild;
    let member = promise.target.strip_prefix("member:").and_then(|id| id.parse().ok());
    let member = member.map(|id: NonZeroU64| UserId::from(id));
    let (member, role) =
        member.zip(read_role(&promise.detail)).ok_or_else(|| unreadable(promise))?;
    let standing = db
        .settle(|mut connection| async move {
            store::find_standing(&mut connection, guild, member, role).await
        })
        .await
        .map_err(|error| from_database(&error))?;
    Ok((member, role, rules::due(standing)))
}

/// Makes one member's role what the database says now.
async fn carry_out_role(db: &Database, rest: &Rest, promise: &Promise) -> Result<(), Trouble> {
    let guild = promise.guild;
    let (member, role, due) = look(db, promise).await?;
    let (method, reason, what) = match due {
        Due::Nothing => return Ok(()),
        Due::Give(threshold) => {
            (LightMethod::Put, format!("Reached {}", grouped(threshold)), "could not be given to")
        }
        Due::Take(threshold) => (
            LightMethod::Delete,
            format!("Has not reached {}", grouped(threshold)),
            "could not be taken from",
        ),
    };
    let route = Route::GuildMemberRole { guild_id: guild, user_id: member, role_id: role };
    let (code, message) = match rest.act(method, route, &reason).await {
        Ok(_) => return Ok(()),
        Err(RestError::Held { after }) => return Err(Trouble::Held(after)),
        Err(RestError::Limited { after }) => return Err(Trouble::Later(after)),
        Err(RestError::Failed(error)) => return Err(Trouble::Passing(error)),
        Err(RestError::Refused { code, message, .. }) => (code, message),
    };
    let why = match code {
        code::UNKNOWN_MEMBER | code::UNKNOWN_USER => {
            member_left(db, guild, member).await.map_err(|error| from_database(&error))?;
            "they are not here any more".to_owned()
        }
        code::UNKNOWN_ROLE => {
            "the role no longer exists; remove it with `/economy reward remove`".to_owned()
        }
        code::MISSING_PERMISSIONS => "I lack the Manage Roles permission, or the role is not below \
                                      mine; mend that in Server Settings, Roles, then use `/economy repair`"
            .to_owned(),
        code::UNKNOWN_GUILD | code::MISSING_ACCESS => "I was not in the server".to_owned(),
        _ => format!("Discord says \"{message}\""),
    };
    Err(Trouble::Refused(format!("<@&{role}> {what} <@{member}>: {why}.")))
}

/// Promises the next step of a sweep, and the step behind it.
async fn carry_out_sweep(db: &Database, promise: &Promise) -> Result<(), Trouble> {
    let guild = promise.guild;
    let sweep = Sweep::read(&promise.detail).ok_or_else(|| unreadable(promise))?;
    let sweep = &sweep;
    db.settle(|mut connection| async move {
        let mut tx = connection.begin().await?;
        let members = store::lock_swept(&mut tx, guild, sweep, STEP).await?;
        let detail = json!({ "role": sweep.role.to_string() });
        let rows = members.iter().map(|member| (format!("member:{member}"), detail.clone()));
        outbox::put_missing(&mut tx, guild, ROLE, rows).await?;
        if i64::try_from(members.len()) == Ok(STEP)
            && let Some(after) = members.last()
        {
            let next = Sweep { after: after.clone(), ..sweep.clone() };
            outbox::put(&mut tx, guild, SWEEP, [next.row()]).await?;
        }
        tx.commit().await
    })
    .await
    .map_err(|error| from_database(&error))
}
