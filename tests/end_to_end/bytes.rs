//! Every command of the economy, as members use it.

use std::time::Duration;

use chrono::{Days, TimeDelta, TimeZone, Utc};
use sandbox::{Member, Seen, permissions};
use sqlx::PgPool;
use tokio::time::timeout;

use crate::stage::{Stage, ask, assert_refused, typed};

#[sqlx::test]
async fn a_gift_is_seen_by_everybody_and_pings_its_receiver_alone(pool: PgPool) {
    let stage = Stage::open(pool).await;

    let sent = ask(&stage.ada, "/bytes send member:bob amount:60 reason:\"for tea\"").await;

    assert!(!sent.ephemeral);
    for words in ["60 bytes", "for tea", "40 bytes"] {
        assert!(sent.text().contains(words), "{:?} lacks {words:?}", sent.text());
    }
    let pinged = |member: &Member| {
        member
            .sees()
            .into_iter()
            .find(|seen: &Seen| seen.id == sent.id)
            .is_some_and(|seen| seen.pings)
    };
    assert_eq!((pinged(&stage.bob), pinged(&stage.ada), pinged(&stage.olga)), (true, false, false));
    assert_eq!(
        (stage.balance(&stage.ada).await, stage.balance(&stage.bob).await),
        (Some(40), Some(60))
    );
    stage.close().await;
}

#[sqlx::test]
async fn each_refusal_of_a_gift_is_told_to_the_giver_alone_and_moves_nothing(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let robot = stage.guild.add_bot_user("robot");
    let gone = stage.guild.add_member("gone");
    let (bob, ada) = (&stage.bob, &stage.ada);
    ask(ada, "/bytes balance").await;

    assert_refused(&ask(ada, "/bytes send member:ada amount:5").await, "to yourself");
    assert_refused(
        &ask(ada, &format!("/bytes send member:{} amount:5", robot.id)).await,
        "not a bot",
    );
    let line = format!("/bytes send member:{} amount:5", gone.id);
    stage.guild.remove_member(&gone);
    assert_refused(&ask(ada, &line).await, "not in this server");
    assert_refused(
        &ask(ada, "/bytes send member:bob amount:160").await,
        "You have 100 bytes; sending 160 needs 60 more.",
    );
    assert_refused(&ask(ada, "/bytes send member:bob amount:1001").await, "at most 1,000 bytes");
    let too_small =
        ada.slash("/bytes send member:bob amount:0").map(drop).expect_err("below the minimum");
    assert!(too_small.to_string().contains('1'), "{too_small}");
    stage.configure("transfer_cooldown_hours = 1").await;
    ask(ada, "/bytes send member:bob amount:1").await;
    assert_refused(&ask(ada, "/bytes send member:bob amount:1").await, "send again <t:");
    stage.configure("min_account_age_days = 30").await;
    let young = stage.guild.add_member_aged("young", stage.discord.now() - TimeDelta::days(29));
    assert_refused(&ask(&young, "/bytes send member:bob amount:1").await, "too new");
    stage.sql("update bytes_balances set balance = 9223372036854775807 where balance = 1").await;
    stage.configure("transfer_cooldown_hours = 0, min_account_age_days = 0").await;
    assert_refused(
        &ask(ada, "/bytes send member:bob amount:1").await,
        "more than an account can hold",
    );

    stage.sql("update bytes_balances set balance = 1 where balance = 9223372036854775807").await;
    assert_eq!((stage.balance(ada).await, stage.balance(bob).await), (Some(99), Some(1)));
    stage.close().await;
}

#[sqlx::test]
async fn a_daily_is_paid_once_a_day_and_its_streak_shows(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let day = Utc.with_ymd_and_hms(2027, 2, 1, 23, 59, 0).single().expect("a day");
    stage.discord.set_now(day);

    let first = ask(&stage.ada, "/daily").await;
    assert!(!first.ephemeral);
    assert_refused(&ask(&stage.ada, "/daily").await, "claimed your daily already");
    stage.discord.set_now(day + TimeDelta::minutes(2));
    let second = ask(&stage.ada, "/daily").await;

    for (seen, words) in [
        (&first, "10 bytes"),
        (&first, "1 day"),
        (&first, "x2 at a streak of 8 days"),
        (&second, "2 days"),
    ] {
        assert!(seen.text().contains(words), "{:?} lacks {words:?}", seen.text());
    }
    assert_eq!(stage.balance(&stage.ada).await, Some(120));
    stage.close().await;
}

#[sqlx::test]
async fn a_streak_runs_over_seventy_days(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let first_day = Utc.with_ymd_and_hms(2027, 1, 1, 8, 0, 0).single().expect("a day");
    let mut last = None;
    for day in 0..70 {
        stage.discord.set_now(first_day + Days::new(day));
        last = Some(ask(&stage.ada, "/daily").await);
    }

    let last = last.expect("seventy").text();
    assert!(
        last.contains("160 bytes") && last.contains("70 days") && last.contains("highest bonus"),
        "{last}"
    );
    // 7 x 10, 8 x 20, 16 x 40, 32 x 80, 7 x 160, and the starting balance.
    assert_eq!(stage.balance(&stage.ada).await, Some(100 + 70 + 160 + 640 + 2_560 + 1_120));
    stage.close().await;
}

