//! `/economy reward` and `/economy repair`, as managers meet them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::num::NonZeroU64;
use std::time::Duration;

use poise::serenity_prelude as serenity;
use serde_json::Value;
use serenity::{
    AutocompleteChoice, CreateAutocompleteResponse, CreateEmbed, GatewayIntents, GuildId,
    LightMethod, Request, RoleId, Route,
};
use tokio::time::timeout;

use super::rules::{Refusal, Role, check_reward_role};
use super::{Added, Holders, Repair};
use crate::Result;
use crate::bytes::economy::{managers_act, manages};
use crate::discord::reply::Reply;
use crate::discord::rest::{Rest, RestError};
use crate::discord::text::{counted, grouped};
use crate::discord::{Context, answer};
use crate::outbox::Failure;

/// Members of one request: Discord's limit.
const PAGE: usize = 1_000;
/// How long the members may take to list; an interaction can be answered for 15 minutes.
const LISTING: Duration = Duration::from_mins(10);
/// How long the choices of an option may take: Discord waits for 3 s.
const CHOICES: Duration = Duration::from_secs(2);

/// Set which roles members earn
#[poise::command(slash_command, guild_only, subcommand_required, subcommands("add", "remove"))]
pub(in crate::bytes) async fn reward(_: Context<'_>) -> Result<()> {
    Ok(())
}

/// Let members earn a role, or change what earns it
#[poise::command(slash_command, guild_only)]
async fn add(
    ctx: Context<'_>,
    #[description = "The role; below mine, without a moderator's permissions"] role: serenity::Role,
    #[description = "How many bytes a member must have received in all"]
    // The largest whole number that Discord passes on.
    #[min = 1]
    #[max = 9_007_199_254_740_991_i64]
    received: i64,
) -> Result<()> {
    answer(ctx, async {
        let act = managers_act(ctx)?;
        let guild = Seen::of(ctx, act.guild).ok_or_else(|| refused(Refusal::NotSeenYet))?;
        check_reward_role(&seen_role(&role), &guild.bot).map_err(refused)?;
        let added = super::add(&ctx.data().db, &act, role.id, received).await?;
        ctx.data().outbox.wake();
        Ok(added_reply(role.id, received, &added))
    })
    .await;
    Ok(())
}

/// Let members earn a role no more; who has it keeps it
#[poise::command(slash_command, guild_only)]
async fn remove(
    ctx: Context<'_>,
    #[description = "Which reward"]
    #[autocomplete = "rewards"]
    role: String,
) -> Result<()> {
    answer(ctx, async {
        let act = managers_act(ctx)?;
        let role = role.parse::<NonZeroU64>().map_err(|_| refused(Refusal::NotAReward))?;
        let role = RoleId::from(role);
        let removed = super::remove(&ctx.data().db, &act, role).await?;
        let text = format!(
            "<@&{role}> is not earned by receiving **{}** any more. Who has it keeps it.",
            removed.currency.amount(removed.received)
        );
        Ok(reply("Reward removed", text, &removed.failures))
    })
    .await;
    Ok(())
}

/// Mend members' reward roles where they differ from what was earned
#[poise::command(slash_command, guild_only)]
pub(in crate::bytes) async fn repair(ctx: Context<'_>) -> Result<()> {
    answer(ctx, async {
        let act = managers_act(ctx)?;
        let app = ctx.data();
        let rewards = super::list(&app.db, act.guild).await?;
        let guild = Seen::of(ctx, act.guild).ok_or_else(|| refused(Refusal::NotSeenYet))?;
        let (mut roles, mut stuck) = (Vec::new(), Vec::new());
        for &role in rewards.keys() {
            let found = guild.roles.get(&role).ok_or(Refusal::Gone(role));
            match found.and_then(|role| check_reward_role(role, &guild.bot)) {
                Ok(()) => roles.push(role),
                Err(refusal) => stuck.push(refusal),
            }
        }
        let holders = if roles.is_empty() || !app.intents.contain(GatewayIntents::GUILD_MEMBERS) {
            None
        } else {
            list_holders(&app.rest, act.guild, &roles).await
        };
        let repair = super::repair(&app.db, &act, &roles, holders.as_ref()).await?;
        app.outbox.wake();
        Ok(repair_reply(rewards.is_empty(), &repair, holders.is_some(), &stuck))
    })
    .await;
    Ok(())
}

/// The rewards there are, to choose one from: also those whose role was deleted.
async fn rewards(ctx: Context<'_>, partial: &str) -> CreateAutocompleteResponse {
    CreateAutocompleteResponse::new().set_choices(choices(ctx, partial).await)
}

async fn choices(ctx: Context<'_>, partial: &str) -> Vec<AutocompleteChoice> {
    let Some(guild) = ctx.interaction.guild_id.filter(|_| manages(ctx)) else {
        return Vec::new();
    };
    let listed = timeout(CHOICES, Box::pin(super::list(&ctx.data().db, guild))).await;
    // Without choices an id can still be typed.
    let Ok(Ok(rewards)) = listed else { return Vec::new() };
    let names: BTreeMap<RoleId, String> =
        ctx.serenity_context().cache.guild(guild).map_or_else(BTreeMap::new, |guild| {
            guild.roles.iter().map(|(id, role)| (*id, role.name.clone())).collect()
        });
    let wanted = partial.to_lowercase();
    rewards
        .iter()
        .map(|(role, received)| {
            let name = names.get(role).map_or_else(|| format!("deleted role {role}"), Clone::clone);
            let name: String = name.chars().take(60).collect();
            (format!("{name} ({} received)", grouped(*received)), role)
        })
        .filter(|(name, role)| {
            name.to_lowercase().contains(&wanted) || role.to_string().starts_with(&wanted)
        })
        .take(25)
        .map(|(name, role)| AutocompleteChoice::new(name, role.to_string()))
        .collect()
}

