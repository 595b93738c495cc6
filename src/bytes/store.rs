//! The SQL of bytes: one statement a function, no rules.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use chrono::{DateTime, NaiveDate, Utc};
use poise::serenity_prelude::{GuildId, RoleId, UserId};
use sqlx::PgConnection;
use sqlx::types::{Json, Uuid};

use super::clearing::Transfer;
use super::rules::Direction;
use super::{
    Account, Claim, Currency, Difference, Entry, Kind, Pending, Preview, Refusal, Scope, Sending,
    Sent, Settings,
};
use crate::act::{Act, Person};

/// An id as the tables hold it: digits (`ck_…_user_id`), but perhaps not ours.
fn user(id: &str) -> sqlx::Result<UserId> {
    snowflake(id).map(UserId::from)
}

fn snowflake(id: &str) -> sqlx::Result<NonZeroU64> {
    id.parse::<NonZeroU64>()
        .map_err(|_| sqlx::Error::Decode(format!("{id} is no snowflake").into()))
}

/// A press by somebody else carries the act's key too, so the member is part of the id.
fn starting_id(act: &Act) -> Uuid {
    act.row_id(&format!("starting:{}", act.member.id))
}

impl From<Row> for Account {
    fn from(row: Row) -> Self {
        Self {
            balance: row.balance,
            total_received: row.total_received,
            total_sent: row.total_sent,
            last_daily: row.last_daily,
            streak: row.streak_count,
            last_transfer: row.last_transfer_at,
            opened: row.opened_at,
            left: row.left_at,
        }
    }
}

/// The columns of an account.
struct Row {
    balance: i64,
    total_received: i64,
    total_sent: i64,
    last_daily: Option<NaiveDate>,
    streak_count: i32,
    last_transfer_at: Option<DateTime<Utc>>,
    opened_at: Option<DateTime<Utc>>,
    left_at: Option<DateTime<Utc>>,
}

/// The acting member's account, opened if this is their first own command and their Discord account
/// is old enough for it.
pub(super) async fn open_account(db: &mut PgConnection, act: &Act) -> sqlx::Result<Own> {
    let row = sqlx::query!(
        r#"
        select
            account.balance as "balance!", account.total_received as "total_received!",
            account.total_sent as "total_sent!", account.last_daily, account.streak_count as "streak_count!",
            account.last_transfer_at, account.opened_at, account.left_at,
            config.currency_name as "currency_name!", config.currency_emoji,
            config.min_account_age_days as "min_account_age_days!"
        from bytes_open($1, $2, $3, $4, $5, $6, $7, $8) account, bytes_config($1) config
        "#,
        act.guild.to_string(),
        act.member.id.to_string(),
        act.member.username,
        *act.member.id.created_at(),
        act.bot.id.to_string(),
        act.bot.username,
        starting_id(act),
        act.now(),
    )
    .fetch_one(db)
    .await?;
    let currency = Currency { name: row.currency_name, emoji: row.currency_emoji };
    let account = Row {
        balance: row.balance,
        total_received: row.total_received,
        total_sent: row.total_sent,
        last_daily: row.last_daily,
        streak_count: row.streak_count,
        last_transfer_at: row.last_transfer_at,
        opened_at: row.opened_at,
        left_at: row.left_at,
    };
    let account = Account::from(account);
    let settings =
        Settings { min_account_age_days: row.min_account_age_days, ..Settings::default() };
    let earliest = settings.earliest(*act.member.id.created_at());
    let opens = (account.opened.is_none() && act.now() < earliest).then_some(earliest);
    Ok(Own { account, currency, opens })
}

/// The acting member's own account.
pub(super) struct Own {
    pub(super) account: Account,
    pub(super) currency: Currency,
    /// From when on a command opens it, where the Discord account is too new yet.
    pub(super) opens: Option<DateTime<Utc>>,
}

