//! Sessions that drop, resume and end.

use std::time::Duration;

use sqlx::PgPool;
use tokio::time::timeout;

use crate::stage::{Stage, ask, new_session, session_ids, typed};

#[sqlx::test]
async fn a_dropped_socket_is_resumed_and_what_came_meanwhile_is_answered_once(pool: PgPool) {
    let stage = Stage::open(pool).await;
    stage.discord.drop_gateway();

    let gift = typed(&stage.ada, "/bytes send member:bob amount:30");
    stage
        .discord
        .sessions_until(|sessions| sessions.iter().any(|session| session.resumed > 0))
        .await;

    // The first answer may come too late for Discord's three seconds, but the gift is made once.
    gift.try_answer(std::time::Duration::from_secs(5)).await;
    ask(&stage.ada, "/bytes info").await;
    assert_eq!(
        (stage.balance(&stage.ada).await, stage.balance(&stage.bob).await),
        (Some(70), Some(30))
    );
    stage.audit().await;
    stage.bot.stop().await;
}

#[sqlx::test]
async fn a_requested_reconnect_is_resumed(pool: PgPool) {
    let stage = Stage::open(pool).await;

    stage.discord.request_reconnect();
    stage
        .discord
        .sessions_until(|sessions| sessions.iter().any(|session| session.resumed > 0))
        .await;

    assert!(ask(&stage.ada, "/daily").await.text().contains("10 bytes"));
    stage.close().await;
}

#[sqlx::test]
async fn a_token_or_an_intent_that_the_gateway_refuses_ends_the_bot_with_its_reason(pool: PgPool) {
    for (code, words) in
        [(4004, "DISCORD_TOKEN: Discord refused it"), (4014, "Privileged Gateway Intents")]
    {
        let mut stage = Stage::open(pool.clone()).await;
        if code == 4014 {
            // The first time the bot goes on without those that have a switch.
            let before = session_ids(&stage.discord);
            stage.discord.close_gateway(code);
            new_session(&stage.discord, &before).await;
        }

        stage.discord.close_gateway(code);
        let ended = timeout(Duration::from_secs(10), stage.bot.ended()).await.expect("it ends");

        assert!(ended.to_string().contains(words), "{code}: {ended}");
        stage.close().await;
    }
}

#[sqlx::test]
async fn an_invalidated_session_is_identified_anew(pool: PgPool) {
    let stage = Stage::open(pool).await;

    let before = session_ids(&stage.discord);
    stage.discord.invalidate_session(false);
    new_session(&stage.discord, &before).await;

    assert!(ask(&stage.ada, "/daily").await.text().contains("10 bytes"));
    stage.close().await;
}
