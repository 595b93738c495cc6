//! Rewards on a real Postgres: what is promised ends as the database says.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use poise::serenity_prelude::{GuildId, InteractionId, RoleId, UserId};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::*;
use crate::act::Person;
use crate::bytes::Bank;
use crate::outbox::Outbox;

const GUILD: GuildId = GuildId::new(1);
const ROLE_ID: RoleId = RoleId::new(77);

fn person(n: u64) -> Person {
    Person::new(UserId::new(n), &format!("member{n}"))
}

/// The `n`th act of a member, at noon of a day in 2026.
fn act(member: u64, n: u64) -> Act {
    let noon: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().expect("a time");
    let ms = u64::try_from(noon.timestamp_millis() - 1_420_070_400_000).expect("after 2015");
    let key = InteractionId::new(ms << 22 | member << 12 | n);
    Act { guild: GUILD, member: person(member), bot: person(99), key }
}

async fn sql(pool: &PgPool, sql: &'static str) {
    sqlx::raw_sql(sql).execute(pool).await.expect("valid");
}

async fn until(pool: &PgPool, sql: &'static str) {
    let waiting = async {
        while !sqlx::query_scalar::<_, bool>(sql).fetch_one(pool).await.expect("readable") {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(30), waiting).await.expect(sql);
}

/// A Discord that knows who has the role.
type Holding = Arc<Mutex<BTreeSet<UserId>>>;

/// Carries out as the bot does, on a Discord that takes its time.
async fn carry_out_on(db: Database, holding: Holding, promise: Promise) -> Result<(), Trouble> {
    if promise.effect == SWEEP {
        return carry_out_sweep(&db, &promise).await;
    }
    let (member, role, due) = look(&db, &promise).await?;
    assert_eq!(role, ROLE_ID);
    sleep(Duration::from_millis(promise.number.unsigned_abs() * 23 % 61)).await;
    match due {
        Due::Nothing => {}
        Due::Give(_) => drop(holding.lock().expect("no panic").insert(member)),
        Due::Take(_) => drop(holding.lock().expect("no panic").remove(&member)),
    }
    if promise.number % 9 == 0 && promise.attempts == 0 {
        // Done, but its answer was lost.
        return Err(Trouble::Later(Duration::from_millis(20)));
    }
    Ok(())
}

/// Who has received what earns the role now.
async fn earners(pool: &PgPool) -> BTreeSet<UserId> {
    let earned: Vec<String> = sqlx::query_scalar(
        "select user_id::text from bytes_balances, bytes_configs \
         where total_received >= (role_rewards ->> '77')::bigint",
    )
    .fetch_all(pool)
    .await
    .expect("readable");
    earned.iter().map(|id| UserId::new(id.parse().expect("an id"))).collect()
}

#[sqlx::test]
async fn whatever_races_in_the_end_each_member_has_the_role_that_the_database_says(pool: PgPool) {
    const MEMBERS: u64 = 4;
    sql(
        &pool,
        "insert into bytes_balances (guild_id, user_id, balance, opened_at) \
         select '1', n::text, 1000, now() from generate_series(1, 4) n",
    )
    .await;
    let db = Database::new(pool.clone());
    let holding = Holding::default();
    let mut workers = JoinSet::new();
    let mut stops = Vec::new();
    for _ in 0..3 {
        let (stop, stopped) = watch::channel(false);
        let (db, holding) = (db.clone(), Arc::clone(&holding));
        let carry_out = {
            let db = db.clone();
            move |promise| carry_out_on(db.clone(), Arc::clone(&holding), promise)
        };
        let outbox = Outbox::default();
        let waking = outbox.clone();
        workers.spawn(crate::outbox::run(db, outbox, carry_out, || None, stopped));
        workers.spawn(async move {
            loop {
                waking.wake();
                sleep(Duration::from_millis(3)).await;
            }
        });
        stops.push(stop);
    }
    let mut acting = JoinSet::new();
    for giver in 1..=MEMBERS {
        let bank = Bank::new(db.clone(), Outbox::default());
        acting.spawn(async move {
            for n in 0..60 {
                // The fourth receives four times as much as the first.
                let receiver = n % MEMBERS + 1;
                if receiver != giver {
                    let amount = i64::try_from(receiver).expect("small");
                    let (act, receiver) = (act(giver, n), person(receiver));
                    crate::bytes::send(&bank, &act, &receiver, amount, None).await.expect("sent");
                }
            }
        });
    }
    let managing = db.clone();
    acting.spawn(async move {
        for (n, threshold) in [9, 70, 4, 120, 15, 90, 2, 150, 20, 110].into_iter().enumerate() {
            let n = u64::try_from(n).expect("small");
            add(&managing, &act(50, n), ROLE_ID, threshold).await.expect("added");
            sleep(Duration::from_millis(15)).await;
        }
    });

    acting.join_all().await;
    sql(&pool, "update outbox set due_at = now()").await;
    until(&pool, "select count(*) = 0 from outbox").await;
    let earned = earners(&pool).await;
    assert_eq!(earned.len(), 2, "the third and the fourth");
    assert_eq!(*holding.lock().expect("no panic"), earned);

    // And the thresholds alone, faster than Discord: what comes late must not win, and nothing that
    // would mend it comes later.
    for n in 10..50 {
        let threshold = if n % 2 == 0 { 1 } else { 160 };
        add(&db, &act(50, n), ROLE_ID, threshold).await.expect("added");
        sleep(Duration::from_millis(4)).await;
    }
    sql(&pool, "delete from outbox where target like 'late_reward:%'").await;
    until(&pool, "select count(*) = 0 from outbox").await;
    let earned = earners(&pool).await;
    assert_eq!(earned.len(), 1, "the fourth alone");
    assert_eq!(*holding.lock().expect("no panic"), earned);
    drop(stops);
    workers.abort_all();
}

#[sqlx::test]
async fn a_sweep_reaches_every_account_once_step_by_step(pool: PgPool) {
    sql(
        &pool,
        "insert into bytes_balances (guild_id, user_id, total_received, left_at) \
         select '1', n::text, 5000 - n, case when n % 10 = 0 then now() end from generate_series(1, 4900) n",
    )
    .await;
    let db = Database::new(pool.clone());
    let added = add(&db, &act(50, 1), ROLE_ID, 300).await.expect("added");
    assert_eq!(added.members, 4_230, "of 4 700 a tenth has left");
    let (stop, stopped) = watch::channel(false);
    let sweeping = db.clone();
    let carry_out = move |promise: Promise| {
        let db = sweeping.clone();
        async move {
            if promise.effect == SWEEP {
                carry_out_sweep(&db, &promise).await
            } else {
                Err(Trouble::Held(Duration::from_mins(1)))
            }
        }
    };
    let worker =
        tokio::spawn(crate::outbox::run(db, Outbox::default(), carry_out, || None, stopped));
    sql(&pool, "update outbox set due_at = now()").await;
    until(&pool, "select count(*) = 0 from outbox where effect = 'reward_sweep'").await;
    stop.send_replace(true);
    worker.await.expect("no panic");

    let missed: i64 = sqlx::query_scalar(
        "select count(*) from bytes_balances b \
         where total_received >= 300 and left_at is null \
         and (select count(*) from outbox where target = 'member:' || b.user_id) <> 1",
    )
    .fetch_one(&pool)
    .await
    .expect("readable");
    let all: i64 =
        sqlx::query_scalar("select count(*) from outbox").fetch_one(&pool).await.expect("readable");
    assert_eq!((missed, all), (0, 4_230));
}

#[test]
fn a_sweep_reads_back_from_its_row() {
    let since = "2026-03-01T12:00:00.123456Z".parse().ok();
    for sweep in [
        Sweep::all(ROLE_ID, i64::MAX),
        Sweep { below: Some(9), since, after: "12".to_owned(), ..Sweep::all(ROLE_ID, 5) },
    ] {
        assert_eq!(Sweep::read(&sweep.row().1), Some(sweep));
    }
}
