//! The SQL of the outbox.

use std::num::NonZeroU64;
use std::time::Duration;

use poise::serenity_prelude::GuildId;
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;
use uuid::Uuid;

use super::{Failure, Promise};
use crate::act::Act;

fn guild(id: &str) -> sqlx::Result<GuildId> {
    id.parse::<NonZeroU64>()
        .map(GuildId::from)
        .map_err(|_| sqlx::Error::Decode(format!("{id} is no snowflake").into()))
}

fn interval(length: Duration) -> PgInterval {
    let microseconds = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
    PgInterval { months: 0, days: 0, microseconds }
}

/// Adds rows of one effect, in this order; due after so long.
pub(super) async fn insert_rows(
    db: &mut PgConnection,
    guild: GuildId,
    effect: &str,
    targets: &[String],
    details: &[Value],
    after: Duration,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        insert into outbox (guild_id, target, effect, detail, due_at)
        select $1, row.target, $2, row.detail, now() + $5
        from unnest($3::text[], $4::jsonb[]) with ordinality as row (target, detail, place)
        order by row.place
        "#,
        guild.to_string(),
        effect,
        targets,
        details,
        interval(after),
    )
    .execute(db)
    .await
    .map(drop)
}

/// Adds rows of one effect, in this order, but for those of which an equal one waits unclaimed.
pub(super) async fn insert_missing(
    db: &mut PgConnection,
    guild: GuildId,
    effect: &str,
    targets: &[String],
    details: &[Value],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        insert into outbox (guild_id, target, effect, detail)
        select $1::text, row.target, $2::text, row.detail
        from unnest($3::text[], $4::jsonb[]) with ordinality as row (target, detail, place)
        where not exists (
            select from outbox waiting
            where waiting.guild_id = $1
                and waiting.target = row.target
                and waiting.failure is null
                and waiting.effect = $2
                and waiting.detail = row.detail
                and waiting.claimed_by is null
        )
        order by row.place
        "#,
        guild.to_string(),
        effect,
        targets,
        details,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Claims what is due, for so long: of each target the first row alone, and none of the `held`
/// kinds (see [`Promise::kind`]).
pub(super) async fn claim(
    db: &mut PgConnection,
    owner: Uuid,
    length: Duration,
    limit: i64,
    held: &[String],
) -> sqlx::Result<Vec<Promise>> {
    let rows = sqlx::query!(
        r#"
        update outbox
        set claimed_by = $1, claimed_until = now() + $2
        from (
            select o.guild_id, o.number
            from outbox o
            where o.failure is null
                and o.due_at <= now()
                and (o.claimed_until is null or o.claimed_until <= now())
                and o.guild_id || ' ' || o.effect <> all ($4)
                and not exists (
                    select from outbox earlier
                    where earlier.guild_id = o.guild_id
                        and earlier.target = o.target
                        and earlier.failure is null
                        and earlier.number < o.number
                )
            order by o.due_at, o.number
            limit $3
            for update skip locked
        ) due
        where outbox.guild_id = due.guild_id and outbox.number = due.number
        returning
            outbox.guild_id as "guild_id!: String", outbox.number as "number!", outbox.target as "target!",
            outbox.effect as "effect!", outbox.detail as "detail!", outbox.attempts as "attempts!"
        "#,
        owner,
        interval(length),
        limit,
        held,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Promise {
                guild: guild(&row.guild_id)?,
                number: row.number,
                target: row.target,
                effect: row.effect,
                detail: row.detail,
                attempts: row.attempts,
            })
        })
        .collect()
}

/// Deletes what was done, if it's still `owner`'s.
pub(super) async fn delete_done(
    db: &mut PgConnection,
    promise: &Promise,
    owner: Uuid,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from outbox where guild_id = $1 and number = $2 and claimed_by = $3",
        promise.guild.to_string(),
        promise.number,
        owner,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Gives a row free, to be tried after so long, if it's still `owner`'s.
pub(super) async fn postpone(
    db: &mut PgConnection,
    promise: &Promise,
    owner: Uuid,
    after: Duration,
    attempts: i32,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        update outbox
        set due_at = now() + $4, attempts = $5, claimed_by = null, claimed_until = null
        where guild_id = $1 and number = $2 and claimed_by = $3
        "#,
        promise.guild.to_string(),
        promise.number,
        owner,
        interval(after),
        attempts,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Records why a row is not tried any more, if it's still `owner`'s.
pub(super) async fn record_failure(
    db: &mut PgConnection,
    promise: &Promise,
    owner: Uuid,
    failure: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        update outbox
        set failure = left($4, 500), attempts = attempts + 1, claimed_by = null, claimed_until = null
        where guild_id = $1 and number = $2 and claimed_by = $3
        "#,
        promise.guild.to_string(),
        promise.number,
        owner,
        failure,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Marks as told by this act what nobody was told yet, at most 10 failures: as many as an answer shows.
pub(super) async fn mark_told(db: &mut PgConnection, act: &Act) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        update outbox
        set told_key = $2
        from (
            select guild_id, number from outbox
            where guild_id = $1 and failure is not null and told_key is null
            order by updated_at, number
            limit 10
            for update
        ) untold
        where outbox.guild_id = untold.guild_id and outbox.number = untold.number
        "#,
        act.guild.to_string(),
        act.key.to_string(),
    )
    .execute(db)
    .await
    .map(drop)
}

/// The failures that this act tells, in the order of promises.
pub(super) async fn list_told(db: &mut PgConnection, act: &Act) -> sqlx::Result<Vec<Failure>> {
    sqlx::query_as!(
        Failure,
        r#"
        select number, effect, failure as "text!"
        from outbox
        where guild_id = $1 and failure is not null and told_key = $2
        order by number
        limit 10
        "#,
        act.guild.to_string(),
        act.key.to_string(),
    )
    .fetch_all(db)
    .await
}

/// Deletes failures that were told 30 days ago, and what nobody asked after for 90; at most 10 000.
pub(super) async fn delete_old(db: &mut PgConnection) -> sqlx::Result<u64> {
    sqlx::query!(
        r#"
        delete from outbox
        where ctid = any (array(
            select ctid from outbox
            where failure is not null
                and updated_at < now() - case when told_key is null then interval '90 days' else interval '30 days' end
            limit 10000
        ))
        "#,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}
