//! `/economy`: how managers run a guild's economy. Only they see the answers.

use std::time::Duration;

use poise::serenity_prelude as serenity;
use serenity::{AutocompleteChoice, CreateAutocompleteResponse, CreateEmbed, GuildId, Permissions};
use tokio::time::timeout;

use super::commands::{bonuses, kept_reason, quoted, rewards};
use super::rewards::commands::{repair, reward, told};
use super::rules::Direction;
use super::settings::{Change, Emoji, Wishes, parse_emoji};
use super::{Adjusted, Refusal, Settings};
use crate::Result;
use crate::act::{Act, Person};
use crate::discord::reply::Reply;
use crate::discord::text::counted;
use crate::discord::{Context, act, answer};

/// Run this server's economy
#[poise::command(
    slash_command,
    guild_only,
    subcommand_required,
    default_member_permissions = "MANAGE_GUILD",
    subcommands("show", "set", "grant", "take", "streak", "reward", "repair")
)]
pub(super) async fn economy(_: Context<'_>) -> Result<()> {
    Ok(())
}

/// Set what longer streaks pay
#[poise::command(
    slash_command,
    guild_only,
    subcommand_required,
    subcommands("add_streak", "remove_streak")
)]
async fn streak(_: Context<'_>) -> Result<()> {
    Ok(())
}

/// The act of a manager: Discord's own check is a default that a guild's admin can override.
pub(super) fn managers_act(ctx: Context<'_>) -> Result<Act> {
    let act = act(ctx)?;
    if manages(ctx) { Ok(act) } else { Err(Refusal::NotAManager.into()) }
}

pub(super) fn manages(ctx: Context<'_>) -> bool {
    let permissions = ctx.interaction.member.as_ref().and_then(|member| member.permissions);
    permissions.is_some_and(Permissions::manage_guild)
}

/// Show every setting of the economy
#[poise::command(slash_command, guild_only)]
async fn show(ctx: Context<'_>) -> Result<()> {
    answer(ctx, async {
        let act = managers_act(ctx)?;
        let db = &ctx.data().db;
        let settings = super::managers::settings(db, act.guild).await?;
        let failures = super::rewards::tell_failures(db, &act).await?;
        let mut embed = settings_embed(&settings);
        if !failures.is_empty() {
            // A field holds 1 024 characters.
            let told: String = told(&failures).trim().chars().take(1_024).collect();
            embed = embed.field("Role rewards that failed", told, false);
        }
        Ok(Reply::private(embed))
    })
    .await;
    Ok(())
}

/// Change settings of the economy
#[poise::command(slash_command, guild_only)]
#[expect(clippy::too_many_arguments, reason = "an option each")]
async fn set(
    ctx: Context<'_>,
    #[description = "What a new account has: 0 to 10,000"]
    #[min = 0]
    #[max = 10_000]
    starting_balance: Option<i64>,
    #[description = "What a daily pays without a bonus: 1 to 1,000"]
    #[min = 1]
    #[max = 1_000]
    daily_amount: Option<i64>,
    #[description = "The most a member can send at once: 1 to 100,000"]
    #[min = 1]
    #[max = 100_000]
    max_transfer: Option<i64>,
    #[description = "Hours between what a member sends: 0 to 168"]
    #[min = 0]
    #[max = 168]
    transfer_cooldown_hours: Option<i32>,
    #[description = "From what amount on the giver is asked first: 0 (never) to 100,000"]
    #[min = 0]
    #[max = 100_000]
    confirm_from: Option<i64>,
    #[description = "How old a Discord account must be to take part, in days: 0 to 365"]
    #[min = 0]
    #[max = 365]
    min_account_age_days: Option<i32>,
    #[description = "What the currency is called, in the plural: 1 to 32 characters"]
    #[min_length = 1]
    #[max_length = 32]
    currency_name: Option<String>,
    #[description = "An emoji before each amount; none removes it"]
    #[max_length = 100]
    currency_emoji: Option<String>,
) -> Result<()> {
    answer(ctx, async {
        let act = managers_act(ctx)?;
        let currency_emoji = match currency_emoji.as_deref() {
            None => None,
            Some(text) => Some(usable_emoji(ctx, act.guild, text).await?),
        };
        let wishes = Wishes {
            starting_balance,
            daily_amount,
            max_transfer,
            transfer_cooldown_hours,
            confirm_from,
            min_account_age_days,
            currency_name,
            currency_emoji,
        };
        let changes = super::change_settings(&ctx.data().db, &act, &wishes).await?;
        Ok(changes_reply(&changes))
    })
    .await;
    Ok(())
}

/// The emoji that somebody wrote, if the bot can use it here; `None` for "none".
async fn usable_emoji(ctx: Context<'_>, guild: GuildId, text: &str) -> Result<Option<String>> {
    if text.trim().eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let id = match parse_emoji(text)? {
        Emoji::Unicode(emoji) => return Ok(Some(emoji)),
        Emoji::Custom(id) => id,
    };
    // Asked of Discord: the cache would need an intent to follow changes.
    let own = ctx.framework.serenity_context.http.get_emojis(guild).await?;
    let emoji = own.into_iter().find(|emoji| emoji.id.get() == id).ok_or(Refusal::ForeignEmoji)?;
    if !emoji.available || !emoji.roles.is_empty() {
        return Err(Refusal::LockedEmoji.into());
    }
    Ok(Some(emoji.to_string()))
}