/// Somebody's account, if they have one.
pub(super) async fn find_account(
    db: &mut PgConnection,
    guild: GuildId,
    member: UserId,
) -> sqlx::Result<Option<Account>> {
    let row = sqlx::query_as!(
        Row,
        r#"
        select balance, total_received, total_sent, last_daily, streak_count, last_transfer_at, opened_at,
            left_at
        from bytes_balances
        where guild_id = $1 and user_id = $2
        "#,
        guild.to_string(),
        member.to_string(),
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(Account::from))
}

/// The guild's settings, or the defaults.
pub(super) async fn find_settings(db: &mut PgConnection, guild: GuildId) -> sqlx::Result<Settings> {
    let row = sqlx::query!(
        r#"
        select
            starting_balance as "starting_balance!", daily_amount as "daily_amount!",
            streak_bonuses as "streak_bonuses!: Json<BTreeMap<i32, i32>>", max_transfer as "max_transfer!",
            transfer_cooldown_hours as "transfer_cooldown_hours!",
            role_rewards as "role_rewards!: Json<BTreeMap<String, i64>>", confirm_from as "confirm_from!",
            min_account_age_days as "min_account_age_days!", currency_name as "currency_name!", currency_emoji
        from bytes_config($1)
        "#,
        guild.to_string(),
    )
    .fetch_one(db)
    .await?;
    Ok(Settings {
        starting_balance: row.starting_balance,
        daily_amount: row.daily_amount,
        streak_bonuses: row.streak_bonuses.0,
        max_transfer: row.max_transfer,
        transfer_cooldown_hours: row.transfer_cooldown_hours,
        role_rewards: row
            .role_rewards
            .0
            .into_iter()
            .map(|(role, least)| Ok((RoleId::new(snowflake(&role)?.get()), least)))
            .collect::<sqlx::Result<_>>()?,
        confirm_from: row.confirm_from,
        min_account_age_days: row.min_account_age_days,
        currency: Currency { name: row.currency_name, emoji: row.currency_emoji },
    })
}

/// Locks the guild's settings, with a row of defaults where there was none: whoever changes them
/// waits here for who does already.
pub(super) async fn lock_settings(db: &mut PgConnection, guild: GuildId) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into bytes_configs (guild_id) values ($1) on conflict do nothing",
        guild.to_string(),
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "select 1 as one from bytes_configs where guild_id = $1 for update",
        guild.to_string(),
    )
    .fetch_one(db)
    .await
    .map(drop)
}

