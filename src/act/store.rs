//! The SQL of acts that leave no row of their own.

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
