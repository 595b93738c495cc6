//! The terminal of `examples/sandbox.rs`, through a pipe as a script would use it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Beside this test's own binary: `cargo test` builds the examples first, but not when it is told
/// which tests to run.
fn terminal() -> PathBuf {
    let test = std::env::current_exe().expect("a path to this test");
    let folder = test.ancestors().nth(2).expect("target/debug/deps/terminal-…");
    let example = folder.join("examples/sandbox");
    if let Some(why) = stale(&example) {
        panic!("{why}; build it first: cargo build --example sandbox");
    }
    example
}

/// Why this program is not what the sources beside it make, by the list that cargo writes of them.
fn stale(program: &Path) -> Option<String> {
    let changed = |path: &Path| path.metadata().and_then(|file| file.modified());
    let Ok(built) = changed(program) else {
        return Some(format!("{} is not there", program.display()));
    };
    let list = std::fs::read_to_string(program.with_extension("d")).expect("cargo's list");
    let (_, sources) = list.split_once(": ").expect("`program: source source`");
    // Spaces in a path are escaped.
    let sources = sources.replace("\\ ", "\0");
    sources.split_whitespace().map(|source| source.replace('\0', " ")).find_map(|source| {
        let fresh = changed(Path::new(&source)).is_ok_and(|at| at <= built);
        (!fresh).then(|| format!("{} is older than {source}", program.display()))
    })
}

