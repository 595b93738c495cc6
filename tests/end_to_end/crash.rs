//! The bot's process, killed while bytes move.

use std::fs::File;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use sandbox::{Discord, Guild, Member};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::stage::{new_session, session_ids, typed};

/// The program itself, on a data folder and a Discord of the test's own.
pub(crate) struct Program {
    pub(crate) folder: TempDir,
    pub(crate) discord: Discord,
}

impl Program {
    pub(crate) async fn new() -> Self {
        // Where the embedded server's own account may enter too.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        let folder = tempfile::Builder::new().permissions(mode).tempdir().expect("a folder");
        let discord = Discord::start().await.expect("a port is free");
        discord.configure_application(|settings| settings.guild_members_intent = true);
        Self { folder, discord }
    }

    /// The program with nothing in its environment but what it needs.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bytekeeper"));
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("DISCORD_TOKEN", self.discord.token())
            .env("DISCORD_API_URL", self.discord.url())
            .env("DATA_DIR", self.folder.path().join("data"))
            .current_dir(self.folder.path());
        command
    }

    pub(crate) fn run(&self) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .expect("writable");
        self.command(&["run"]).stderr(log).spawn().expect("runs")
    }

    /// The exit status and what was printed on both streams.
    pub(crate) async fn output(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        output(self.command(arguments)).await
    }
}

/// Waits for a program without keeping the sandbox from answering it.
pub(crate) async fn output(mut command: Command) -> (Option<i32>, String, String) {
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("no panic")
        .expect("runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

async fn exit(mut child: Child) -> std::process::ExitStatus {
    tokio::task::spawn_blocking(move || child.wait()).await.expect("no panic").expect("ends")
}

fn crowd(guild: &Guild) -> Vec<Member> {
    (0..5).map(|n| guild.add_member(&format!("reader{n}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_twenty_times_during_transfers_the_ledger_adds_up_and_the_bot_answers() {
    let program = Program::new().await;
    let guild = program.discord.add_guild("The Reading Room", "olga");
    let readers = crowd(&guild);
    let mut bot = program.run();
    program.discord.ready().await.expect("ready");

    for round in 0..20 {
        for n in 0..30 {
            let receiver = &readers[(n + 1 + round) % 5].name;
            let line = format!("/bytes send member:{receiver} amount:{}", 1 + n % 7);
            if readers[n % 5].name != *receiver {
                typed(&readers[n % 5], &line);
            }
        }
        sleep(Duration::from_millis(3 * u64::try_from(round).expect("small"))).await;
        bot.kill().expect("it ran");
        bot.wait().expect("ends");
        let before = session_ids(&program.discord);
        bot = program.run();
        new_session(&program.discord, &before).await;

        let (code, audit, _) = program.output(&["audit"]).await;
        assert_eq!(code, Some(0), "round {round}: {audit}");
        let answer = typed(&readers[round % 5], "/bytes balance").answer().await;
        assert!(answer.text().contains("bytes"), "round {round}: {answer:?}");
    }

    let (_, audit, _) = program.output(&["audit"]).await;
    let rows: u32 = audit.split(' ').nth(2).and_then(|rows| rows.parse().ok()).expect("a number");
    assert!(rows > 30, "bytes moved meanwhile: {audit}");
    let asked = Instant::now();
    terminate(&bot);
    assert!(exit(bot).await.success());
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
}

pub(crate) fn terminate(child: &Child) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it runs");
}