/// Replaces the guild's settings, but for its role rewards.
pub(super) async fn update_settings(
    db: &mut PgConnection,
    guild: GuildId,
    settings: &Settings,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        update bytes_configs
        set starting_balance = $2, daily_amount = $3, streak_bonuses = $4, max_transfer = $5,
            transfer_cooldown_hours = $6, confirm_from = $7, min_account_age_days = $8,
            currency_name = $9, currency_emoji = $10
        where guild_id = $1
        "#,
        guild.to_string(),
        settings.starting_balance,
        settings.daily_amount,
        Json(&settings.streak_bonuses) as _,
        settings.max_transfer,
        settings.transfer_cooldown_hours,
        settings.confirm_from,
        settings.min_account_age_days,
        settings.currency.name,
        settings.currency.emoji,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Sends bytes, or finds that this act did or was refused, in one round trip.
pub(super) async fn transfer(
    db: &mut PgConnection,
    act: &Act,
    receiver: &Person,
    asked: i64,
    reason: Option<&str>,
    confirmed: bool,
) -> sqlx::Result<Result<Sending, Refusal>> {
    let row = sqlx::query!(
        r#"
        select
            outcome as "outcome!", balance as "balance!", receiver_balance, bound, until,
            currency_name as "currency_name!", currency_emoji, promised as "promised!"
        from bytes_transfer($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        "#,
        act.guild.to_string(),
        act.key.to_string(),
        act.row_id("transfer"),
        starting_id(act),
        act.now(),
        act.member.id.to_string(),
        act.member.username,
        *act.member.id.created_at(),
        receiver.id.to_string(),
        receiver.username,
        act.bot.id.to_string(),
        act.bot.username,
        asked,
        reason,
        confirmed,
    )
    .fetch_one(db)
    .await?;
    let currency = Currency { name: row.currency_name, emoji: row.currency_emoji };
    let balance = row.balance;
    Ok(match (row.outcome.as_str(), row.receiver_balance, row.bound, row.until) {
        ("done", Some(receiver_balance), ..) => {
            Ok(Sending::Sent(Sent { balance, receiver_balance, currency, promised: row.promised }))
        }
        ("confirm", ..) => Ok(Sending::Confirm(Preview { balance, currency })),
        ("cancelled", ..) => Err(Refusal::Cancelled),
        ("above_limit", _, Some(max), _) => Err(Refusal::AboveLimit { max, currency }),
        ("on_cooldown", _, _, Some(until)) => Err(Refusal::OnCooldown { until }),
        ("left", ..) => Err(Refusal::NotAMember),
        ("too_little", ..) => Err(Refusal::TooLittle { balance, asked, currency }),
        (outcome, _, _, until) => Err(common_refusal(outcome, until)?),
    })
}

/// What an act's unconfirmed transfer would have moved, if it was to be confirmed.
pub(super) async fn find_pending(
    db: &mut PgConnection,
    act: &Act,
) -> sqlx::Result<Option<Pending>> {
    let row = sqlx::query!(
        r#"
        select
            outcome ->> 'receiver_id' as "receiver_id!", outcome ->> 'receiver_username' as "receiver_username!",
            (outcome ->> 'amount')::bigint as "amount!", outcome ->> 'reason' as reason
        from processed_interactions
        where guild_id = $1 and interaction_id = $2 and part = 'confirm'
        "#,
        act.guild.to_string(),
        act.key.to_string(),
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        let receiver = Person::new(user(&row.receiver_id)?, &row.receiver_username);
        Ok(Pending { receiver, amount: row.amount, reason: row.reason })
    })
    .transpose()
}

/// What this act's first delivery moved, or asked about; `None` if it did neither.
pub(super) async fn find_first_gift(
    db: &mut PgConnection,
    act: &Act,
) -> sqlx::Result<Option<Pending>> {
    let row = sqlx::query!(
        r#"
        select receiver_id as "receiver_id: String", receiver_username, amount, reason
        from bytes_transactions
        where guild_id = $1 and id = $2
        "#,
        act.guild.to_string(),
        act.row_id("transfer"),
    )
    .fetch_optional(&mut *db)
    .await?;
    let Some(row) = row else { return find_pending(db, act).await };
    let receiver = Person::new(user(&row.receiver_id)?, &row.receiver_username);
    Ok(Some(Pending { receiver, amount: row.amount, reason: row.reason }))
}

/// Whether this act's transfer was made.
pub(super) async fn is_sent(db: &mut PgConnection, act: &Act) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from bytes_transactions where guild_id = $1 and id = $2) as "is_sent!""#,
        act.guild.to_string(),
        act.row_id("transfer"),
    )
    .fetch_one(db)
    .await
}

/// Locks somebody's account, with a new empty one where there was none; whether it's new.
pub(super) async fn lock_account(
    db: &mut PgConnection,
    guild: GuildId,
    member: UserId,
) -> sqlx::Result<(Account, bool)> {
    let added = sqlx::query!(
        "insert into bytes_balances (guild_id, user_id) values ($1, $2) on conflict do nothing",
        guild.to_string(),
        member.to_string(),
    )
    .execute(&mut *db)
    .await?;
    let row = sqlx::query_as!(
        Row,
        r#"
        select
            balance, total_received, total_sent, last_daily, streak_count, last_transfer_at, opened_at,
            left_at
        from bytes_balances
        where guild_id = $1 and user_id = $2
        for update
        "#,
        guild.to_string(),
        member.to_string(),
    )
    .fetch_one(db)
    .await?;
    Ok((row.into(), added.rows_affected() == 1))
}

