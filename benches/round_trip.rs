//! The whole way of an interaction, from the gateway's frame to the first answer: the bot as hosts run
//! it, on the sandbox and a durable Postgres, with 1, 32 and 256 members typing at once; in turn with
//! the same operations straight on the same database, so that what is the bot's own stands apart.
//! `cargo bench --bench round_trip [-- SECONDS]` prints both.
//!
//! The time runs from when the sandbox dispatches the interaction to when it gets the answer, before it
//! reads or checks that. The sandbox and its members have threads of their own, but the same
//! processors: with many members typing, what they cost is in the figures.
//! `/bytes send` to oneself is refused without the database: all that the bot does for nothing.
#![allow(clippy::print_stdout, reason = "a bench prints")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytekeeper::act::{Act, Person};
use bytekeeper::app::Bot;
use bytekeeper::bytes::{self, Bank};
use bytekeeper::config::{Config, DatabaseConfig, Secret};
use bytekeeper::db::{self, Database};
use bytekeeper::outbox::Outbox;
use embedded_postgres::{Embedded, Options};
use poise::serenity_prelude::{GuildId, InteractionId, UserId};
use sandbox::{Discord, Guild, Member};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::runtime::{Builder, Handle};

const ROUNDS: usize = 3;
/// Members who type; as many receive.
const TYPING: u64 = 256;
/// The bank's own guild and its members, whose accounts are from 2016.
const GUILD: u64 = 1;
const USERS: u64 = 175_000_000_000_000_000;
/// A time in 2026 as a snowflake.
const NOW: u64 = 1_500_000_000_000_000_000;
/// The pool's size, as it is where the host sets none.
const POOL: u32 = 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Balance,
    Send,
    Refusal,
}

/// Interactions a second, and milliseconds at the median and the 99th percentile.
#[derive(Clone, Copy)]
struct Rate {
    per_second: f64,
    p50: f64,
    p99: f64,
}

impl Rate {
    fn of(mut latencies: Vec<Duration>, took: Duration) -> Self {
        latencies.sort();
        let at = |part: usize| latencies[latencies.len() * part / 100].as_secs_f64() * 1e3;
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let per_second = latencies.len() as f64 / took.as_secs_f64();
        Self { per_second, p50: at(50), p99: at(99) }
    }

