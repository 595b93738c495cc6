//! What the tables themselves refuse, and what they do by themselves.

use sqlx::PgPool;
use sqlx::types::Json;
use std::collections::BTreeMap;

use super::super::{Scope, Settings, leaderboard, settings};
use super::{act, bank, configure, database, noon, own_account};

/// The constraint that a statement breaks.
async fn broken(pool: &PgPool, sql: &'static str) -> String {
    let error = sqlx::query(sql).execute(pool).await.expect_err(sql);
    let error = error.into_database_error().expect(sql);
    error.constraint().map_or_else(|| error.to_string(), str::to_owned)
}

#[sqlx::test]
async fn each_constraint_refuses_what_its_name_says(pool: PgPool) {
    let mut found = Vec::new();
    for sql in [
        "insert into bytes_configs (guild_id) values ('x')",
        "insert into bytes_configs (guild_id, starting_balance) values ('1', 10001)",
        "insert into bytes_configs (guild_id, daily_amount) values ('1', 0)",
        "insert into bytes_configs (guild_id, streak_bonuses) values ('1', '[]')",
        "insert into bytes_configs (guild_id, streak_bonuses) values ('1', '{\"0\": 2}')",
        "insert into bytes_configs (guild_id, streak_bonuses) values ('1', '{\"8\": 257}')",
        "insert into bytes_configs (guild_id, streak_bonuses) values ('1', '{\"8\": 1.5}')",
        "insert into bytes_configs (guild_id, streak_bonuses) values ('1', '{\"8\": 2.0}')",
        "insert into bytes_configs (guild_id, streak_bonuses) values ('1', '{\"8\": \"2\"}')",
        "insert into bytes_configs (guild_id, max_transfer) values ('1', 0)",
        "insert into bytes_configs (guild_id, transfer_cooldown_hours) values ('1', 169)",
        "insert into bytes_configs (guild_id, role_rewards) values ('1', '{\"role\": 5}')",
        "insert into bytes_configs (guild_id, role_rewards) values ('1', '{\"5\": 0}')",
        "insert into bytes_configs (guild_id, confirm_from) values ('1', -1)",
        "insert into bytes_configs (guild_id, min_account_age_days) values ('1', 366)",
        "insert into bytes_configs (guild_id, currency_name) values ('1', '')",
        "insert into bytes_balances (guild_id, user_id) values ('', '1')",
        "insert into bytes_balances (guild_id, user_id) values ('1', 'ada')",
        "insert into bytes_balances (guild_id, user_id, balance) values ('1', '2', -1)",
        "insert into bytes_balances (guild_id, user_id, total_received) values ('1', '2', -1)",
        "insert into bytes_balances (guild_id, user_id, total_sent) values ('1', '2', -1)",
        "insert into bytes_balances (guild_id, user_id, streak_count) values ('1', '2', -1)",
        "insert into bytes_transactions values ('1', gen_random_uuid(), 'transfer', '2', 'a', '3', 'b', 0, null, 1, 1, null, now())",
        "insert into bytes_transactions values ('1', gen_random_uuid(), 'transfer', '2', 'a', '2', 'b', 1, null, 1, 1, null, now())",
        "insert into bytes_transactions values ('1', gen_random_uuid(), 'transfer', '2', 'a', '3', 'b', 1, null, 1, null, null, now())",
        "insert into bytes_transactions values ('1', gen_random_uuid(), 'adjustment', '2', 'a', '3', 'b', 1, null, 1, 1, null, now())",
        "insert into bytes_transactions values ('1', gen_random_uuid(), 'squad_fee', '2', 'a', '3', 'b', 1, null, null, 1, null, now())",
        "insert into bytes_transactions values ('1', gen_random_uuid(), 'daily', '2', 'a', '3', 'b', 1, null, null, 1, null, now())",
        "insert into bytes_transactions values ('x', gen_random_uuid(), 'transfer', '2', 'a', '3', 'b', 1, null, 1, 1, null, now())",
        "insert into bytes_transactions values ('1', gen_random_uuid(), 'transfer', 'x', 'a', '3', 'b', 1, null, 1, 1, null, now())",
        "insert into bytes_transactions values ('1', gen_random_uuid(), 'transfer', '2', 'a', 'x', 'b', 1, null, 1, 1, null, now())",
        "insert into processed_interactions (guild_id, interaction_id, part) values ('x', '2', 'p')",
        "insert into processed_interactions (guild_id, interaction_id, part) values ('1', 'x', 'p')",
        "insert into processed_interactions (guild_id, interaction_id, part, outcome) values ('1', '2', 'p', '1')",
    ] {
        found.push(broken(&pool, sql).await);
    }

    insta::assert_snapshot!(found.join("\n"));
}