/// Give a member bytes out of nothing
#[poise::command(slash_command, guild_only)]
async fn grant(
    ctx: Context<'_>,
    #[description = "Who gets them"] member: serenity::User,
    #[description = "How many"]
    #[min = 1]
    amount: i64,
    #[description = "What for; it stands in their history"]
    #[max_length = 200]
    reason: Option<String>,
) -> Result<()> {
    answer(ctx, adjusted(ctx, member, Direction::Grant, amount, reason)).await;
    Ok(())
}

/// Take bytes from a member
#[poise::command(slash_command, guild_only)]
async fn take(
    ctx: Context<'_>,
    #[description = "Who loses them"] member: serenity::User,
    #[description = "How many"]
    #[min = 1]
    amount: i64,
    #[description = "What for; it stands in their history"]
    #[max_length = 200]
    reason: Option<String>,
) -> Result<()> {
    answer(ctx, adjusted(ctx, member, Direction::Take, amount, reason)).await;
    Ok(())
}

async fn adjusted(
    ctx: Context<'_>,
    member: serenity::User,
    direction: Direction,
    amount: i64,
    reason: Option<String>,
) -> Result<Reply> {
    let act = managers_act(ctx)?;
    if member.bot {
        return Err(Refusal::ToBot.into());
    }
    if amount < 1 {
        return Err(Refusal::BelowOne.into());
    }
    let reason = reason.as_deref().and_then(kept_reason);
    let member = Person::new(member.id, &member.name);
    let db = &ctx.data().db;
    let adjusted = super::adjust(db, &act, &member, direction, amount, reason.as_deref()).await?;
    ctx.data().outbox.wake_if(adjusted.promised);
    Ok(Reply::private(adjusted_embed(&member, direction, amount, reason.as_deref(), &adjusted)))
}

/// Pay a daily several times from a streak on
#[poise::command(slash_command, guild_only, rename = "add")]
async fn add_streak(
    ctx: Context<'_>,
    #[description = "Days of the streak"]
    #[min = 1]
    #[max = 99_999]
    length: i32,
    #[description = "How many times as much a daily pays from then on"]
    #[min = 1]
    #[max = 256]
    multiplier: i32,
) -> Result<()> {
    answer(ctx, async {
        let act = managers_act(ctx)?;
        let changes = super::add_bonus(&ctx.data().db, &act, length, multiplier).await?;
        Ok(changes_reply(&changes))
    })
    .await;
    Ok(())
}

/// Remove a streak's bonus
#[poise::command(slash_command, guild_only, rename = "remove")]
async fn remove_streak(
    ctx: Context<'_>,
    #[description = "Days of the streak"]
    #[autocomplete = "complete_length"]
    #[min = 1]
    #[max = 99_999]
    length: i32,
) -> Result<()> {
    answer(ctx, async {
        let act = managers_act(ctx)?;
        let changes = super::remove_bonus(&ctx.data().db, &act, length).await?;
        Ok(changes_reply(&changes))
    })
    .await;
    Ok(())
}

/// How long an autocomplete may take: Discord waits for 3 s.
const COMPLETE_WITHIN: Duration = Duration::from_secs(2);

/// The lengths that have a bonus; nothing to who doesn't manage the guild.
async fn complete_length(ctx: Context<'_>, partial: &str) -> CreateAutocompleteResponse {
    let none = CreateAutocompleteResponse::new();
    let Some(guild) = ctx.interaction.guild_id.filter(|_| manages(ctx)) else { return none };
    let settings = super::managers::settings(&ctx.data().db, guild);
    let Ok(Ok(settings)) = timeout(COMPLETE_WITHIN, settings).await else { return none };
    let bonuses = settings.streak_bonuses.iter();
    let choices = bonuses
        .filter(|(length, _)| length.to_string().starts_with(partial.trim()))
        .map(|(&length, multiplier)| {
            let name = format!("{} (x{multiplier})", counted(length.into(), "day"));
            AutocompleteChoice::new(name, length)
        })
        // Discord's limit.
        .take(25);
    none.set_choices(choices.collect())
}

pub(super) fn settings_embed(settings: &Settings) -> CreateEmbed {
    let at_default = settings.at_default();
    let default = |is: bool| if is { " · default" } else { "" };
    let lines = settings.values().map(|(name, value)| {
        format!("`{name}` **{value}**{}", default(at_default.contains(&name)))
    });
    let is_default = settings.streak_bonuses == Settings::default().streak_bonuses;
    CreateEmbed::new()
        .title("Economy")
        .description(lines.join("\n"))
        .field(format!("Streak bonuses{}", default(is_default)), bonuses(settings), false)
        .field(
            format!("Role rewards{}", default(settings.role_rewards.is_empty())),
            rewards(settings),
            false,
        )
}

pub(super) fn changes_reply(changes: &[Change]) -> Reply {
    let lines: Vec<String> = changes
        .iter()
        .map(|Change { setting, old, new }| format!("`{setting}` {old} → **{new}**"))
        .collect();
    let text = if lines.is_empty() {
        "Nothing changed: it was like this before.".to_owned()
    } else {
        lines.join("\n")
    };
    Reply::private(CreateEmbed::new().title("Economy").description(text))
}

pub(super) fn adjusted_embed(
    member: &Person,
    direction: Direction,
    amount: i64,
    reason: Option<&str>,
    adjusted: &Adjusted,
) -> CreateEmbed {
    let (done, preposition) = match direction {
        Direction::Grant => ("Granted", "to"),
        Direction::Take => ("Took", "from"),
    };
    let currency = &adjusted.currency;
    CreateEmbed::new()
        .description(format!(
            "{done} **{}** {preposition} <@{}>.{}",
            currency.amount(amount),
            member.id,
            quoted(reason)
        ))
        .field("Their balance", currency.amount(adjusted.balance).to_string(), true)
}
