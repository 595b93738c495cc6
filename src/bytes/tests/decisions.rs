//! The decisions of the database are those of [`rules`](super::super::rules).

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::iter;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use poise::serenity_prelude::UserId;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use sqlx::PgPool;
use tokio::runtime::Handle;

use super::super::clearing::Transfer;
use super::super::rules::{Gift, Verdict, check_daily, check_transfer};
use super::super::{Account, Currency, Refusal, Sending, Settings, claim_daily, store};
use super::{GUILD, account, act, database, noon, person};
use crate::act::{Act, Person};
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
        prop_oneof![5 => Just(None), 1 => Just(Some(noon(1)))],
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

/// The one rule that can say no to a case, and by how much it's met: 0 is its edge, more is beyond.
#[derive(Debug, Clone, Copy)]
enum Edge {
    Confirm,
    Limit,
    Balance,
    /// Of the receiver's balance, what they received, or what the giver sent.
    Overflow(usize),
    Cooldown,
    Age,
    /// The giver left, or the receiver.
    Left(bool),
}

impl Case {
    /// The case as one that every rule but one allows.
    fn at(mut self, edge: Edge, beyond: i64) -> Self {
        let Self { settings, actor, amount, now, .. } = &mut self;
        let (amount, now) = (*amount, *now);
        settings.confirm_from = 0;
        settings.max_transfer = 100_000;
        settings.transfer_cooldown_hours = settings.transfer_cooldown_hours.max(1);
        settings.min_account_age_days = settings.min_account_age_days.max(1);
        actor.balance = amount + 500;
        let mut figures = [amount; 3];
        let mut waited = (1, 1);
        let mut left = (None, None);
        match edge {
            Edge::Confirm => settings.confirm_from = amount - beyond,
            Edge::Limit => settings.max_transfer = (amount - beyond).max(1),
            Edge::Balance => actor.balance = amount - beyond,
            Edge::Overflow(which) => figures[which] = i64::MAX - amount + beyond,
            Edge::Cooldown => waited.0 = -beyond,
            Edge::Age => waited.1 = -beyond,
            Edge::Left(true) => left.0 = Some(noon(1)),
            Edge::Left(false) => left.1 = Some(noon(1)),
        }
        let cooldown = TimeDelta::hours(settings.transfer_cooldown_hours.into());
        let age = TimeDelta::days(settings.min_account_age_days.into());
        actor.last_transfer = Some(now - cooldown - TimeDelta::milliseconds(waited.0));
        actor.total_sent = figures[2];
        actor.left = left.0;
        self.created = now - age - TimeDelta::milliseconds(waited.1);
        self.confirmed &= !matches!(edge, Edge::Confirm);
        let other = self.other.take().unwrap_or_default();
        let [balance, total_received, _] = figures;
        self.other = Some(Account { balance, total_received, left: left.1, ..other });
        self
    }
}

fn case() -> impl Strategy<Value = Case> {
    let now = (0..6 * 24 * 60_i64).prop_map(|minutes| noon(1) + TimeDelta::minutes(minutes));
    // Before and behind the clock's own days: what a clock says can't be trusted.
    let created = (-400..=10_i64).prop_map(|days| noon(1) + TimeDelta::days(days));
    let accounts = (opened_account(), prop::option::of(opened_account()));
    let edge = prop_oneof![
        Just(Edge::Confirm),
        Just(Edge::Limit),
        Just(Edge::Balance),
        (0..3_usize).prop_map(Edge::Overflow),
        Just(Edge::Cooldown),
        Just(Edge::Age),
        any::<bool>().prop_map(Edge::Left),
    ];
    let edge = prop::option::weighted(0.6, (edge, -1..=1_i64));
    (settings(), accounts, (2..=2_500_i64, edge), any::<bool>(), created, now).prop_map(
        |(settings, (actor, other), (amount, edge), confirmed, created, now)| {
            let case = Case { settings, actor, other, amount, confirmed, created, now };
            match edge {
                Some((edge, beyond)) => case.at(edge, beyond),
                None => case,
            }
        },
    )
}

#[sqlx::test]
async fn the_database_decides_as_the_rules_do(pool: PgPool) {
    for_all(300, case(), move |case| decide_both_ways(pool.clone(), case)).await;
}