/// Takes back an account that [`lock_account`] just made.
pub(super) async fn delete_account(
    db: &mut PgConnection,
    guild: GuildId,
    member: UserId,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from bytes_balances where guild_id = $1 and user_id = $2",
        guild.to_string(),
        member.to_string(),
    )
    .execute(db)
    .await
    .map(drop)
}

/// The adjustment that this act made, if it did.
pub(super) async fn find_adjustment(db: &mut PgConnection, act: &Act) -> sqlx::Result<Option<i64>> {
    let row = sqlx::query_scalar!(
        r#"
        select coalesce(giver_balance, receiver_balance) as "balance!"
        from bytes_transactions
        where guild_id = $1 and id = $2
        "#,
        act.guild.to_string(),
        act.row_id("adjustment"),
    )
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Records an adjustment and moves the balance to `balance`. The caller holds the account's lock.
pub(super) async fn insert_adjustment(
    db: &mut PgConnection,
    act: &Act,
    member: &Person,
    direction: Direction,
    asked: i64,
    reason: Option<&str>,
    (balance, total_received): (i64, i64),
) -> sqlx::Result<()> {
    let grants = direction == Direction::Grant;
    let (giver, receiver) = if grants { (&act.bot, member) } else { (member, &act.bot) };
    sqlx::query!(
        r#"
        insert into bytes_transactions (
            guild_id, id, kind, giver_id, giver_username, receiver_id, receiver_username, amount, reason,
            giver_balance, receiver_balance, giver_previous_id, receiver_previous_id,
            manager_id, manager_username, created_at
        )
        select
            $1::varchar, $2, 'adjustment', $3, $4, $5, $6, $7, $8,
            case when $9 then null else $10::bigint end, case when $9 then $10 end,
            case when $9 then null else last_transaction_id end, case when $9 then last_transaction_id end,
            $11, $12, $13
        from bytes_balances
        where guild_id = $1::varchar and user_id = $14
        "#,
        act.guild.to_string(),
        act.row_id("adjustment"),
        giver.id.to_string(),
        giver.username,
        receiver.id.to_string(),
        receiver.username,
        asked,
        reason,
        grants,
        balance,
        act.member.id.to_string(),
        act.member.username,
        act.now(),
        member.id.to_string(),
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        r#"
        update bytes_balances set balance = $3, total_received = $4, last_transaction_id = $5
        where guild_id = $1 and user_id = $2
        "#,
        act.guild.to_string(),
        member.id.to_string(),
        balance,
        total_received,
        act.row_id("adjustment"),
    )
    .execute(&mut *db)
    .await?;
    tell_changed(db, act.guild, &[member.id.to_string()]).await
}

/// Tells the leaderboard that accounts changed. The caller holds their locks.
pub(super) async fn tell_changed(
    db: &mut PgConnection,
    guild: GuildId,
    members: &[String],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"select bytes_changed($1, variadic $2::varchar[]) is null as "changed!""#,
        guild.to_string(),
        members,
    )
    .fetch_one(db)
    .await
    .map(drop)
}

/// Promises the roles whose threshold `total_received` passed; whether there are any. The caller
/// holds the account's lock.
pub(super) async fn promise_rewards(
    db: &mut PgConnection,
    guild: GuildId,
    member: UserId,
    before: i64,
    after: i64,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"
        select bytes_promise_rewards($1, $2, config.role_rewards, $3, $4) as "promised!"
        from bytes_config($1) config
        "#,
        guild.to_string(),
        member.to_string(),
        before,
        after,
    )
    .fetch_one(db)
    .await
}

/// Makes those of the transfers about which there is nothing to decide, in one round trip; `None`
/// for the others.
pub(super) async fn clear(
    db: &mut PgConnection,
    transfers: &[&Transfer],
) -> sqlx::Result<Vec<Option<Sent>>> {
    match transfers {
        [one] => Ok(vec![clear_one(db, one).await?]),
        many => clear_batch(db, many).await,
    }
}

