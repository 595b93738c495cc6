//! Each of these was seen to fail with the lock, the order or the look-up behind it taken out.

use std::sync::Arc;

use sqlx::{PgConnection, PgPool};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::super::{Refusal, claim_daily, store};
use super::{act, assert_clean, balance, configure, database, noon, own_account, person, send};
use crate::act::Act;
use crate::db::Database;
use crate::{Error, Result};

/// Runs `n` acts at once, from one start line.
pub(super) async fn at_once<T, F>(
    pool: &PgPool,
    n: u64,
    run: impl Fn(Database, u64) -> F,
) -> Vec<Result<T>>
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

/// The same, with the acts piled up behind what `lock` takes, until as many as the pool lets in
/// wait: whoever decides before it holds the lock has then decided on what is about to change.
pub(super) async fn piled_up<T, F>(
    pool: &PgPool,
    lock: String,
    n: u64,
    run: impl Fn(Database, u64) -> F,
) -> Vec<Result<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let mut holder = pool.begin().await.expect("begins");
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut *holder).await.expect("locks");
    let free_again = async {
        let all = i64::from(pool.options().get_max_connections())
            .min(i64::try_from(n).expect("small") + 1);
        // One connection holds the lock, and asks.
        waiting(&mut holder, all - 1).await;
        holder.rollback().await.expect("frees");
    };
    tokio::join!(at_once(pool, n, run), free_again).0
}

/// Waits until so many of the database's connections wait for a lock, as `holder` sees it.
pub(super) async fn waiting(holder: &mut PgConnection, n: i64) {
    let waiting = "select count(*) from pg_stat_activity \
                   where datname = current_database() and wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut *holder).await.expect("readable") < n
    {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        // Else a transaction sees the same activity again and again.
        let forget = "select pg_stat_clear_snapshot()";
        sqlx::raw_sql(forget).execute(&mut *holder).await.expect("forgets");
    }
}

/// Holds a member's account, as another act of theirs would.
pub(super) fn account_of(member: u64) -> String {
    format!("select 1 from bytes_balances where user_id = '{}' for update", person(member).id)
}

/// Holds the place of an account that isn't there yet.
fn place_of(members: &[u64]) -> String {
    let rows: Vec<String> =
        members.iter().map(|&n| format!("('{}', '{}')", super::GUILD, person(n).id)).collect();
    format!("insert into bytes_balances (guild_id, user_id) values {}", rows.join(", "))
}

#[sqlx::test]
async fn sixty_four_claims_of_one_daily_pay_once(pool: PgPool) {
    own_account(&database(&pool), &act(1, noon(1), 100)).await.expect("opened");
    // Member 1 has an account, member 2's first use is the claim.
    for (member, lock) in [(1, account_of(1)), (2, place_of(&[2]))] {
        let claims = piled_up(&pool, lock, 64, |db, i| async move {
            claim_daily(&db, &act(member, noon(1), 200 * member + i)).await
        })
        .await;

        let paid = claims.iter().filter(|claim| claim.is_ok()).count();
        let refused =
            |claim: &&Result<_>| matches!(claim, Err(Error::Bytes(Refusal::Claimed { .. })));
        assert_eq!((paid, claims.iter().filter(refused).count()), (1, 63), "member {member}");
        assert_eq!(balance(&pool, member).await, 110, "member {member}");
    }
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn sixty_four_first_uses_open_one_account(pool: PgPool) {
    // Member 1 has received bytes before, member 2 has no account at all.
    send(&database(&pool), &act(3, noon(1), 1_000), &person(1), 7, None).await.expect("allowed");
    for (member, received, lock) in [(1, 7, account_of(1)), (2, 0, place_of(&[2]))] {
        let opened = piled_up(&pool, lock, 64, |db, i| async move {
            let act = act(member, noon(1), 200 * member + i);
            match i % 4 {
                0 => claim_daily(&db, &act).await.map(drop),
                1 => send(&db, &act, &person(4), 1_000, None).await.map(drop),
                _ => own_account(&db, &act).await.map(drop),
            }
        })
        .await;

        let failed: Vec<_> = opened
            .iter()
            .filter(|result| !matches!(result, Ok(()) | Err(Error::Bytes(_))))
            .collect();
        assert!(failed.is_empty(), "member {member}: {failed:?}");
        assert_eq!(balance(&pool, member).await, 110 + received, "member {member}");
    }
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
        .filter(|result| !matches!(result, Ok(()) | Err(Error::Bytes(Refusal::TooLittle { .. }))))
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
    for pair in 0..10 {
        let (one, other) = (1 + pair * 2, 2 + pair * 2);
        let sent = piled_up(&pool, place_of(&[one, other]), 16, |db, i| async move {
            let (giver, receiver) = if i % 2 == 0 { (one, other) } else { (other, one) };
            send_bare(db, act(giver, noon(1), 100 * pair + i), receiver, 3).await
        })
        .await;

        let failed: Vec<_> = sent.iter().filter(|result| result.is_err()).collect();
        assert!(failed.is_empty(), "{failed:?}");
    }
    assert_clean(&pool).await;
}

#[sqlx::test]
async fn the_same_interaction_twenty_times_pays_once(pool: PgPool) {
    own_account(&database(&pool), &act(1, noon(1), 1)).await.expect("opened");
    let same = act(1, noon(1), 0);
    let sent = piled_up(&pool, account_of(1), 20, |db, _| {
        let same = same.clone();
        async move { send(&db, &same, &person(2), 40, None).await }
    })
    .await;

    let answers: Vec<_> = sent.into_iter().map(|result| result.expect("allowed")).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert_eq!((balance(&pool, 1).await, balance(&pool, 2).await), (60, 40));
    assert_clean(&pool).await;

    let daily = act(2, noon(1), 0);
    let claims = piled_up(&pool, account_of(2), 20, |db, _| {
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

    own_account(&database(&pool), &act(1, noon(1), 100)).await.expect("opened");
    let sent = piled_up(&pool, account_of(1), 32, |db, i| async move {
        send(&db, &act(1, noon(1), i), &person(2), 1, None).await
    })
    .await;

    assert_eq!(sent.iter().filter(|result| result.is_ok()).count(), 1);
    assert_clean(&pool).await;
}

/// Sends without the patience of [`Database::settle`], which would try a deadlock again.
async fn send_bare(db: Database, act: Act, receiver: u64, amount: i64) -> Result<()> {
    let mut connection = db.pool().acquire().await.map_err(Error::Unreachable)?;
    let sent = store::transfer(&mut connection, &act, &person(receiver), amount, None, true).await;
    Ok(sent.map_err(Error::Database)?.map(drop)?)
}
