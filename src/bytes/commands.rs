//! `/bytes`, `/daily` and `/leaderboard`, as members meet them.

use std::num::NonZeroU64;

use poise::serenity_prelude as serenity;
use serenity::{CreateEmbed, CreateEmbedFooter, InteractionId, Permissions, UserId};

use super::{
    Account, Bank, Board, Claim, Entry, History, Kind, Refusal, Scope, Sent, Settings, rules,
};
use crate::act::{Act, Person};
use crate::discord::button::{self, Button};
use crate::discord::reply::Reply;
use crate::discord::text::{ago, amount, counted, escaped, grouped, relative};
use crate::discord::{self, App, Context, Press, act, answer};
use crate::{Error, Result};
use poise::ChoiceParameter as _;

/// The commands of this feature.
pub(crate) fn commands() -> Vec<poise::Command<App, Error>> {
    vec![bytes(), daily(), leaderboard()]
}

/// Bytes, the currency of this server
#[poise::command(
    slash_command,
    guild_only,
    subcommand_required,
    subcommands("balance", "send", "history", "info")
)]
async fn bytes(_: Context<'_>) -> Result<()> {
    Ok(())
}

/// Show how many bytes you or another member have
#[poise::command(slash_command, guild_only)]
async fn balance(
    ctx: Context<'_>,
    #[description = "Whose balance; leave out for yours"] member: Option<serenity::User>,
) -> Result<()> {
    answer(ctx, async {
        let act = act(ctx)?;
        let user = member.as_ref().unwrap_or(&ctx.interaction.user);
        if user.bot {
            return Err(Refusal::ToBot.into());
        }
        let account = super::account_of(&ctx.data().db, &act, user.id).await?;
        Ok(balance_reply(&act, user.id, account.as_ref()))
    })
    .await;
    Ok(())
}

/// Send bytes to another member
#[poise::command(slash_command, guild_only)]
async fn send(
    ctx: Context<'_>,
    #[description = "Who receives them"] member: serenity::User,
    #[description = "How many"]
    #[min = 1]
    amount: i64,
    #[description = "What for; everybody sees it"]
    #[max_length = 200]
    reason: Option<String>,
) -> Result<()> {
    answer(ctx, async {
        let act = act(ctx)?;
        let is_member = ctx.interaction.data.resolved.members.contains_key(&member.id);
        rules::check_gift(member.id == act.member.id, member.bot, is_member, amount)?;
        let receiver = Person::new(member.id, &member.name);
        // Postgres holds no NUL in a text.
        let reason = reason.map(|reason| reason.replace('\0', " "));
        let reason = reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
        let sent = super::send(&ctx.data().bank, &act, &receiver, amount, reason).await?;
        Ok(sent_reply(&act, receiver.id, amount, reason, sent))
    })
    .await;
    Ok(())
}

/// Show what you gave and received
#[poise::command(slash_command, guild_only)]
async fn history(
    ctx: Context<'_>,
    #[description = "Whose history, for managers; leave out for yours"] member: Option<
        serenity::User,
    >,
) -> Result<()> {
    answer(ctx, async {
        let act = act(ctx)?;
        let user = member.as_ref().map_or(act.member.id, |user| user.id);
        let permissions = ctx.interaction.member.as_ref().and_then(|member| member.permissions);
        check_history(act.member.id, user, permissions.unwrap_or_default())?;
        let history = super::history(&ctx.data().db, &act, user, 0).await?;
        Ok(history_reply(&act, user, &history))
    })
    .await;
    Ok(())
}

/// Show how bytes work in this server
#[poise::command(slash_command, guild_only)]
async fn info(ctx: Context<'_>) -> Result<()> {
    answer(ctx, async {
        let settings = super::settings(&ctx.data().db, &act(ctx)?).await?;
        Ok(Reply::private(info_embed(&settings)))
    })
    .await;
    Ok(())
}

/// Claim your bytes of the day
#[poise::command(slash_command, guild_only)]
async fn daily(ctx: Context<'_>) -> Result<()> {
    answer(ctx, async {
        let act = act(ctx)?;
        let claim = super::claim_daily(&ctx.data().db, &act).await?;
        Ok(Reply::public(daily_embed(act.member.id, &claim)))
    })
    .await;
    Ok(())
}

/// Show who has the most, and your own rank
#[poise::command(slash_command, guild_only)]
async fn leaderboard(
    ctx: Context<'_>,
    #[description = "What to compare; leave out for the balance"] scope: Option<Scope>,
) -> Result<()> {
    answer(ctx, async {
        let act = act(ctx)?;
        let scope = scope.unwrap_or_default();
        let board = super::leaderboard(&ctx.data().bank, &act, scope, 0).await?;
        Ok(board_reply(&act, &board))
    })
    .await;
    Ok(())
}

