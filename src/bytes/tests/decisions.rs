//! The decisions of the database are those of [`rules`](super::super::rules).

use std::collections::BTreeMap;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::PgPool;
use tokio::runtime::Handle;

use super::super::rules::{Gift, Verdict, check_daily, check_transfer};
use super::super::{Account, Currency, Refusal, Sending, Settings, claim_daily};
use super::{GUILD, account, act, database, noon, person, transfer};
use crate::{Error, Result};

#[derive(Debug, Clone)]
struct Case {
    settings: Settings,
    actor: Account,
    other: Option<Account>,
    amount: i64,
    confirmed: bool,
    created: DateTime<Utc>,
    now: DateTime<Utc>,
}

/// Small figures, and those at the edge of 64 bits.
fn figure() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0..=2_000_i64, 1 => (i64::MAX - 2_000)..=i64::MAX]
}

fn settings() -> impl Strategy<Value = Settings> {
    let bonuses = prop::collection::btree_map(1..=70_i32, 1..=256_i32, 0..5);
    (
        0..=200_i64,
        1..=1_000_i64,
        bonuses,
        1..=2_000_i64,
        prop_oneof![Just(0), 0..=168_i32],
        prop_oneof![Just(0), 0..=365_i32],
        prop_oneof![1 => Just(0), 3 => 0..=2_500_i64],
        "[a-z]{1,32}",
    )
        .prop_map(
            |(
                starting_balance,
                daily_amount,
                streak_bonuses,
                max_transfer,
                hours,
                days,
                from,
                name,
            )| {
                Settings {
                    starting_balance,
                    daily_amount,
                    streak_bonuses,
                    max_transfer,
                    transfer_cooldown_hours: hours,
                    role_rewards: BTreeMap::new(),
                    confirm_from: from,
                    min_account_age_days: days,
                    currency: Currency { name, emoji: None },
                }
            },
        )
}

fn opened_account() -> impl Strategy<Value = Account> {
    let last_daily =
        prop::option::of((0..6_u64).prop_map(|day| (noon(1) + Days::new(day)).date_naive()));
    let last_transfer =
        prop::option::of((0..200_i64).prop_map(|hours| noon(1) + TimeDelta::hours(hours)));
    (
        figure(),
        figure(),
        figure(),
        last_daily,
        prop_oneof![0..=70_i32, Just(i32::MAX)],
        last_transfer,
        prop_oneof![3 => Just(None), 1 => Just(Some(noon(1)))],
    )
        .prop_map(
            |(balance, total_received, total_sent, last_daily, streak, last_transfer, left)| {
                Account {
                    balance,
                    total_received,
                    total_sent,
                    last_daily,
                    streak,
                    last_transfer,
                    opened: Some(noon(1)),
                    left,
                }
            },
        )
}

fn case() -> impl Strategy<Value = Case> {
    let now = (0..6 * 24 * 60_i64).prop_map(|minutes| noon(1) + TimeDelta::minutes(minutes));
    // Before and behind the clock's own days: what a clock says can't be trusted.
    let created = (-400..=10_i64).prop_map(|days| noon(1) + TimeDelta::days(days));
    let accounts = (opened_account(), prop::option::of(opened_account()));
    // Any amount, and those at the edge of each rule.
    let edge = prop_oneof![1 => Just(None), 1 => (0..3_usize, -1..=1_i64).prop_map(Some)];
    (settings(), accounts, (1..=2_500_i64, edge), any::<bool>(), created, now).prop_map(
        |(settings, (actor, other), (amount, edge), confirmed, created, now)| {
            let amount = edge.map_or(amount, |(rule, beside)| {
                let bound = [settings.confirm_from, settings.max_transfer, actor.balance][rule];
                bound.saturating_add(beside).max(1)
            });
            Case { settings, actor, other, amount, confirmed, created, now }
        },
    )
}

#[sqlx::test]
async fn the_database_decides_as_the_rules_do(pool: PgPool) {
    let handle = Handle::current();
    let run = move || {
        let mut runner =
            TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
        runner
            .run(&case(), |case| handle.block_on(decide_both_ways(&pool, case)))
            .unwrap_or_else(|failure| panic!("{failure}"));
    };
    tokio::task::spawn_blocking(run).await.expect("equal decisions");
}