fn command(data: Option<&Path>) -> Command {
    let mut command = Command::new(terminal());
    command.env_remove("RUST_LOG").env_remove("COLUMNS").env_remove("DATABASE_URL");
    if let Some(folder) = data {
        command.arg("--data").arg(folder);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn session(data: Option<&Path>, lines: impl AsRef<[u8]>) -> Output {
    let mut child = command(data).spawn().expect("the terminal starts");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(lines.as_ref()).expect("it reads");
    drop(input);
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// The fenced block of the README that begins with this line.
fn readme_block(first: &str) -> String {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"))
        .expect("readable");
    let from = readme.find(first).expect("the block is there") + first.len();
    let block = &readme[from..];
    block[..block.find("```").expect("the block ends")].to_owned()
}

#[test]
fn the_readme_shows_what_its_session_prints() {
    let typed = readme_block("make sandbox <<'LINES'\n");
    let lines = typed.strip_suffix("LINES\n").expect("the document ends");

    let output = session(None, lines);

    // Without the blank line after the last message.
    assert_eq!(text(&output.stdout).trim_end(), readme_block("```text\n").trim_end());
    assert!(output.status.success());
}

#[test]
fn a_piped_session_prints_what_each_member_sees_and_nothing_else() {
    let output = session(
        None,
        "# How a newcomer might begin.
time 2026-12-01T12:00
ada: /daily
ada: /bytes send member:bob amount:60 reason:\"for *tea*\"

bob: says thanks, @ada!
bob: edits thank you, @ada!
bob: deletes
ada: /daily
ada: /bytes send member:bob amount:1000
ada: /bytes balance
ada: presses Share
time +1d
ada: /daily",
    );
    insta::assert_snapshot!(text(&output.stdout), @"
    ── everyone sees · #general ────────────────────────────────────────────────────
       Bytekeeper  ↩ ada used /daily
       ┃ @ada claimed 10 bytes.
       ┃
       ┃ Streak   Balance     Next daily
       ┃ 1 day    110 bytes   in 12 hours
       ┃
       ┃ Next bonus
       ┃ x2 at a streak of 8 days (7 more days)

    ── everyone sees · #general · pings bob ────────────────────────────────────────
       Bytekeeper  ↩ ada used /bytes send
       @bob
       ┃ @ada sent 60 bytes to @bob.
       ┃ ▏ for *tea*
       ┃
       ┃ Balances
       ┃ @ada 50 bytes
       ┃ @bob 60 bytes

    ── everyone sees · #general · pings ada ────────────────────────────────────────
       bob
       thanks, @ada!

    ── everyone sees · #general · edited ───────────────────────────────────────────
       bob
       thank you, @ada!

    ── everyone sees ───────────────────────────────────────────────────────────────
       A message of bob is gone.

    ── only ada sees · #general ────────────────────────────────────────────────────
       Bytekeeper  ↩ ada used /daily
       ┃ You have claimed your daily already. The next one is ready in 12 hours.

    ── only ada sees · #general ────────────────────────────────────────────────────
       Bytekeeper  ↩ ada used /bytes send
       ┃ You have 50 bytes; sending 1,000 needs 950 more.

    ── only ada sees · #general ────────────────────────────────────────────────────
       Bytekeeper  ↩ ada used /bytes balance
       ┃ Balance
       ┃ @ada has 50 bytes.
       ┃ This button stops working in an hour.
       ┃
       ┃ Received   Sent   Streak
       ┃ 10         60     1 day
       [Share]

    ── everyone sees · #general ────────────────────────────────────────────────────
       Bytekeeper
       ┃ Balance
       ┃ @ada has 50 bytes.
       ┃
       ┃ Received   Sent   Streak
       ┃ 10         60     1 day

    ── everyone sees · #general ────────────────────────────────────────────────────
       Bytekeeper  ↩ ada used /daily
       ┃ @ada claimed 10 bytes.
       ┃
       ┃ Streak   Balance    Next daily
       ┃ 2 days   60 bytes   in 12 hours
       ┃
       ┃ Next bonus
       ┃ x2 at a streak of 8 days (6 more days)
    ");
    insta::assert_snapshot!(text(&output.stderr), @"
    Starting a local Discord, Postgres and the bot …
    It is Tuesday, 1 December 2026 12:00 UTC.
    It is Wednesday, 2 December 2026 12:00 UTC.
    ");
    assert_eq!(output.status.code(), Some(0), "the bot's refusals are answers");
}

#[test]
fn a_line_that_can_not_be_carried_out_is_named_and_the_others_are() {
    let output = session(
        None,
        "ada: /bites
ada: /bytes send member:bob amonut:5
ada: /bytes send member:zed amount:5
ada: /bytes send member:bob amount:0
zed: /daily
ada: presses Next
ada: dances
/daily
bob: says still here
quit
bob: says too late",
    );
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stderr), @r#"
    Starting a local Discord, Postgres and the bot …
    line 1: There is no command /bites.
    line 2: There is no member "bob amonut:5" here.
    line 3: There is no member "zed" here.
    line 4: `amount` is 0, below 1.
    line 5: There is no member "zed"; there are owner, moderator, ada, bob, cleo and dan.
    line 6: ada sees no button "Next".
    line 7: Nobody can do "dances" here; `help` lists what can be done.
    line 8: Who types that? Put a name before it, as in `ada: /daily`.
    "#);
    insta::assert_snapshot!(text(&output.stdout), @"
    ── everyone sees · #general ────────────────────────────────────────────────────
       bob
       still here
    ");
}

#[test]
fn a_line_that_is_not_utf_8_is_named_and_the_others_are_carried_out() {
    let output =
        session(None, b"bob: says one\nbob: says \xff\r\nbob: says three\r\nbob: says \xc3");
    assert_eq!(output.status.code(), Some(1));
    insta::assert_snapshot!(text(&output.stderr), @"
    Starting a local Discord, Postgres and the bot …
    line 2: The line can't be read: it is not UTF-8.
    line 4: The line can't be read: it is not UTF-8.
    ");
    insta::assert_snapshot!(text(&output.stdout), @"
    ── everyone sees · #general ────────────────────────────────────────────────────
       bob
       one

    ── everyone sees · #general ────────────────────────────────────────────────────
       bob
       three
    ");
}

#[test]
fn a_program_older_than_one_of_its_sources_is_stale() {
    let folder = tempfile::tempdir().expect("a folder");
    let [program, list, source] =
        ["sandbox", "sandbox.d", "a file.rs"].map(|name| folder.path().join(name));
    assert!(stale(&program).is_some_and(|why| why.ends_with("is not there")));
    let escaped = source.display().to_string().replace(' ', "\\ ");
    std::fs::write(&list, format!("{}: {escaped}\n", program.display())).expect("written");
    std::fs::write(&source, "").expect("written");
    let program_file = std::fs::File::create(&program).expect("written");
    let now = SystemTime::now();
    for (built, is_stale) in [(now + Duration::from_secs(9), false), (UNIX_EPOCH, true)] {
        program_file.set_modified(built).expect("its own file");
        assert_eq!(stale(&program).is_some(), is_stale);
    }
}

#[test]
fn help_lists_what_the_bot_registered() {
    let output = session(None, "help");
    assert_eq!(output.status.code(), Some(0));
    let shown = text(&output.stdout);
    for (command, what) in [
        ("/bytes send member amount [reason]  ", "Send bytes to another member"),
        ("/daily  ", "Claim your bytes of the day"),
        ("menu \"Send bytes\"  ", "in the menu of a message"),
    ] {
        let line = shown.lines().find(|line| line.trim_start().starts_with(command));
        assert!(line.is_some_and(|line| line.ends_with(what)), "{shown}");
    }
}

#[test]
fn a_folder_keeps_the_accounts_for_the_next_session() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = session(Some(folder.path()), "ada: /bytes send member:bob amount:60");
    assert!(text(&first.stdout).contains("@ada 40 bytes"), "{first:?}");
    let second = session(Some(folder.path()), "ada: /bytes send member:bob amount:30");
    assert!(text(&second.stdout).contains("@ada 10 bytes"), "{second:?}");
}

#[test]
fn a_signal_ends_it_cleanly() {
    let mut child = command(None).spawn().expect("the terminal starts");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(b"ada: /daily\n").expect("it reads");
    let mut output = child.stdout.take().expect("a pipe");
    // Its answer is there, and the pipe stays open: it waits for the next line.
    std::io::Read::read_exact(&mut output, &mut [0; 1]).expect("an answer");
    let process = Pid::from_raw(i32::try_from(child.id()).expect("a process id"));
    kill(process, Signal::SIGTERM).expect("it runs");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}