/// Tries so many cases, and shrinks the first that fails.
async fn for_all<T, F>(
    cases: u32,
    strategy: impl Strategy<Value = T> + Send + 'static,
    decide: impl Fn(T) -> F + Send + 'static,
) where
    T: Debug,
    F: Future<Output = Result<(), TestCaseError>>,
{
    let handle = Handle::current();
    let run = move || {
        TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() })
            .run(&strategy, |case| handle.block_on(decide(case)))
            .unwrap_or_else(|failure| panic!("{failure}"));
    };
    tokio::task::spawn_blocking(run).await.expect("equal decisions");
}

/// What is asked for at the same time as a [`Case`].
#[derive(Debug, Clone)]
struct Beside {
    /// Whether the other member gives; else the same one again.
    back: bool,
    amount: i64,
    confirmed: bool,
    /// Later than the case.
    minutes: i64,
    /// Milliseconds beyond the cooldown that the case begins, instead.
    cooled: Option<i64>,
}

fn beside() -> impl Strategy<Value = Beside> {
    let minutes = prop_oneof![2 => Just(0), 3 => 0..=3_000_i64];
    let cooled = prop::option::weighted(0.4, -1..=1_i64);
    (any::<bool>(), 1..=300_i64, any::<bool>(), minutes, cooled).prop_map(
        |(back, amount, confirmed, minutes, cooled)| Beside {
            back,
            amount,
            confirmed,
            minutes,
            cooled,
        },
    )
}

#[derive(Debug, Clone)]
struct FastCase {
    case: Case,
    beside: Vec<Beside>,
    /// Whether the actor's starting balance is still to come.
    unopened: bool,
    /// Which of them was refused or cancelled before.
    said: Option<usize>,
}

/// One transfer alone, or three in a batch.
fn fast_case() -> impl Strategy<Value = FastCase> {
    let beside =
        prop_oneof![Just(0..=0), Just(2..=2)].prop_flat_map(|n| prop::collection::vec(beside(), n));
    let said = prop::option::weighted(0.2, 0..3_usize);
    (case(), beside, prop::bool::weighted(0.1), said)
        .prop_map(|(case, beside, unopened, said)| FastCase { case, beside, unopened, said })
}

#[sqlx::test]
async fn the_fast_ways_say_yes_where_the_rules_do_and_nowhere_else(pool: PgPool) {
    for_all(500, fast_case(), move |case| decide_fast(pool.clone(), case)).await;
}

