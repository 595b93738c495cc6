//! `/bytes`, `/daily` and `/leaderboard`, as members meet them.

use std::num::NonZeroU64;

use poise::serenity_prelude as serenity;
use serenity::{
    CreateActionRow, CreateEmbed, CreateEmbedFooter, CreateInputText, CreateModal, InputTextStyle,
    InteractionId, Permissions, RoleId, UserId,
};

use super::{
    Account, Bank, Board, Claim, Currency, Entry, History, Holding, Kind, Pending, Preview,
    Refusal, Scope, Sending, Sent, Settings, economy, rules,
};
use crate::act::{Act, Person};
use crate::discord::button::{self, Button};
use crate::discord::reply::Reply;
use crate::discord::text::{ago, counted, escaped, grouped, relative};
use crate::discord::{self, App, Context, Membership, Press, Submission, act, answer, membership};
use crate::{Error, Result};
use poise::ChoiceParameter as _;

/// The commands of this feature.
pub(crate) fn commands() -> Vec<poise::Command<App, Error>> {
    vec![bytes(), daily(), leaderboard(), economy::economy(), send_menu()]
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
        let holding = super::account_of(&ctx.data().db, &act, user.id).await?;
        Ok(balance_reply(&act, user.id, &holding))
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
        let gift = Pending { receiver, amount, reason: reason.as_deref().and_then(kept_reason) };
        send_reply(&ctx.data().bank, &act, gift, false).await
    })
    .await;
    Ok(())
}

/// The longest reason, in characters; the ledger keeps no more.
const REASON: u16 = 200;

/// A reason as the ledger keeps it; `None` if nothing is left of it.
pub(super) fn kept_reason(reason: &str) -> Option<String> {
    // Postgres holds no NUL in a text.
    let reason = reason.replace('\0', " ").trim().chars().take(REASON.into()).collect::<String>();
    (!reason.is_empty()).then_some(reason)
}

/// Sends and says what came of it; of a form, what was in it when it was sent off first.
async fn send_reply(bank: &Bank, act: &Act, mut gift: Pending, form: bool) -> Result<Reply> {
    let reason = gift.reason.as_deref();
    let sending = super::send(bank, act, &gift.receiver, gift.amount, reason).await?;
    if form && let Some(first) = super::first_gift(bank, act).await {
        gift = first;
    }
    match sending {
        Sending::Sent(sent) => Ok(sent_reply(act, &gift, &sent)),
        Sending::Confirm(preview) => Ok(confirm_reply(act, &gift, &preview)),
    }
}

/// Sends bytes to a message's author, who is asked for the rest in a form.
#[poise::command(context_menu_command = "Send bytes", guild_only)]
async fn send_menu(ctx: Context<'_>, message: serenity::Message) -> Result<()> {
    discord::open(ctx, async {
        let act = act(ctx)?;
        let author = &message.author;
        let is_bot = author.bot || message.webhook_id.is_some();
        rules::check_gift(author.id == act.member.id, is_bot, true, 1)?;
        let http = &ctx.framework.serenity_context.http;
        if membership(http, act.guild, author.id).await == Membership::Stranger {
            return Err(Refusal::NotAMember.into());
        }
        Ok(gift_form(&act, author))
    })
    .await;
    Ok(())
}

/// The form of the message menu; it carries whom the message is from, by id and name.
fn gift_form(act: &Act, author: &serenity::User) -> CreateModal {
    // Discord's limit.
    const LONGEST: usize = 100;
    let id = custom_id(act, "gift", format!("{}:{}", author.id, author.name));
    let id: String = id.chars().take(LONGEST).collect();
    let amount = CreateInputText::new(InputTextStyle::Short, "Amount", "amount")
        .placeholder("60")
        .max_length(30);
    let reason = CreateInputText::new(InputTextStyle::Short, "Reason", "reason")
        .placeholder("What for; everybody sees it")
        .max_length(REASON)
        .required(false);
    CreateModal::new(id, "Send bytes")
        .components(vec![CreateActionRow::InputText(amount), CreateActionRow::InputText(reason)])
}