#[sqlx::test]
async fn a_second_row_of_the_same_key_is_refused(pool: PgPool) {
    let mut found = Vec::new();
    for sql in [
        "insert into bytes_configs (guild_id) values ('1'), ('1')",
        "insert into bytes_balances (guild_id, user_id) values ('1', '2'), ('1', '2')",
        "insert into processed_interactions (guild_id, interaction_id, part) values ('1', '2', 'p'), ('1', '2', 'p')",
        "insert into bytes_transactions
         select '1', md5('x')::uuid, 'transfer', '2', 'a', '3', 'b', 1, null, 1, 1, null, now() from generate_series(1, 2)",
    ] {
        found.push(broken(&pool, sql).await);
    }

    insta::assert_snapshot!(found.join("\n"));
}

#[sqlx::test]
async fn every_table_moves_updated_at_by_itself_and_has_both_times(pool: PgPool) {
    own_account(&database(&pool), &act(1, noon(1), 0)).await.expect("opened");
    configure(&pool, "max_transfer = 5").await;
    leaderboard(&bank(&database(&pool)), &act(1, noon(1), 2), Scope::Balance, 0)
        .await
        .expect("ranked");
    crate::act::begin_once(&database(&pool), &act(1, noon(1), 0), "share").await.expect("recorded");
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_name::text from information_schema.tables \
         where table_schema = 'public' and table_name <> '_sqlx_migrations' order by 1",
    )
    .fetch_all(&pool)
    .await
    .expect("readable");
    assert_eq!(
        tables,
        [
            "bytes_balances",
            "bytes_configs",
            "bytes_ranking_steps",
            "bytes_rankings",
            "bytes_transactions",
            "bytes_unranked",
            "outbox",
            "processed_interactions"
        ]
    );
    own_account(&database(&pool), &act(2, noon(1), 1)).await.expect("opened");
    sqlx::query("insert into outbox (guild_id, target, effect) values ('1', 'member:1', 'x')")
        .execute(&pool)
        .await
        .expect("valid");

    for table in tables {
        let sql = format!(
            "update {table} set created_at = created_at returning updated_at > $1, created_at is not null"
        );
        let before: chrono::DateTime<chrono::Utc> = sqlx::query_scalar("select clock_timestamp()")
            .fetch_one(&pool)
            .await
            .expect("readable");
        let (moved, created): (bool, bool) = sqlx::query_as(sqlx::AssertSqlSafe(sql))
            .bind(before)
            .fetch_one(&pool)
            .await
            .expect("one row");
        assert!(moved && created, "{table}");
    }
}

#[sqlx::test]
async fn a_guild_without_a_row_has_the_defaults_of_the_columns_and_of_the_code(pool: PgPool) {
    let act = act(1, noon(1), 0);
    let without = settings(&database(&pool), &act).await.expect("readable");
    configure(&pool, "guild_id = guild_id").await;
    let with = settings(&database(&pool), &act).await.expect("readable");

    assert_eq!((without, with), (Settings::default(), Settings::default()));
    let same: bool = sqlx::query_scalar(
        "select (to_jsonb(bytes_config('2')) - 'guild_id' - 'created_at' - 'updated_at') \
         = (to_jsonb(c) - 'guild_id' - 'created_at' - 'updated_at') from bytes_configs c",
    )
    .fetch_one(&pool)
    .await
    .expect("readable");
    assert!(same);
}

#[sqlx::test]
async fn streak_bonuses_read_back_as_they_were_written(pool: PgPool) {
    let bonuses = BTreeMap::from([(1, 1), (7, 3), (99_999, 256)]);
    configure(&pool, "max_transfer = 1").await;
    sqlx::query("update bytes_configs set streak_bonuses = $1, role_rewards = '{\"18446744073709551615\": 9223372036854775807}'")
        .bind(Json(&bonuses))
        .execute(&pool)
        .await
        .expect("valid");

    let read = settings(&database(&pool), &act(1, noon(1), 0)).await.expect("readable");

    assert_eq!(read.streak_bonuses, bonuses);
    let rewards: Json<BTreeMap<String, i64>> =
        sqlx::query_scalar("select role_rewards from bytes_configs")
            .fetch_one(&pool)
            .await
            .expect("readable");
    assert_eq!(rewards.0, BTreeMap::from([("18446744073709551615".to_owned(), i64::MAX)]));
}

#[sqlx::test(migrations = false)]
async fn every_migration_goes_down_and_up_again(pool: PgPool) {
    let everything = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                      where n.nspname = 'public' and c.relname not like '%sqlx_migrations%'";
    let functions = "select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'public'";
    let count = async |sql: &'static str| -> i64 {
        sqlx::query_scalar(sql).fetch_one(&pool).await.expect("readable")
    };
    crate::db::migrate(&pool).await.expect("up");
    let before = (count(everything).await, count(functions).await);

    let steps = crate::db::MIGRATOR
        .iter()
        .filter(|migration| migration.migration_type.is_down_migration())
        .count();
    assert_eq!(crate::db::migrate_down(&pool, usize::MAX).await.expect("down"), steps);

    assert_eq!((count(everything).await, count(functions).await), (0, 0));
    crate::db::migrate(&pool).await.expect("up again");
    assert_eq!((count(everything).await, count(functions).await), before);
}
