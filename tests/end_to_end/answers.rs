//! Answers that Discord loses, refuses or takes late: the act is made once, and it is told.

use std::time::Duration;

use sandbox::Fault;
use sqlx::PgPool;
use tokio::time::{sleep, timeout};

use crate::stage::{Stage, ask, typed};

const CALLBACK: &str = "/interactions/*/*/callback";

/// Keeps whatever touches an account waiting, until it's dropped.
async fn hold(pool: &PgPool) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut holder = pool.begin().await.expect("begins");
    sqlx::query("select 1 from bytes_balances for update")
        .execute(&mut *holder)
        .await
        .expect("locks");
    holder
}

/// Waits until something is so, for at most 20 s.
async fn until(what: &str, happened: impl Fn() -> bool) {
    let wait = async {
        while !happened() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("{what}"));
}

#[sqlx::test]
async fn a_first_answer_that_was_taken_and_lost_counts_as_given(pool: PgPool) {
    let stage = Stage::open(pool).await;
    stage.discord.fail("POST", CALLBACK, Fault::lost().once());

    let gift = typed(&stage.ada, "/bytes send member:bob amount:60");
    until("two tries", || gift.attempts() >= 2).await;

    assert_eq!(stage.bob.sees().len(), 1);
    stage.close().await;
}

#[sqlx::test]
async fn a_deferral_that_was_taken_and_lost_is_followed_by_the_gift(pool: PgPool) {
    let stage = Stage::open(pool.clone()).await;
    ask(&stage.ada, "/bytes balance").await;
    let holder = hold(&pool).await;
    stage.discord.fail("POST", CALLBACK, Fault::lost().once());

    let gift = typed(&stage.ada, "/bytes send member:bob amount:60");
    until("a deferral and one more try", || gift.attempts() >= 2).await;
    holder.rollback().await.expect("frees");

    until("the gift is told", || stage.bob.sees().len() == 1).await;
    assert!(gift.answer().await.text().contains("Done."));
    assert!(stage.bob.sees()[0].pings, "its receiver is pinged");
    stage.close().await;
}

#[sqlx::test]
async fn a_first_answer_that_meets_a_rate_limit_is_tried_again(pool: PgPool) {
    let stage = Stage::open(pool).await;
    stage.discord.fail("POST", CALLBACK, Fault::rate_limited(0.1, false).once());

    let sent = ask(&stage.ada, "/bytes send member:bob amount:60").await;

    assert!(sent.text().contains("60 bytes"), "{sent:?}");
    stage.close().await;
}

#[sqlx::test]
async fn what_follows_a_deferral_survives_bad_seconds_of_discord(pool: PgPool) {
    let stage = Stage::open(pool.clone()).await;
    ask(&stage.ada, "/bytes balance").await;
    let holder = hold(&pool).await;
    let gift = typed(&stage.ada, "/bytes send member:bob amount:60");
    gift.acknowledged().await;
    stage.discord.fail("PATCH", "/webhooks/**", Fault::status(503));
    stage.discord.fail("POST", "/webhooks/*/*", Fault::rate_limited(0.2, false).once());
    holder.rollback().await.expect("frees");
    sleep(Duration::from_secs(2)).await;
    stage.discord.heal();
    stage.discord.fail("POST", "/webhooks/*/*", Fault::rate_limited(0.2, false).once());

    until("the gift is told", || stage.bob.sees().len() == 1).await;
    until("ada is answered", || gift.messages().iter().all(|seen| !seen.thinking)).await;
    stage.close().await;
}

#[sqlx::test]
async fn a_public_message_that_may_have_been_posted_is_not_posted_twice_and_the_giver_knows(
    pool: PgPool,
) {
    let stage = Stage::open(pool.clone()).await;
    ask(&stage.ada, "/bytes balance").await;
    let holder = hold(&pool).await;
    let gift = typed(&stage.ada, "/bytes send member:bob amount:60");
    gift.acknowledged().await;
    stage.discord.fail("POST", "/webhooks/*/*", Fault::lost().once());
    holder.rollback().await.expect("frees");

    let said =
        || gift.messages().iter().any(|seen| seen.ephemeral && seen.text().contains("60 bytes"));
    until("ada is told", said).await;

    assert_eq!(stage.bob.sees().len(), 1);
    stage.close().await;
}
