//! Transfers that their giver confirms. The lock of `cancel` was taken out, and seen to matter.

use std::collections::BTreeSet;

use poise::serenity_prelude::Permissions;
use sqlx::PgPool;

use super::super::{Pending, Preview, Refusal, Sending, Sent, cancel, press, tell_once};
use super::races;
use super::{
    account, act, assert_clean, balance, bank, configure, confirm, database, ledger_rows, noon,
    own_account, person, refusal, send, sent,
};
use crate::act::Act;
use crate::db::Database;
use crate::discord::Press;
use crate::discord::button::Button;
use crate::{Error, discord};

/// An act of member 1 that waits to have 60 bytes for member 2 confirmed.
async fn asked(db: &Database, n: u64) -> Act {
    let act = act(1, noon(1), n);
    let sending = send(db, &act, &person(2), 60, Some("for tea")).await.expect("allowed");
    assert!(matches!(sending, Sending::Confirm(Preview { balance: 100, .. })), "{sending:?}");
    act
}

#[sqlx::test]
async fn from_the_guilds_amount_on_nothing_moves_before_the_giver_says_so(pool: PgPool) {
    configure(&pool, "confirm_from = 50").await;
    let db = database(&pool);

    sent(&db, &act(1, noon(1), 0), 3, 49).await;
    let again = async |n| send(&db, &act(1, noon(1), n), &person(2), 50, None).await;
    assert!(matches!(again(1).await, Ok(Sending::Confirm(Preview { balance: 51, .. }))));
    // Delivered again.
    assert!(matches!(again(1).await, Ok(Sending::Confirm(Preview { balance: 51, .. }))));
    assert_eq!((balance(&pool, 1).await, account(&pool, 2).await), (51, None));
    configure(&pool, "confirm_from = 0").await;
    assert!(matches!(again(2).await, Ok(Sending::Sent(Sent { balance: 1, .. }))));
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn what_is_confirmed_is_what_was_asked_and_is_moved_once(pool: PgPool) {
    configure(&pool, "confirm_from = 60").await;
    let db = database(&pool);
    let act = asked(&db, 0).await;

    let first = confirm(&db, &act).await.expect("allowed");
    let second = confirm(&db, &act).await.expect("done before");

    let reason = Some("for tea".to_owned());
    assert_eq!(first.0, Pending { receiver: person(2), amount: 60, reason });
    assert_eq!((first.1.balance, first.1.receiver_balance), (40, 60));
    assert_eq!(first, second);
    assert_eq!((balance(&pool, 1).await, balance(&pool, 2).await), (40, 60));
    // The command itself delivered again says what was done.
    assert_eq!(sent(&db, &act, 2, 60).await, first.1);
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn a_confirmed_gift_is_told_once(pool: PgPool) {
    let db = database(&pool);
    let act = act(1, noon(1), 0);

    let told = races::at_once(&pool, 16, |db, _| async move {
        tell_once(&db, &super::act(1, noon(1), 0)).await
    })
    .await;

    assert_eq!(told.into_iter().filter(|told| matches!(told, Ok(true))).count(), 1);
    assert!(!tell_once(&db, &act).await.expect("readable"));
}

#[sqlx::test]
async fn every_rule_decides_again_when_the_giver_confirms_and_is_final(pool: PgPool) {
    configure(&pool, "confirm_from = 60").await;
    let db = database(&pool);
    let (poor, late, gone) = (asked(&db, 0).await, asked(&db, 1).await, asked(&db, 2).await);

    sent(&db, &act(1, noon(1), 3), 4, 50).await;
    assert!(matches!(
        refusal(confirm(&db, &poor).await),
        Refusal::TooLittle { balance: 50, asked: 60, .. }
    ));
    configure(&pool, "max_transfer = 59").await;
    assert!(matches!(refusal(confirm(&db, &late).await), Refusal::AboveLimit { max: 59, .. }));
    configure(&pool, "max_transfer = 1000").await;
    sent(&db, &act(5, noon(1), 4), 1, 50).await;
    own_account(&db, &act(2, noon(1), 5)).await.expect("opened");
    sqlx::query("update bytes_balances set left_at = now() where user_id = $1")
        .bind(person(2).id.to_string())
        .execute(&pool)
        .await
        .expect("valid");
    assert_eq!(refusal(confirm(&db, &gone).await), Refusal::NotAMember);

    // All of them could be made by now.
    own_account(&db, &act(2, noon(1), 6)).await.expect("back");
    for refused in [poor, late, gone] {
        refusal(confirm(&db, &refused).await);
    }
    assert_eq!((balance(&pool, 1).await, balance(&pool, 2).await), (100, 100));
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn what_was_cancelled_stays_so_and_what_was_sent_too(pool: PgPool) {
    configure(&pool, "confirm_from = 60").await;
    let db = database(&pool);
    let (given_up, made) = (asked(&db, 0).await, asked(&db, 1).await);

    for _ in 0..2 {
        cancel(&db, &given_up).await.expect("not sent");
        assert_eq!(refusal(confirm(&db, &given_up).await), Refusal::Cancelled);
    }
    assert_eq!(account(&pool, 2).await, None);
    confirm(&db, &made).await.expect("allowed");
    assert_eq!(refusal(cancel(&db, &made).await), Refusal::SentAlready);

    assert_eq!((balance(&pool, 1).await, balance(&pool, 2).await), (40, 60));
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn there_is_nothing_to_confirm_where_nobody_was_asked(pool: PgPool) {
    let db = database(&pool);
    let refused = confirm(&db, &act(1, noon(1), 0)).await;

    assert!(matches!(refused, Err(Error::Interaction(discord::Refusal::Expired))), "{refused:?}");
    assert_eq!(ledger_rows(&pool).await, 0);
}

#[sqlx::test]
async fn twenty_presses_at_once_send_once(pool: PgPool) {
    configure(&pool, "confirm_from = 60").await;
    let act = asked(&database(&pool), 0).await;

    let sent = races::piled_up(&pool, races::account_of(1), 20, |db, _| {
        let act = act.clone();
        async move { confirm(&db, &act).await }
    })
    .await;

    assert!(
        sent.iter().all(|sent| matches!(sent, Ok((_, sent)) if sent.balance == 40)),
        "{sent:?}"
    );
    assert_eq!((balance(&pool, 1).await, balance(&pool, 2).await), (40, 60));
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn send_and_cancel_at_once_end_as_one_of_them_for_every_press(pool: PgPool) {
    configure(&pool, "confirm_from = 1, starting_balance = 10000").await;
    let mut sends = 0;
    for round in 0..12 {
        let asked = act(1, noon(1), round);
        let first = send(&database(&pool), &asked, &person(2), 1, None).await.expect("allowed");
        assert!(matches!(first, Sending::Confirm(_)), "{first:?}");

        let pressed = races::piled_up(&pool, races::account_of(1), 8, |db, i| {
            let asked = asked.clone();
            async move {
                Ok(match i % 2 {
                    0 => ("send", confirm(&db, &asked).await.map(drop)),
                    _ => ("cancel", cancel(&db, &asked).await),
                })
            }
        })
        .await;

        let pressed: Vec<_> = pressed.into_iter().map(|pressed| pressed.expect("ended")).collect();
        let done: BTreeSet<&str> =
            pressed.iter().filter(|(_, ended)| ended.is_ok()).map(|(what, _)| *what).collect();
        let count = pressed.iter().filter(|(_, ended)| ended.is_ok()).count();
        assert_eq!((done.len(), count), (1, 4), "one of both, for all of them: {pressed:?}");
        let received = account(&pool, 2).await.map_or(0, |account| account.balance);
        sends += i64::from(done.contains("send"));
        assert_eq!(received, sends, "{pressed:?}");
    }
    assert_clean(&pool).await;
}

/// `cancel` has looked and found nothing sent, and hasn't written yet: a send must wait for it.
#[sqlx::test]
async fn a_send_in_the_middle_of_a_cancel_waits_for_it(pool: PgPool) {
    configure(&pool, "confirm_from = 60").await;
    let asked = asked(&database(&pool), 0).await;
    let mut holder = pool.begin().await.expect("begins");
    crate::act::begin(&mut holder, &asked, "transfer").await.expect("holds the place");

    let (db, act) = (database(&pool), asked.clone());
    let cancelling = tokio::spawn(async move { cancel(&db, &act).await });
    races::waiting(&mut holder, 1).await;
    let (db, act) = (database(&pool), asked.clone());
    let confirming = tokio::spawn(async move { confirm(&db, &act).await });
    // Long enough to be done, if nothing kept it.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    holder.rollback().await.expect("frees");

    let cancelled = cancelling.await.expect("no panic");
    let confirmed = confirming.await.expect("no panic");
    assert!(cancelled.is_ok(), "{cancelled:?}");
    assert_eq!(refusal(confirmed), Refusal::Cancelled);
    assert_eq!(account(&pool, 2).await, None);
}

/// Nobody else sees the question, but a `custom_id` can be sent without seeing it.
#[sqlx::test]
async fn somebody_elses_press_decides_nothing(pool: PgPool) {
    configure(&pool, "confirm_from = 60").await;
    let db = database(&pool);
    let asked = asked(&db, 0).await;
    own_account(&db, &act(2, noon(1), 1)).await.expect("opened");
    for action in ["confirm", "cancel"] {
        let button = Button {
            feature: "bytes".into(),
            action: action.into(),
            key: asked.key,
            owner: asked.member.id,
            argument: String::new(),
        };
        let act = Act { member: person(2), ..asked.clone() };

        let pressed =
            press(&bank(&db), Press { act, button, permissions: Permissions::all() }).await;

        let refused = matches!(pressed, Err(Error::Interaction(discord::Refusal::NotYours)));
        assert!(refused, "{action}: {pressed:?}");
    }
    assert_eq!(balance(&pool, 2).await, 100);
    confirm(&db, &asked).await.expect("still to be decided by its giver");
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn a_question_that_is_delivered_again_asks_again_whatever_the_settings_say(pool: PgPool) {
    let db = database(&pool);
    configure(&pool, "confirm_from = 60").await;
    let act = asked(&db, 0).await;

    for settings in ["confirm_from = 0", "confirm_from = 60, max_transfer = 5"] {
        configure(&pool, settings).await;
        let again = send(&db, &act, &person(2), 60, None).await.expect("asked");
        assert!(matches!(again, Sending::Confirm(_)), "{settings}: {again:?}");
    }
    configure(&pool, "max_transfer = 1000").await;

    confirm(&db, &act).await.expect("allowed");
    assert_eq!(balance(&pool, 2).await, 60);
    assert_clean(&pool).await;
}
