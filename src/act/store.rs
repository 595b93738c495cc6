//! The SQL of acts that leave no row of their own.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::Act;

/// Whether the row is `token`'s: inserted now, or by an earlier try with the same token.
pub(super) async fn insert_processed(
    db: &mut PgConnection,
    act: &Act,
    part: &str,
    token: Uuid,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"
        insert into processed_interactions (guild_id, interaction_id, part, outcome)
        values ($1, $2, $3, jsonb_build_object('token', $4::text))
        on conflict (guild_id, interaction_id, part) do update set part = excluded.part
        returning outcome ->> 'token' = $4 as "mine!"
        "#,
        act.guild.to_string(),
        act.key.to_string(),
        part,
        token.to_string(),
    )
    .fetch_one(db)
    .await
}

/// Whether the row was inserted; `false` if there was one.
pub(super) async fn insert_part(
    db: &mut PgConnection,
    act: &Act,
    part: &str,
) -> sqlx::Result<bool> {
    sqlx::query!(
        r#"
        insert into processed_interactions (guild_id, interaction_id, part)
        values ($1, $2, $3)
        on conflict (guild_id, interaction_id, part) do nothing
        "#,
        act.guild.to_string(),
        act.key.to_string(),
        part,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected() == 1)
}

/// What a part came to; null if nothing was recorded.
pub(super) async fn find_outcome(
    db: &mut PgConnection,
    act: &Act,
    part: &str,
) -> sqlx::Result<Value> {
    sqlx::query_scalar!(
        r#"
        select outcome from processed_interactions
        where guild_id = $1 and interaction_id = $2 and part = $3
        "#,
        act.guild.to_string(),
        act.key.to_string(),
        part,
    )
    .fetch_one(db)
    .await
    .map(Option::unwrap_or_default)
}

/// Records what a part came to.
pub(super) async fn set_outcome(
    db: &mut PgConnection,
    act: &Act,
    part: &str,
    outcome: &Value,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        update processed_interactions set outcome = $4
        where guild_id = $1 and interaction_id = $2 and part = $3
        "#,
        act.guild.to_string(),
        act.key.to_string(),
        part,
        outcome,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Deletes what is older than a day on the database's clock, at most 10 000 rows.
pub(super) async fn delete_old(db: &mut PgConnection) -> sqlx::Result<u64> {
    sqlx::query!(
        r#"
        delete from processed_interactions
        where ctid = any (array(
            select ctid from processed_interactions
            where created_at < now() - interval '1 day'
            order by created_at
            limit 10000
        ))
        "#,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}
