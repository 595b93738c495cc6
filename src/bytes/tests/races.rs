//! Each of these was seen to fail with the lock, the order or the look-up behind it taken out.

use std::sync::Arc;

use sqlx::PgPool;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::super::{Refusal, claim_daily, own_account, send, store};
use super::{act, assert_clean, balance, configure, database, ledger_rows, noon, person};
use crate::act::Act;
use crate::db::Database;
use crate::{Error, Result};

/// Runs `n` acts at once, from one start line.
async fn at_once<T, F>(pool: &PgPool, n: u64, run: impl Fn(Database, u64) -> F) -> Vec<Result<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let start = Arc::new(Barrier::new(usize::try_from(n).expect("small")));
    let mut tasks = JoinSet::new();
    for i in 0..n {
        let (work, start) = (run(database(pool), i), Arc::clone(&start));
        tasks.spawn(async move {
            start.wait().await;
            work.await
        });
    }
    tasks.join_all().await
}

#[sqlx::test]
async fn sixty_four_claims_of_one_daily_pay_once(pool: PgPool) {
    let claims =
        at_once(&pool, 64, |db, i| async move { claim_daily(&db, &act(1, noon(1), i)).await })
            .await;

    let paid = claims.iter().filter(|claim| claim.is_ok()).count();
    let refused = |claim: &&Result<_>| matches!(claim, Err(Error::Bytes(Refusal::Claimed { .. })));
    assert_eq!((paid, claims.iter().filter(refused).count()), (1, 63));
    assert_eq!(balance(&pool, 1).await, 110);
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn sixty_four_first_uses_open_one_account(pool: PgPool) {
    let opened = at_once(&pool, 64, |db, i| async move {
        let act = act(1, noon(1), i);
        match i % 3 {
            0 => own_account(&db, &act).await.map(drop),
            1 => claim_daily(&db, &act).await.map(drop),
            _ => send(&db, &act, &person(2), 1_000, None).await.map(drop),
        }
    })
    .await;

    let failed: Vec<_> =
        opened.iter().filter(|result| !matches!(result, Ok(()) | Err(Error::Bytes(_)))).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!((balance(&pool, 1).await, ledger_rows(&pool).await), (110, 2));
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn two_hundred_transfers_among_five_conserve_the_sum(pool: PgPool) {
    for member in 1..=5 {
        own_account(&database(&pool), &act(member, noon(1), member)).await.expect("opened");
    }

    let sent = at_once(&pool, 200, |db, i| async move {
        let (giver, receiver) = (i % 5 + 1, (i + 1 + i / 5 % 4) % 5 + 1);
        send_bare(db, act(giver, noon(1), 100 + i), receiver, 37).await
    })
    .await;

    let failed: Vec<_> = sent
        .iter()
        .filter(|result| !matches!(result, Ok(_) | Err(Error::Bytes(Refusal::TooLittle { .. }))))
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
    let mut sum = 0;
    for member in 1..=5 {
        sum += balance(&pool, member).await;
    }
    assert_eq!(sum, 500);
    assert_clean(&pool).await;
}

/// Opposite first transfers: neither account is there, and each transfer opens both.
#[sqlx::test]
async fn opposite_transfers_between_new_members_never_deadlock(pool: PgPool) {
    let sent = at_once(&pool, 120, |db, i| async move {
        let (giver, receiver) = (1 + i % 4, 1 + (i + 1 + i % 3) % 4);
        let receiver = if receiver == giver { giver % 4 + 1 } else { receiver };
        send_bare(db, act(giver, noon(1), i), receiver, 3).await
    })
    .await;

    let failed: Vec<_> = sent.iter().filter(|result| result.is_err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn the_same_interaction_twenty_times_pays_once(pool: PgPool) {
    let same: Act = act(1, noon(1), 0);
    let sent = at_once(&pool, 20, |db, _| {
        let same = same.clone();
        async move { send(&db, &same, &person(2), 40, None).await }
    })
    .await;

    let answers: Vec<_> = sent.into_iter().map(|result| result.expect("allowed")).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!((balance(&pool, 1).await, balance(&pool, 2).await), (60, 40));
    assert_clean(&pool).await;

    let daily = act(2, noon(1), 0);
    let claims = at_once(&pool, 20, |db, _| {
        let daily = daily.clone();
        async move { claim_daily(&db, &daily).await }
    })
    .await;
    assert!(
        claims.iter().all(|claim| claim.as_ref().is_ok_and(|claim| claim.balance == 150)),
        "{claims:?}"
    );
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn parallel_transfers_pass_a_cooldown_once(pool: PgPool) {
    configure(&pool, "transfer_cooldown_hours = 1").await;

    let sent = at_once(&pool, 32, |db, i| async move {
        send(&db, &act(1, noon(1), i), &person(2), 1, None).await
    })
    .await;

    assert_eq!(sent.iter().filter(|result| result.is_ok()).count(), 1);
    assert_clean(&pool).await;
}

/// Sends without the patience of [`Database::settle`], which would try a deadlock again.
async fn send_bare(db: Database, act: Act, receiver: u64, amount: i64) -> Result<()> {
    let mut connection = db.pool().acquire().await.map_err(Error::Unreachable)?;
    let sent = store::transfer(&mut connection, &act, &person(receiver), amount, None).await;
    Ok(sent.map_err(Error::Database)?.map(drop)?)
}