async fn clear_one(db: &mut PgConnection, transfer: &Transfer) -> sqlx::Result<Option<Sent>> {
    let Transfer { act, id, receiver, amount, reason, confirmed } = transfer;
    let row = sqlx::query!(
        r#"
        select balance, receiver_balance, currency_name, currency_emoji, promised
        from bytes_transfer_plain($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        "#,
        act.guild.to_string(),
        act.key.to_string(),
        id,
        act.now(),
        act.member.id.to_string(),
        act.member.username,
        *act.member.id.created_at(),
        receiver.id.to_string(),
        receiver.username,
        amount,
        reason.as_deref(),
        confirmed,
    )
    .fetch_one(db)
    .await?;
    let made = row.balance.zip(row.receiver_balance).zip(row.currency_name);
    Ok(made.map(|((balance, receiver_balance), name)| Sent {
        balance,
        receiver_balance,
        currency: Currency { name, emoji: row.currency_emoji },
        promised: row.promised.unwrap_or(false),
    }))
}

async fn clear_batch(
    db: &mut PgConnection,
    transfers: &[&Transfer],
) -> sqlx::Result<Vec<Option<Sent>>> {
    fn column<T>(transfers: &[&Transfer], value: impl Fn(&Transfer) -> T) -> Vec<T> {
        transfers.iter().map(|transfer| value(transfer)).collect()
    }
    let row = sqlx::query!(
        r#"
        select
            balances as "balances!: Vec<Option<i64>>", receiver_balances as "receiver_balances!: Vec<Option<i64>>",
            currency_names as "currency_names!: Vec<Option<String>>",
            currency_emojis as "currency_emojis!: Vec<Option<String>>", promised as "promised!"
        from bytes_transfer_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        "#,
        &column(transfers, |transfer| transfer.act.guild.to_string()),
        &column(transfers, |transfer| transfer.act.key.to_string()),
        &column(transfers, |transfer| transfer.id),
        &column(transfers, |transfer| transfer.act.now()),
        &column(transfers, |transfer| transfer.act.member.id.to_string()),
        &column(transfers, |transfer| transfer.act.member.username.clone()),
        &column(transfers, |transfer| *transfer.act.member.id.created_at()),
        &column(transfers, |transfer| transfer.receiver.id.to_string()),
        &column(transfers, |transfer| transfer.receiver.username.clone()),
        &column(transfers, |transfer| transfer.amount),
        &column(transfers, |transfer| transfer.reason.clone()) as &[Option<String>],
        &column(transfers, |transfer| transfer.confirmed),
    )
    .fetch_one(db)
    .await?;
    let figures = row.balances.into_iter().zip(row.receiver_balances);
    let currencies = row.currency_names.into_iter().zip(row.currency_emojis);
    Ok(figures
        .zip(currencies)
        .map(|((balance, receiver_balance), (name, emoji))| {
            Some(Sent {
                balance: balance?,
                receiver_balance: receiver_balance?,
                currency: Currency { name: name?, emoji },
                promised: row.promised,
            })
        })
        .collect())
}

/// Claims the daily, or finds that this act did or was refused, in one round trip.
pub(super) async fn claim_daily(
    db: &mut PgConnection,
    act: &Act,
) -> sqlx::Result<Result<Claim, Refusal>> {
    let row = sqlx::query!(
        r#"
        select
            outcome as "outcome!", reward, streak, balance, until, next_length, next_multiplier,
            currency_name as "currency_name!", currency_emoji, promised as "promised!"
        from bytes_claim_daily($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        "#,
        act.guild.to_string(),
        act.key.to_string(),
        act.row_id("daily"),
        starting_id(act),
        act.now(),
        act.member.id.to_string(),
        act.member.username,
        *act.member.id.created_at(),
        act.bot.id.to_string(),
        act.bot.username,
    )
    .fetch_one(db)
    .await?;
    Ok(match (row.outcome.as_str(), row.reward, row.streak, row.balance, row.until) {
        ("done", Some(reward), Some(streak), Some(balance), Some(next)) => Ok(Claim {
            reward,
            streak,
            balance,
            next,
            next_bonus: row.next_length.zip(row.next_multiplier),
            currency: Currency { name: row.currency_name, emoji: row.currency_emoji },
            promised: row.promised,
        }),
        ("claimed", .., Some(until)) => Err(Refusal::Claimed { until }),
        (outcome, .., until) => Err(common_refusal(outcome, until)?),
    })
}

/// What transfer and daily may both be refused for.
fn common_refusal(outcome: &str, until: Option<DateTime<Utc>>) -> sqlx::Result<Refusal> {
    match (outcome, until) {
        ("too_young", Some(until)) => Ok(Refusal::TooYoung { until }),
        ("overflow", _) => Ok(Refusal::Overflow),
        _ => Err(sqlx::Error::Decode(format!("the outcome {outcome:?} is not known here").into())),
    }
}

/// A page of what a member gave and received, newest first: along the chain that the member's rows
/// of the ledger form.
pub(super) async fn list_history(
    db: &mut PgConnection,
    guild: GuildId,
    member: UserId,
    limit: i64,
    offset: i64,
) -> sqlx::Result<Vec<Entry>> {
    let rows = sqlx::query!(
        r#"
        with recursive history as (
            select t.*, 1 as place
            from bytes_balances b
            join bytes_transactions t on t.guild_id = b.guild_id and t.id = b.last_transaction_id
            where b.guild_id = $1 and b.user_id = $2
            union all
            select t.*, h.place + 1
            from history h
            join bytes_transactions t
                on t.guild_id = $1
                and t.id = case h.giver_id when $2 then h.giver_previous_id else h.receiver_previous_id end
            where h.place < $3::bigint + $4::bigint
        )
        select
            kind as "kind!: Kind", giver_id as "giver_id!", receiver_id as "receiver_id!",
            amount as "amount!", reason, manager_id, created_at as "created_at!"
        from history
        order by place
        limit $3
        offset $4
        "#,
        guild.to_string(),
        member.to_string(),
        limit,
        offset,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let (giver, receiver) = (user(&row.giver_id)?, user(&row.receiver_id)?);
            let gave = giver == member;
            Ok(Entry {
                kind: row.kind,
                gave,
                other: if gave { receiver } else { giver },
                amount: row.amount,
                reason: row.reason,
                manager: row.manager_id.as_deref().map(user).transpose()?,
                at: row.created_at,
            })
        })
        .collect()
}

/// Queues accounts for the leaderboard.
pub(super) async fn queue_unranked(
    db: &mut PgConnection,
    accounts: &[(GuildId, UserId)],
) -> sqlx::Result<()> {
    let guilds: Vec<String> = accounts.iter().map(|(guild, _)| guild.to_string()).collect();
    let users: Vec<String> = accounts.iter().map(|(_, user)| user.to_string()).collect();
    sqlx::query!(
        r#"
        insert into bytes_unranked (guild_id, user_id)
        select guild_id, user_id from unnest($1::varchar[], $2::varchar[]) as a (guild_id, user_id)
        order by guild_id, user_id
        on conflict (guild_id, user_id) do update set updated_at = now()
        "#,
        &guilds,
        &users,
    )
    .execute(db)
    .await
    .map(drop)
}

/// Queues who stands on the leaderboard, of one guild or of any, with a streak that is over by the
/// database's clock, at most 5 000 who don't wait yet.
pub(super) async fn queue_ended_streaks(
    db: &mut PgConnection,
    guild: Option<&str>,
) -> sqlx::Result<u64> {
    sqlx::query!(
        r#"
        insert into bytes_unranked (guild_id, user_id)
        select r.guild_id, r.user_id from bytes_rankings r
        where r.ends_on <= (now() at time zone 'UTC')::date
            and ($1::text is null or r.guild_id = $1)
            and not exists (
                select from bytes_unranked u where u.guild_id = r.guild_id and u.user_id = r.user_id
            )
        order by r.guild_id, r.user_id
        limit 5000
        on conflict (guild_id, user_id) do nothing
        "#,
        guild,
    )
    .execute(db)
    .await
    .map(|done| done.rows_affected())
}

/// Queues every account that the leaderboard has otherwise than the accounts have it.
pub(super) async fn queue_differing(tx: &mut PgConnection) -> sqlx::Result<u64> {
    // It reads every account.
    sqlx::query!("set local statement_timeout = 0").execute(&mut *tx).await?;
    sqlx::query!(
        r#"
        insert into bytes_unranked (guild_id, user_id)
        select b.guild_id, b.user_id
        from bytes_balances b
        left join bytes_rankings held
            on held.guild_id = b.guild_id and held.scope = 'balance' and held.user_id = b.user_id
        left join bytes_rankings received
            on received.guild_id = b.guild_id and received.scope = 'received' and received.user_id = b.user_id
        where coalesce(-held.place, 0) <> case when b.left_at is null then b.balance else 0 end
            or coalesce(-received.place, 0) <> case when b.left_at is null then b.total_received else 0 end
        order by b.guild_id, b.user_id
        on conflict (guild_id, user_id) do nothing
        "#,
    )
    .execute(tx)
    .await
    .map(|done| done.rows_affected())
}

/// Guilds with accounts to rank, at most 100.
pub(super) async fn list_unranked_guilds(db: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select distinct guild_id as "guild_id!: String" from bytes_unranked limit 100"#
    )
    .fetch_all(db)
    .await
}