async fn decide_both_ways(pool: &PgPool, case: Case) -> Result<(), TestCaseError> {
    let Case { settings, actor, other, amount, confirmed, created, now } = case;
    let mut act = act(1, now, 0);
    act.member.id = super::snowflake(created, 1).into();
    let receiver = person(2);
    let before = (actor.clone(), other.clone().unwrap_or_default());

    store(
        pool,
        &settings,
        &[(act.member.id.get(), Some(&actor)), (receiver.id.get(), other.as_ref())],
    )
    .await;
    let sent = transfer(&database(pool), &act, &receiver, amount, None, confirmed).await;
    let sent = refusal(sent)?;
    let gift = Gift { amount, confirmed, account_created: created, now };
    let expected = check_transfer(&settings, &before.0, &before.1, gift);
    let verdict = sent.as_ref().map(|sending| match sending {
        Sending::Sent(_) => Verdict::Move,
        Sending::Confirm(_) => Verdict::Confirm,
    });
    prop_assert_eq!(verdict, expected.as_ref().copied(), "transfer");
    let receiver_after = account(pool, 2).await;
    match sent {
        Ok(Sending::Sent(sent)) => {
            prop_assert_eq!(sent.balance, before.0.balance - amount);
            prop_assert_eq!(sent.receiver_balance, before.1.balance + amount);
            prop_assert_eq!(sent.currency, settings.currency.clone());
        }
        Ok(Sending::Confirm(preview)) => {
            prop_assert_eq!(preview.balance, before.0.balance);
            // The command itself showed that they are there.
            let seen = other.clone().map(|other| Account { left: None, ..other });
            prop_assert_eq!(receiver_after, seen, "a question moves nothing");
        }
        Err(_) => prop_assert_eq!(receiver_after, other.clone(), "a refusal changes nothing"),
    }

    store(pool, &settings, &[(act.member.id.get(), Some(&actor)), (receiver.id.get(), None)]).await;
    let claim = refusal(claim_daily(&database(pool), &act).await)?;
    let expected = check_daily(&settings, &actor, created, now);
    prop_assert_eq!(
        claim.as_ref().map(|claim| (claim.reward, claim.streak)).map_err(Clone::clone),
        expected,
        "daily"
    );
    Ok(())
}

fn refusal<T: std::fmt::Debug>(result: Result<T>) -> Result<Result<T, Refusal>, TestCaseError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Error::Bytes(refusal)) => Ok(Err(refusal)),
        Err(error) => Err(TestCaseError::fail(error.to_string())),
    }
}

/// Replaces everything by these settings and accounts.
async fn store(pool: &PgPool, settings: &Settings, accounts: &[(u64, Option<&Account>)]) {
    sqlx::raw_sql(
        "truncate bytes_configs, bytes_balances, bytes_transactions, processed_interactions",
    )
    .execute(pool)
    .await
    .expect("valid");
    let bonuses: &BTreeMap<i32, i32> = &settings.streak_bonuses;
    sqlx::query(
        "insert into bytes_configs (guild_id, starting_balance, daily_amount, streak_bonuses, max_transfer, \
         transfer_cooldown_hours, min_account_age_days, confirm_from, currency_name) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(GUILD.to_string())
    .bind(settings.starting_balance)
    .bind(settings.daily_amount)
    .bind(sqlx::types::Json(bonuses))
    .bind(settings.max_transfer)
    .bind(settings.transfer_cooldown_hours)
    .bind(settings.min_account_age_days)
    .bind(settings.confirm_from)
    .bind(&settings.currency.name)
    .execute(pool)
    .await
    .expect("valid");
    for (id, account) in accounts {
        let Some(account) = account else { continue };
        let last_daily: Option<NaiveDate> = account.last_daily;
        sqlx::query(
            "insert into bytes_balances (guild_id, user_id, balance, total_received, total_sent, last_daily, \
             streak_count, last_transfer_at, opened_at, left_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(GUILD.to_string())
        .bind(id.to_string())
        .bind(account.balance)
        .bind(account.total_received)
        .bind(account.total_sent)
        .bind(last_daily)
        .bind(account.streak)
        .bind(account.last_transfer)
        .bind(account.opened)
        .bind(account.left)
        .execute(pool)
        .await
        .expect("valid");
    }
}
