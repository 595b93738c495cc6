//! What managers do to the economy, and what members then see.

use sandbox::{Choice, Seen, permissions};
use sqlx::PgPool;

use crate::stage::{Stage, ask, assert_refused, typed};

#[track_caller]
fn assert_shows(seen: &Seen, all: &[&str]) {
    for words in all {
        assert!(seen.text().contains(words), "{:?} lacks {words:?}", seen.text());
    }
}

/// What a manager gets: only they see it.
async fn manage(stage: &Stage, line: &str) -> Seen {
    let seen = ask(&stage.olga, line).await;
    assert!(seen.ephemeral, "everybody sees {:?}", seen.text());
    seen
}

#[sqlx::test]
async fn every_setting_is_shown_and_changed(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let shown = manage(&stage, "/economy show").await;
    assert_shows(
        &shown,
        &[
            "`starting_balance` **100 bytes** · default",
            "`daily_amount` **10 bytes** · default",
            "`max_transfer` **1,000 bytes** · default",
            "`transfer_cooldown_hours` **none** · default",
            "`confirm_from` **100 bytes** · default",
            "`min_account_age_days` **none** · default",
            "`currency_name` **bytes** · default",
            "`currency_emoji` **none** · default",
            "Streak bonuses · default",
            "x16 from 64 days",
            "Role rewards · default",
        ],
    );

    let line = "/economy set starting_balance:50 daily_amount:5 max_transfer:500 transfer_cooldown_hours:1 \
                confirm_from:40 min_account_age_days:3 currency_name:gems currency_emoji:🪙";
    let changed = manage(&stage, line).await;
    assert_shows(
        &changed,
        &[
            "`starting_balance` 🪙 100 gems → **🪙 50 gems**",
            "`daily_amount` 🪙 10 gems → **🪙 5 gems**",
            "`max_transfer` 🪙 1,000 gems → **🪙 500 gems**",
            "`transfer_cooldown_hours` none → **1 hour**",
            "`confirm_from` 🪙 100 gems → **🪙 40 gems**",
            "`min_account_age_days` none → **3 days**",
            "`currency_name` bytes → **gems**",
            "`currency_emoji` none → **🪙**",
        ],
    );
    let shown = manage(&stage, "/economy show").await;
    assert_shows(&shown, &["`daily_amount` **🪙 5 gems**\n", "`currency_name` **gems**\n"]);
    assert_shows(&manage(&stage, "/economy set daily_amount:5").await, &["Nothing changed"]);

    // The next command of everybody's goes by it.
    assert_shows(&ask(&stage.ada, "/daily").await, &["🪙 5 gems", "🪙 55 gems"]);
    assert_shows(&ask(&stage.ada, "/bytes balance").await, &["🪙 55 gems"]);
    let question = ask(&stage.ada, "/bytes send member:bob amount:40").await;
    assert!(question.ephemeral);
    assert_shows(&question, &["**🪙 40 gems**", "🪙 15 gems"]);
    let told = stage.ada.press("Send").expect("a button").followup(0).await;
    assert_shows(&told, &["**🪙 40 gems**", "🪙 15 gems"]);
    assert_refused(&ask(&stage.ada, "/bytes send member:bob amount:1").await, "send again <t:");
    assert_refused(
        &ask(&stage.bob, "/bytes send member:ada amount:100").await,
        "You have 🪙 90 gems; sending 100 needs 10 more.",
    );
    assert_refused(
        &ask(&stage.bob, "/bytes send member:ada amount:501").await,
        "at most 🪙 500 gems",
    );
    assert_shows(&ask(&stage.bob, "/leaderboard").await, &["🥇", "🪙 90 gems", "🥈"]);
    assert_shows(&ask(&stage.ada, "/bytes history").await, &["**🪙 -40 gems** to"]);
    assert_shows(
        &ask(&stage.ada, "/bytes info").await,
        &["**🪙 gems**", "Confirmed from\n🪙 40 gems", "Between transfers\n1 hour", "3 days"],
    );
    stage.close().await;
}

#[sqlx::test]
async fn a_setting_out_of_its_range_is_named_with_it_also_where_discord_lets_it_through(
    pool: PgPool,
) {
    let stage = Stage::open(pool).await;
    assert_refused(&manage(&stage, "/economy set").await, "at least one setting");
    let client = stage.olga.slash("/economy set daily_amount:1001").map(drop);
    assert!(client.expect_err("above the maximum").to_string().contains("above 1000"));
    let spaces = manage(&stage, "/economy set currency_name:\"  \"").await;
    assert_refused(&spaces, "1 to 32 characters");
    assert_shows(&manage(&stage, "/economy show").await, &["`currency_name` **bytes** · default"]);
    stage.close().await;
}

