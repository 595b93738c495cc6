//! Channels: the messages in them and their settings.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{
    Answer, Call, Reply,
    access::{self, by_bot},
    id,
    messages::{Draft, Place},
};
use crate::{
    Id,
    clock::created_at,
    moderation::{By, action},
    permissions::{
        ATTACH_FILES, EMBED_LINKS, MANAGE_CHANNELS, MANAGE_MESSAGES, MANAGE_ROLES,
        READ_MESSAGE_HISTORY, SEND_MESSAGES,
    },
    problem::Problem,
    render,
    state::{Message, Overwrite, World},
};

/// How old a message may be to be deleted in bulk.
const BULK_AGE: TimeDelta = TimeDelta::days(14);
/// How long a nonce keeps a second message away. Discord says "a few minutes".
const NONCE_LIFE: TimeDelta = TimeDelta::minutes(5);

pub(super) fn route(world: &mut World, call: &Call, channel: &str, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let channel = access::channel(world, channel, 0)?;
            Ok(render::channel(world, &world.channels[&channel]).into())
        }
        ("PATCH", []) => edit(world, call, channel),
        ("DELETE", []) => {
            let channel = access::channel(world, channel, MANAGE_CHANNELS)?;
            let shown = render::channel(world, &world.channels[&channel]);
            log(world, call, channel, action::CHANNEL_DELETE, channel, Value::Null);
            world.delete_channel(channel);
            Ok(shown.into())
        }
        ("POST", ["typing"]) => {
            access::channel(world, channel, SEND_MESSAGES)?;
            Ok(Reply::empty())
        }
        ("PUT" | "DELETE", ["permissions", target]) => overwrite(world, call, channel, target),
        ("GET", ["messages"]) => list(world, call, channel),
        ("POST", ["messages"]) => post(world, call, channel),
        ("POST", ["messages", "bulk-delete"]) => delete_bulk(world, call, channel),
        (method, ["messages", message]) => {
            let channel = access::channel(world, channel, 0)?;
            let message = access::message(world, channel, message)?;
            let (message, author) = (message.id, message.author);
            match method {
                "GET" if world.can(world.bot, channel, READ_MESSAGE_HISTORY) => {
                    Ok(shown(world, message).into())
                }
                "GET" => Err(Problem::missing_access()),
                "PATCH" if author != world.bot => Err(Problem::edits_anothers_message()),
                "PATCH" => {
                    let draft = Draft::read(world, call, &call.body)?;
                    world.edit(message, &draft)?;
                    Ok(shown(world, message).into())
                }
                "DELETE" => delete(world, call, channel, message, author),
                _ => Err(Problem::method_not_allowed()),
            }
        }
        _ => Err(Problem::not_found()),
    }
}

fn shown(world: &World, message: Id) -> Value {
    let content = world.application.message_content_intent;
    let message = world.messages.get(message);
    message.map_or(Value::Null, |one| render::readable_message(world, one, content))
}

fn list(world: &World, call: &Call, channel: &str) -> Answer {
    let channel = access::channel(world, channel, 0)?;
    if !world.can(world.bot, channel, READ_MESSAGE_HISTORY) {
        return Ok(json!([]).into());
    }
    let limit = access::limit(call, 50, 100);
    let public = |one: &&Message| one.only_for.is_none();
    let all: Vec<Id> =
        world.messages.in_channel(channel).filter(public).map(|one| one.id).collect();
    let newest = |ids: &[Id]| ids[ids.len().saturating_sub(limit)..].to_vec();
    let asked = |name| access::query_id(call, name);
    let mut ids: Vec<Id> = if let Some(before) = asked("before") {
        newest(&all.into_iter().filter(|id| *id < before).collect::<Vec<_>>())
    } else if let Some(after) = asked("after") {
        all.into_iter().filter(|id| *id > after).take(limit).collect()
    } else if let Some(around) = asked("around") {
        let at = all.partition_point(|id| *id < around);
        let from = at.saturating_sub(limit / 2);
        all.into_iter().skip(from).take(limit).collect()
    } else {
        newest(&all)
    };
    ids.reverse();
    Ok(ids.into_iter().map(|id| shown(world, id)).collect::<Value>().into())
}