async fn decide_fast(pool: PgPool, case: FastCase) -> Result<(), TestCaseError> {
    let FastCase { case, beside, unopened, said } = case;
    let Case { settings, mut actor, other, amount, confirmed, created, now } = case;
    actor.opened = actor.opened.filter(|_| !unopened);
    let first = Beside { back: false, amount, confirmed, minutes: 0, cooled: None };
    let cooldown = TimeDelta::hours(settings.transfer_cooldown_hours.into());
    let members = [Person::new(super::snowflake(created, 1).into(), "actor"), person(2)];
    let transfers: Vec<Transfer> = (0..)
        .zip(iter::once(first).chain(beside))
        .map(|(n, Beside { back, amount, confirmed, minutes, cooled })| {
            let [member, receiver] =
                if back { [&members[1], &members[0]] } else { [&members[0], &members[1]] };
            let later = cooled.map(|cooled| cooldown + TimeDelta::milliseconds(cooled));
            let now = now + later.unwrap_or(TimeDelta::minutes(minutes)).max(TimeDelta::zero());
            let act = Act { member: member.clone(), ..act(1, now, n) };
            let id = act.row_id("transfer");
            Transfer { act, id, receiver: receiver.clone(), amount, reason: None, confirmed }
        })
        .collect();
    let accounts = [(members[0].id.get(), Some(&actor)), (members[1].id.get(), other.as_ref())];
    store_all(&pool, &settings, &accounts).await;
    let said = said.and_then(|said| transfers.get(said)).map(|transfer| transfer.act.key);
    if let Some(key) = said {
        sqlx::query(
            "insert into processed_interactions (guild_id, interaction_id, part) values ($1, $2, 'transfer')",
        )
        .bind(GUILD.to_string())
        .bind(key.to_string())
        .execute(&pool)
        .await
        .expect("valid");
    }

    // Each in its turn, as the rules have it.
    let mut accounts = BTreeMap::from([(members[0].id, actor)]);
    accounts.extend(other.map(|other| (members[1].id, other)));
    let mut histories: BTreeMap<UserId, Vec<(bool, i64)>> = BTreeMap::new();
    let mut expected = Vec::new();
    for Transfer { act, receiver, amount, confirmed, .. } in &transfers {
        let (amount, member) = (*amount, act.member.id);
        let sides = accounts.get(&member).cloned().zip(accounts.get(&receiver.id).cloned());
        let gift = Gift {
            amount,
            confirmed: *confirmed,
            account_created: *member.created_at(),
            now: act.now(),
        };
        let plain = sides.filter(|(from, to)| {
            from.opened.is_some()
                && from.left.is_none()
                && to.left.is_none()
                && said != Some(act.key)
                && check_transfer(&settings, from, to, gift) == Ok(Verdict::Move)
        });
        expected.push(plain.map(|(mut from, mut to)| {
            from.balance -= amount;
            from.total_sent += amount;
            from.last_transfer = from.last_transfer.max(Some(act.now()));
            to.balance += amount;
            to.total_received += amount;
            histories.entry(member).or_default().insert(0, (true, amount));
            histories.entry(receiver.id).or_default().insert(0, (false, amount));
            let figures = (from.balance, to.balance, settings.currency.clone());
            accounts.extend([(member, from), (receiver.id, to)]);
            figures
        }));
    }

    let mut connection = pool.acquire().await.expect("a connection");
    let orders: Vec<&Transfer> = transfers.iter().collect();
    let cleared = store::clear(&mut connection, &orders).await.expect("no error");
    let figures = cleared
        .into_iter()
        .map(|sent| sent.map(|sent| (sent.balance, sent.receiver_balance, sent.currency)));
    prop_assert_eq!(&figures.collect::<Vec<_>>(), &expected, "{:?}", orders);
    // What was made is not made again.
    let made: Vec<&Transfer> = orders
        .iter()
        .zip(&expected)
        .filter_map(|(order, sent)| sent.is_some().then_some(*order))
        .collect();
    if !made.is_empty() {
        let again = store::clear(&mut connection, &made).await.expect("no error");
        prop_assert!(again.iter().all(Option::is_none), "{again:?}");
    }
    for member in members.map(|member| member.id) {
        let after = store::find_account(&mut connection, GUILD, member).await.expect("readable");
        prop_assert_eq!(after.as_ref(), accounts.get(&member));
        let lines = store::list_history(&mut connection, GUILD, member, 10, 0).await;
        let lines: Vec<_> =
            lines.expect("readable").iter().map(|line| (line.gave, line.amount)).collect();
        prop_assert_eq!(lines, histories.remove(&member).unwrap_or_default());
    }
    Ok(())
}

async fn decide_both_ways(pool: PgPool, case: Case) -> Result<(), TestCaseError> {
    let Case { settings, actor, other, amount, confirmed, created, now } = case;
    let mut act = act(1, now, 0);
    act.member.id = super::snowflake(created, 1).into();
    let receiver = person(2);
    let before = (actor.clone(), other.clone().unwrap_or_default());

    store_all(
        &pool,
        &settings,
        &[(act.member.id.get(), Some(&actor)), (receiver.id.get(), other.as_ref())],
    )
    .await;
    // Not through a bank, whose clearing would say each yes itself.
    let mut connection = pool.acquire().await.expect("a connection");
    let sent = store::transfer(&mut connection, &act, &receiver, amount, None, confirmed).await;
    let sent = sent.map_err(|error| TestCaseError::fail(error.to_string()))?;
    drop(connection);
    let gift = Gift { amount, confirmed, account_created: created, now };
    let expected = check_transfer(&settings, &before.0, &before.1, gift);
    let verdict = sent.as_ref().map(|sending| match sending {
        Sending::Sent(_) => Verdict::Move,
        Sending::Confirm(_) => Verdict::Confirm,
    });
    prop_assert_eq!(verdict, expected.as_ref().copied(), "transfer");
    let receiver_after = account(&pool, 2).await;
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

    store_all(&pool, &settings, &[(act.member.id.get(), Some(&actor)), (receiver.id.get(), None)])
        .await;
    let claim = refusal(claim_daily(&database(&pool), &act).await)?;
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
async fn store_all(pool: &PgPool, settings: &Settings, accounts: &[(u64, Option<&Account>)]) {
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
