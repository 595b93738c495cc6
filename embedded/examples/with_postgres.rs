//! Runs a command with `DATABASE_URL` pointing to a Postgres server made for it alone.
//!
//! ```text
//! with_postgres cargo test
//! ```
//! The server is not durable, takes a second to start, and is gone with its data when the command
//! ends, also by Ctrl-C or SIGTERM. The exit status is the command's; 128 + n when signal n ended
//! it, 2 when nothing could be run. A `DATABASE_URL` that is set already is left as it is, and no
//! server is started.
#![expect(clippy::print_stderr, reason = "this is a command line program")]
use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use embedded_postgres::{Embedded, Options};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

/// Every `#[sqlx::test]` opens a pool of its own.
const MAX_CONNECTIONS: u16 = 300;
/// The terminal sends Ctrl-C to the command as well; this is its time to end by it.
const INTERRUPT_PATIENCE: Duration = Duration::from_secs(3);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("usage: with_postgres COMMAND [ARGUMENT...]");
        return ExitCode::from(2);
    };
    match run(&program, arguments.collect()).await {
        Ok(status) => {
            let code = status.code().or(status.signal().map(|signal| 128 + signal));
            ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(2))
        }
        Err(error) => {
            eprintln!("with_postgres: {}: {error}", program.display());
            ExitCode::from(2)
        }
    }
}

async fn run(program: &OsString, arguments: Vec<OsString>) -> Result<ExitStatus, Box<dyn Error>> {
    let mut command = std::process::Command::new(program);
    command.args(arguments);
    if env::var_os("DATABASE_URL").is_some_and(|url| !url.is_empty()) {
        return Err(command.exec().into());
    }
    // From here on a signal no longer ends this process before it has cleaned up.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let folder = tempfile::Builder::new().prefix("with-postgres-").tempdir()?;
    let options = Options { durable: false, max_connections: MAX_CONNECTIONS };
    let server = Embedded::start(folder.path(), options).await?;

    let mut child = Command::from(command).env("DATABASE_URL", server.url()).spawn()?;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            _ = terminated.recv() => terminate(&child),
            () = async { interrupted.recv().await; sleep(INTERRUPT_PATIENCE).await } => {
                terminate(&child);
            }
        }
    };
    server.stop().await?;
    folder.close()?;
    Ok(status?)
}

fn terminate(child: &Child) {
    if let Some(id) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // It fails for a command that has just ended, which is what the signal is for.
        let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
    }
}