#[sqlx::test]
async fn an_emoji_is_any_of_the_standard_set_or_the_guilds_own(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let gold = stage.guild.add_role("Gold", 0, 1);
    let own = stage.guild.add_emoji("coin", false, &[]);
    let moving = stage.guild.add_emoji("spin", true, &[]);
    let kept = stage.guild.add_emoji("kept", false, &[gold]);
    let foreign = stage.discord.add_guild("Elsewhere", "otto").add_emoji("coin", false, &[]);
    let set =
        async |emoji: &str| manage(&stage, &format!("/economy set currency_emoji:{emoji}")).await;

    assert_shows(&set(&format!("<:coin:{own}>")).await, &[&format!("**<:coin:{own}>**")]);
    let daily = ask(&stage.ada, "/daily").await;
    assert_shows(&daily, &[&format!("**<:coin:{own}> 10 bytes**")]);
    // By its id; the name is the guild's own.
    assert_shows(&set(&format!("<:other:{moving}>")).await, &[&format!("**<a:spin:{moving}>**")]);
    assert_shows(&set("👩‍🚀").await, &["**👩‍🚀**"]);
    assert_refused(&set(&format!("<:kept:{kept}>")).await, "kept for some roles");
    assert_refused(&set(&format!("<:coin:{foreign}>")).await, "not one of this server's own");
    for text in ["coin", ":coin:", "🪙🪙", "<@1>"] {
        assert_refused(&set(text).await, "takes one emoji");
    }
    assert_shows(&set("none").await, &["👩‍🚀 → **none**"]);
    stage.close().await;
}

#[sqlx::test]
async fn a_name_full_of_markup_formats_and_pings_nothing(pool: PgPool) {
    let stage = Stage::open(pool).await;
    manage(&stage, "/economy set currency_name:\"@everyone **x** [a](https://b.c)\"").await;
    let seen = [
        ask(&stage.ada, "/daily").await,
        ask(&stage.ada, "/bytes send member:bob amount:5").await,
        ask(&stage.ada, "/bytes info").await,
        ask(&stage.ada, "/bytes send member:bob amount:500").await,
        ask(&stage.bob, "/leaderboard").await,
        manage(&stage, "/economy show").await,
    ];

    for seen in seen {
        let text = seen.text();
        assert!(text.contains("\\*\\*x\\*\\*"), "{text}");
        assert!(!text.contains("@everyone") && !text.contains("](http"), "{text}");
    }
    assert!(!stage.olga.sees().iter().any(|seen| seen.pings));
    stage.close().await;
}

#[sqlx::test]
async fn a_history_full_of_the_longest_names_and_reasons_is_answered(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let emoji = stage.guild.add_emoji(&"x".repeat(32), true, &[]);
    let name = "*".repeat(32);
    manage(
        &stage,
        &format!("/economy set currency_name:{name} currency_emoji:<a:x_:{emoji}> confirm_from:0"),
    )
    .await;
    let reason = "*".repeat(200);
    for _ in 0..11 {
        let line = format!("/economy grant member:bob amount:800000000000000 reason:{reason}");
        manage(&stage, &line).await;
    }

    let history = ask(&stage.bob, "/bytes history").await;

    assert_shows(&history, &["800,000,000,000,000", "…", "Page 1"]);
    let shown = manage(&stage, "/economy show").await;
    assert_shows(&shown, &["`currency_name`"]);
    stage.close().await;
}

#[sqlx::test]
async fn grants_and_takes_are_the_managers_and_stand_in_the_history(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let gone = stage.guild.add_member("gone");
    let robot = stage.guild.add_bot_user("robot");

    let granted = manage(&stage, "/economy grant member:bob amount:60 reason:\"won *it*\"").await;
    assert_shows(&granted, &["Granted **60 bytes** to", "won \\*it\\*", "Their balance\n60 bytes"]);
    let taken = manage(&stage, "/economy take member:bob amount:20").await;
    assert_shows(&taken, &["Took **20 bytes** from", "Their balance\n40 bytes"]);
    assert_refused(
        &manage(&stage, "/economy take member:bob amount:60").await,
        "has 40 bytes; taking 60 is 20 too many.",
    );
    let line = format!("/economy grant member:{} amount:5", gone.id);
    stage.guild.remove_member(&gone);
    assert_shows(&manage(&stage, &line).await, &["Granted **5 bytes** to"]);
    let line = format!("/economy grant member:{} amount:5", robot.id);
    assert_refused(&manage(&stage, &line).await, "not a bot");
    stage.sql("update bytes_balances set balance = 9223372036854775800, total_received = 9223372036854775800 \
               where balance = 5").await;
    let line = format!("/economy grant member:{} amount:8", gone.id);
    assert_refused(&manage(&stage, &line).await, "8 more is above what an account can hold");
    stage
        .sql("update bytes_balances set balance = 5, total_received = 5 where balance > 1000")
        .await;

    assert!(stage.bob.sees().is_empty(), "{:?}", stage.bob.sees());
    let history = ask(&stage.bob, "/bytes history").await;
    let by = format!("by <@{}>", stage.olga.id);
    assert_shows(
        &history,
        &[
            &format!("**-20 bytes** taken {by}"),
            &format!("**+60 bytes** granted {by}: won \\*it\\*"),
            "starting balance",
        ],
    );
    assert_eq!(stage.balance(&stage.bob).await, Some(140));
    stage.close().await;
}