#[sqlx::test]
async fn a_balance_is_private_until_it_is_shared_and_is_shared_once(pool: PgPool) {
    let stage = Stage::open(pool).await;

    let own = ask(&stage.ada, "/bytes balance").await;
    assert!(own.ephemeral && own.text().contains("100 bytes"), "{own:?}");
    assert!(!stage.bob.sees().iter().any(|seen| seen.id == own.id));
    // Two presses, both on their way before the first is answered.
    let presses = ["Share", "Share"].map(|label| stage.ada.press(label).expect("a button"));
    let answers = [presses[0].answer().await, presses[1].answer().await];

    let public: Vec<&Seen> = answers.iter().filter(|seen| !seen.ephemeral).collect();
    assert_eq!(public.len(), 1, "{answers:?}");
    assert!(public[0].text().contains("100 bytes") && public[0].buttons().is_empty(), "{public:?}");
    assert_refused(
        answers.iter().find(|seen| seen.ephemeral).expect("the other"),
        "shared this already",
    );
    assert_eq!(stage.bob.sees().len(), 1);
    stage.close().await;
}

#[sqlx::test]
async fn anybodys_balance_can_be_seen_and_looking_opens_no_account_for_them(pool: PgPool) {
    let stage = Stage::open(pool).await;

    let seen = ask(&stage.ada, "/bytes balance member:bob").await;
    assert!(seen.ephemeral && seen.text().contains("no account yet"), "{seen:?}");
    assert!(seen.buttons().is_empty(), "there is nothing to share");
    assert_eq!(
        (stage.balance(&stage.ada).await, stage.balance(&stage.bob).await),
        (Some(100), None)
    );
    ask(&stage.bob, "/daily").await;

    assert!(ask(&stage.ada, "/bytes balance member:bob").await.text().contains("110 bytes"));
    assert_refused(
        &ask(&stage.ada, &format!("/bytes balance member:{}", stage.discord.bot_id())).await,
        "have no account",
    );
    stage.close().await;
}

#[sqlx::test]
async fn a_history_is_paged_and_somebody_elses_is_for_managers(pool: PgPool) {
    let stage = Stage::open(pool).await;
    for amount in 1..=12 {
        ask(&stage.ada, &format!("/bytes send member:bob amount:{amount}")).await;
        stage.discord.advance(TimeDelta::minutes(1));
    }

    let first = ask(&stage.ada, "/bytes history").await;
    assert!(
        first.ephemeral
            && first.text().contains("**-12 bytes**")
            && !first.text().contains("**-2 bytes**"),
        "{}",
        first.text()
    );
    let second = stage.ada.press("Next").expect("a button").answer().await;
    assert_eq!(second.id, first.id);
    assert!(
        second.text().contains("**-2 bytes**") && second.text().contains("starting balance"),
        "{}",
        second.text()
    );
    let back = stage.ada.press("Previous").expect("a button").answer().await;
    assert_eq!(back.text(), first.text());

    assert_refused(&ask(&stage.ada, "/bytes history member:bob").await, "Manage Server");
    let seen = ask(&stage.olga, "/bytes history member:bob").await;
    assert!(seen.ephemeral && seen.text().contains("**+12 bytes**"), "{}", seen.text());
    stage.close().await;
}

#[sqlx::test]
async fn who_no_longer_manages_the_server_turns_no_more_pages_of_others(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let managers = stage.guild.add_role("Managers", permissions::MANAGE_GUILD, 1);
    stage.guild.give_role(&stage.ada, managers);
    for _ in 0..12 {
        ask(&stage.bob, "/bytes send member:olga amount:1").await;
    }
    ask(&stage.ada, "/bytes history member:bob").await;
    stage.ada.press("Next").expect("a button").answer().await;

    stage.guild.take_role(&stage.ada, managers);
    let refused = stage.ada.press("Previous").expect("a button").answer().await;

    assert_refused(&refused, "Manage Server");
    stage.close().await;
}

#[sqlx::test]
async fn a_history_full_of_long_reasons_and_markup_is_answered(pool: PgPool) {
    let stage = Stage::open(pool).await;
    for _ in 0..11 {
        let line = format!("/bytes send member:bob amount:1 reason:\"{}\"", "*".repeat(200));
        ask(&stage.ada, &line).await;
    }

    let seen = ask(&stage.bob, "/bytes history").await;

    assert!(seen.text().contains('…'), "{}", seen.text());
    stage.close().await;
}

#[sqlx::test]
async fn the_info_tells_the_rules_of_this_guild(pool: PgPool) {
    let stage = Stage::open(pool).await;
    stage.configure("daily_amount = 25, transfer_cooldown_hours = 3").await;

    let info = ask(&stage.ada, "/bytes info").await;

    assert!(info.ephemeral);
    for words in ["25 bytes", "3 hours", "1,000 bytes", "x16 from 64 days"] {
        assert!(info.text().contains(words), "{:?} lacks {words:?}", info.text());
    }
    stage.close().await;
}

