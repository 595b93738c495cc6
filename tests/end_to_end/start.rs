//! Starts that must fail, and how they say it.

use bytekeeper::app::StartError;
use sandbox::{Discord, Fault};
use sqlx::{ConnectOptions, PgPool};
use tempfile::TempDir;

use crate::stage::start;

async fn failed(discord: &Discord, pool: &PgPool, vars: &[(&str, &str)]) -> StartError {
    let url = pool.connect_options().to_url_lossy().to_string();
    let mut vars = vars.to_vec();
    vars.push(("DATABASE_URL", &url));
    let folder = TempDir::new().expect("a folder");
    match start(discord, &folder, &vars).await {
        Ok(_) => panic!("it started"),
        Err(error) => error,
    }
}

#[sqlx::test]
async fn a_token_that_discord_refuses_is_named_and_not_shown(pool: PgPool) {
    let discord = Discord::start().await.expect("a port is free");

    let error = failed(&discord, &pool, &[("DISCORD_TOKEN", "MTIz.hunter2.abc")]).await.to_string();

    assert!(error.contains("DISCORD_TOKEN") && !error.contains("hunter2"), "{error}");
}

#[sqlx::test]
async fn without_a_gateway_address_the_token_goes_nowhere(pool: PgPool) {
    let discord = Discord::start().await.expect("a port is free");
    discord.fail("GET", "/gateway", Fault::status(404));

    let error = failed(&discord, &pool, &[]).await.to_string();

    assert!(error.contains("DISCORD_API_URL"), "{error}");
    let asked: Vec<_> = discord.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(asked, ["/gateway"], "nothing was asked with the token");
    assert!(discord.sessions().is_empty());
}

#[sqlx::test]
async fn an_api_address_where_nobody_answers_is_named(pool: PgPool) {
    let discord = Discord::start().await.expect("a port is free");

    let error =
        failed(&discord, &pool, &[("DISCORD_API_URL", "http://127.0.0.1:1")]).await.to_string();

    assert!(error.contains("http://127.0.0.1:1") && error.contains("refused"), "{error}");
}

#[sqlx::test]
async fn commands_go_to_one_guild_when_one_is_named_and_to_all_otherwise(pool: PgPool) {
    let url = pool.connect_options().to_url_lossy().to_string();
    let discord = Discord::start().await.expect("a port is free");
    let guild = discord.add_guild("The Reading Room", "olga");
    let other = discord.add_guild("Elsewhere", "otto");
    let folder = TempDir::new().expect("a folder");
    let named = |guild| {
        let commands = discord.commands(Some(guild));
        commands
            .iter()
            .filter_map(|command| command["name"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };

    let id = guild.id.to_string();
    let bot = start(&discord, &folder, &[("DATABASE_URL", &url), ("COMMANDS_GUILD_ID", &id)])
        .await
        .expect("starts");
    bot.stop().await;
    assert_eq!((named(guild.id).len(), named(other.id).len()), (4, 0));

    let bot = start(&discord, &folder, &[("DATABASE_URL", &url)]).await.expect("starts");
    bot.stop().await;
    assert_eq!(named(other.id), ["bytes", "daily", "leaderboard", "economy"]);
}

#[sqlx::test]
async fn every_size_of_the_pool_starts(pool: PgPool) {
    let url = pool.connect_options().to_url_lossy().to_string();
    let discord = Discord::start().await.expect("a port is free");
    for size in ["1", "2"] {
        let folder = TempDir::new().expect("a folder");
        let vars = [("DATABASE_URL", url.as_str()), ("DATABASE_POOL_SIZE", size)];
        start(&discord, &folder, &vars).await.expect(size).stop().await;
    }
}

#[sqlx::test]
async fn of_two_processes_in_one_folder_the_second_is_refused_also_with_a_server_of_the_hosts(
    pool: PgPool,
) {
    let url = pool.connect_options().to_url_lossy().to_string();
    let discord = Discord::start().await.expect("a port is free");
    let folder = TempDir::new().expect("a folder");
    let vars = [("DATABASE_URL", url.as_str())];
    let first = start(&discord, &folder, &vars).await.expect("starts");

    let second = start(&discord, &folder, &vars).await.map(drop).expect_err("in use").to_string();

    assert!(second.contains("in use by another running bytekeeper"), "{second}");
    first.stop().await;
    start(&discord, &folder, &vars).await.expect("free again").stop().await;
}

#[sqlx::test]
async fn a_guild_for_the_commands_where_the_bot_is_not_is_named(pool: PgPool) {
    let discord = Discord::start().await.expect("a port is free");

    let error = failed(&discord, &pool, &[("COMMANDS_GUILD_ID", "4711")]).await.to_string();

    assert!(error.contains("COMMANDS_GUILD_ID") && error.contains("invite"), "{error}");
}

#[sqlx::test]
async fn a_passing_fault_at_the_start_is_waited_out(pool: PgPool) {
    let url = pool.connect_options().to_url_lossy().to_string();
    let discord = Discord::start().await.expect("a port is free");
    discord.fail("GET", "/gateway", Fault::status(503).once());
    let folder = TempDir::new().expect("a folder");

    let bot = start(&discord, &folder, &[("DATABASE_URL", &url)]).await.expect("starts");

    bot.stop().await;
}