#[sqlx::test]
async fn a_grant_delivered_again_is_made_once(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let grant = typed(&stage.olga, "/economy grant member:bob amount:60");
    grant.answer().await;
    for _ in 0..10 {
        stage.discord.replay(&grant);
    }
    while grant.attempts() < 11 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }

    assert_eq!((stage.balance(&stage.bob).await, stage.olga.sees().len()), (Some(60), 1));
    stage.close().await;
}

#[sqlx::test]
async fn bonuses_are_added_and_removed_by_what_there_is(pool: PgPool) {
    let stage = Stage::open(pool).await;

    let added = manage(&stage, "/economy streak add length:1 multiplier:3").await;
    assert_shows(&added, &["`streak of 1 day` none → **x3**"]);
    assert_shows(&ask(&stage.ada, "/daily").await, &["claimed **30 bytes**"]);
    let choices = stage.olga.complete("/economy streak remove length:").await.expect("offered");
    let names: Vec<&str> = choices.iter().map(|choice| choice.name.as_str()).collect();
    assert_eq!(
        names,
        ["1 day (x3)", "8 days (x2)", "16 days (x4)", "32 days (x8)", "64 days (x16)"]
    );
    let choices = stage.olga.complete("/economy streak remove length:6").await.expect("offered");
    assert_eq!(choices, [Choice { name: "64 days (x16)".into(), value: 64.into() }]);
    let removed = manage(&stage, "/economy streak remove length:1").await;
    assert_shows(&removed, &["`streak of 1 day` x3 → **none**"]);
    assert_refused(
        &manage(&stage, "/economy streak remove length:1").await,
        "no bonus at a streak of 1 day",
    );
    for length in 100..116 {
        manage(&stage, &format!("/economy streak add length:{length} multiplier:2")).await;
    }
    assert_refused(
        &manage(&stage, "/economy streak add length:200 multiplier:2").await,
        "20 streak bonuses already",
    );
    // One that is there can still be changed.
    let changed = manage(&stage, "/economy streak add length:100 multiplier:256").await;
    assert_shows(&changed, &["x2 → **x256**"]);
    stage.close().await;
}

#[sqlx::test]
async fn who_does_not_manage_the_server_is_refused_also_when_an_admin_opened_the_command(
    pool: PgPool,
) {
    let stage = Stage::open(pool).await;
    let lines = [
        "/economy show",
        "/economy set daily_amount:5",
        "/economy grant member:ada amount:5",
        "/economy take member:bob amount:5",
        "/economy streak add length:1 multiplier:9",
        "/economy streak remove length:8",
    ];
    for line in lines {
        assert!(stage.ada.slash(line).is_err(), "Discord shows {line} to everybody");
    }

    stage.guild.open_command("economy");
    for line in lines {
        assert_refused(&ask(&stage.ada, line).await, "Manage Server");
    }
    let choices = stage.ada.complete("/economy streak remove length:").await.expect("offered");
    assert!(choices.is_empty(), "{choices:?}");
    assert_eq!(stage.balance(&stage.ada).await, None);

    // A role that may is enough.
    let managers = stage.guild.add_role("Managers", permissions::MANAGE_GUILD, 1);
    stage.guild.give_role(&stage.ada, managers);
    assert_shows(
        &ask(&stage.ada, "/economy show").await,
        &["`daily_amount` **10 bytes** · default"],
    );
    stage.close().await;
}

#[sqlx::test]
async fn a_young_account_is_told_so_wherever_its_age_counts(pool: PgPool) {
    let stage = Stage::open(pool).await;
    manage(&stage, "/economy set min_account_age_days:30").await;
    let young =
        stage.guild.add_member_aged("young", stage.discord.now() - chrono::TimeDelta::days(29));

    assert_refused(&ask(&young, "/daily").await, "account is too new");
    assert_refused(&ask(&young, "/bytes send member:bob amount:1").await, "account is too new");
    assert_shows(&ask(&young, "/bytes balance").await, &["**0 bytes**"]);
    assert_shows(
        &ask(&young, "/bytes balance").await,
        &["starting balance comes with your next command <t:"],
    );
    stage.discord.advance(chrono::TimeDelta::days(1));
    assert_shows(&ask(&young, "/bytes balance").await, &["**100 bytes**"]);
    stage.close().await;
}