#[sqlx::test]
async fn the_leaderboard_turns_its_pages_and_always_shows_ones_own_rank(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let crowd: Vec<Member> =
        (0..23).map(|n| stage.guild.add_member(&format!("reader{n}"))).collect();
    for (n, reader) in crowd.iter().enumerate() {
        ask(reader, &format!("/bytes send member:bob amount:{}", n + 1)).await;
    }

    // bob has 276 and opens his account with 100 more by asking.
    let first = ask(&stage.bob, "/leaderboard").await;
    assert!(!first.ephemeral);
    assert!(
        first.text().contains("\u{1f947}")
            && first.text().contains("You are **#1** with 376 bytes."),
        "{}",
        first.text()
    );
    assert!(first.buttons()[0].disabled && !first.buttons()[1].disabled);
    let second = stage.bob.press("Next").expect("a button").answer().await;
    assert_eq!(second.id, first.id);
    assert!(
        second.text().contains("Page 2 of 3") && second.text().contains("You are **#1**"),
        "{}",
        second.text()
    );
    let third = stage.bob.press("Next").expect("a button").answer().await;
    assert!(third.text().contains("`#24`") && third.buttons()[1].disabled, "{}", third.text());

    // Somebody else gets a board of their own, and bob's stays where it was.
    let others = crowd[22].press_on(first.id, "Previous").expect("a button").answer().await;
    assert!(others.ephemeral && others.id != first.id);
    assert!(others.text().contains("You are **#24** with 77 bytes."), "{}", others.text());
    assert_eq!(
        stage.bob.sees().iter().find(|seen| seen.id == first.id).map(Seen::text),
        Some(third.text())
    );
    stage.close().await;
}

#[sqlx::test]
async fn buttons_expire_by_saying_so_and_going_away(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let own = ask(&stage.ada, "/bytes balance").await;
    assert!(own.text().contains("stops working <t:"), "{}", own.text());

    stage.discord.advance(TimeDelta::hours(1));
    let press = stage.ada.press_on(own.id, "Share").expect("still there");
    let said = press.followup(0).await;

    assert_refused(&said, "expired");
    let bare = stage.ada.sees().into_iter().find(|seen| seen.id == own.id).expect("still there");
    assert!(bare.buttons().is_empty() && bare.text().contains("100 bytes"), "{bare:?}");
    stage.close().await;
}

#[sqlx::test]
async fn a_redelivered_interaction_has_the_effect_of_one(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let gift = typed(&stage.ada, "/bytes send member:bob amount:30");
    gift.answer().await;

    for _ in 0..20 {
        stage.discord.replay(&gift);
    }
    while gift.attempts() < 21 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }

    assert_eq!(
        (stage.balance(&stage.ada).await, stage.balance(&stage.bob).await),
        (Some(70), Some(30))
    );
    assert_eq!(stage.bob.sees().len(), 1, "one message, however often it was delivered");
    stage.close().await;
}

#[sqlx::test]
async fn a_name_and_a_reason_full_of_markup_format_and_ping_nothing(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let nasty = stage.guild.add_member("@everyone **x** <@1>");

    let line = format!(
        "/bytes send member:{} amount:7 reason:\"@here **b** <@{}> [a](https://b.example)\"",
        nasty.id, stage.olga.id
    );
    let sent = ask(&stage.ada, &line).await;
    let board = ask(&nasty, "/leaderboard").await;
    let history = ask(&nasty, "/bytes history").await;

    assert!(!stage.olga.sees().iter().any(|seen| seen.pings), "only the receiver is pinged");
    assert!(nasty.sees().iter().any(|seen| seen.id == sent.id && seen.pings));
    for seen in [&sent, &board, &history] {
        let text = seen.text();
        assert!(!text.contains("**b**") && !text.contains("**x**"), "{text}");
        assert!(!text.contains("@everyone") && !text.contains("@here"), "{text}");
        assert!(
            !text.contains(&format!("<@{}>", stage.olga.id)) && !text.contains("](http"),
            "{text}"
        );
    }
    stage.close().await;
}

#[sqlx::test]
async fn who_left_unseen_is_off_the_leaderboard_once_it_was_shown(pool: PgPool) {
    let stage = Stage::open(pool).await;
    stage.discord.configure_application(|settings| settings.guild_members_intent = false);
    let stage = stage.restarted().await;
    ask(&stage.ada, "/bytes send member:bob amount:5").await;
    stage.guild.remove_member(&stage.bob);

    let bob = format!("<@{}>", stage.bob.id);
    let first = ask(&stage.ada, "/leaderboard").await.text();
    assert!(first.contains(&bob), "nobody said that he left: {first}");
    let noticed = async { while ask(&stage.ada, "/leaderboard").await.text().contains(&bob) {} };

    timeout(Duration::from_secs(5), noticed).await.expect("he is gone");
    stage.close().await;
}
