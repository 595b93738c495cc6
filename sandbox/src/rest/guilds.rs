//! Guilds: their channels and roles, the audit log, and the pause of invites.

use serde_json::{Value, json};

use super::{
    Answer, Call, Reply,
    access::{self, by_bot},
    bans, id, members,
};
use crate::{
    Id,
    gateway::intents,
    moderation::action,
    permissions::{MANAGE_CHANNELS, MANAGE_GUILD, MANAGE_ROLES, VIEW_AUDIT_LOG},
    problem::Problem,
    render,
    state::{Role, World, channel_type::TEXT},
};

pub(super) fn route(world: &mut World, call: &Call, guild: &str, rest: &[&str]) -> Answer {
    let guild = access::guild(world, guild)?;
    let state = &world.guilds[&guild];
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let mut shown = render::guild(world, state);
            if !call.flag("with_counts") {
                for key in ["approximate_member_count", "approximate_presence_count"] {
                    shown.as_object_mut().map(|map| map.remove(key));
                }
            }
            Ok(shown.into())
        }
        ("GET", ["channels"]) => {
            let channels = state.channels.iter().map(|id| &world.channels[id]);
            let channels = channels.filter(|channel| !channel.is_thread());
            Ok(channels.map(|one| render::channel(world, one)).collect::<Value>().into())
        }
        ("POST", ["channels"]) => {
            world.demand(guild, world.bot, MANAGE_CHANNELS)?;
            let name = call.body["name"].as_str().unwrap_or_default();
            let kind = call.body["type"].as_u64().unwrap_or(TEXT);
            let parent = call.body["parent_id"].as_str().and_then(id);
            let channel = world.add_channel(guild, name, kind, parent);
            let by = by_bot(world, guild, call);
            world.audit(by, action::CHANNEL_CREATE, channel, Value::Null, Value::Null);
            Ok(Reply::created(render::channel(world, &world.channels[&channel])))
        }
        ("GET", ["roles"]) => Ok(state.roles.values().map(render::role).collect::<Value>().into()),
        (_, ["roles", rest @ ..]) => roles(world, call, guild, rest),
        ("GET", ["emojis"]) => Ok(Value::from(state.emojis.clone()).into()),
        ("GET", ["stickers" | "webhooks" | "invites"] | ["auto-moderation", "rules"]) => {
            Ok(json!([]).into())
        }
        ("GET", ["audit-logs"]) => audit_log(world, call, guild),
        ("PUT", ["incident-actions"]) => {
            world.demand(guild, world.bot, MANAGE_GUILD)?;
            let given = |key: &str| call.body.get(key).cloned().unwrap_or(Value::Null);
            let incidents = json!({
                "invites_disabled_until": given("invites_disabled_until"),
                "dms_disabled_until": given("dms_disabled_until"),
                "dm_spam_detected_at": null,
                "raid_detected_at": null,
            });
            world.guild_mut(guild).incidents.clone_from(&incidents);
            let shown = render::guild(world, &world.guilds[&guild]);
            world.dispatch("GUILD_UPDATE", Some(guild), intents::GUILDS, &shown);
            let by = by_bot(world, guild, call);
            world.audit(by, action::GUILD_UPDATE, guild, Value::Null, Value::Null);
            Ok(incidents.into())
        }
        (_, ["members", rest @ ..]) => members::route(world, call, guild, rest),
        (_, ["bans", ..] | ["bulk-ban"]) => bans::route(world, call, guild, rest),
        _ => Err(Problem::not_served()),
    }
}

