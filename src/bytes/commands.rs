//! `/bytes`, `/daily` and `/leaderboard`, as members meet them.

use poise::serenity_prelude as serenity;
use serenity::{CreateEmbed, CreateEmbedFooter, InteractionId, UserId};

use super::{Account, Board, Claim, Entry, History, Kind, Refusal, Sent, Settings, rules};
use crate::act::{Act, Person};
use crate::db::Database;
use crate::discord::button::{self, Button};
use crate::discord::reply::Reply;
use crate::discord::text::{ago, amount, counted, escaped, grouped, relative};
use crate::discord::{self, App, Context, Press, Replies, act, answer};
use crate::{Error, Result};

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
        let reason = reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
        let sent = super::send(&ctx.data().db, &act, &receiver, amount, reason).await?;
        Ok(sent_reply(&act, receiver.id, amount, reason, sent))
    })
    .await;
    Ok(())
}

/// Show what you gave and received
#[poise::command(slash_command, guild_only)]
async fn history(
    ctx: Context<'_>,
    #[description = "Whose history; managers only"] member: Option<serenity::User>,
) -> Result<()> {
    answer(ctx, async {
        let act = act(ctx)?;
        let user = member.as_ref().map_or(act.member.id, |user| user.id);
        let permissions = ctx.interaction.member.as_ref().and_then(|member| member.permissions);
        if user != act.member.id && !permissions.is_some_and(serenity::Permissions::manage_guild) {
            return Err(Refusal::OthersHistory.into());
        }
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

/// Show who has the most bytes, and your own rank
#[poise::command(slash_command, guild_only)]
async fn leaderboard(ctx: Context<'_>) -> Result<()> {
    answer(ctx, async {
        let act = act(ctx)?;
        let board = super::leaderboard(&ctx.data().db, &act, 0).await?;
        Ok(board_reply(&act, &board))
    })
    .await;
    Ok(())
}

/// Serves a press of one of this feature's buttons.
pub(crate) async fn press(db: &Database, press: Press) -> Result<Replies> {
    let Press { act, button } = press;
    let argument = button.argument.as_str();
    match button.action.as_str() {
        "board" => {
            let page = argument.parse().map_err(|_| discord::Refusal::Outdated)?;
            let board = super::leaderboard(db, &act, page).await?;
            let reply = board_reply(&act, &board);
            Ok(if act.member.id == button.owner { reply } else { reply.for_actor() }.into())
        }
        "history" if act.member.id == button.owner => {
            let (member, page) = argument.split_once(':').ok_or(discord::Refusal::Outdated)?;
            let member = parse_user(member)?;
            let page = page.parse().map_err(|_| discord::Refusal::Outdated)?;
            let history = super::history(db, &act, member, page).await?;
            Ok(history_reply(&act, member, &history).into())
        }
        "share" if act.member.id == button.owner => {
            let member = parse_user(argument)?;
            let (account, first_time) = super::share(db, &act, member).await?;
            let embed = balance_embed(&act, member, account.as_ref(), false);
            let shown = Reply::private(embed.clone());
            Ok(if first_time { Replies::then(shown, Reply::public(embed)) } else { shown.into() })
        }
        _ => Err(discord::Refusal::Outdated.into()),
    }
}

fn parse_user(id: &str) -> Result<UserId> {
    let id: u64 = id.parse().ok().filter(|&id| id != 0).ok_or(discord::Refusal::Outdated)?;
    Ok(UserId::new(id))
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

/// The line that says until when a message's buttons work.
fn buttons_until(key: InteractionId) -> String {
    format!("-# These buttons stop working {}.", relative(button::expires(key)))
}

fn balance_reply(act: &Act, member: UserId, account: Option<&Account>) -> Reply {
    Reply::private(balance_embed(act, member, account, true)).button(
        "Share",
        custom_id(act, "share", member),
        true,
    )
}

fn balance_embed(
    act: &Act,
    member: UserId,
    account: Option<&Account>,
    shareable: bool,
) -> CreateEmbed {
    let Some(account) = account else {
        return CreateEmbed::new().title("Balance").description(format!(
            "<@{member}> has no account yet: it opens with their first command."
        ));
    };
    let until = if shareable { format!("\n{}", buttons_until(act.key)) } else { String::new() };
    CreateEmbed::new()
        .title("Balance")
        .description(format!("<@{member}> has **{}**.{until}", amount(account.balance)))
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
    let id = |page: u32| custom_id(act, "board", page);
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
    let reason =
        entry.reason.as_deref().map(|reason| format!(": {}", escaped(reason))).unwrap_or_default();
    format!("{} **{sign}{}** {what}{reason}", ago(entry.at), grouped(entry.amount))
}

pub(super) fn info_embed(settings: &Settings) -> CreateEmbed {
    let bonuses: Vec<String> = settings
        .streak_bonuses
        .iter()
        .map(|(&length, multiplier)| {
            format!("x{multiplier} from {}", counted(length.into(), "day"))
        })
        .collect();
    let mut embed = CreateEmbed::new()
        .title("How bytes work here")
        .description(
            "Claim bytes with `/daily`, give them with `/bytes send`, compare with `/leaderboard`.",
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
        embed = embed.field("Least age of a Discord account", days, true);
    }
    embed
}