/// Serves a press of one of this feature's buttons.
pub(crate) async fn press(bank: &Bank, press: Press) -> Result<Reply> {
    let db = &bank.db;
    let Press { act, button, permissions } = press;
    let own = act.member.id == button.owner;
    let argument = button.argument.as_str();
    match button.action.as_str() {
        "board" => {
            let (scope, page) = argument.split_once(':').ok_or(discord::Refusal::Outdated)?;
            let scope = Scope::from_name(scope).ok_or(discord::Refusal::Outdated)?;
            let page = page.parse().map_err(|_| discord::Refusal::Outdated)?;
            let board = super::leaderboard(bank, &act, scope, page).await?;
            Ok(board_reply(&act, &board).to_press(own))
        }
        "history" => {
            let (member, page) = argument.split_once(':').ok_or(discord::Refusal::Outdated)?;
            let (member, page) = (parse_user(member)?, page.parse());
            check_history(act.member.id, member, permissions)?;
            let page = page.map_err(|_| discord::Refusal::Outdated)?;
            let history = super::history(db, &act, member, page).await?;
            Ok(history_reply(&act, member, &history).to_press(own))
        }
        "share" => {
            let member = parse_user(argument)?;
            let account = super::share(db, &act, member).await?;
            Ok(Reply::public(balance_embed(&act, member, &account, "")))
        }
        _ => Err(discord::Refusal::Outdated.into()),
    }
}

/// Refuses somebody else's history to who doesn't manage the guild.
fn check_history(actor: UserId, member: UserId, permissions: Permissions) -> Result<(), Refusal> {
    if actor == member || permissions.manage_guild() { Ok(()) } else { Err(Refusal::OthersHistory) }
}

fn parse_user(id: &str) -> Result<UserId> {
    let id: NonZeroU64 = id.parse().map_err(|_| discord::Refusal::Outdated)?;
    Ok(id.into())
}

/// The `custom_id` of one of this feature's buttons.
fn custom_id(act: &Act, action: &str, argument: impl std::fmt::Display) -> String {
    Button {
        feature: "bytes".to_owned(),
        action: action.to_owned(),
        key: act.key,
        owner: act.member.id,
        argument: argument.to_string(),
    }
    .custom_id()
}

/// The line that says when a message's buttons stop.
fn works_until(buttons_stop: &str, key: InteractionId) -> String {
    format!("-# {buttons_stop} {}.", relative(button::expires(key)))
}

/// The same for the two buttons of a pager.
fn buttons_until(key: InteractionId) -> String {
    works_until("These buttons stop working", key)
}

fn balance_reply(act: &Act, member: UserId, account: Option<&Account>) -> Reply {
    let Some(account) = account else {
        let text = format!("<@{member}> has no account yet.");
        return Reply::private(CreateEmbed::new().title("Balance").description(text));
    };
    let until = format!("\n{}", works_until("This button stops working", act.key));
    let share = custom_id(act, "share", member);
    Reply::private(balance_embed(act, member, account, &until)).button("Share", share, true)
}

fn balance_embed(act: &Act, member: UserId, account: &Account, note: &str) -> CreateEmbed {
    CreateEmbed::new()
        .title("Balance")
        .description(format!("<@{member}> has **{}**.{note}", amount(account.balance)))
        .field("Received", grouped(account.total_received), true)
        .field("Sent", grouped(account.total_sent), true)
        .field("Streak", counted(account.streak_on(act.now().date_naive()).into(), "day"), true)
}

fn sent_reply(act: &Act, receiver: UserId, bytes: i64, reason: Option<&str>, sent: Sent) -> Reply {
    let giver = act.member.id;
    let reason = reason.map(|reason| format!("\n> {}", escaped(reason))).unwrap_or_default();
    let embed = CreateEmbed::new()
        .description(format!("<@{giver}> sent **{}** to <@{receiver}>.{reason}", amount(bytes)))
        .field(
            "Balances",
            format!(
                "<@{giver}> {}\n<@{receiver}> {}",
                amount(sent.balance),
                amount(sent.receiver_balance)
            ),
            false,
        );
    Reply::public(embed).ping(receiver)
}

fn daily_embed(member: UserId, claim: &Claim) -> CreateEmbed {
    let bonus = claim.next_bonus.map_or_else(
        || "You have the highest bonus.".to_owned(),
        |(length, multiplier)| {
            let missing = counted(i64::from(length - claim.streak), "more day");
            format!("x{multiplier} at a streak of {} ({missing})", counted(length.into(), "day"))
        },
    );
    CreateEmbed::new()
        .description(format!("<@{member}> claimed **{}**.", amount(claim.reward)))
        .field("Streak", counted(claim.streak.into(), "day"), true)
        .field("Balance", amount(claim.balance), true)
        .field("Next daily", relative(claim.next), true)
        .field("Next bonus", bonus, false)
}

