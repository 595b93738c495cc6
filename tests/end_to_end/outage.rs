//! A database that is slow, stands still, or is lost in mid-command.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use bytekeeper::act::{Act, Person};
use bytekeeper::db::Database;
use bytekeeper::outbox::Outbox;
use bytekeeper::{Error, bytes};
use embedded_postgres::{Embedded, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use poise::serenity_prelude::{GuildId, InteractionId, UserId};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::stage::{Stage, ask, typed};
use crate::wire::Wire;

/// A server of the test's own, which can be made to stand still.
struct Postgres {
    server: Embedded,
    folder: TempDir,
}

impl Postgres {
    async fn start() -> (Self, PgPool) {
        // Where the server's own account may enter too.
        let folder = tempfile::Builder::new().permissions(public()).tempdir().expect("a folder");
        let options = Options { durable: false, ..Options::default() };
        let server = Embedded::start(&folder.path().join("data"), options).await.expect("starts");
        let pool = PgPool::connect_with(server.connect_options()).await.expect("connects");
        bytekeeper::db::migrate(&pool).await.expect("migrates");
        (Self { server, folder }, pool)
    }

    /// Stops every process of the server in its tracks, or lets them go on.
    fn signal(&self, signal: Signal) {
        let pid_file = find(self.folder.path(), "postmaster.pid").expect("it runs");
        let text = fs::read_to_string(pid_file).expect("readable");
        let main: i32 = text.lines().next().and_then(|line| line.parse().ok()).expect("a pid");
        let children = fs::read_dir("/proc").expect("Linux").filter_map(|entry| {
            let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent: i32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            (parent == main).then_some(pid)
        });
        for pid in children.chain([main]) {
            // One that has just ended is as good.
            kill(Pid::from_raw(pid), signal).ok();
        }
    }
}

fn public() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o755)
}

fn find(folder: &Path, name: &str) -> Option<std::path::PathBuf> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() { find(&path, name) } else { (entry.file_name() == name).then_some(path) }
    })
}

#[tokio::test]
async fn a_database_that_stands_still_for_ten_seconds_delays_the_truth_and_never_bends_it() {
    let (postgres, pool) = Postgres::start().await;
    let stage = Stage::open_at(pool, &postgres.server.url()).await;
    ask(&stage.ada, "/bytes balance").await;

    postgres.signal(Signal::SIGSTOP);
    let asked = Instant::now();
    let gift = typed(&stage.ada, "/bytes send member:bob amount:60 reason:\"for tea\"");
    let look = typed(&stage.bob, "/bytes balance");
    let first = gift.acknowledged().await;
    assert!(first.after < Duration::from_secs(3), "{first:?}");
    assert_eq!((first.kind, first.ephemeral), (5, true), "deferred, for ada alone");
    assert!(look.acknowledged().await.after < Duration::from_secs(3));
    sleep(Duration::from_secs(10).saturating_sub(asked.elapsed())).await;
    assert!(gift.messages().iter().all(|seen| seen.thinking), "nothing is said before it's known");
    postgres.signal(Signal::SIGCONT);

    let sent = gift.followup(0).await;
    assert!(!sent.ephemeral && sent.text().contains("60 bytes"), "{sent:?}");
    assert!(gift.answer().await.text().contains("Done."));
    look.answer().await;
    assert_eq!(stage.balance(&stage.ada).await, Some(40));
    assert_eq!(stage.bob.sees().iter().filter(|seen| seen.text().contains("for tea")).count(), 1);
    stage.close().await;
    postgres.server.stop().await.expect("stops");
}

#[tokio::test]
async fn a_server_that_is_killed_in_mid_command_and_comes_back_is_asked_again() {
    let (postgres, pool) = Postgres::start().await;
    let stage = Stage::open_at(pool.clone(), &postgres.server.url()).await;
    ask(&stage.ada, "/bytes balance").await;

    // The gift waits for the row, its connection is cut, and the row is given free.
    let mut holder = pool.begin().await.expect("begins");
    sqlx::query("select 1 from bytes_balances for update")
        .execute(&mut *holder)
        .await
        .expect("locks");
    let gift = typed(&stage.ada, "/bytes send member:bob amount:60");
    wait_for_a_waiter(&pool).await;
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'",
    )
    .execute(&pool)
    .await
    .expect("terminates");
    holder.rollback().await.expect("ends");

    let sent = gift.answer().await;
    assert!(sent.text().contains("60 bytes"), "{sent:?}");
    assert_eq!(
        (stage.balance(&stage.ada).await, stage.balance(&stage.bob).await),
        (Some(40), Some(60))
    );
    stage.close().await;
    postgres.server.stop().await.expect("stops");
}

#[sqlx::test]
async fn a_gift_whose_commit_was_not_heard_of_is_looked_up_and_told_as_made_once(pool: PgPool) {
    let wire = Wire::to(&pool);
    let stage = Stage::open_at(pool, &wire.url()).await;
    ask(&stage.ada, "/bytes balance").await;

    wire.lose_answers(2);
    let sent = ask(&stage.ada, "/bytes send member:bob amount:60").await;

    assert_eq!(wire.losses_left(), 0, "two answers were lost");
    assert!(!sent.ephemeral && sent.text().contains("60 bytes"), "{sent:?}");
    assert_eq!(
        (stage.balance(&stage.ada).await, stage.balance(&stage.bob).await),
        (Some(40), Some(60))
    );
    stage.close().await;
}

