//! Hot queries use their indexes: on 100 000 rows, none reads a whole table.
//!
//! Postgres itself counts scans, also within its functions; `pg_stat_xact_user_tables` tells those
//! of the running transaction.

use std::collections::BTreeMap;

use sqlx::{PgConnection, PgPool};

use super::super::clearing::Transfer;
use super::super::{Scope, store};
use super::{GUILD, act, noon, person, snowflake};

const ROWS: i64 = 100_000;

/// Fills every table as a large guild would.
async fn fill(pool: &PgPool) {
    let made = i64::try_from(snowflake(noon(1), 0)).expect("small");
    let first = i64::try_from(person(0).id.get()).expect("small");
    let sql = format!(
        "
        insert into bytes_configs (guild_id) select n::text from generate_series(2, 5000) n;
        insert into bytes_balances (guild_id, user_id, balance, total_received, streak_count, last_daily, opened_at)
        select '{GUILD}', ({first} + n)::text, 1000 + n % 977, 500 + n % 331, 1 + n % 50, '2026-03-01', now()
        from generate_series(1, {ROWS}) n;
        insert into bytes_transactions (
            guild_id, id, kind, giver_id, giver_username, receiver_id, receiver_username, amount,
            giver_balance, receiver_balance, created_at
        )
        select '{GUILD}', md5(n::text)::uuid, 'transfer', ({first} + n)::text, 'a', ({first} + n + 1)::text, 'b', 1, 1, 1, now()
        from generate_series(1, {ROWS} - 1) n;
        update bytes_balances b set last_transaction_id = t.id
        from bytes_transactions t where t.guild_id = b.guild_id and t.giver_id = b.user_id;
        insert into processed_interactions (guild_id, interaction_id, part)
        select '{GUILD}', ({made} - n)::text, 'transfer' from generate_series(1, {ROWS}) n;
        insert into bytes_rankings (guild_id, scope, user_id, place, ends_on)
        select guild_id, s.scope, user_id, s.place, null from bytes_balances,
            lateral (values ('balance'::bytes_scope, -balance), ('received', -total_received)) s (scope, place);
        select bytes_rebuild_steps('{GUILD}', 'balance'), bytes_rebuild_steps('{GUILD}', 'received');
        insert into bytes_unranked (guild_id, user_id)
        select n::text, '5' from generate_series(2, {ROWS}) n;
        "
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(pool).await.expect("valid");
    sqlx::raw_sql("vacuum analyze").execute(pool).await.expect("valid");
}

/// How often each large table was read from end to end by this session, as far as it hasn't told the
/// server's statistics yet.
async fn whole_reads(tx: &mut PgConnection) -> BTreeMap<String, i64> {
    let reads: Vec<(String, i64)> = sqlx::query_as(
        "select relname::text, seq_scan from pg_stat_xact_user_tables where relname in ( \
         'bytes_balances', 'bytes_configs', 'bytes_rankings', 'bytes_transactions', 'bytes_unranked', \
         'processed_interactions')",
    )
    .fetch_all(tx)
    .await
    .expect("readable");
    reads.into_iter().collect()
}

fn transfer(n: u64) -> Transfer {
    let act = act(n, noon(2), n);
    Transfer {
        id: act.row_id("transfer"),
        act,
        receiver: person(n + 1_000),
        amount: 1,
        reason: None,
        confirmed: true,
    }
}

/// Runs each hot query in a transaction of its own: its name, and the tables that it read whole.
async fn hot_queries(pool: &PgPool, before: &'static str) -> Vec<(&'static str, Vec<String>)> {
    let mut found = Vec::new();
    macro_rules! query {
        ($name:literal, $tx:ident, $query:expr) => {{
            let mut transaction = pool.begin().await.expect("begins");
            let $tx = &mut *transaction;
            sqlx::raw_sql(before).execute(&mut *$tx).await.expect("valid");
            let earlier = whole_reads($tx).await;
            let _done = $query.await.expect($name);
            let mut whole = whole_reads($tx).await;
            whole.retain(|table, reads| *reads > earlier.get(table).copied().unwrap_or(0));
            found.push(($name, whole.into_keys().collect()));
            // Undone: the next begins as this one did.
            transaction.rollback().await.expect("rolls back");
        }};
    }
    let transfers: Vec<Transfer> = (1..=8).map(transfer).collect();
    let all: Vec<&Transfer> = transfers.iter().collect();
    let own = act(3, noon(2), 50);
    query!("a transfer", tx, store::clear(tx, &all[..1]));
    query!("transfers together", tx, store::clear(tx, &all));
    query!(
        "a transfer that must be decided",
        tx,
        store::transfer(tx, &own, &person(900), 5, None, true)
    );
    query!("a daily", tx, store::claim_daily(tx, &own));
    query!("an account", tx, store::open_account(tx, &own));
    query!("another's account", tx, store::find_account(tx, GUILD, person(70).id));
    query!("the settings", tx, store::find_settings(tx, GUILD));
    query!("a history", tx, store::list_history(tx, GUILD, person(70).id, 11, 0));
    query!("the top", tx, store::list_ranked(tx, GUILD, Scope::Balance, 10, 0));
    query!("a page in the middle", tx, store::list_ranked(tx, GUILD, Scope::Received, 10, 50_000));
    query!("one's rank", tx, store::count_above(tx, GUILD, Scope::Balance, 1_500, person(1).id));
    query!("ranking a few", tx, async {
        let changed = [(GUILD, person(5).id), (GUILD, person(6).id)];
        store::queue_unranked(tx, &changed).await?;
        store::rank(tx, &GUILD.to_string(), Some(noon(2).date_naive()), 100).await
    });
    query!("ended streaks", tx, store::queue_ended_streaks(tx, None));
    found
}

#[sqlx::test]
async fn no_hot_query_reads_a_whole_table(pool: PgPool) {
    fill(&pool).await;

    for (name, whole) in hot_queries(&pool, "").await {
        assert_eq!(whole, Vec::<String>::new(), "{name}");
    }
    // Without indexes each would.
    let blind = "discard plans; set local enable_indexscan = off; \
                 set local enable_indexonlyscan = off; set local enable_bitmapscan = off";
    for (name, whole) in hot_queries(&pool, blind).await {
        assert_ne!(whole, Vec::<String>::new(), "{name}");
    }
}