fn board_reply(act: &Act, board: &Board) -> Reply {
    let lines: Vec<String> = board
        .standings
        .iter()
        .map(|standing| {
            let line =
                format!("`#{}` <@{}> {}", standing.rank, standing.member, amount(standing.value));
            if standing.member == board.own.member { format!("**{line}**") } else { line }
        })
        .collect();
    let own = format!("You are **#{}** with {}.", grouped(board.own.rank), amount(board.own.value));
    let embed = CreateEmbed::new().title("Leaderboard");
    let lines = lines.join("\n");
    if board.pages == 1 {
        return Reply::public(embed.description(format!("{lines}\n\n{own}")));
    }
    let (page, last) = (board.page, board.pages - 1);
    let id = |page: u32| custom_id(act, "board", format!("{}:{page}", board.scope.name()));
    Reply::public(
        embed
            .description(format!("{lines}\n\n{own}\n{}", buttons_until(act.key)))
            .footer(CreateEmbedFooter::new(format!("Page {} of {}", page + 1, board.pages))),
    )
    .pager(page > 0, page < last, |step| id(page.saturating_add_signed(step)))
}

fn history_reply(act: &Act, member: UserId, history: &History) -> Reply {
    let lines: Vec<String> = history.entries.iter().map(history_line).collect();
    let mut text = format!("<@{member}>\n");
    if lines.is_empty() {
        text.push_str("Nothing here yet.");
    }
    text.push_str(&lines.join("\n"));
    let page = history.page;
    let embed = CreateEmbed::new().title("History");
    if page == 0 && !history.more {
        return Reply::private(embed.description(text));
    }
    text = format!("{text}\n{}", buttons_until(act.key));
    let id = |step: i32| {
        custom_id(act, "history", format!("{member}:{}", page.saturating_add_signed(step)))
    };
    Reply::private(
        embed.description(text).footer(CreateEmbedFooter::new(format!("Page {}", page + 1))),
    )
    .pager(page > 0, history.more, id)
}

fn history_line(entry: &Entry) -> String {
    let sign = if entry.gave { "-" } else { "+" };
    let what = match (entry.kind, entry.gave) {
        (Kind::Starting, _) => "starting balance".to_owned(),
        (Kind::Daily, _) => "daily".to_owned(),
        (Kind::Transfer, true) => format!("to <@{}>", entry.other),
        (Kind::Transfer, false) => format!("from <@{}>", entry.other),
        (Kind::SquadFee, _) => "squad fee".to_owned(),
        (Kind::Adjustment, _) => "adjustment by a manager".to_owned(),
    };
    let reason = entry.reason.as_deref().map(|reason| format!(": {}", escaped(&cut(reason))));
    let reason = reason.unwrap_or_default();
    format!("{} **{sign}{}** {what}{reason}", ago(entry.at), grouped(entry.amount))
}

/// As much of a reason as lets ten lines fit: escaped it may be twice as long, and a description
/// holds 4 096 characters.
fn cut(reason: &str) -> String {
    const LONGEST: usize = 100;
    match reason.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}

pub(super) fn info_embed(settings: &Settings) -> CreateEmbed {
    let bonuses: Vec<String> = settings
        .streak_bonuses
        .iter()
        // A field holds 1 024 characters.
        .take(20)
        .map(|(&length, multiplier)| {
            format!("x{multiplier} from {}", counted(length.into(), "day"))
        })
        .collect();
    let mut embed = CreateEmbed::new()
        .title("How bytes work here")
        .description(
            "Claim bytes with `/daily`, give them with `/bytes send`, compare with `/leaderboard`. \
             A streak grows by a daily each day (UTC); a missed day ends it.",
        )
        .field("Starting balance", amount(settings.starting_balance), true)
        .field("Daily", amount(settings.daily_amount), true)
        .field("Largest transfer", amount(settings.max_transfer), true)
        .field(
            "Streak bonuses",
            if bonuses.is_empty() { "none".to_owned() } else { bonuses.join("\n") },
            false,
        );
    if settings.transfer_cooldown_hours > 0 {
        let hours = counted(settings.transfer_cooldown_hours.into(), "hour");
        embed = embed.field("Between transfers", hours, true);
    }
    if settings.min_account_age_days > 0 {
        let days = counted(settings.min_account_age_days.into(), "day");
        embed = embed.field("Minimum account age", days, true);
    }
    embed
}
