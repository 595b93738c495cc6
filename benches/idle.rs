//! What the idle bot costs: memory, and the time from its start to READY with an existing data
//! folder. `cargo bench --bench idle` prints both for no guild and for 100.
//!
//! The program is the one that hosts run, its Postgres its own (and not counted), Discord the
//! sandbox, which answers within a millisecond: at Discord the network's time comes on top.
#![allow(clippy::print_stdout, reason = "a bench prints")]

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sandbox::Discord;
use tempfile::TempDir;
use tokio::time::sleep;

const RUNS: usize = 5;

#[tokio::main]
async fn main() {
    println!("guilds  start to READY, ms (min median max)  resident, MB (min median max)");
    for guilds in [0, 100] {
        let discord = Discord::start().await.expect("a port is free");
        for n in 0..guilds {
            let guild = discord.add_guild(&format!("Guild {n}"), "owner");
            for role in 0..20 {
                guild.add_role(&format!("role {role}"), 0, 1);
            }
            for channel in 0..20 {
                guild.add_channel(&format!("channel-{channel}"));
            }
        }
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        let folder = tempfile::Builder::new().permissions(mode).tempdir().expect("a folder");
        // The first start makes the cluster and the tables.
        measure(&discord, &folder).await;
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            runs.push(measure(&discord, &folder).await);
        }
        let figures = |figure: fn(&(f64, f64)) -> f64| {
            let mut all: Vec<f64> = runs.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            format!("{:.1} {:.1} {:.1}", all[0], all[RUNS / 2], all[RUNS - 1])
        };
        println!("{guilds:<7} {:<38} {}", figures(|run| run.0), figures(|run| run.1));
    }
}

/// One run: milliseconds to READY, and megabytes resident five seconds later.
async fn measure(discord: &Discord, folder: &TempDir) -> (f64, f64) {
    let known: Vec<String> = discord.sessions().into_iter().map(|session| session.id).collect();
    let started = Instant::now();
    let mut bot: Child = Command::new(env!("CARGO_BIN_EXE_bytekeeper"))
        .env("DISCORD_TOKEN", discord.token())
        .env("DISCORD_API_URL", discord.url())
        .env("DATA_DIR", folder.path().join("data"))
        .env_remove("DATABASE_URL")
        .stderr(Stdio::null())
        .spawn()
        .expect("runs");
    discord
        .sessions_until(|now| {
            now.iter().any(|session| session.connected && !known.contains(&session.id))
        })
        .await;
    let ready = started.elapsed().as_secs_f64() * 1_000.0;
    sleep(Duration::from_secs(5)).await;
    let status = fs::read_to_string(format!("/proc/{}/status", bot.id())).expect("Linux");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it runs");
    let kilobytes: f64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    Command::new("kill").arg(bot.id().to_string()).status().expect("asks it to stop");
    tokio::task::spawn_blocking(move || bot.wait()).await.expect("no panic").expect("ends");
    (ready, kilobytes / 1_000.0)
}
