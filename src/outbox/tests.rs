//! The outbox and its workers on a real Postgres, a database a test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use poise::serenity_prelude::{GuildId, InteractionId, UserId};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::{Failure, Outbox, Promise, Trouble, forget_old, put, put_missing, tell_failures};
use crate::act::{Act, Person};
use crate::db::Database;

const GUILD: GuildId = GuildId::new(1);

/// A worker of its own process, as far as the database can tell.
struct Worker {
    outbox: Outbox,
    stop: watch::Sender<bool>,
    working: JoinHandle<()>,
}

impl Worker {
    fn start<F>(pool: &PgPool, carry_out: impl Fn(Promise) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), Trouble>> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let outbox = Outbox::default();
        let work =
            super::run(Database::new(pool.clone()), outbox.clone(), carry_out, || None, stopped);
        Self { outbox, stop, working: tokio::spawn(work) }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        timeout(Duration::from_secs(10), self.working).await.expect("it stops").expect("no panic");
    }
}

/// What was tried, in order.
type Log = Arc<Mutex<Vec<(Instant, Promise)>>>;

fn note(log: &Log, promise: &Promise) {
    log.lock().expect("no panic").push((Instant::now(), promise.clone()));
}

fn seen(log: &Log) -> Vec<(Instant, Promise)> {
    log.lock().expect("no panic").clone()
}

async fn promise(pool: &PgPool, target: &str, detail: Value) {
    let mut connection = pool.acquire().await.expect("a connection");
    put(&mut connection, GUILD, "test", [(target.to_owned(), detail)]).await.expect("written");
}

async fn rows(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from outbox").fetch_one(pool).await.expect("readable")
}

