//! The operations on a real Postgres, a database a test.

mod confirmation;
mod decisions;
mod looks;
mod managers;
mod model;
mod operations;
mod plans;
mod races;
mod schema;

use chrono::{DateTime, TimeZone, Utc};
use poise::serenity_prelude::{GuildId, InteractionId, UserId};
use sqlx::PgPool;

use super::{Account, Bank, Pending, Refusal, Sending, Sent};
use crate::Error;
use crate::act::{Act, Person};
use crate::db::Database;

const GUILD: GuildId = GuildId::new(1);

/// Noon of a day in March 2026, UTC.
fn noon(day: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, day, 12, 0, 0).single().expect("a day of March")
}

/// The snowflake of an instant; `n` tells those of one millisecond apart.
fn snowflake(at: DateTime<Utc>, n: u64) -> u64 {
    let ms = u64::try_from(at.timestamp_millis() - 1_420_070_400_000).expect("after 2015");
    ms << 22 | n
}

/// The `n`th member, whose Discord account is from January 2020.
fn person(n: u64) -> Person {
    let made = Utc.with_ymd_and_hms(2020, 1, 1, 0, 0, 0).single().expect("a day");
    Person::new(UserId::new(snowflake(made, n)), &format!("member{n}"))
}

/// An act of the `member`th member at an instant, the `n`th of that instant.
fn act(member: u64, at: DateTime<Utc>, n: u64) -> Act {
    Act {
        guild: GUILD,
        member: person(member),
        bot: person(0),
        key: InteractionId::new(snowflake(at, n)),
    }
}

fn database(pool: &PgPool) -> Database {
    Database::new(pool.clone())
}

fn bank(db: &Database) -> Bank {
    Bank::new(db.clone(), crate::outbox::Outbox::default())
}

/// Sends as a command would, through a bank of its own.
async fn send(
    db: &Database,
    act: &Act,
    receiver: &Person,
    amount: i64,
    reason: Option<&str>,
) -> crate::Result<Sending> {
    super::send(&bank(db), act, receiver, amount, reason).await
}

/// Confirms as a press would.
async fn confirm(db: &Database, act: &Act) -> crate::Result<(Pending, Sent)> {
    super::confirm(&bank(db), act).await
}

/// The acting member's account, opened if this is their first own command.
async fn own_account(db: &Database, act: &Act) -> crate::Result<Account> {
    let holding = super::account_of(db, act, act.member.id).await?;
    Ok(holding.account.expect("it was opened"))
}

/// A member's account as it stands, without opening it.
async fn account(pool: &PgPool, member: u64) -> Option<Account> {
    let mut connection = pool.acquire().await.expect("a connection");
    super::store::find_account(&mut connection, GUILD, person(member).id).await.expect("readable")
}

/// Sends what no rule forbids and nobody is asked about.
async fn sent(db: &Database, act: &Act, receiver: u64, amount: i64) -> Sent {
    let sending = send(db, act, &person(receiver), amount, None).await.expect("allowed");
    match sending {
        Sending::Sent(sent) => sent,
        Sending::Confirm(preview) => panic!("to be confirmed: {preview:?}"),
    }
}

fn refusal<T: std::fmt::Debug>(result: crate::Result<T>) -> Refusal {
    match result {
        Err(Error::Bytes(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

async fn balance(pool: &PgPool, member: u64) -> i64 {
    account(pool, member).await.map_or(-1, |account| account.balance)
}

/// Sets settings for the guild: `max_transfer = 5, transfer_cooldown_hours = 2`.
async fn configure(pool: &PgPool, settings: &str) {
    let sql = format!(
        "insert into bytes_configs (guild_id) values ('{GUILD}') on conflict do nothing; \
         update bytes_configs set {settings} where guild_id = '{GUILD}'"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool).await.expect("valid settings");
}

/// Rows of the ledger.
async fn ledger_rows(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from bytes_transactions")
        .fetch_one(pool)
        .await
        .expect("readable")
}

/// Proves the ledger against the balances.
async fn assert_clean(pool: &PgPool) {
    let audit = super::audit(pool).await.expect("readable");
    assert!(audit.is_clean(), "{audit}");
}
