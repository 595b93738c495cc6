//! Gifts that their giver confirms, and gifts from a message's menu.

use std::time::Duration;

use chrono::TimeDelta;
use sandbox::{Fault, Interaction, Member, Seen};
use sqlx::PgPool;
use tokio::time::{sleep, timeout};

use crate::stage::{Stage, ask, assert_refused, typed};
use crate::wire::Wire;

const GIFT: &str = "/bytes send member:bob amount:100 reason:\"for tea\"";

/// The question that only the giver sees.
async fn asked(stage: &Stage) -> Seen {
    let question = ask(&stage.ada, GIFT).await;
    assert!(question.ephemeral, "{question:?}");
    let labels: Vec<String> = question.buttons().into_iter().map(|one| one.label).collect();
    assert_eq!(labels, ["Send", "Cancel"]);
    question
}

/// A message as a member sees it now.
fn now(member: &Member, message: &Seen) -> Seen {
    member.sees().into_iter().find(|seen| seen.id == message.id).expect("still there")
}

/// What everybody can see.
fn public(stage: &Stage) -> Vec<Seen> {
    stage.olga.sees()
}

async fn until(what: &str, happened: impl Fn() -> bool) {
    let wait = async {
        while !happened() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[sqlx::test]
async fn a_large_gift_asks_its_giver_first_and_is_public_then(pool: PgPool) {
    let stage = Stage::open(pool).await;

    let question = asked(&stage).await;
    for words in ["**100 bytes**", "for tea", "100 bytes", "0 bytes", "stop working <t:"] {
        assert!(question.text().contains(words), "{:?} lacks {words:?}", question.text());
    }
    assert!(public(&stage).is_empty() && stage.bob.press("Send").is_err());
    assert_eq!(
        (stage.balance(&stage.ada).await, stage.balance(&stage.bob).await),
        (Some(100), None)
    );
    let press = stage.ada.press("Send").expect("a button");
    let told = press.followup(0).await;

    assert!(!told.ephemeral && told.text().contains("sent **100 bytes** to"), "{}", told.text());
    assert!(told.text().contains("for tea"), "{}", told.text());
    assert_eq!(told.pinged, [stage.bob.id]);
    let after = now(&stage.ada, &question);
    assert_eq!((after.text().as_str(), after.buttons().len()), ("Sent.", 0));
    assert_eq!(
        (stage.balance(&stage.ada).await, stage.balance(&stage.bob).await),
        (Some(0), Some(100))
    );
    stage.close().await;
}

#[sqlx::test]
async fn a_second_press_and_a_second_delivery_send_and_tell_nothing_more(pool: PgPool) {
    let stage = Stage::open(pool).await;
    stage.configure("starting_balance = 500").await;
    let question = asked(&stage).await;

    // All on their way before the first is answered.
    let presses: Vec<Interaction> =
        (0..3).map(|_| stage.ada.press_on(question.id, "Send").expect("a button")).collect();
    for press in &presses {
        stage.discord.replay(press);
    }
    until("each delivery is answered", || presses.iter().all(|press| press.attempts() >= 2)).await;

    until("the gift is told", || public(&stage).len() == 1).await;
    assert_eq!(now(&stage.ada, &question).text(), "Sent.");
    assert_eq!(
        (stage.balance(&stage.ada).await, stage.balance(&stage.bob).await),
        (Some(400), Some(100))
    );
    sleep(Duration::from_millis(300)).await;
    assert_eq!(public(&stage).len(), 1);
    stage.close().await;
}

#[sqlx::test]
async fn a_cancelled_gift_can_not_be_sent_any_more(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let question = asked(&stage).await;
    let cancel = stage.ada.press_on(question.id, "Cancel").expect("a button");
    cancel.answer().await;
    let after = now(&stage.ada, &question);
    assert_refused(&after, "Cancelled. Nothing was sent.");
    assert!(after.buttons().is_empty(), "{after:?}");

    assert!(public(&stage).is_empty());
    assert_eq!(
        (stage.balance(&stage.ada).await, stage.balance(&stage.bob).await),
        (Some(100), None)
    );
    stage.close().await;
}

#[sqlx::test]
async fn cancel_and_send_pressed_together_end_as_one_of_them(pool: PgPool) {
    let stage = Stage::open(pool).await;
    stage.configure("starting_balance = 10000").await;
    for round in 0..6_usize {
        let question = asked(&stage).await;
        let order = if round % 2 == 0 { ["Send", "Cancel"] } else { ["Cancel", "Send"] };
        let presses = order.map(|label| stage.ada.press_on(question.id, label).expect("a button"));
        for press in &presses {
            press.acknowledged().await;
        }
        let told = public(&stage).len();
        let received = stage.balance(&stage.bob).await.unwrap_or(0);
        until("told as often as sent", || {
            i64::try_from(public(&stage).len()).is_ok_and(|told| told * 100 == received)
        })
        .await;
        assert!(told <= round + 1);
    }
    stage.close().await;
}

#[sqlx::test]
async fn every_rule_decides_again_and_the_refusal_takes_the_buttons_place(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let question = asked(&stage).await;
    ask(&stage.ada, "/bytes send member:olga amount:1").await;

    stage.ada.press_on(question.id, "Send").expect("a button").answer().await;

    let after = now(&stage.ada, &question);
    assert_refused(&after, "You have 99 bytes; sending 100 needs 1 more.");
    assert!(after.buttons().is_empty(), "{after:?}");
    assert_eq!(stage.balance(&stage.bob).await, None);
    stage.close().await;
}

#[sqlx::test]
async fn a_press_works_after_a_restart_of_the_bot(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let question = asked(&stage).await;
    let stage = stage.restarted().await;

    let press = stage.ada.press_on(question.id, "Send").expect("a button");

    assert!(press.followup(0).await.text().contains("**100 bytes**"));
    assert_eq!(stage.balance(&stage.bob).await, Some(100));
    stage.close().await;
}

#[sqlx::test]
async fn a_press_after_the_time_says_so_and_sends_nothing(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let question = asked(&stage).await;

    stage.discord.advance(TimeDelta::hours(1));
    let press = stage.ada.press_on(question.id, "Send").expect("still there");
    assert_refused(&press.followup(0).await, "expired");

    assert!(now(&stage.ada, &question).buttons().is_empty());
    assert_eq!(stage.balance(&stage.bob).await, None);
    stage.close().await;
}

#[sqlx::test]
async fn a_press_whose_question_the_bot_has_forgotten_says_so(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let question = asked(&stage).await;
    stage.sql("delete from processed_interactions").await;

    stage.ada.press_on(question.id, "Send").expect("still there").answer().await;

    assert_refused(&now(&stage.ada, &question), "expired");
    assert_eq!(stage.balance(&stage.bob).await, None);
    stage.close().await;
}

#[sqlx::test]
async fn a_slow_database_delays_a_confirmed_gift_and_loses_nothing_of_it(pool: PgPool) {
    let stage = Stage::open(pool.clone()).await;
    let question = asked(&stage).await;
    let mut holder = pool.begin().await.expect("begins");
    sqlx::query("select 1 from bytes_balances for update")
        .execute(&mut *holder)
        .await
        .expect("locks");

    let press = stage.ada.press_on(question.id, "Send").expect("a button");
    // One of these defers, and another may be the one that sends.
    for _ in 0..5 {
        stage.discord.replay(&press);
    }
    assert_eq!(press.acknowledged().await.kind, 6, "deferred in the message's place");
    until("all have tried to defer", || press.attempts() >= 6).await;
    holder.rollback().await.expect("frees");

    let told = press.followup(0).await;
    assert!(!told.ephemeral && told.pinged == [stage.bob.id], "{told:?}");
    until("the question is answered", || now(&stage.ada, &question).text() == "Sent.").await;
    assert_eq!(public(&stage).len(), 1);
    stage.close().await;
}

#[sqlx::test]
async fn a_confirmed_gift_whose_commit_was_not_heard_of_is_told_to_all_once(pool: PgPool) {
    let wire = Wire::to(&pool);
    let stage = Stage::open_at(pool, &wire.url()).await;
    let question = asked(&stage).await;

    wire.lose_answers(2);
    let press = stage.ada.press_on(question.id, "Send").expect("a button");

    assert!(press.followup(0).await.text().contains("**100 bytes**"));
    assert_eq!(wire.losses_left(), 0, "two answers were lost");
    assert_eq!((public(&stage).len(), stage.balance(&stage.bob).await), (1, Some(100)));
    stage.close().await;
}

#[sqlx::test]
async fn a_gift_that_can_not_be_told_to_all_is_told_to_its_giver(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let question = asked(&stage).await;
    stage.discord.fail("POST", "/webhooks/*/*", Fault::status(403));

    stage.ada.press_on(question.id, "Send").expect("a button");
    let told = || now(&stage.ada, &question).text().contains("sent **100 bytes** to");
    until("ada is told", told).await;

    assert!(public(&stage).is_empty() && now(&stage.ada, &question).buttons().is_empty());
    assert_eq!(stage.balance(&stage.bob).await, Some(100));
    stage.discord.heal();
    stage.bot.stop().await;
}

#[sqlx::test]
async fn a_lost_answer_of_the_first_press_is_followed_by_the_gift_all_the_same(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let question = asked(&stage).await;
    stage.discord.fail("POST", "/interactions/*/*/callback", Fault::lost().once());

    let press = stage.ada.press_on(question.id, "Send").expect("a button");

    assert!(press.followup(0).await.text().contains("**100 bytes**"));
    assert_eq!(public(&stage).len(), 1);
    stage.close().await;
}

#[sqlx::test]
async fn the_delivery_that_sent_tells_it_also_where_another_one_answered(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let question = asked(&stage).await;
    let late = Fault::delay(Duration::from_secs(1)).once();
    stage.discord.fail("POST", "/interactions/*/*/callback", late);

    let press = stage.ada.press_on(question.id, "Send").expect("a button");
    let sent = || {
        let answer = |one: &sandbox::Request| {
            one.path.contains(&press.token) && one.path.ends_with("/callback")
        };
        stage.discord.requests().iter().any(answer)
    };
    until("it is sent, and its answer on the way", sent).await;
    stage.discord.replay(&press);

    let told = press.followup(0).await;
    assert!(!told.ephemeral && told.text().contains("**100 bytes**"), "{told:?}");
    assert_eq!((press.attempts(), public(&stage).len()), (2, 1));
    stage.close().await;
}

const MENU: &str = "Send bytes";

/// Opens the menu's form on a message of bob's.
async fn form(stage: &Stage) -> Interaction {
    let said = stage.bob.says("hello");
    let menu = stage.ada.message_menu(MENU, said).expect("in the menu");
    assert_eq!(menu.acknowledged().await.kind, 9, "a form");
    menu
}

#[sqlx::test]
async fn a_messages_menu_sends_to_its_author(pool: PgPool) {
    let stage = Stage::open(pool).await;

    let menu = form(&stage).await;
    let fields = [("Amount", "60"), ("Reason", "for tea")];
    let sent = stage.ada.submit(&menu, &fields).expect("it fits").answer().await;

    assert!(!sent.ephemeral && sent.pinged == [stage.bob.id], "{sent:?}");
    assert!(sent.text().contains("**60 bytes**") && sent.text().contains("for tea"), "{sent:?}");
    // The same form again is the same act.
    let again = stage.ada.submit(&menu, &[("Amount", "7")]).expect("it fits").answer().await;
    assert!(again.text().contains("40 bytes"), "{again:?}");
    assert!(again.text().contains("**60 bytes**"), "not what it never was: {again:?}");
    assert_eq!(
        (stage.balance(&stage.ada).await, stage.balance(&stage.bob).await),
        (Some(40), Some(60))
    );
    stage.close().await;
}

#[sqlx::test]
async fn a_form_works_after_a_restart_and_a_large_amount_is_confirmed(pool: PgPool) {
    let stage = Stage::open(pool).await;
    stage.configure("starting_balance = 2000, max_transfer = 2000").await;
    let menu = form(&stage).await;
    let stage = stage.restarted().await;

    let question = stage.ada.submit(&menu, &[("Amount", "1,234")]).expect("it fits").answer().await;
    assert!(question.ephemeral && question.text().contains("**1,234 bytes**"), "{question:?}");
    let told = stage.ada.press_on(question.id, "Send").expect("a button").followup(0).await;

    assert!(told.text().contains("**1,234 bytes**") && told.pinged == [stage.bob.id], "{told:?}");
    assert_eq!(stage.balance(&stage.bob).await, Some(1_234));
    stage.close().await;
}

#[sqlx::test]
async fn what_is_no_amount_is_refused_and_nothing_is_sent(pool: PgPool) {
    let stage = Stage::open(pool).await;
    for (text, words) in [
        ("sixty", "whole number"),
        ("1.5", "whole number"),
        ("-5", "whole number"),
        ("0", "at least 1"),
        ("9223372036854775808", "more than an account can hold"),
        ("1001", "at most 1,000 bytes"),
        ("101", "You have 100 bytes; sending 101 needs 1 more."),
    ] {
        let menu = form(&stage).await;
        let refused = stage.ada.submit(&menu, &[("Amount", text)]).expect("it fits").answer().await;
        assert_refused(&refused, words);
    }
    assert_eq!(stage.balance(&stage.bob).await, None);
    stage.close().await;
}

#[sqlx::test]
async fn the_menu_refuses_whom_it_knows_to_take_nothing_before_it_asks(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let robot = stage.guild.add_bot_user("robot");
    let gone = stage.guild.add_member("gone");
    let [own, robots, gones] = [&stage.ada, &robot, &gone].map(|member| member.says("hello"));
    let menu =
        async |message| stage.ada.message_menu(MENU, message).expect("in the menu").answer().await;

    assert_refused(&menu(own).await, "to yourself");
    assert_refused(&menu(robots).await, "not a bot");
    let shared = ask(&stage.bob, "/leaderboard").await;
    assert_refused(&menu(shared.id).await, "not a bot");
    stage.guild.remove_member(&gone);
    assert_refused(&menu(gones).await, "not in this server");
    stage.close().await;
}

#[sqlx::test]
async fn who_leaves_while_the_form_is_open_gets_nothing(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let menu = form(&stage).await;
    stage.guild.remove_member(&stage.bob);

    let refused = stage.ada.submit(&menu, &[("Amount", "5")]).expect("it fits").answer().await;

    assert_refused(&refused, "not in this server");
    assert_eq!(stage.balance(&stage.bob).await, None);
    stage.close().await;
}

#[sqlx::test]
async fn a_discord_that_does_not_say_who_is_a_member_keeps_nobody_from_sending(pool: PgPool) {
    let stage = Stage::open(pool).await;
    stage.discord.fail("GET", "/guilds/*/members/*", Fault::delay(Duration::from_secs(4)));
    let menu = form(&stage).await;

    let sent = stage.ada.submit(&menu, &[("Amount", "5")]).expect("it fits").answer().await;

    assert!(sent.text().contains("**5 bytes**"), "{sent:?}");
    let name: String = sqlx::query_scalar(
        "select receiver_username from bytes_transactions where kind = 'transfer'",
    )
    .fetch_one(stage.pool())
    .await
    .expect("readable");
    assert_eq!(name, "bob");
    stage.discord.heal();
    stage.close().await;
}

#[sqlx::test]
async fn a_form_expires_by_saying_so(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let menu = form(&stage).await;
    stage.discord.advance(TimeDelta::hours(1));

    let refused = stage.ada.submit(&menu, &[("Amount", "5")]).expect("it fits").answer().await;

    assert_refused(&refused, "form has expired");
    assert_eq!(stage.balance(&stage.bob).await, None);
    stage.close().await;
}

#[sqlx::test]
async fn the_command_delivered_again_asks_once(pool: PgPool) {
    let stage = Stage::open(pool).await;
    let gift = typed(&stage.ada, GIFT);
    gift.answer().await;
    for _ in 0..5 {
        stage.discord.replay(&gift);
    }
    until("all are refused", || gift.attempts() >= 6).await;

    assert_eq!(stage.ada.sees().len(), 1);
    stage.ada.press("Send").expect("a button").followup(0).await;
    assert_eq!(stage.balance(&stage.bob).await, Some(100));
    stage.close().await;
}