/// Waits until a statement returns true.
async fn until(pool: &PgPool, sql: &'static str) {
    let waiting = async {
        while !sqlx::query_scalar::<_, bool>(sql).fetch_one(pool).await.expect("readable") {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(20), waiting).await.expect(sql);
}

async fn sql(pool: &PgPool, sql: &'static str) {
    sqlx::raw_sql(sql).execute(pool).await.expect("valid");
}

fn act(key: u64) -> Act {
    let person = |id| Person::new(UserId::new(id), "x");
    Act { guild: GUILD, member: person(2), bot: person(3), key: InteractionId::new(key) }
}

async fn told(pool: &PgPool, key: u64) -> Vec<String> {
    let mut tx = pool.begin().await.expect("begins");
    let failures = tell_failures(&mut tx, &act(key)).await.expect("told");
    tx.commit().await.expect("commits");
    failures.into_iter().map(|Failure { text, .. }| text).collect()
}

#[sqlx::test]
async fn of_one_target_rows_are_done_one_at_a_time_and_in_order_by_any_number_of_workers(
    pool: PgPool,
) {
    let mut connection = pool.acquire().await.expect("a connection");
    let all = (0..60).map(|n| (format!("member:{}", n % 3), json!({ "n": n })));
    put(&mut connection, GUILD, "test", all).await.expect("written");
    let running = Arc::new(Mutex::new(BTreeMap::<String, Promise>::new()));
    let done = Log::default();
    let carry_out = {
        let done = Arc::clone(&done);
        move |promise: Promise| {
            let (running, done) = (Arc::clone(&running), Arc::clone(&done));
            async move {
                let other = running
                    .lock()
                    .expect("no panic")
                    .insert(promise.target.clone(), promise.clone());
                assert_eq!(other, None, "beside {promise:?}");
                sleep(Duration::from_millis(promise.number.unsigned_abs() % 7)).await;
                running.lock().expect("no panic").remove(&promise.target);
                if promise.attempts == 0 && promise.number % 5 == 0 {
                    return Err(Trouble::Later(Duration::from_millis(30)));
                }
                note(&done, &promise);
                Ok(())
            }
        }
    };

    let workers: Vec<Worker> = (0..3).map(|_| Worker::start(&pool, carry_out.clone())).collect();
    until(&pool, "select count(*) = 0 from outbox").await;

    let mut last = BTreeMap::new();
    for (_, promise) in seen(&done) {
        let before = last.insert(promise.target, promise.number);
        assert!(before < Some(promise.number), "{before:?} came before {}", promise.number);
    }
    assert_eq!(seen(&done).len(), 60, "each once");
    for worker in workers {
        worker.stop().await;
    }
}

#[sqlx::test]
async fn what_is_promised_is_done_at_once_when_the_worker_is_woken(pool: PgPool) {
    let log = Log::default();
    let noted = Arc::clone(&log);
    let worker = Worker::start(&pool, move |promise| {
        note(&noted, &promise);
        async { Ok(()) }
    });
    // Behind its first look.
    sleep(Duration::from_millis(300)).await;

    promise(&pool, "member:1", json!({})).await;
    let woken = Instant::now();
    worker.outbox.wake();
    until(&pool, "select count(*) = 0 from outbox").await;

    assert!(seen(&log)[0].0 - woken < Duration::from_millis(400), "{:?}", woken.elapsed());
    worker.stop().await;
}

#[sqlx::test]
async fn what_may_succeed_is_tried_again_not_before_it_is_due_and_what_cannot_is_not(pool: PgPool) {
    promise(&pool, "later", json!({})).await;
    promise(&pool, "passing", json!({})).await;
    promise(&pool, "panic", json!({})).await;
    promise(&pool, "held", json!({})).await;
    promise(&pool, "refused", json!({})).await;
    promise(&pool, "refused", json!({ "behind": true })).await;
    let log = Log::default();
    let noted = Arc::clone(&log);
    let worker = Worker::start(&pool, move |promise: Promise| {
        let first = !seen(&noted).iter().any(|(_, before)| before.target == promise.target);
        note(&noted, &promise);
        async move {
            match promise.target.as_str() {
                "later" if first => Err(Trouble::Later(Duration::from_millis(1_300))),
                "passing" if first => Err(Trouble::Passing("not yet".to_owned())),
                "panic" if first => panic!("once"),
                "held" if first => Err(Trouble::Held(Duration::from_millis(1_600))),
                "refused" if promise.detail["behind"] != true => {
                    Err(Trouble::Refused("never".to_owned()))
                }
                _ => Ok(()),
            }
        }
    });
    until(&pool, "select count(*) = 1 from outbox where failure = 'never'").await;
    until(&pool, "select count(*) = 1 from outbox").await;
    sleep(Duration::from_millis(1_500)).await;
    worker.stop().await;

    let tries = |target: &str| {
        let mut tries = seen(&log);
        tries.retain(|(_, promise)| promise.target == target);
        tries
    };
    for (target, least, attempts) in
        [("later", 1_300, 1), ("passing", 740, 1), ("panic", 740, 1), ("held", 1_600, 0)]
    {
        let tries = tries(target);
        assert_eq!(tries.len(), 2, "{target}");
        let pause = tries[1].0 - tries[0].0;
        assert!(pause >= Duration::from_millis(least), "{target}: {pause:?}");
        assert_eq!(tries[1].1.attempts, attempts, "{target}");
    }
    assert_eq!(tries("refused").len(), 2, "each once: a refusal holds up nothing");
}

#[sqlx::test]
async fn a_kind_that_is_limited_holds_up_no_other(pool: PgPool) {
    let mut connection = pool.acquire().await.expect("a connection");
    let many = (0..40).map(|n| (format!("member:{n}"), json!({})));
    put(&mut connection, GUILD, "limited", many).await.expect("written");
    promise(&pool, "member:100", json!({})).await;
    let log = Log::default();
    let noted = Arc::clone(&log);
    let worker = Worker::start(&pool, move |promise: Promise| {
        note(&noted, &promise);
        async move {
            if promise.effect == "limited" {
                Err(Trouble::Held(Duration::from_secs(30)))
            } else {
                Ok(())
            }
        }
    });

    until(&pool, "select count(*) = 0 from outbox where effect = 'test'").await;
    worker.stop().await;

    let limited = seen(&log).iter().filter(|(_, promise)| promise.effect == "limited").count();
    assert!(limited <= 16, "{limited} were claimed in vain");
}

#[sqlx::test]
async fn what_a_killed_process_claimed_is_another_ones_when_the_claim_lapses(pool: PgPool) {
    promise(&pool, "held", json!({})).await;
    promise(&pool, "lapsed", json!({})).await;
    sql(
        &pool,
        "update outbox set claimed_by = gen_random_uuid(), claimed_until = now() \
         + case target when 'held' then interval '1 hour' else interval '-1 second' end",
    )
    .await;
    let worker = Worker::start(&pool, |_| async { Ok(()) });

    until(&pool, "select count(*) = 1 from outbox").await;
    sleep(Duration::from_millis(1_200)).await;
    worker.stop().await;

    assert_eq!(rows(&pool).await, 1);
    until(&pool, "select bool_and(target = 'held') from outbox").await;
}

#[sqlx::test]
async fn who_finished_too_late_takes_nothing_from_the_new_owner(pool: PgPool) {
    promise(&pool, "member:1", json!({})).await;
    let thief = pool.clone();
    let worker = Worker::start(&pool, move |_| {
        let thief = thief.clone();
        async move {
            sql(&thief, "update outbox set claimed_by = '00000000-0000-0000-0000-000000000001', claimed_until = now() + interval '1 hour'")
                .await;
            Ok(())
        }
    });

    until(&pool, "select coalesce(bool_and(claimed_by = '00000000-0000-0000-0000-000000000001'), count(*) = 0) from outbox")
        .await;
    worker.stop().await;

    assert_eq!(rows(&pool).await, 1, "it's the new owner's");
}

#[sqlx::test]
async fn a_stop_lets_what_runs_end_and_begins_nothing(pool: PgPool) {
    for n in 0..20 {
        promise(&pool, &format!("member:{n}"), json!({})).await;
    }
    let log = Log::default();
    let noted = Arc::clone(&log);
    let worker = Worker::start(&pool, move |promise| {
        note(&noted, &promise);
        async {
            sleep(Duration::from_millis(300)).await;
            Ok(())
        }
    });
    while seen(&log).is_empty() {
        sleep(Duration::from_millis(1)).await;
    }

    worker.stop().await;

    let begun = seen(&log).len();
    assert_eq!(begun, 8, "as many as run at once");
    assert_eq!(rows(&pool).await, 12, "the rest waits");
    until(&pool, "select count(*) = 0 from outbox where claimed_by is not null").await;
}

#[sqlx::test]
async fn what_was_rolled_back_was_never_promised(pool: PgPool) {
    let mut tx = pool.begin().await.expect("begins");
    put(&mut tx, GUILD, "test", [("member:1".to_owned(), json!({}))]).await.expect("written");
    tx.rollback().await.expect("rolls back");

    assert_eq!(rows(&pool).await, 0);
}

#[sqlx::test]
async fn a_look_that_waits_already_is_not_promised_twice_but_one_that_runs_is(pool: PgPool) {
    let missing = async || {
        let mut connection = pool.acquire().await.expect("a connection");
        let row = |n: u64| ("member:1".to_owned(), json!({ "role": n }));
        put_missing(&mut connection, GUILD, "test", [row(1), row(2)]).await.expect("written");
    };

    missing().await;
    missing().await;
    assert_eq!(rows(&pool).await, 2);
    sql(&pool, "update outbox set claimed_by = gen_random_uuid(), claimed_until = now()").await;
    missing().await;
    assert_eq!(rows(&pool).await, 4);
}

#[sqlx::test]
async fn a_failure_is_told_once_and_the_same_again_to_a_second_delivery(pool: PgPool) {
    let fail = async |n: i64| {
        promise(&pool, &format!("member:{n}"), json!({})).await;
        sqlx::query("update outbox set failure = $1 where failure is null")
            .bind(format!("failure {n}"))
            .execute(&pool)
            .await
            .expect("written");
    };
    fail(1).await;
    fail(2).await;
    assert_eq!(told(&pool, 10).await, ["failure 1", "failure 2"]);

    fail(3).await;
    assert_eq!(told(&pool, 10).await, ["failure 1", "failure 2"], "a second delivery");
    assert_eq!(told(&pool, 11).await, ["failure 3"]);
    assert_eq!(told(&pool, 12).await, Vec::<String>::new());
    fail(4).await;
    assert_eq!(told(&pool, 12).await, Vec::<String>::new(), "it was told nothing the first time");
}

#[sqlx::test]
async fn failures_are_forgotten_a_month_after_they_were_told(pool: PgPool) {
    sql(
        &pool,
        "alter table outbox disable trigger tr_outbox_updated_at; \
         insert into outbox (guild_id, target, effect, failure, told_key, updated_at) values \
         ('1', 'told', 'test', 'x', '5', now() - interval '31 days'), \
         ('1', 'told lately', 'test', 'x', '5', now() - interval '29 days'), \
         ('1', 'untold', 'test', 'x', null, now() - interval '31 days'), \
         ('1', 'untold for long', 'test', 'x', null, now() - interval '91 days'), \
         ('1', 'to be done', 'test', null, null, now() - interval '91 days')",
    )
    .await;

    let forgotten = forget_old(&Database::new(pool.clone())).await.expect("done");

    let left: Vec<String> = sqlx::query_scalar("select target::text from outbox order by target")
        .fetch_all(&pool)
        .await
        .expect("readable");
    assert_eq!((forgotten, left.join(", ").as_str()), (2, "to be done, told lately, untold"));
}

#[sqlx::test]
async fn each_constraint_of_the_table_refuses_what_its_name_says(pool: PgPool) {
    for (columns, values, name) in [
        ("guild_id", "'x'", "ck_snowflake_digits"),
        ("attempts", "-1", "ck_outbox_attempts"),
        ("detail", "'[]'", "ck_outbox_detail"),
        ("claimed_by", "gen_random_uuid()", "ck_outbox_claim"),
        ("claimed_until", "now()", "ck_outbox_claim"),
        ("told_key", "'5'", "ck_outbox_told"),
        ("told_key, failure", "'x', 'f'", "ck_snowflake_digits"),
    ] {
        let guild = if columns == "guild_id" { "" } else { "guild_id, " };
        let one = if columns == "guild_id" { "" } else { "'1', " };
        let sql = format!(
            "insert into outbox ({guild}target, effect, {columns}) values ({one}'t', 'e', {values})"
        );
        let error = sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&pool).await.expect_err(name);
        let error = error.into_database_error().expect("of the database");
        assert_eq!(error.constraint(), Some(name), "{columns}");
    }
}

#[sqlx::test]
async fn a_detail_reads_back_as_it_was_written(pool: PgPool) {
    let detail =
        json!({ "role": u64::MAX.to_string(), "text": "a \"b\" 🐉", "list": [1, null, -5] });
    promise(&pool, "member:1", detail.clone()).await;
    let log = Log::default();
    let noted = Arc::clone(&log);
    let worker = Worker::start(&pool, move |promise| {
        note(&noted, &promise);
        async { Ok(()) }
    });
    until(&pool, "select count(*) = 0 from outbox").await;
    worker.stop().await;

    let promise = &seen(&log)[0].1;
    assert_eq!((promise.guild, promise.effect.as_str()), (GUILD, "test"));
    assert_eq!(promise.detail, detail);
}
