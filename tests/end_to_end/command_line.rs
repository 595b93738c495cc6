//! The program's commands, as a host types them.

use std::time::{Duration, Instant};

use sqlx::{ConnectOptions, PgPool};

use crate::crash::{Program, output, terminate};
use crate::stage::typed;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_or_missing_variable_is_one_line_and_exit_status_2() {
    let program = Program::new().await;
    let mut wrong = program.command(&["run"]);
    wrong.env("DATABASE_POOL_SIZE", "many").env("DATABASE_URL", "mysql://root:hunter2@db/x");
    let mut missing = program.command(&["run"]);
    missing.env_remove("DISCORD_TOKEN");

    let (code, out, error) = output(wrong).await;
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(error.lines().count(), 2, "{error}");
    assert!(
        error.contains("DATABASE_POOL_SIZE: found \"many\", expected a whole number"),
        "{error}"
    );
    assert!(error.contains("DATABASE_URL") && !error.contains("hunter2"), "{error}");
    let (code, _, error) = output(missing).await;
    assert_eq!(code, Some(2));
    assert!(
        error.starts_with("bytekeeper: DISCORD_TOKEN: found nothing") && error.lines().count() == 1,
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_env_file_is_read_and_the_environment_wins() {
    let program = Program::new().await;
    std::fs::write(program.folder.path().join(".env"), "LOG_FORMAT=xml\n").expect("writable");

    let (code, _, error) = program.output(&["audit"]).await;
    assert_eq!(code, Some(2));
    assert!(error.contains("LOG_FORMAT: found \"xml\", expected text or json"), "{error}");
    let mut overruled = program.command(&["audit"]);
    overruled.env("LOG_FORMAT", "text");
    let (code, out, error) = output(overruled).await;
    assert_eq!(code, Some(1), "the tables aren't there yet: {out}{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_go_up_and_down_and_the_audit_needs_no_token() {
    let program = Program::new().await;
    let bare = |arguments: &[&str]| {
        let mut command = program.command(arguments);
        command.env_remove("DISCORD_TOKEN").env_remove("DISCORD_API_URL");
        command
    };

    assert_eq!(output(bare(&["migrate"])).await.0, Some(0));
    let (code, out, _) = output(bare(&["audit"])).await;
    assert_eq!((code, out.as_str()), (Some(0), "0 accounts, 0 ledger rows, none differs\n"));
    let (code, out, _) = output(bare(&["migrate", "--down", "1"])).await;
    assert_eq!((code, out.as_str()), (Some(0), "Took 1 migration back.\n"));
    let (code, _, error) = output(bare(&["audit"])).await;
    assert_eq!(code, Some(1));
    assert!(error.contains("bytekeeper migrate"), "{error}");
    assert_eq!(output(bare(&["migrate"])).await.0, Some(0));
}

#[sqlx::test]
async fn an_audit_names_the_account_that_differs_and_exits_with_1(pool: PgPool) {
    let program = Program::new().await;
    sqlx::raw_sql("insert into bytes_balances (guild_id, user_id, balance) values ('1', '2', 5)")
        .execute(&pool)
        .await
        .expect("valid");
    let mut audit = program.command(&["audit"]);
    audit.env("DATABASE_URL", pool.connect_options().to_url_lossy().to_string());

    let (code, out, _) = output(audit).await;

    assert_eq!(code, Some(1));
    assert_eq!(
        out,
        "1 account, 0 ledger rows, 1 differs\nguild 1 member 2: balance 5, by the ledger 0;\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_bot_is_healthy_is_audited_is_checked_and_stops_when_asked() {
    let program = Program::new().await;
    let guild = program.discord.add_guild("The Reading Room", "olga");
    let (code, _, error) = program.output(&["health"]).await;
    assert_eq!(code, Some(1), "{error}");

    let mut bot = program.run();
    program.discord.ready().await.expect("ready");
    let ada = guild.add_member("ada");
    typed(&ada, "/daily").answer().await;

    let (code, out, _) = program.output(&["health"]).await;
    assert_eq!((code, out.as_str()), (Some(0), "bytekeeper: well\n"));
    let (code, out, _) = program.output(&["audit"]).await;
    assert_eq!((code, out.as_str()), (Some(0), "1 account, 2 ledger rows, none differs\n"));
    let (code, out, error) = program.output(&["check"]).await;
    assert_eq!(code, Some(0), "{out}{error}");
    for words in
        ["The Reading Room", "client_id=", "scope=bot+applications.commands", "embedded, Postgres"]
    {
        assert!(out.contains(words), "{out}");
    }
    let (code, _, error) = program.output(&["run"]).await;
    assert_eq!(code, Some(1), "a second bot in the same folder");
    assert!(error.contains("in use"), "{error}");

    let asked = Instant::now();
    terminate(&bot);
    let status =
        tokio::task::spawn_blocking(move || bot.wait()).await.expect("no panic").expect("ends");
    assert!(
        status.success() && asked.elapsed() < Duration::from_secs(8),
        "{status} {:?}",
        asked.elapsed()
    );
    assert_eq!(program.output(&["health"]).await.0, Some(1));
    let (code, out, _) = program.output(&["audit"]).await;
    assert_eq!((code, out.as_str()), (Some(0), "1 account, 2 ledger rows, none differs\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_sees_the_guilds_beyond_the_two_hundredth() {
    let program = Program::new().await;
    let mut last = String::new();
    for n in 0..201 {
        last =
            program.discord.add_guild(&format!("guild {n}"), &format!("owner{n}")).id.to_string();
    }
    let mut check = program.command(&["check"]);
    check.env("COMMANDS_GUILD_ID", &last);

    let (code, out, error) = output(check).await;

    assert_eq!(code, Some(0), "{out}{error}");
    assert!(out.contains("guild 200: nothing is missing"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_shows_a_token_of_the_bot_or_of_an_interaction() {
    let program = Program::new().await;
    let ada = program.discord.add_guild("The Reading Room", "olga").add_member("ada");
    let mut run = program.command(&["run"]);
    let log = program.folder.path().join("all.log");
    run.env("RUST_LOG", "trace").stderr(std::fs::File::create(&log).expect("writable"));
    let mut bot = run.spawn().expect("runs");
    program.discord.ready().await.expect("ready");

    let answered = typed(&ada, "/bytes balance");
    answered.answer().await;
    program.discord.fail("POST", "/interactions/*/*/callback", sandbox::Fault::status(500));
    let failed = typed(&ada, "/bytes balance");
    wait_for(|| failed.attempts() >= 4 || log_has(&log, "Could not answer")).await;
    terminate(&bot);
    tokio::task::spawn_blocking(move || bot.wait()).await.expect("no panic").expect("ends");

    let text = std::fs::read_to_string(&log).expect("readable");
    assert!(text.contains("Could not answer /bytes balance"), "it logged");
    for secret in [&program.discord.token(), &answered.token, &failed.token] {
        let line = text.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(line, None, "a secret in the log");
    }
}

fn log_has(log: &std::path::Path, words: &str) -> bool {
    std::fs::read_to_string(log).is_ok_and(|text| text.contains(words))
}

async fn wait_for(happened: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if happened() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen within 10 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_each_switch_that_is_wrong() {
    let program = Program::new().await;
    program.discord.configure_application(|settings| {
        settings.guild_members_intent = false;
        settings.bot_require_code_grant = true;
        settings.interactions_endpoint_url =
            Some("https://elsewhere.example/interactions".to_owned());
    });

    let (code, out, _) = program.output(&["check"]).await;

    assert_eq!(code, Some(1), "{out}");
    for words in [
        "Requires OAuth2 Code Grant is on",
        "Server Members Intent is off; without it Members who leave and join",
        "Interactions Endpoint URL is set",
        "the bot is in none yet",
    ] {
        assert!(out.contains(words), "{out}");
    }
    let mut refused = program.command(&["check"]);
    refused.env("DISCORD_TOKEN", "MTIz.hunter2.abc");
    let (code, out, error) = output(refused).await;
    assert_eq!(code, Some(1));
    assert!(
        out.contains("DISCORD_TOKEN: Discord refused it")
            && !format!("{out}{error}").contains("hunter2"),
        "{out}{error}"
    );
}