/// Ranks at most so many changed accounts of a guild, with streaks as they stand on `today`, or
/// on the database's day; how many it took, 0 also when somebody else is at it.
pub(super) async fn rank(
    db: &mut PgConnection,
    guild: &str,
    today: Option<NaiveDate>,
    most: i32,
) -> sqlx::Result<i32> {
    sqlx::query_scalar!(
        r#"select bytes_rank($1, coalesce($2, (now() at time zone 'UTC')::date), $3) as "taken!""#,
        guild,
        today,
        most,
    )
    .fetch_one(db)
    .await
}

/// How many members are ranked.
pub(super) async fn count_ranked(
    db: &mut PgConnection,
    guild: GuildId,
    scope: Scope,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"
        select coalesce(sum(members), 0)::bigint as "members!"
        from bytes_ranking_steps
        where guild_id = $1 and scope = $2
        "#,
        guild.to_string(),
        scope as Scope,
    )
    .fetch_one(db)
    .await
}

/// How many members are ranked with more than `value`, not counting one of them.
pub(super) async fn count_above(
    db: &mut PgConnection,
    guild: GuildId,
    scope: Scope,
    value: i64,
    but: UserId,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"
        select bytes_ranked_above($1, $2, $3) - (
            select count(*) from bytes_rankings
            where guild_id = $1 and scope = $2 and user_id = $4 and place < -$3
        ) as "above!"
        "#,
        guild.to_string(),
        scope as Scope,
        value,
        but.to_string(),
    )
    .fetch_one(db)
    .await
}