    /// The median of each figure.
    fn median(rates: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| {
            let mut figures: Vec<f64> = rates.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        Self {
            per_second: of(|rate| rate.per_second),
            p50: of(|rate| rate.p50),
            p99: of(|rate| rate.p99),
        }
    }
}

#[tokio::main]
async fn main() {
    let seconds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(3);
    let length = Duration::from_secs(seconds);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    let folder = tempfile::Builder::new().permissions(mode).tempdir().expect("a folder");
    let server =
        Embedded::start(&folder.path().join("data"), Options::default()).await.expect("starts");
    let outside =
        Builder::new_multi_thread().worker_threads(2).thread_name("discord").enable_all().build();
    let outside = outside.expect("threads");
    let (discord, guild) = outside.spawn(open()).await.expect("no panic");
    let bot = start(&discord, &server, &folder).await;
    discord.ready().await.expect("ready");
    let config = DatabaseConfig {
        url: Some(Secret::new(server.url())),
        data_dir: folder.path().to_owned(),
        pool_size: POOL,
        acquire_timeout: Duration::from_secs(5),
    };
    let (_, pool) = db::connect(&config).await.expect("connects");
    fill(&pool, &guild).await;
    let database = Database::new(pool.clone());
    let bank = Bank::new(database.clone(), Outbox::default());

    println!(
        "                           the bot                        the database alone             beyond it\n\
         operation   in flight      /s   p50 ms   p99 ms       /s   p50 ms   p99 ms      p50 ms"
    );
    for operation in [Operation::Refusal, Operation::Balance, Operation::Send] {
        for in_flight in [1, 32, TYPING] {
            let (mut whole, mut alone) = (Vec::new(), Vec::new());
            for round in 0..=ROUNDS {
                // The first warms up.
                let length = if round == 0 { length / 3 } else { length };
                let rate = typed(outside.handle(), &guild, operation, in_flight, length).await;
                let direct = match operation {
                    Operation::Refusal => Rate { per_second: 0.0, p50: 0.0, p99: 0.0 },
                    _ => straight(&bank, &database, operation, in_flight, length).await,
                };
                if round > 0 {
                    whole.push(rate);
                    alone.push(direct);
                }
            }
            let (whole, alone) = (Rate::median(&whole), Rate::median(&alone));
            println!(
                "{:<11} {in_flight:<9}  {:>6.0}  {:>7.3}  {:>7.3}   {:>6.0}  {:>7.3}  {:>7.3}     {:>7.3}",
                match operation {
                    Operation::Balance => "balance",
                    Operation::Send => "send",
                    Operation::Refusal => "send, self",
                },
                whole.per_second,
                whole.p50,
                whole.p99,
                alone.per_second,
                alone.p50,
                alone.p99,
                whole.p50 - alone.p50,
            );
        }
    }
    let sum: i64 = sqlx::query_scalar(
        "select (sum(balance) - count(*) * 1000000000)::bigint from bytes_balances",
    )
    .fetch_one(&pool)
    .await
    .expect("readable");
    println!("drift: {sum} bytes; Discord refused {} requests", discord.refused().len());
    drop((bank, database));
    pool.close().await;
    bot.stop().await;
    server.stop().await.expect("stops");
    outside.shutdown_background();
}

/// A Discord without rate limits, with a guild of members who type and members who receive.
async fn open() -> (Discord, Guild) {
    let discord = Discord::start().await.expect("a port is free");
    discord.set_rate_limits(false);
    discord.configure_application(|settings| settings.guild_members_intent = true);
    let guild = discord.add_guild("The Reading Room", "olga");
    for n in 0..TYPING {
        guild.add_member(&format!("giver-{n}"));
        guild.add_member(&format!("receiver-{n}"));
    }
    (discord, guild)
}

async fn start(discord: &Discord, server: &Embedded, folder: &TempDir) -> Bot {
    let config = Config::from_lookup(|name| {
        let value = match name {
            "DISCORD_TOKEN" => discord.token(),
            "DISCORD_API_URL" => discord.url(),
            "DATABASE_URL" => server.url(),
            "DATA_DIR" => folder.path().display().to_string(),
            "DATABASE_POOL_SIZE" => POOL.to_string(),
            _ => return None,
        };
        Some(Ok(value))
    })
    .expect("valid");
    let mut bot = Bot::start(&config).await.expect("starts");
    bot.ready().await.expect("ready");
    bot
}

/// Makes everybody rich, in both guilds, and asks nobody to confirm.
async fn fill(pool: &PgPool, guild: &Guild) {
    let bank: Vec<String> = (0..2 * TYPING).map(|n| user(n).to_string()).collect();
    let members: Vec<String> = guild.members().iter().map(|member| member.id.to_string()).collect();
    for (guild, users) in [(GUILD, bank), (guild.id, members)] {
        for sql in [
            "insert into bytes_configs (guild_id, confirm_from) select $1, 0 where $2::varchar[] is not null",
            "insert into bytes_balances (guild_id, user_id, balance, opened_at)
             select $1, id, 1000000000, now() from unnest($2::varchar[]) as id",
        ] {
            sqlx::query(sql)
                .bind(guild.to_string())
                .bind(&users)
                .execute(pool)
                .await
                .expect("valid");
        }
    }
}

fn user(n: u64) -> UserId {
    UserId::new(USERS + (n << 22))
}

/// Members type, each the next command once the last is answered.
async fn typed(
    outside: &Handle,
    guild: &Guild,
    operation: Operation,
    in_flight: u64,
    length: Duration,
) -> Rate {
    let started = Instant::now();
    let tasks: Vec<_> = (0..in_flight)
        .map(|n| {
            let member: Member = guild.member(&format!("giver-{n}")).expect("there");
            let line = match operation {
                Operation::Balance => "/bytes balance".to_owned(),
                Operation::Send => format!("/bytes send member:receiver-{n} amount:1"),
                Operation::Refusal => format!("/bytes send member:giver-{n} amount:1"),
            };
            outside.spawn(async move {
                let mut latencies = Vec::new();
                while started.elapsed() < length {
                    let interaction = member.slash(&line).expect("known");
                    let first = interaction.acknowledged().await;
                    assert_eq!(first.kind, 4, "it was answered in time");
                    latencies.push(first.after);
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("no panic"));
    }
    Rate::of(latencies, started.elapsed())
}

/// The same operations, on the same database.
async fn straight(
    bank: &Bank,
    db: &Database,
    operation: Operation,
    in_flight: u64,
    length: Duration,
) -> Rate {
    static ACTS: AtomicU64 = AtomicU64::new(0);
    let started = Instant::now();
    let tasks: Vec<_> = (0..in_flight)
        .map(|n| {
            let (bank, db) = (bank.clone(), db.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while started.elapsed() < length {
                    let act = Act {
                        guild: GuildId::new(GUILD),
                        member: Person::new(user(n), "giver"),
                        bot: Person::new(UserId::new(1), "bot"),
                        key: InteractionId::new(NOW + ACTS.fetch_add(1, Ordering::Relaxed)),
                    };
                    let asked = Instant::now();
                    match operation {
                        Operation::Send => {
                            let receiver = Person::new(user(TYPING + n), "receiver");
                            drop(
                                bytes::send(&bank, &act, &receiver, 1, None)
                                    .await
                                    .expect("allowed"),
                            );
                        }
                        _ => drop(bytes::account_of(&db, &act, user(n)).await.expect("readable")),
                    }
                    latencies.push(asked.elapsed());
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("no panic"));
    }
    Rate::of(latencies, started.elapsed())
}