/// Serves a form of this feature.
pub(crate) async fn submit(bank: &Bank, submission: Submission) -> Result<Reply> {
    let Submission { act, form, http, .. } = &submission;
    if form.action != "gift" {
        return Err(discord::Refusal::Outdated.into());
    }
    let (receiver, name) = form.argument.split_once(':').ok_or(discord::Refusal::Outdated)?;
    let receiver = parse_user(receiver)?;
    let amount = rules::parse_amount(submission.field("amount"))?;
    // Bots were refused before the form was opened.
    rules::check_gift(receiver == act.member.id, false, true, amount)?;
    let name = match membership(http, act.guild, receiver).await {
        Membership::Stranger => return Err(Refusal::NotAMember.into()),
        Membership::Member(name) => name,
        Membership::Unknown => name.to_owned(),
    };
    let reason = kept_reason(submission.field("reason"));
    let gift = Pending { receiver: Person::new(receiver, &name), amount, reason };
    send_reply(bank, act, gift, true).await
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
        ctx.data().outbox.wake_if(claim.promised);
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
            let (account, currency) = super::share(db, &act, member).await?;
            Ok(Reply::public(balance_embed(&act, member, &account, &currency, "")))
        }
        "confirm" | "cancel" if !own => Err(discord::Refusal::NotYours.into()),
        "confirm" => in_place(confirmed(bank, &act).await),
        "cancel" => in_place(super::cancel(db, &act).await.and(Err(Refusal::Cancelled.into()))),
        _ => Err(discord::Refusal::Outdated.into()),
    }
}

/// A decision instead of the question: refusals too, for they are final.
fn in_place(decided: Result<Reply>) -> Result<Reply> {
    match decided {
        Err(Error::Bytes(refusal)) => Ok(Reply::refused(&refusal.to_string()).to_press(true)),
        Err(Error::Interaction(refusal)) => Ok(Reply::refused(&refusal.to_string()).to_press(true)),
        Err(error) => Err(error),
        Ok(reply) => Ok(reply.to_press(true)),
    }
}