/// A page of who is ranked, and how many stand above its first.
pub(super) async fn list_ranked(
    db: &mut PgConnection,
    guild: GuildId,
    scope: Scope,
    limit: i32,
    offset: i64,
) -> sqlx::Result<(i64, Vec<(UserId, i64)>)> {
    let rows = sqlx::query!(
        r#"
        with page as materialized (select user_id, value from bytes_ranking_page($1, $2, $4, $3))
        select
            user_id as "user_id!", value as "value!",
            -- Of the first, once: each row would count anew.
            (select bytes_ranked_above($1, $2, max(value)) from page) as "above!"
        from page
        "#,
        guild.to_string(),
        scope as Scope,
        limit,
        offset,
    )
    .fetch_all(db)
    .await?;
    let above = rows.first().map_or(0, |row| row.above);
    let members = rows.into_iter().map(|row| Ok((user(&row.user_id)?, row.value)));
    Ok((above, members.collect::<sqlx::Result<_>>()?))
}

/// How many accounts and ledger rows there are, over all guilds.
pub(super) async fn count_ledger(db: &mut PgConnection) -> sqlx::Result<(i64, i64)> {
    let row = sqlx::query!(
        r#"
        select
            (select count(*) from bytes_balances) as "accounts!",
            (select count(*) from bytes_transactions) as "transactions!"
        "#,
    )
    .fetch_one(db)
    .await?;
    Ok((row.accounts, row.transactions))
}

