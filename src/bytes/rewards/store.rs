//! The SQL of role rewards.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use chrono::{DateTime, Utc};
use poise::serenity_prelude::{GuildId, RoleId, UserId};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::rules::Standing;
use super::{Earner, Sweep};

fn user(id: &str) -> sqlx::Result<UserId> {
    id.parse::<NonZeroU64>()
        .map(UserId::from)
        .map_err(|_| sqlx::Error::Decode(format!("{id} is no snowflake").into()))
}

fn rewards(column: Json<BTreeMap<String, i64>>) -> sqlx::Result<BTreeMap<RoleId, i64>> {
    let read = |(role, received): (String, i64)| {
        let role = role.parse::<NonZeroU64>().map(RoleId::from);
        role.map(|role| (role, received))
            .map_err(|_| sqlx::Error::Decode("a reward is no snowflake".into()))
    };
    column.0.into_iter().map(read).collect()
}

/// The guild's rewards: role -> least `total_received`.
pub(super) async fn find_rewards(
    db: &mut PgConnection,
    guild: GuildId,
) -> sqlx::Result<BTreeMap<RoleId, i64>> {
    let column = sqlx::query_scalar!(
        r#"
        select role_rewards as "rewards!: Json<BTreeMap<String, i64>>" from bytes_configs where guild_id = $1
        "#,
        guild.to_string(),
    )
    .fetch_optional(db)
    .await?;
    rewards(column.unwrap_or_default())
}

/// The same, locked until the transaction ends, and the time of its beginning.
pub(super) async fn lock_rewards(
    db: &mut PgConnection,
    guild: GuildId,
) -> sqlx::Result<(BTreeMap<RoleId, i64>, DateTime<Utc>)> {
    let row = sqlx::query!(
        r#"
        insert into bytes_configs (guild_id) values ($1)
        on conflict (guild_id) do update set guild_id = excluded.guild_id
        returning role_rewards as "rewards!: Json<BTreeMap<String, i64>>", now() as "now!"
        "#,
        guild.to_string(),
    )
    .fetch_one(db)
    .await?;
    Ok((rewards(row.rewards)?, row.now))
}

/// Sets what earns a role.
pub(super) async fn set_reward(
    db: &mut PgConnection,
    guild: GuildId,
    role: RoleId,
    received: i64,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        update bytes_configs
        set role_rewards = role_rewards || jsonb_build_object($2::text, $3::bigint)
        where guild_id = $1
        "#,
        guild.to_string(),
        role.to_string(),
        received,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Makes a role no reward.
pub(super) async fn delete_reward(
    db: &mut PgConnection,
    guild: GuildId,
    role: RoleId,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update bytes_configs set role_rewards = role_rewards - $2::text where guild_id = $1",
        guild.to_string(),
        role.to_string(),
    )
    .execute(db)
    .await
    .map(drop)
}

/// How many members that are present have received this much, and less than `below`.
pub(super) async fn count_earners(
    db: &mut PgConnection,
    guild: GuildId,
    from: i64,
    below: Option<i64>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"
        select count(*) as "count!"
        from bytes_balances
        where guild_id = $1 and total_received >= $2 and ($3::bigint is null or total_received < $3) and left_at is null
        "#,
        guild.to_string(),
        from,
        below,
    )
    .fetch_one(db)
    .await
}

/// Locks, in the order of ids, the next accounts that a sweep is about.
pub(super) async fn lock_swept(
    db: &mut PgConnection,
    guild: GuildId,
    sweep: &Sweep,
    limit: i64,
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"
        select user_id as "user_id!: String"
        from bytes_balances
        where guild_id = $1
            and total_received >= $2
            and ($3::bigint is null or total_received < $3)
            and ($4::timestamptz is null or updated_at >= $4)
            and user_id > $5::text
            and left_at is null
        order by user_id
        limit $6
        for update
        "#,
        guild.to_string(),
        sweep.from,
        sweep.below,
        sweep.since,
        sweep.after,
        limit,
    )
    .fetch_all(db)
    .await
}

/// What the database says about a member and a role.
pub(super) async fn find_standing(
    db: &mut PgConnection,
    guild: GuildId,
    member: UserId,
    role: RoleId,
) -> sqlx::Result<Standing> {
    let row = sqlx::query!(
        r#"
        select
            (select (role_rewards ->> $3)::bigint from bytes_configs where guild_id = $1) as threshold,
            b.total_received as "received?",
            b.left_at is not null as "left!"
        from (select) as one
        left join bytes_balances b on b.guild_id = $1 and b.user_id = $2
        "#,
        guild.to_string(),
        member.to_string(),
        role.to_string(),
    )
    .fetch_one(db)
    .await?;
    Ok(Standing { threshold: row.threshold, received: row.received.unwrap_or(0), left: row.left })
}

/// Notes that a member has left, if they have an account.
pub(super) async fn set_left(
    db: &mut PgConnection,
    guild: GuildId,
    member: UserId,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update bytes_balances set left_at = now() where guild_id = $1 and user_id = $2 and left_at is null",
        guild.to_string(),
        member.to_string(),
    )
    .execute(db)
    .await
    .map(drop)
}

/// Notes that a member is here, and locks the account; `total_received`, if they have one.
pub(super) async fn lock_present(
    db: &mut PgConnection,
    guild: GuildId,
    member: UserId,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        r#"
        update bytes_balances set left_at = null
        where guild_id = $1 and user_id = $2
        returning total_received
        "#,
        guild.to_string(),
        member.to_string(),
    )
    .fetch_optional(db)
    .await
}

/// Notes that members are here who were thought to have left, and locks all their accounts.
pub(super) async fn lock_all_present(
    db: &mut PgConnection,
    guild: GuildId,
    members: &[String],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        with locked as (
            select guild_id, user_id, left_at from bytes_balances
            where guild_id = $1 and user_id = any ($2::text[])
            order by user_id
            for update
        )
        update bytes_balances b set left_at = null
        from locked
        where locked.left_at is not null and b.guild_id = locked.guild_id and b.user_id = locked.user_id
        "#,
        guild.to_string(),
        members,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Who has received at least this much, also those who left.
pub(super) async fn list_earners(
    db: &mut PgConnection,
    guild: GuildId,
    from: i64,
) -> sqlx::Result<Vec<Earner>> {
    let rows = sqlx::query!(
        r#"
        select user_id as "user_id!: String", total_received
        from bytes_balances
        where guild_id = $1 and total_received >= $2
        limit 1000000
        "#,
        guild.to_string(),
        from,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| Ok(Earner { member: user(&row.user_id)?, received: row.total_received }))
        .collect()
}