/// Makes the gift; everybody is told once, however often the button was pressed.
async fn confirmed(bank: &Bank, act: &Act) -> Result<Reply> {
    let (gift, sent) = super::confirm(bank, act).await?;
    let told = sent_reply(act, &gift, &sent);
    match super::tell_once(&bank.db, act).await {
        Ok(true) => Ok(Reply::private(CreateEmbed::new().description("Sent.")).followed_by(told)),
        Ok(false) => Ok(Reply::private(CreateEmbed::new().description("Sent."))),
        // The gift is made. Whether everybody was told isn't known: the giver is.
        Err(error) => {
            tracing::warn!(%error, "Could not find out whether a gift was told");
            Ok(told.to_actor())
        }
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

pub(super) fn balance_reply(act: &Act, member: UserId, holding: &Holding) -> Reply {
    let Some(account) = &holding.account else {
        let text = format!("<@{member}> has no account yet.");
        return Reply::private(CreateEmbed::new().title("Balance").description(text));
    };
    let mut note = String::new();
    if let Some(opens) = holding.opens {
        let opens = relative(opens);
        note = format!(
            "\nYour Discord account is too new yet: the starting balance comes with your next command {opens}."
        );
    }
    note = format!("{note}\n{}", works_until("This button stops working", act.key));
    let share = custom_id(act, "share", member);
    let embed = balance_embed(act, member, account, &holding.currency, &note);
    Reply::private(embed).button("Share", share, true)
}

fn balance_embed(
    act: &Act,
    member: UserId,
    account: &Account,
    currency: &Currency,
    note: &str,
) -> CreateEmbed {
    CreateEmbed::new()
        .title("Balance")
        .description(format!("<@{member}> has **{}**.{note}", currency.amount(account.balance)))
        .field("Received", grouped(account.total_received), true)
        .field("Sent", grouped(account.total_sent), true)
        .field("Streak", counted(account.streak_on(act.now().date_naive()).into(), "day"), true)
}

/// The giver's words on a line of their own, if there are any.
pub(super) fn quoted(reason: Option<&str>) -> String {
    reason.map(|reason| format!("\n> {}", escaped(reason))).unwrap_or_default()
}

pub(super) fn sent_reply(act: &Act, gift: &Pending, sent: &Sent) -> Reply {
    let (giver, receiver) = (act.member.id, gift.receiver.id);
    let amount = |number| sent.currency.amount(number);
    let reason = quoted(gift.reason.as_deref());
    let embed = CreateEmbed::new()
        .description(format!(
            "<@{giver}> sent **{}** to <@{receiver}>.{reason}",
            amount(gift.amount)
        ))
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

pub(super) fn confirm_reply(act: &Act, gift: &Pending, preview: &Preview) -> Reply {
    let amount = |number| preview.currency.amount(number);
    let embed = CreateEmbed::new()
        .description(format!(
            "Send **{}** to <@{}>?{}\n{}",
            amount(gift.amount),
            gift.receiver.id,
            quoted(gift.reason.as_deref()),
            buttons_until(act.key)
        ))
        .field("Your balance", amount(preview.balance).to_string(), true)
        .field("After it", amount(preview.balance - gift.amount).to_string(), true);
    Reply::private(embed).main_button("Send", custom_id(act, "confirm", "")).button(
        "Cancel",
        custom_id(act, "cancel", ""),
        true,
    )
}

pub(super) fn daily_embed(member: UserId, claim: &Claim) -> CreateEmbed {
    let bonus = claim.next_bonus.map_or_else(
        || "You have the highest bonus.".to_owned(),
        |(length, multiplier)| {
            let missing = counted(i64::from(length - claim.streak), "more day");
            format!("x{multiplier} at a streak of {} ({missing})", counted(length.into(), "day"))
        },
    );
    let amount = |number| claim.currency.amount(number);
    CreateEmbed::new()
        .description(format!("<@{member}> claimed **{}**.", amount(claim.reward)))
        .field("Streak", counted(claim.streak.into(), "day"), true)
        .field("Balance", amount(claim.balance).to_string(), true)
        .field("Next daily", relative(claim.next), true)
        .field("Next bonus", bonus, false)
}

pub(super) fn board_reply(act: &Act, board: &Board) -> Reply {
    let amount = |number| match board.scope {
        Scope::Balance | Scope::Received => board.currency.amount(number).to_string(),
        Scope::Streak => counted(number, "day"),
    };
    let lines: Vec<String> = board
        .standings
        .iter()
        .map(|standing| {
            let (place, member) = (place(standing.rank), standing.member);
            let name = format!("<@{member}>");
            let name = if member == board.own.member { format!("**{name}**") } else { name };
            format!("{place} {name} {}", amount(standing.value))
        })
        .collect();
    let own = format!("You are **#{}** with {}.", grouped(board.own.rank), amount(board.own.value));
    let embed = CreateEmbed::new().title(match board.scope {
        Scope::Balance => "Leaderboard",
        Scope::Received => "Leaderboard: received",
        Scope::Streak => "Leaderboard: streaks",
    });
    let lines = if lines.is_empty() { "Nobody is here yet.".to_owned() } else { lines.join("\n") };
    let members = board.standings.iter().map(|standing| standing.member).collect();
    if board.pages == 1 {
        return Reply::public(embed.description(format!("{lines}\n\n{own}"))).showing(members);
    }
    let (page, last) = (board.page, board.pages - 1);
    let id = |page: u32| custom_id(act, "board", format!("{}:{page}", board.scope.name()));
    Reply::public(
        embed
            .description(format!("{lines}\n\n{own}\n{}", buttons_until(act.key)))
            .footer(CreateEmbedFooter::new(format!("Page {} of {}", page + 1, board.pages))),
    )
    .pager(page > 0, page < last, |step| id(page.saturating_add_signed(step)))
    .showing(members)
}

/// A rank as the leaderboard shows it.
fn place(rank: i64) -> String {
    match rank {
        1 => "\u{1f947}".to_owned(),
        2 => "\u{1f948}".to_owned(),
        3 => "\u{1f949}".to_owned(),
        rank => format!("`#{}`", grouped(rank)),
    }
}

pub(super) fn history_reply(act: &Act, member: UserId, history: &History) -> Reply {
    let line = |entry| history_line(entry, &history.currency);
    let lines: Vec<String> = history.entries.iter().map(line).collect();
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

fn history_line(entry: &Entry, currency: &Currency) -> String {
    let what = match (entry.kind, entry.gave) {
        (Kind::Starting, _) => "starting balance".to_owned(),
        (Kind::Daily, _) => "daily".to_owned(),
        (Kind::Transfer, true) => format!("to <@{}>", entry.other),
        (Kind::Transfer, false) => format!("from <@{}>", entry.other),
        (Kind::SquadFee, _) => "squad fee".to_owned(),
        (Kind::Adjustment, gave) => {
            let by = entry.manager.unwrap_or(entry.other);
            format!("{} by <@{by}>", if gave { "taken" } else { "granted" })
        }
    };
    let reason = entry.reason.as_deref().map(|reason| format!(": {}", escaped(&cut(reason))));
    let reason = reason.unwrap_or_default();
    let amount = currency.amount(if entry.gave { -entry.amount } else { entry.amount });
    format!("{} **{amount:+}** {what}{reason}", ago(entry.at))
}

/// As much of a reason as lets ten lines fit: escaped it may be twice as long, as may the name of
/// the currency, and a description holds 4 096 characters.
fn cut(reason: &str) -> String {
    const LONGEST: usize = 80;
    match reason.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}

pub(super) fn info_embed(settings: &Settings) -> CreateEmbed {
    let amount = |number| settings.currency.amount(number).to_string();
    let mut embed = CreateEmbed::new()
        .title("How the economy works here")
        .description(format!(
            "The currency is **{}**. Claim some with `/daily`, give with `/bytes send`, compare with \
             `/leaderboard`. A streak grows by a daily each day (UTC); a missed day ends it.",
            settings.currency
        ))
        .field("Starting balance", amount(settings.starting_balance), true)
        .field("Daily", amount(settings.daily_amount), true)
        .field("Largest transfer", amount(settings.max_transfer), true);
    if settings.confirm_from > 0 {
        embed = embed.field("Confirmed from", amount(settings.confirm_from), true);
    }
    if settings.transfer_cooldown_hours > 0 {
        let hours = counted(settings.transfer_cooldown_hours.into(), "hour");
        embed = embed.field("Between transfers", hours, true);
    }
    if settings.min_account_age_days > 0 {
        let days = counted(settings.min_account_age_days.into(), "day");
        embed = embed.field("Minimum age of your Discord account", days, true);
    }
    embed = embed.field("Streak bonuses", bonuses(settings), false);
    if settings.role_rewards.is_empty() {
        return embed;
    }
    embed.field("Roles for what you received", rewards(settings), false)
}

/// The streak's bonuses, a line each.
pub(super) fn bonuses(settings: &Settings) -> String {
    listed(settings.streak_bonuses.iter().map(|(&length, multiplier)| {
        format!("x{multiplier} from {}", counted(length.into(), "day"))
    }))
}

/// The role rewards, a line each, the lowest first.
pub(super) fn rewards(settings: &Settings) -> String {
    let mut rewards: Vec<(i64, RoleId)> =
        settings.role_rewards.iter().map(|(&role, &least)| (least, role)).collect();
    rewards.sort_unstable();
    listed(
        rewards
            .into_iter()
            .map(|(least, role)| format!("<@&{role}> from {}", settings.currency.amount(least))),
    )
}

/// Lines of an embed's field: as many as fit, and how many more there are.
fn listed(lines: impl Iterator<Item = String>) -> String {
    // A field holds 1 024 characters; the last line has room.
    const LONGEST: usize = 1_000;
    let mut text = String::new();
    let mut length = 0;
    let mut left = 0;
    for line in lines {
        length += line.chars().count() + 1;
        if length > LONGEST {
            left += 1;
        } else {
            text.push_str(&line);
            text.push('\n');
        }
    }
    match (text.is_empty(), left) {
        (true, _) => "none".to_owned(),
        (_, 0) => text.trim_end().to_owned(),
        _ => format!("{text}and {left} more"),
    }
}