#[sqlx::test]
async fn what_cannot_be_known_is_said_to_be_unknown_and_what_was_not_done_to_be_undone(
    pool: PgPool,
) {
    let wire = Wire::to(&pool);
    let bob = Person::new(UserId::new(20 << 22), "bob");
    let through = impatient(&wire);
    through.ping().await.expect("connects");

    wire.lose_answers(1_000);
    let lost = bytes::send(&bank(&through), &act(1), &bob, 60, None).await;
    assert!(matches!(lost, Err(Error::Unknown(_))), "{lost:?}");
    wire.close();
    let refused = bytes::send(&bank(&impatient(&wire)), &act(2), &bob, 1, None).await;
    assert!(matches!(refused, Err(Error::Unreachable(_))), "{refused:?}");

    // It was done, once, and a later delivery knows.
    let sent = bytes::send(&bank(&Database::new(pool.clone())), &act(1), &bob, 60, None)
        .await
        .expect("done before");
    let bytes::Sending::Sent(sent) = sent else { panic!("to be confirmed: {sent:?}") };
    assert_eq!((sent.balance, sent.receiver_balance), (40, 60));
    assert!(bytes::audit(&pool).await.expect("readable").differences.is_empty());
}

#[sqlx::test]
async fn a_gift_whose_batch_lost_its_answer_is_made_once_and_known(pool: PgPool) {
    let wire = Wire::to(&pool);
    let bob = Person::new(UserId::new(20 << 22), "bob");
    let through = impatient(&wire);
    // Both have accounts, so that the quick way can make the next.
    bytes::send(&bank(&through), &act(1), &bob, 10, None).await.expect("allowed");

    wire.lose_next_answer();
    let sent = bytes::send(&bank(&through), &act(2), &bob, 60, None).await.expect("made");

    assert_eq!(wire.losses_left(), 0, "an answer was lost");
    let bytes::Sending::Sent(sent) = sent else { panic!("to be confirmed: {sent:?}") };
    assert_eq!((sent.balance, sent.receiver_balance), (30, 70));
    let audit = bytes::audit(&pool).await.expect("readable");
    assert!(audit.is_clean(), "{audit}");
}

#[sqlx::test]
async fn a_refusal_behind_a_lost_commit_is_not_told_as_nothing_changed(pool: PgPool) {
    let wire = Wire::to(&pool);
    let through = impatient(&wire);
    through.ping().await.expect("connects");
    // As behind a failover to a standby: new sessions can't write.
    let name: String = sqlx::query_scalar("select current_database()::text")
        .fetch_one(&pool)
        .await
        .expect("readable");
    let sql = format!("alter database \"{name}\" set default_transaction_read_only = on");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&pool).await.expect("valid");

    wire.lose_answers(1);
    let sent =
        bytes::send(&bank(&through), &act(1), &Person::new(UserId::new(20 << 22), "bob"), 60, None)
            .await;

    assert_eq!(wire.losses_left(), 0, "it was committed");
    assert!(matches!(sent, Err(Error::Unknown(_))), "{sent:?}");
}

#[sqlx::test]
async fn a_connection_that_falls_silent_in_mid_act_is_cut_and_gives_its_place_free(pool: PgPool) {
    let wire = Wire::to(&pool);
    let options = PgPoolOptions::new().max_connections(1).test_before_acquire(false);
    let db = Database::new(options.connect_lazy(&wire.url()).expect("an address"));
    db.ping().await.expect("connects");
    sleep(Duration::from_millis(300)).await;

    wire.silence();
    let account = bytes::account_of(&db, &act(1), act(1).member.id).await;

    assert!(account.is_ok(), "new connections pass: {account:?}");
}

/// A database behind a wire, which is given up after three seconds.
fn impatient(wire: &Wire) -> Database {
    // One connection, so that every try of an act is on that or on a new one.
    let options = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(1));
    let pool = options.connect_lazy(&wire.url()).expect("an address");
    Database::new(pool).with_patience(Duration::from_secs(3))
}

fn act(key: u64) -> Act {
    Act {
        guild: GuildId::new(1),
        member: Person::new(UserId::new(10 << 22), "ada"),
        bot: Person::new(UserId::new(99), "bot"),
        key: InteractionId::new(key << 22),
    }
}

#[tokio::test]
async fn a_stop_is_over_within_eight_seconds_also_while_the_database_stands_still() {
    let (postgres, pool) = Postgres::start().await;
    let stage = Stage::open_at(pool, &postgres.server.url()).await;
    ask(&stage.ada, "/bytes balance").await;
    postgres.signal(Signal::SIGSTOP);
    let gift = typed(&stage.ada, "/bytes send member:bob amount:60");
    gift.acknowledged().await;

    let asked = Instant::now();
    stage.bot.stop().await;
    let said = gift.answer().await;

    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    assert!(said.text().contains("I don't know whether it did"), "{said:?}");
    postgres.signal(Signal::SIGCONT);
    postgres.server.stop().await.expect("stops");
}

async fn wait_for_a_waiter(pool: &PgPool) {
    for _ in 0..500 {
        let waiting: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock'",
        )
        .fetch_one(pool)
        .await
        .expect("readable");
        if waiting > 0 {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("nobody waits for the row");
}

fn bank(db: &Database) -> bytes::Bank {
    bytes::Bank::new(db.clone(), Outbox::default())
}