fn roles(world: &mut World, call: &Call, guild: Id, rest: &[&str]) -> Answer {
    let by = by_bot(world, guild, call);
    if let ("GET", [role]) = (call.method.as_str(), rest) {
        let role = access::role(world, guild, role)?;
        return Ok(render::role(&world.guilds[&guild].roles[&role]).into());
    }
    world.demand(guild, world.bot, MANAGE_ROLES)?;
    let shown = |world: &World, role: Id| render::role(&world.guilds[&guild].roles[&role]);
    match (call.method.as_str(), rest) {
        ("POST", []) => {
            let name = call.body["name"].as_str().unwrap_or("new role");
            let permissions = call.body["permissions"].as_str().and_then(id);
            let granted = world.guilds[&guild].permissions(world.bot);
            let permissions = permissions.unwrap_or(world.guilds[&guild].roles[&guild].permissions);
            if permissions & !granted != 0 {
                return Err(Problem::missing_permissions());
            }
            let role = world.add_role(guild, name, permissions, 1, None);
            world.edit_role(guild, role, |role| fill(role, &call.body));
            world.audit(by, action::ROLE_CREATE, role, Value::Null, Value::Null);
            Ok(shown(world, role).into())
        }
        ("PATCH", []) => {
            for wanted in call.body.as_array().into_iter().flatten() {
                let role = below(world, guild, wanted["id"].as_str().unwrap_or_default())?;
                let position = wanted["position"].as_u64().and_then(|at| u16::try_from(at).ok());
                let own = world.guilds[&guild].rank(world.bot).0;
                match position {
                    Some(position) if position >= own => return Err(Problem::missing_permissions()),
                    Some(position) => world.move_role(guild, role, position),
                    None => {}
                }
            }
            let roles = world.guilds[&guild].roles.values();
            Ok(roles.map(render::role).collect::<Value>().into())
        }
        ("PATCH", [role]) => {
            let role = below(world, guild, role)?;
            world.edit_role(guild, role, |role| fill(role, &call.body));
            world.audit(by, action::ROLE_UPDATE, role, Value::Null, Value::Null);
            Ok(shown(world, role).into())
        }
        ("DELETE", [role]) => {
            let role = below(world, guild, role)?;
            if world.guilds[&guild].roles[&role].bot.is_some() || role == guild {
                return Err(Problem::invalid_role());
            }
            world.delete_role(guild, role);
            world.audit(by, action::ROLE_DELETE, role, Value::Null, Value::Null);
            Ok(Reply::empty())
        }
        _ => Err(Problem::not_served()),
    }
}

/// A role below the bot's highest.
fn below(world: &World, guild: Id, role: &str) -> Result<Id, Problem> {
    let role = access::role(world, guild, role)?;
    let guild = &world.guilds[&guild];
    let above = guild.roles[&role].rank() >= guild.rank(world.bot);
    if above { Err(Problem::missing_permissions()) } else { Ok(role) }
}

fn fill(role: &mut Role, body: &Value) {
    if let Some(name) = body["name"].as_str() {
        role.name = name.into();
    }
    if let Some(permissions) = body["permissions"].as_str().and_then(id) {
        role.permissions = permissions;
    }
    let color = body["colors"]["primary_color"].as_u64().or(body["color"].as_u64());
    role.color = color.unwrap_or(role.color);
    role.hoist = body["hoist"].as_bool().unwrap_or(role.hoist);
    role.mentionable = body["mentionable"].as_bool().unwrap_or(role.mentionable);
}

/// The newest entries first; with `after`, the oldest ones after it, oldest first.
fn audit_log(world: &World, call: &Call, guild: Id) -> Answer {
    world.demand(guild, world.bot, VIEW_AUDIT_LOG)?;
    let entry_id = |entry: &Value| entry["id"].as_str().and_then(id).unwrap_or(0);
    let (before, after) = (access::query_id(call, "before"), access::query_id(call, "after"));
    let fits = |entry: &&Value| {
        call.query("action_type").is_none_or(|kind| id(kind) == entry["action_type"].as_u64())
            && call.query("user_id").is_none_or(|user| entry["user_id"] == user)
            && call.query("target_id").is_none_or(|target| entry["target_id"] == target)
            && before.is_none_or(|before| entry_id(entry) < before)
            && after.is_none_or(|after| entry_id(entry) > after)
    };
    let log = world.guilds[&guild].audit_log.iter().filter(fits);
    let limit = access::limit(call, 50, 100);
    let entries: Vec<&Value> = match after {
        Some(_) => log.take(limit).collect(),
        None => log.rev().take(limit).collect(),
    };
    let mut people: Vec<Id> = entries
        .iter()
        .flat_map(|entry| [&entry["user_id"], &entry["target_id"]])
        .filter_map(|one| one.as_str().and_then(id))
        .collect();
    people.sort_unstable();
    people.dedup();
    let users = people.iter().filter_map(|id| world.users.get(id)).map(render::user);
    Ok(json!({
        "audit_log_entries": entries,
        "users": users.collect::<Vec<_>>(),
        "application_commands": [],
        "auto_moderation_rules": [],
        "guild_scheduled_events": [],
        "integrations": [],
        "threads": [],
        "webhooks": [],
    })
    .into())
}