fn post(world: &mut World, call: &Call, channel: &str) -> Answer {
    let channel = access::channel(world, channel, SEND_MESSAGES)?;
    if let Some(recipient) = world.channels[&channel].recipient {
        let shares = world.guilds.values().any(|guild| {
            guild.members.contains_key(&recipient) && guild.members.contains_key(&world.bot)
        });
        if !shares || !world.user(recipient).dms_open {
            return Err(Problem::cannot_send_to_user());
        }
    }
    let body = &call.body;
    let embeds = body["embeds"].as_array().is_some_and(|embeds| !embeds.is_empty());
    if embeds && !world.can(world.bot, channel, EMBED_LINKS)
        || !call.files.is_empty() && !world.can(world.bot, channel, ATTACH_FILES)
    {
        return Err(Problem::missing_permissions());
    }
    let draft = Draft::read(world, call, body)?;
    draft.check_not_empty()?;
    if body["enforce_nonce"] == true && draft.nonce.is_some() {
        let since = world.now() - NONCE_LIFE;
        let mut recent = world.messages.in_channel(channel).rev();
        let same = recent.find(|one| {
            one.author == world.bot && one.nonce == draft.nonce && created_at(one.id) > since
        });
        if let Some(same) = same {
            return Ok(render::message(world, same).into());
        }
    }
    let reply_to = replied(world, body, channel)?;
    let message = world.post(draft, Place { reply_to, ..Place::channel(channel, world.bot) });
    Ok(shown(world, message).into())
}

fn replied(world: &World, body: &Value, channel: Id) -> Result<Option<Id>, Problem> {
    let Some(to) = body["message_reference"]["message_id"].as_str().and_then(id) else {
        return Ok(None);
    };
    let known = world.messages.get(to).is_some_and(|one| one.channel == channel);
    if !known && body["message_reference"]["fail_if_not_exists"] != false {
        let code = "REPLIES_UNKNOWN_MESSAGE";
        return Err(Problem::invalid("message_reference", code, "Unknown message"));
    }
    Ok(known.then_some(to))
}

fn delete(world: &mut World, call: &Call, channel: Id, message: Id, author: Id) -> Answer {
    if author != world.bot {
        if !world.can(world.bot, channel, MANAGE_MESSAGES)
            || world.channels[&channel].guild.is_none()
        {
            return Err(Problem::missing_permissions());
        }
        let options = json!({ "channel_id": channel.to_string(), "count": "1" });
        log(world, call, channel, action::MESSAGE_DELETE, author, options);
    }
    world.delete_message(message);
    Ok(Reply::empty())
}

fn delete_bulk(world: &mut World, call: &Call, channel: &str) -> Answer {
    let channel = access::channel(world, channel, MANAGE_MESSAGES)?;
    let given = call.body["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let ids: Vec<Id> = given.iter().filter_map(|one| one.as_str().and_then(id)).collect();
    if !(2..=100).contains(&ids.len()) {
        return Err(Problem::bulk_delete_count());
    }
    let oldest = world.now() - BULK_AGE;
    if ids.iter().any(|id| created_at(*id) < oldest) {
        return Err(Problem::message_too_old());
    }
    let known: Vec<Id> = ids
        .into_iter()
        .filter(|id| {
            let message = world.messages.get(*id);
            message.is_some_and(|one| one.channel == channel && one.only_for.is_none())
        })
        .collect();
    let options = json!({ "count": known.len().to_string() });
    log(world, call, channel, action::MESSAGE_BULK_DELETE, channel, options);
    world.delete_many(channel, &known);
    Ok(Reply::empty())
}

fn edit(world: &mut World, call: &Call, channel: &str) -> Answer {
    let channel = access::channel(world, channel, MANAGE_CHANNELS)?;
    let body = call.body.clone();
    world.edit_channel(channel, |channel| {
        if let Some(name) = body["name"].as_str() {
            channel.name = name.into();
        }
        if let Some(topic) = body.get("topic") {
            channel.topic = topic.as_str().map(str::to_owned);
        }
        if let Some(seconds) = body["rate_limit_per_user"].as_u64() {
            channel.slow_mode = seconds;
        }
    });
    log(world, call, channel, action::CHANNEL_UPDATE, channel, Value::Null);
    Ok(render::channel(world, &world.channels[&channel]).into())
}

fn overwrite(world: &mut World, call: &Call, channel: &str, target: &str) -> Answer {
    let channel = access::channel(world, channel, MANAGE_ROLES)?;
    let target = id(target).ok_or_else(Problem::unknown_role)?;
    let bits = |key: &str| call.body[key].as_str().and_then(id).unwrap_or(0);
    let set = call.method == "PUT";
    let kind = u8::from(call.body["type"] == 1);
    let new = Overwrite { kind, allow: bits("allow"), deny: bits("deny") };
    world.edit_channel(channel, |channel| {
        if set {
            channel.overwrites.insert(target, new);
        } else {
            channel.overwrites.remove(&target);
        }
    });
    let action = if set { action::OVERWRITE_UPDATE } else { action::OVERWRITE_DELETE };
    let options = json!({ "id": target.to_string(), "type": kind.to_string() });
    log(world, call, channel, action, channel, options);
    Ok(Reply::empty())
}

/// Writes the audit log of the channel's guild; a DM has none.
fn log(world: &mut World, call: &Call, channel: Id, action: u8, target: Id, options: Value) {
    if let Some(guild) = world.channels[&channel].guild {
        let by: By<'_> = by_bot(world, guild, call);
        world.audit(by, action, target, Value::Null, options);
    }
}
