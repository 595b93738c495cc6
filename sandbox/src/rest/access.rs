//! Finds what a path names, and refuses as Discord does where the bot may not go.

use super::{Call, id};
use crate::{
    Id,
    moderation::By,
    permissions::VIEW_CHANNEL,
    problem::Problem,
    state::{Message, World},
};

/// A guild that the bot is in.
pub(super) fn guild(world: &World, text: &str) -> Result<Id, Problem> {
    let found = id(text).and_then(|id| world.guild(id)).ok_or_else(Problem::unknown_guild)?;
    if found.members.contains_key(&world.bot) {
        Ok(found.id)
    } else {
        Err(Problem::missing_access())
    }
}

/// A channel that the bot sees, and where it may do `permission` (0: no more than seeing it).
pub(super) fn channel(world: &World, text: &str, permission: u64) -> Result<Id, Problem> {
    let found = id(text).filter(|id| world.channels.contains_key(id));
    let found = found.ok_or_else(Problem::unknown_channel)?;
    if !world.can(world.bot, found, VIEW_CHANNEL) {
        return Err(Problem::missing_access());
    }
    if !world.can(world.bot, found, permission) {
        return Err(Problem::missing_permissions());
    }
    Ok(found)
}

/// A message of a channel; ephemeral ones are reached only through their interaction.
pub(super) fn message<'a>(
    world: &'a World,
    channel: Id,
    text: &str,
) -> Result<&'a Message, Problem> {
    id(text)
        .and_then(|id| world.messages.get(id))
        .filter(|message| message.channel == channel && message.only_for.is_none())
        .ok_or_else(Problem::unknown_message)
}

/// A member of a guild.
pub(super) fn member(world: &World, guild: Id, text: &str) -> Result<Id, Problem> {
    let user =
        id(text).filter(|id| world.users.contains_key(id)).ok_or_else(Problem::unknown_user)?;
    let known = world.guilds[&guild].members.contains_key(&user);
    if known { Ok(user) } else { Err(Problem::unknown_member()) }
}

/// A role of a guild.
pub(super) fn role(world: &World, guild: Id, text: &str) -> Result<Id, Problem> {
    let found = id(text).filter(|id| world.guilds[&guild].roles.contains_key(id));
    found.ok_or_else(Problem::unknown_role)
}

/// The bot's own act.
pub(super) fn by_bot<'a>(world: &World, guild: Id, call: &'a Call) -> By<'a> {
    By { guild, actor: world.bot, reason: call.reason.as_deref() }
}

/// How many items a list gives.
pub(super) fn limit(call: &Call, default: usize, most: usize) -> usize {
    let asked = call.query("limit").and_then(|limit| limit.parse().ok());
    asked.unwrap_or(default).clamp(1, most)
}

/// An id in the query.
pub(super) fn query_id(call: &Call, name: &str) -> Option<Id> {
    call.query(name).and_then(id)
}