/// Recomputes every account from the ledger and lists all that differ.
///
/// Sums are exact beyond 64 bits, so they come as text.
pub(super) async fn list_differences(db: &mut PgConnection) -> sqlx::Result<Vec<Difference>> {
    sqlx::query_as!(
        Difference,
        r#"
        with sides as (
            select
                guild_id, receiver_id as user_id, amount as received, 0::bigint as given,
                case when kind in ('transfer', 'daily', 'adjustment') then amount else 0 end as total_received,
                0::bigint as total_sent
            from bytes_transactions
            where receiver_balance is not null
            union all
            select
                guild_id, giver_id, 0, amount, 0,
                case when kind = 'transfer' then amount else 0 end
            from bytes_transactions
            where giver_balance is not null
        ),
        ledger as (
            select
                guild_id, user_id,
                sum(received) - sum(given) as balance,
                sum(total_received) as total_received,
                sum(total_sent) as total_sent
            from sides
            group by guild_id, user_id
        )
        select
            coalesce(account.guild_id, ledger.guild_id) as "guild_id!",
            coalesce(account.user_id, ledger.user_id) as "user_id!",
            account.balance::text as "balance?",
            coalesce(ledger.balance, 0)::text as "ledger_balance!",
            account.total_received::text as "total_received?",
            coalesce(ledger.total_received, 0)::text as "ledger_received!",
            account.total_sent::text as "total_sent?",
            coalesce(ledger.total_sent, 0)::text as "ledger_sent!"
        from bytes_balances as account
        full join ledger on ledger.guild_id = account.guild_id and ledger.user_id = account.user_id
        where (account.balance, account.total_received, account.total_sent) is distinct from (
            coalesce(ledger.balance, 0),
            coalesce(ledger.total_received, 0),
            coalesce(ledger.total_sent, 0)
        )
        order by 1, 2
        "#,
    )
    .fetch_all(db)
    .await
}

/// How many accounts have a history that isn't one chain of all their rows from the newest to the
/// first, or more than one starting balance.
pub(super) async fn count_broken_histories(db: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"
        with sides as (
            select guild_id, giver_id as user_id, id, kind, giver_previous_id as previous_id
            from bytes_transactions where giver_balance is not null
            union all
            select guild_id, receiver_id, id, kind, receiver_previous_id
            from bytes_transactions where receiver_balance is not null
        )
        select count(*) as "broken!"
        from (
            select 1
            from sides s
            left join bytes_balances b on b.guild_id = s.guild_id and b.user_id = s.user_id
            left join sides previous
                on previous.guild_id = s.guild_id and previous.user_id = s.user_id and previous.id = s.previous_id
            group by s.guild_id, s.user_id
            having count(distinct previous.id) <> count(*) - 1
                or not coalesce(bool_or(s.id = b.last_transaction_id), false)
                or bool_or(s.previous_id = b.last_transaction_id)
                or count(*) filter (where s.kind = 'starting') > 1
        ) as accounts
        "#,
    )
    .fetch_one(db)
    .await
}