fn refused(refusal: Refusal) -> crate::Error {
    super::refused(refusal)
}

/// A guild's roles and the bot's own.
struct Seen {
    roles: BTreeMap<RoleId, Role>,
    bot: Vec<Role>,
}

impl Seen {
    /// As the gateway told: the bot's own member is among what it tells of a guild.
    fn of(ctx: Context<'_>, guild: GuildId) -> Option<Self> {
        let guild = ctx.serenity_context().cache.guild(guild)?;
        let own = &guild.members.get(&ctx.data().bot.id)?.roles;
        let roles: BTreeMap<RoleId, Role> =
            guild.roles.iter().map(|(&id, role)| (id, seen_role(role))).collect();
        let bot = roles.values().filter(|role| role.is_everyone || own.contains(&role.id));
        Some(Self { bot: bot.cloned().collect(), roles })
    }
}

fn seen_role(role: &serenity::Role) -> Role {
    Role {
        id: role.id,
        is_everyone: role.id.get() == role.guild_id.get(),
        managed: role.managed,
        position: role.position,
        permissions: role.permissions,
    }
}

fn read_id(value: &Value) -> Option<NonZeroU64> {
    value.as_str()?.parse().ok()
}

fn read_roles(member: &Value) -> Vec<RoleId> {
    let roles = member["roles"].as_array().map(Vec::as_slice).unwrap_or_default();
    roles.iter().filter_map(read_id).map(RoleId::from).collect()
}

/// Every member and which of `roles` they have; `None` if Discord doesn't say.
async fn list_holders(rest: &Rest, guild: GuildId, roles: &[RoleId]) -> Option<Holders> {
    let listing = async {
        let mut holders = Holders::default();
        let mut after = 0;
        loop {
            let params = vec![("limit", PAGE.to_string()), ("after", after.to_string())];
            let request = Request::new(Route::GuildMembers { guild_id: guild }, LightMethod::Get)
                .params(Some(params));
            let page = rest.call_patiently(&request).await?;
            let page = page.as_array().map(Vec::as_slice).unwrap_or_default();
            for member in page {
                let Some(id) = read_id(&member["user"]["id"]) else { continue };
                after = after.max(id.get());
                let mut held = read_roles(member);
                held.retain(|role| roles.contains(role));
                holders.members.insert(id.into(), held);
            }
            if page.len() < PAGE {
                return Ok::<_, RestError>(holders);
            }
        }
    };
    match timeout(LISTING, Box::pin(listing)).await {
        Ok(Ok(holders)) => Some(holders),
        Ok(Err(error)) => {
            tracing::warn!(guild.id = %guild, %error, "Could not list the members");
            None
        }
        Err(_) => {
            tracing::warn!(guild.id = %guild, "Could not list the members in time");
            None
        }
    }
}

fn added_reply(role: RoleId, received: i64, added: &Added) -> Reply {
    let amount = |number| added.currency.amount(number);
    let mut text = format!("<@&{role}> is earned by receiving **{}**", amount(received));
    match added.before {
        Some(before) if before != received => {
            write!(text, ", no longer **{}**", amount(before)).expect("infallible");
        }
        _ => {}
    }
    let members = counted(added.members, "member");
    let (have, get, lose) =
        if added.members == 1 { ("has", "gets", "loses") } else { ("have", "get", "lose") };
    match added.before {
        _ if added.members == 0 => text.push('.'),
        Some(before) if before < received => {
            write!(text, ". {members} {have} received less than that and {lose} it now.")
                .expect("infallible");
        }
        _ => {
            write!(text, ". {members} {have} received that much already and {get} it now.")
                .expect("infallible");
        }
    }
    reply("Reward set", text, &added.failures)
}

fn repair_reply(none: bool, repair: &Repair, seen: bool, stuck: &[Refusal]) -> Reply {
    let mut text = String::new();
    if none {
        text.push_str("There are no reward roles. Set one with `/economy reward add`.");
    } else if !seen && repair.give > 0 {
        write!(
            text,
            "I can't see who has which role (the bot's host has Discord's Server Members Intent \
             switched off, or Discord didn't answer), so I'll check {} that members have \
             earned. Nobody loses a role by this.",
            counted(repair.give, "role")
        )
        .expect("infallible");
    } else if repair.give == 0 && repair.take == 0 {
        text.push_str("Nothing needs mending.");
    } else {
        write!(
            text,
            "**{}** will be given and **{}** taken.",
            counted(repair.give, "role"),
            repair.take
        )
        .expect("infallible");
    }
    if !stuck.is_empty() {
        text.push_str("\n\nWhat I can't mend:");
        for refusal in stuck {
            write!(text, "\n- {refusal}").expect("infallible");
        }
    }
    reply("Repair", text, &repair.failures)
}

/// A manager's answer, with what they are to be told.
fn reply(title: &str, mut text: String, failures: &[Failure]) -> Reply {
    text.push_str(&told(failures));
    // A description holds 4 096 characters: https://discord.com/developers/docs/resources/message
    let text: String = text.chars().take(4_096).collect();
    Reply::private(CreateEmbed::new().title(title).description(text))
}

/// What a manager is to be told, in lines of its own.
pub(in crate::bytes) fn told(failures: &[Failure]) -> String {
    let mut text = String::new();
    if !failures.is_empty() {
        text.push_str("\n\nWhat didn't work since I was last asked:");
        for failure in failures {
            write!(text, "\n- {}", failure.text).expect("infallible");
        }
    }
    text
}
