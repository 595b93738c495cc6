//! Who has most: a ranking kept beside the accounts, a few seconds behind them.
//!
//! Every change of an account queues it (`bytes_unranked`). Whoever looks at a leaderboard takes what
//! is queued for the guild; [`keep_ranked`] keeps up with guilds that somebody looked at lately, and
//! takes little from the others: ranking costs about as much as the transfer that made it necessary.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::NaiveDate;
use poise::serenity_prelude::UserId;
use sqlx::Connection;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{Bank, Currency, Own, PAGE, store};
use crate::Result;
use crate::act::Act;
use crate::db::Database;

/// How far the ranking may fall behind the accounts.
const EVERY: Duration = Duration::from_secs(4);
/// How often all accounts are compared with the ranking, in rounds of [`EVERY`]: what a killed
/// process had not queued yet is found again.
const COMPARE_EVERY: u32 = 900;
/// The most accounts of one transaction.
const ROUND: i32 = 500;
/// The most accounts of a round of [`EVERY`] in guilds at whose leaderboard nobody looks.
const UNWATCHED: i32 = 200;
/// How long a guild counts as watched after a look.
const WATCHED: Duration = Duration::from_mins(10);
/// How long a look may take the queue's work on itself.
const LOOK: Duration = Duration::from_secs(1);
/// The pause between transactions, so that a busy hour's ranking leaves the database to its members.
const PAUSE: Duration = Duration::from_millis(50);

/// When somebody last looked at each guild's leaderboard.
#[derive(Debug, Clone, Default)]
pub(super) struct Looks(Arc<Mutex<HashMap<String, Instant>>>);

impl Looks {
    fn note(&self, guild: &str) {
        let now = Instant::now();
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|_, last| now - *last < WATCHED);
        looks.insert(guild.to_owned(), now);
    }

    fn watched(&self) -> Vec<String> {
        let looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        looks
            .iter()
            .filter(|(_, last)| last.elapsed() < WATCHED)
            .map(|(guild, _)| guild.clone())
            .collect()
    }
}

/// What a leaderboard compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, sqlx::Type, poise::ChoiceParameter)]
#[sqlx(type_name = "bytes_scope", rename_all = "snake_case")]
pub enum Scope {
    /// Bytes there are.
    #[default]
    #[name = "balance"]
    Balance,
    /// Transfers, dailies and positive adjustments so far.
    #[name = "received"]
    Received,
    /// Days of the streak, 0 once a whole day was missed.
    #[name = "streak"]
    Streak,
}

/// A member's place on the leaderboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// 1 is the top; equal values share a rank.
    pub rank: i64,
    /// Who.
    pub member: UserId,
    /// Bytes, or days of a streak.
    pub value: i64,
}

/// A page of the leaderboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// What it compares.
    pub scope: Scope,
    /// The members on it who have any, best first, at most [`PAGE`].
    pub standings: Vec<Standing>,
    /// Which page it is, from 0.
    pub page: u32,
    /// How many pages there are, at least 1.
    pub pages: u32,
    /// The place of who asked, as their account stands now.
    pub own: Standing,
    /// What bytes are called.
    pub currency: Currency,
}

