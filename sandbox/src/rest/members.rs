//! Members of a guild.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    Answer, Call, Reply,
    access::{self, by_bot},
    id,
};
use crate::{
    Id,
    moderation::{action, change},
    permissions::{CHANGE_NICKNAME, MANAGE_NICKNAMES},
    problem::Problem,
    render,
    state::World,
};

pub(super) fn route(world: &mut World, call: &Call, guild: Id, rest: &[&str]) -> Answer {
    let by = by_bot(world, guild, call);
    match (call.method.as_str(), rest) {
        ("GET", []) => list(world, call, guild),
        ("GET", ["search"]) => {
            let query = call.query("query").unwrap_or_default().to_lowercase();
            let state = &world.guilds[&guild];
            let found = state.members.iter().filter(|(id, member)| {
                let names = [Some(&world.user(**id).name), member.nick.as_ref()];
                names.into_iter().flatten().any(|name| name.to_lowercase().starts_with(&query))
            });
            let found = found.take(access::limit(call, 1, 1000));
            Ok(found.map(|(id, _)| render::member(world, state, *id)).collect::<Value>().into())
        }
        ("GET", [member]) => {
            let member = access::member(world, guild, member)?;
            Ok(render::member(world, &world.guilds[&guild], member).into())
        }
        ("PATCH", ["@me"]) => {
            if let Some(nick) = call.body.get("nick") {
                world.demand(guild, world.bot, CHANGE_NICKNAME)?;
                set_nick(world, call, guild, world.bot, nick);
            }
            Ok(render::member(world, &world.guilds[&guild], world.bot).into())
        }
        ("PATCH", [member]) => edit(world, call, guild, member),
        ("DELETE", [member]) => {
            let member = access::member(world, guild, member)?;
            world.kick(by, member)?;
            Ok(Reply::empty())
        }
        (method @ ("PUT" | "DELETE"), [member, "roles", role]) => {
            let member = access::member(world, guild, member)?;
            let role = access::role(world, guild, role)?;
            let mut roles = world.guilds[&guild].members[&member].roles.clone();
            if method == "PUT" {
                roles.insert(role)
            } else {
                roles.remove(&role)
            };
            // Also what changes nothing must be allowed.
            world.may_give(by, role)?;
            world.set_roles(by, member, &roles)?;
            Ok(Reply::empty())
        }
        _ => Err(Problem::not_found()),
    }
}

/// Listing all members needs the privileged intent in the portal.
fn list(world: &World, call: &Call, guild: Id) -> Answer {
    if !world.application.guild_members_intent {
        return Err(Problem::missing_access());
    }
    let after = access::query_id(call, "after").unwrap_or(0);
    let state = &world.guilds[&guild];
    let members = state.members.range(after + 1..).take(access::limit(call, 1, 1000));
    Ok(members.map(|(id, _)| render::member(world, state, *id)).collect::<Value>().into())
}

fn edit(world: &mut World, call: &Call, guild: Id, member: &str) -> Answer {
    let member = access::member(world, guild, member)?;
    let by = by_bot(world, guild, call);
    if let Some(until) = call.body.get("communication_disabled_until") {
        let until = until.as_str().and_then(|text| text.parse::<DateTime<Utc>>().ok());
        world.time_out(by, member, until)?;
    }
    if let Some(roles) = call.body["roles"].as_array() {
        let roles: BTreeSet<Id> =
            roles.iter().filter_map(|role| role.as_str().and_then(id)).collect();
        world.set_roles(by, member, &roles)?;
    }
    if let Some(nick) = call.body.get("nick") {
        world.demand(guild, world.bot, MANAGE_NICKNAMES)?;
        if member != world.bot && !world.guilds[&guild].outranks(world.bot, member) {
            return Err(Problem::missing_permissions());
        }
        set_nick(world, call, guild, member, nick);
    }
    Ok(render::member(world, &world.guilds[&guild], member).into())
}

fn set_nick(world: &mut World, call: &Call, guild: Id, member: Id, nick: &Value) {
    let nick = nick.as_str().filter(|nick| !nick.is_empty()).map(str::to_owned);
    let state = world.guild_mut(guild).member_mut(member);
    let old = std::mem::replace(&mut state.nick, nick.clone());
    if old != nick {
        world.dispatch_member_update(guild, member);
        let change = change("nick", old.map(Value::from), nick.map(Value::from));
        let by = by_bot(world, guild, call);
        world.audit(by, action::MEMBER_UPDATE, member, json!([change]), Value::Null);
    }
}
