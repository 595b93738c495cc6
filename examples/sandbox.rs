//! The bot in the terminal: on a local Discord and an embedded Postgres of its own, with nothing
//! to set up.
//!
//! A line is what a member does, `ada: /bytes send member:bob amount:60`; what comes of it is
//! printed as each member sees it. Only that goes to standard output; prompts, notes and logs go
//! to standard error. From a pipe it reads to the end.

use std::error::Error;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use bytekeeper::app::Bot;
use bytekeeper::config::{Config, DatabaseConfig, LogFormat, Secret};
use chrono::{DateTime, NaiveDate, Utc};
use clap::Parser;
use sandbox::terminal::{Effect, Terminal};
use sandbox::{Discord, Guild, permissions};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing_subscriber::EnvFilter;

/// The columns that are drawn in, where the terminal's width is not in COLUMNS.
const WIDTH: usize = 80;

/// What is logged without `RUST_LOG`: serenity warns of each closing connection, ours too.
const QUIET_LOG: &str = "warn,serenity::gateway=error";
/// When the guild was made; fixed, so that its ids are the same each time and `--data` finds the
/// members' accounts again.
const FOUNDED: DateTime<Utc> = NaiveDate::from_ymd_opt(2026, 1, 1)
    .expect("the day exists")
    .and_hms_opt(12, 0, 0)
    .expect("the time exists")
    .and_utc();

/// Try the bot on a local Discord, in this terminal.
///
/// Type "help" for what can be typed. Logs go to standard error.
#[derive(Debug, Parser)]
#[command(name = "sandbox", version)]
struct Arguments {
    /// Keep the database in this folder; without it everything is thrown away at the end
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| QUIET_LOG.into()))
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    match Box::pin(run(arguments)).await {
        Ok(code) => code,
        Err(error) => {
            note(&format!("sandbox: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode, Box<dyn Error>> {
    // Deleted when it goes out of scope.
    let (folder, _thrown_away) = if let Some(folder) = arguments.data {
        (folder, None)
    } else {
        let folder = tempfile::tempdir()?;
        (folder.path().to_owned(), Some(folder))
    };
    note("Starting a local Discord, Postgres and the bot …");
    let discord = Discord::start_at(FOUNDED).await?;
    discord.configure_application(|settings| settings.guild_members_intent = true);
    let guild = populate(&discord);
    discord.set_now(Utc::now());
    let config = config(&discord, &folder)?;
    let mut stop = Stop::new()?;
    let mut starting = pin!(Bot::start(&config));
    let mut bot = tokio::select! {
        started = &mut starting => started?,
        () = stop.asked() => {
            // A cluster that is half made can't be thrown away: its maker still writes.
            if let Ok(bot) = starting.await {
                bot.stop().await;
            }
            return Ok(ExitCode::SUCCESS);
        }
    };
    let ended = tokio::select! {
        ended = converse(&discord, &guild) => ended,
        error = bot.ended() => Err(error.into()),
        () = stop.asked() => Ok(ExitCode::SUCCESS),
    };
    if io::stdin().is_terminal() {
        note("\nStopping …");
    }
    bot.stop().await;
    ended
}

/// The ways to ask a process to stop: Ctrl-C, SIGTERM, a terminal that is closed.
struct Stop([Signal; 3]);

impl Stop {
    fn new() -> io::Result<Self> {
        let [interrupt, terminate, hang_up] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self([interrupt?, terminate?, hang_up?]))
    }

    async fn asked(&mut self) {
        let [interrupt, terminate, hang_up] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    }
}

/// The guild: its owner, a moderator, four members, roles for squads, some channels.
fn populate(discord: &Discord) -> Guild {
    let guild = discord.add_guild("The Sandbox", "owner");
    let moderator = guild.add_member("moderator");
    for name in ["ada", "bob", "cleo", "dan"] {
        guild.add_member(name);
    }
    guild.add_role("South", 0, 1);
    guild.add_role("North", 0, 1);
    let moderates = permissions::KICK_MEMBERS
        | permissions::BAN_MEMBERS
        | permissions::MODERATE_MEMBERS
        | permissions::MANAGE_MESSAGES
        | permissions::MANAGE_ROLES;
    let moderators = guild.add_role("Moderator", moderates, 3);
    guild.give_role(&moderator, moderators);
    guild.move_bot_role(4);
    guild.add_channel("bots");
    let log = guild.add_channel("mod-log");
    guild.set_overwrite(log, guild.id, 0, permissions::VIEW_CHANNEL);
    guild.set_overwrite(log, moderators, permissions::VIEW_CHANNEL, 0);
    if let Some(bot_role) = guild.bot_role() {
        guild.set_overwrite(log, bot_role, permissions::VIEW_CHANNEL, 0);
    }
    guild
}

fn config(discord: &Discord, folder: &Path) -> Result<Config, Box<dyn Error>> {
    Ok(Config {
        token: Some(Secret::new(discord.token())),
        api_url: Some(discord.url().parse()?),
        requests_per_second: 50,
        commands_guild: None,
        database: DatabaseConfig {
            url: None,
            data_dir: folder.to_owned(),
            pool_size: 10,
            acquire_timeout: Duration::from_secs(3),
        },
        log_format: LogFormat::Text,
        log_filter: String::new(),
    })
}

/// Carries out line after line, until there are no more.
async fn converse(discord: &Discord, guild: &Guild) -> Result<ExitCode, Box<dyn Error>> {
    discord.ready().await?;
    let color = io::stdout().is_terminal();
    let width = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let width = width.unwrap_or(WIDTH).min(120);
    let mut terminal = Terminal::new(discord, guild, width, color);
    let mut lines = lines();
    let typed = io::stdin().is_terminal();
    if typed {
        note("Ready. Try `ada: /daily`; `help` lists the rest, `quit` ends it.");
    }
    let (mut number, mut failed) = (0_u32, false);
    loop {
        prompt(typed);
        let line = tokio::select! {
            line = lines.recv() => line,
            // What the bot does by itself.
            () = terminal.changed() => {
                if typed {
                    note("");
                }
                show(&terminal.news())?;
                continue;
            }
        };
        let Some(line) = line.transpose()? else { break };
        number += 1;
        let carried_out = match String::from_utf8(line) {
            Ok(line) => terminal.carry_out(&line).await,
            Err(_) => Err("The line can't be read: it is not UTF-8.".to_owned()),
        };
        match carried_out {
            Ok(Effect { seen, note: said, quit }) => {
                show(&seen)?;
                if let Some(said) = said {
                    note(&said);
                }
                if quit {
                    break;
                }
            }
            Err(why) => {
                failed = true;
                show(&terminal.news())?;
                note(&if typed { why } else { format!("line {number}: {why}") });
            }
        }
    }
    show(&terminal.settled().await)?;
    // Mistakes of who types are no failure of the session.
    Ok(if failed && !typed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The lines of standard input, read on a thread of their own: it may wait there for ever without
/// holding up the end of the process.
fn lines() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in io::stdin().lock().split(b'\n') {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// Prints what members see.
fn show(lines: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}")?;
    }
    out.flush()
}

fn prompt(typed: bool) {
    if typed {
        let mut err = io::stderr().lock();
        // A prompt that can't be shown is missed by nobody.
        drop(write!(err, "> ").and_then(|()| err.flush()));
    }
}

/// Tells who types something that is not seen in the guild.
fn note(text: &str) {
    drop(writeln!(io::stderr(), "{text}"));
}
