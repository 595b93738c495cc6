//! Transfers a second, through the operation that `/bytes send` calls, beside `pgbench` running the
//! plainest correct transfer in one round trip on plain tables with a ledger; in turn, on one
//! durable server. `cargo bench --bench transfers [-- SECONDS]` prints both sides, the ratio and
//! the latencies, medians of three rounds. It needs `pgbench`, which comes with Postgres's client
//! programs.
//!
//! So many are in flight at once: `pgbench` has a connection for each, the bot its usual pool, of
//! which its clearing holds one. The ranking is kept up as in a running bot.
#![allow(clippy::print_stdout, reason = "a bench prints")]

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytekeeper::act::{Act, Person};
use bytekeeper::bytes;
use bytekeeper::config::{DatabaseConfig, Secret};
use bytekeeper::db::{self, Database};
use bytekeeper::outbox::Outbox;
use embedded_postgres::{Embedded, Options};
use poise::serenity_prelude::{GuildId, InteractionId, UserId};
use sqlx::PgPool;
use tempfile::TempDir;

const ACCOUNTS: u64 = 10_000;
const ROUNDS: usize = 3;
/// A time in 2026 as a snowflake, and users whose accounts are from 2016.
const NOW: u64 = 1_500_000_000_000_000_000;
const USERS: u64 = 175_000_000_000_000_000;

const PLAIN: &str = "
create table plain_accounts (guild text collate \"C\", id text collate \"C\", balance bigint not null check (balance >= 0),
    primary key (guild, id));
create table plain_ledger (id bigint generated always as identity primary key, guild text not null, giver text not null,
    receiver text not null, amount bigint not null, created_at timestamptz not null default now());
insert into plain_accounts select '1', n::text, 1000000000 from generate_series(1, 10000) n;
create function plain_transfer(g text, a text, b text, n bigint) returns bigint language plpgsql as $$
declare
    left_over bigint;
begin
    perform 1 from plain_accounts where guild = g and id in (a, b) order by id for update;
    update plain_accounts set balance = balance - n where guild = g and id = a and balance >= n returning balance into left_over;
    if not found then return -1; end if;
    update plain_accounts set balance = balance + n where guild = g and id = b;
    insert into plain_ledger (guild, giver, receiver, amount) values (g, a, b, n);
    return left_over;
end $$;
";

#[derive(Clone, Copy)]
enum Receivers {
    Anybody,
    One,
}

/// Transfers a second, and microseconds at the median and the 99th percentile.
#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    p50: f64,
    p99: f64,
}

impl Rate {
    fn of(mut latencies: Vec<f64>, took: Duration) -> Self {
        latencies.sort_by(f64::total_cmp);
        let at = |part: usize| latencies[latencies.len() * part / 100];
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let per_second = latencies.len() as f64 / took.as_secs_f64();
        Self { per_second, p50: at(50), p99: at(99) }
    }
}

#[tokio::main]
async fn main() {
    let seconds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let folder = tempfile::Builder::new().permissions(mode).tempdir().expect("a folder");
    let server =
        Embedded::start(&folder.path().join("data"), Options::default()).await.expect("starts");
    let setup = PgPool::connect_with(server.connect_options()).await.expect("connects");
    db::migrate(&setup).await.expect("migrates");
    sqlx::raw_sql(PLAIN).execute(&setup).await.expect("valid");
    let fill = "insert into bytes_balances (guild_id, user_id, balance, opened_at)
                select '1', (175000000000000000 + n * 4194304::bigint)::text, 1000000000, now() from generate_series(1, 10000) n";
    sqlx::query(fill).execute(&setup).await.expect("valid");
    sqlx::raw_sql("vacuum analyze").execute(&setup).await.expect("valid");

    println!(
        "in flight   receivers  bytekeeper/s  pgbench/s  ratio  p50 us (ours, pgbench)  p99 us (ours, pgbench)"
    );
    for (connections, receivers) in [
        (1, Receivers::Anybody),
        (8, Receivers::Anybody),
        (32, Receivers::Anybody),
        (32, Receivers::One),
    ] {
        let mut rounds = Vec::new();
        for _ in 0..ROUNDS {
            let plain = pgbench(&server, &folder, connections, receivers, seconds);
            let ours = operation(&server, connections, receivers, seconds).await;
            rounds.push((ours, plain));
        }
        rounds.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
        let median = rounds[ROUNDS / 2];
        let (ours, plain) = median;
        println!(
            "{connections:<11} {:<9}  {:>12.0}  {:>9.0}  {:>5.2}  {:>8.0} {:>8.0}       {:>8.0} {:>8.0}",
            match receivers {
                Receivers::Anybody => "anybody",
                Receivers::One => "one",
            },
            ours.per_second,
            plain.per_second,
            ratio(&median),
            ours.p50,
            plain.p50,
            ours.p99,
            plain.p99,
        );
        prove(&setup).await;
    }
    println!("after each row: no drift, every account as the ledger says, every history whole");
    setup.close().await;
    server.stop().await.expect("stops");
}

