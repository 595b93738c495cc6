//! The command line.

use std::io::Write as _;
use std::process::ExitCode;

use bytekeeper::app::{Bot, StartError};
use bytekeeper::config::{Config, LogFormat};
use bytekeeper::db::DatabaseError;
use bytekeeper::{bytes, check, db, health};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A Discord bot that keeps a guild's currency in Postgres.
///
/// Settings come from the environment and from the file .env; .env.example describes them.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Run the bot (the default)
    Run,
    /// Bring the tables to this version, or back
    Migrate {
        /// Take this many of the newest migrations back; their data is lost
        #[arg(long, value_name = "N")]
        down: Option<usize>,
    },
    /// Prove every balance against the ledger; exit status 1 if one differs
    Audit,
    /// Say what is missing: configuration, database, token, permissions, portal switches
    Check,
    /// Ask the running process whether it is well; exit status 0 or 1
    Health,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(errors) => {
            for error in errors {
                complain(&error);
            }
            return ExitCode::from(2);
        }
    };
    start_log(&config);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    runtime.block_on(async {
        match arguments.command.unwrap_or(Command::Run) {
            Command::Run => run(&config).await,
            Command::Migrate { down } => migrate(&config, down).await,
            Command::Audit => audit(&config).await,
            Command::Check => {
                let report = check::check(&config).await;
                say(&report.text);
                exit(report.problems == 0)
            }
            Command::Health => ask_health(&config).await,
        }
    })
}

async fn run(config: &Config) -> ExitCode {
    let mut stop = match Stop::new() {
        Ok(stop) => stop,
        Err(error) => return failed(&error),
    };
    let started = tokio::select! {
        started = Bot::start(config) => started,
        // What is half started ends with the process; an embedded server stops with its owner.
        () = stop.asked() => return ExitCode::SUCCESS,
    };
    let mut bot = match started {
        Ok(bot) => bot,
        Err(StartError::Config(error)) => {
            complain(&error);
            return ExitCode::from(2);
        }
        Err(error) => return failed(&error),
    };
    let code = tokio::select! {
        () = stop.asked() => {
            tracing::info!("Stopping");
            ExitCode::SUCCESS
        }
        error = bot.ended() => failed(&error),
    };
    bot.stop().await;
    tracing::info!("Stopped");
    code
}

/// What asks a process to stop: SIGTERM and Ctrl-C.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

async fn migrate(config: &Config, down: Option<usize>) -> ExitCode {
    let done = async {
        let (server, pool) = db::join(&config.database).await?;
        let done = match down {
            None => db::migrate(&pool)
                .await
                .map(|()| "The tables are those of this version.".to_owned()),
            Some(steps) => db::migrate_down(&pool, steps).await.map(|taken| {
                format!("Took {taken} migration{} back.", if taken == 1 { "" } else { "s" })
            }),
        };
        pool.close().await;
        server.stop().await;
        done
    };
    match done.await {
        Ok(text) => {
            say(&format!("{text}\n"));
            ExitCode::SUCCESS
        }
        Err::<_, DatabaseError>(error) => failed(&error),
    }
}

async fn audit(config: &Config) -> ExitCode {
    let (server, pool) = match db::join(&config.database).await {
        Ok(joined) => joined,
        Err(error) => return failed(&error),
    };
    let audit = match db::require_migrated(&pool).await {
        Ok(()) => bytes::audit(&pool).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    pool.close().await;
    server.stop().await;
    match audit {
        Ok(audit) => {
            say(&audit.to_string());
            exit(audit.is_clean())
        }
        Err(error) => failed(&error),
    }
}

async fn ask_health(config: &Config) -> ExitCode {
    match health::ask(&config.database.data_dir).await {
        Ok(line) => {
            say(&format!("{line}\n"));
            exit(health::is_well(&line))
        }
        Err(error) => {
            complain(&format!(
                "no bytekeeper answers in {}: {error}",
                config.database.data_dir.display()
            ));
            ExitCode::FAILURE
        }
    }
}

fn start_log(config: &Config) {
    // Below this they log requests and frames, and with them interactions' tokens.
    let filter =
        ["serenity", "reqwest", "hyper", "hyper_util", "h2", "tungstenite", "tokio_tungstenite"]
            .iter()
            .filter_map(|library| format!("{library}=warn").parse().ok())
            .fold(EnvFilter::new(&config.log_filter), EnvFilter::add_directive);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => {
            log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init();
        }
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

fn exit(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn failed(error: &dyn std::fmt::Display) -> ExitCode {
    complain(error);
    ExitCode::FAILURE
}

/// One line on standard error, beside the log.
fn complain(what: &dyn std::fmt::Display) {
    // Nobody is left to tell.
    drop(writeln!(std::io::stderr(), "bytekeeper: {what}"));
}

fn say(text: &str) {
    // A reader that hung up has seen enough.
    drop(std::io::stdout().write_all(text.as_bytes()));
}