/// A page of the guild's leaderboard and the acting member's own place; a page beyond the last is
/// the last.
///
/// # Errors
///
/// As [`Database::settle`].
pub async fn leaderboard(bank: &Bank, act: &Act, scope: Scope, page: u32) -> Result<Board> {
    let db = &bank.db;
    let today = act.now().date_naive();
    let Own { account: own, currency, .. } = super::own_account(db, act).await?;
    queue_moved(bank).await?;
    let guild = act.guild.to_string();
    bank.looks.note(&guild);
    queue_ended(db, Some(&guild)).await?;
    let begun = Instant::now();
    while begun.elapsed() < LOOK && rank(db, &guild, Some(today), ROUND).await? == ROUND {}
    let own = match scope {
        Scope::Balance => own.balance,
        Scope::Received => own.total_received,
        Scope::Streak => own.streak_on(today).into(),
    };
    db.settle(|mut connection| async move {
        // One snapshot, or a page could contradict the rank beside it.
        let mut tx =
            connection.begin_with("begin isolation level repeatable read, read only").await?;
        let member = act.member.id;
        let members = store::count_ranked(&mut tx, act.guild, scope).await?;
        let pages = u32::try_from(members).unwrap_or(u32::MAX).div_ceil(PAGE).max(1);
        let page = page.min(pages - 1);
        let offset = i64::from(page) * i64::from(PAGE);
        let (above, ranked) =
            store::list_ranked(&mut tx, act.guild, scope, PAGE.cast_signed(), offset).await?;
        let own_above = store::count_above(&mut tx, act.guild, scope, own, member).await?;
        tx.commit().await?;

        let mut own_standing = Standing { rank: own_above + 1, member, value: own };
        let mut standings: Vec<Standing> = Vec::with_capacity(ranked.len());
        for (n, (member, value)) in (offset + 1..).zip(ranked) {
            let rank = match standings.last() {
                None => above + 1,
                Some(last) if last.value == value => last.rank,
                Some(_) => n,
            };
            standings.push(Standing { rank, member, value });
        }
        // One's own line is as new as one's account.
        if let Some(line) = standings.iter_mut().find(|line| line.member == member) {
            if line.value == own {
                own_standing.rank = line.rank;
            }
            *line = own_standing;
        }
        Ok((standings, page, pages, own_standing))
    })
    .await
    .map(|(standings, page, pages, own)| Board {
        scope,
        standings,
        page,
        pages,
        own,
        currency,
    })
}

/// Queues the accounts that the clearing moved since it was last asked.
async fn queue_moved(bank: &Bank) -> Result<()> {
    let moved = bank.clearing.take_moved();
    if moved.is_empty() {
        return Ok(());
    }
    let accounts = moved.as_slice();
    let queued = bank
        .db
        .settle(
            |mut connection| async move { store::queue_unranked(&mut connection, accounts).await },
        )
        .await;
    if queued.is_err() {
        bank.clearing.put_moved(moved);
    }
    queued
}

/// Keeps the rankings of guilds that are looked at, or where little happens, at most 5 s behind the
/// accounts, as long as it's polled; several processes share the work.
pub async fn keep_ranked(bank: Bank) {
    let mut rounds = interval(EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0_u32.. {
        rounds.tick().await;
        if let Err(error) = rank_all(&bank, round.is_multiple_of(COMPARE_EVERY)).await {
            tracing::warn!(%error, "Could not bring the leaderboards up to date");
        }
    }
}

async fn rank_all(bank: &Bank, compare: bool) -> Result<()> {
    let db = &bank.db;
    queue_moved(bank).await?;
    if compare {
        let compared = db.settle(|mut connection| async move {
            let mut tx = connection.begin().await?;
            store::queue_differing(&mut tx).await?;
            tx.commit().await
        });
        if let Err(error) = compared.await {
            tracing::warn!(%error, "Could not compare the leaderboards with the accounts");
        }
    }
    queue_ended(db, None).await?;
    for guild in bank.looks.watched() {
        queue_ended(db, Some(&guild)).await?;
        while rank(db, &guild, None, ROUND).await? == ROUND {
            sleep(PAUSE).await;
        }
    }
    let guilds = db
        .settle(|mut connection| async move { store::list_unranked_guilds(&mut connection).await })
        .await?;
    let mut left = UNWATCHED;
    for guild in &guilds {
        if left > 0 {
            left -= rank(db, guild, None, left).await?;
        }
    }
    Ok(())
}

async fn queue_ended(db: &Database, guild: Option<&str>) -> Result<u64> {
    db.settle(
        |mut connection| async move { store::queue_ended_streaks(&mut connection, guild).await },
    )
    .await
}

async fn rank(db: &Database, guild: &str, today: Option<NaiveDate>, most: i32) -> Result<i32> {
    db.settle(
        |mut connection| async move { store::rank(&mut connection, guild, today, most).await },
    )
    .await
}