/// Fails where a byte is too many or too few, or a history isn't whole.
async fn prove(pool: &PgPool) {
    // What was filled in came from nowhere: it stands in no ledger.
    let drift: i64 = sqlx::query_scalar(
        "select (sum(balance) - 10000 * 1000000000::bigint)::bigint from bytes_balances",
    )
    .fetch_one(pool)
    .await
    .expect("readable");
    let audit = bytes::audit(pool).await.expect("readable");
    let off = audit.differences.iter().filter(|difference| {
        let balance: i64 =
            difference.balance.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0);
        difference.ledger_balance.parse::<i64>().ok() != Some(balance - 1_000_000_000)
    });
    assert_eq!((drift, off.count(), audit.broken_histories), (0, 0, 0), "drift");
}

fn ratio((ours, plain): &(Rate, Rate)) -> f64 {
    ours.per_second / plain.per_second
}

async fn operation(
    server: &Embedded,
    connections: u32,
    receivers: Receivers,
    seconds: u64,
) -> Rate {
    static ACTS: AtomicU64 = AtomicU64::new(0);
    let config = DatabaseConfig {
        url: Some(Secret::new(server.url())),
        data_dir: "unused".into(),
        pool_size: connections.max(10),
        acquire_timeout: Duration::from_secs(5),
    };
    let (_, pool) = db::connect(&config).await.expect("connects");
    let bank = bytes::Bank::new(Database::new(pool.clone()), Outbox::default());
    let ranker = tokio::spawn(bytes::keep_ranked(bank.clone()));
    let started = Instant::now();
    let end = started + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..connections)
        .map(|_| {
            let bank = bank.clone();
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while Instant::now() < end {
                    let n = ACTS.fetch_add(1, Ordering::Relaxed);
                    // A cheap shuffle: consecutive acts touch accounts far apart.
                    let giver = n.wrapping_mul(2_654_435_761) % ACCOUNTS + 1;
                    let receiver = match receivers {
                        Receivers::Anybody => n.wrapping_mul(40_503_000_017) % ACCOUNTS + 1,
                        Receivers::One => 1,
                    };
                    if giver == receiver {
                        continue;
                    }
                    let person = |n: u64| Person::new(UserId::new(USERS + (n << 22)), "somebody");
                    let act = Act {
                        guild: GuildId::new(1),
                        member: person(giver),
                        bot: Person::new(UserId::new(1), "bot"),
                        key: InteractionId::new(NOW + n),
                    };
                    let asked = Instant::now();
                    bytes::send(&bank, &act, &person(receiver), 1, None).await.expect("allowed");
                    latencies.push(asked.elapsed().as_secs_f64() * 1e6);
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("no panic"));
    }
    let rate = Rate::of(latencies, started.elapsed());
    ranker.abort();
    drop(bank);
    pool.close().await;
    rate
}

fn pgbench(
    server: &Embedded,
    folder: &TempDir,
    connections: u32,
    receivers: Receivers,
    seconds: u64,
) -> Rate {
    let receiver = match receivers {
        Receivers::Anybody => "random(1, 10000)",
        Receivers::One => "1",
    };
    let script = folder.path().join("transfer.sql");
    let text = format!(
        "\\set a random(2, 10000)\n\\set b {receiver}\nselect plain_transfer('1', :a::text, :b::text, 1);\n"
    );
    std::fs::write(&script, text).expect("writable");
    let logs = TempDir::new().expect("a folder");
    let url = server.url();
    let output = Command::new("pgbench")
        .args(["--no-vacuum", "--protocol=prepared", "--log", "--log-prefix=log", "--jobs=2"])
        .arg(format!("--client={connections}"))
        .arg(format!("--time={seconds}"))
        .arg(format!("--file={}", script.display()))
        .arg(&url)
        .current_dir(logs.path())
        .output()
        .expect("pgbench is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // client, transaction, microseconds, …: https://www.postgresql.org/docs/15/pgbench.html
    let latencies: Vec<f64> = std::fs::read_dir(logs.path())
        .expect("readable")
        .flatten()
        .flat_map(|file| {
            let text = std::fs::read_to_string(file.path()).expect("readable");
            let column = |line: &str| line.split(' ').nth(2).and_then(|number| number.parse().ok());
            text.lines().filter_map(column).collect::<Vec<f64>>()
        })
        .collect();
    Rate::of(latencies, Duration::from_secs(seconds))
}
