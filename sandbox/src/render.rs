//! The world's things as Discord's JSON objects.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use crate::{
    Id,
    clock::created_at,
    permissions,
    state::{Channel, GuildState, MemberState, Message, Role, User, World, flags},
};

/// A timestamp as Discord writes it.
pub(crate) fn timestamp(at: DateTime<Utc>) -> Value {
    Value::from(at.to_rfc3339_opts(SecondsFormat::Micros, false))
}

fn id(id: impl Into<Option<Id>>) -> Value {
    id.into().map_or(Value::Null, |id| Value::from(id.to_string()))
}

fn ids<'a>(ids: impl IntoIterator<Item = &'a Id>) -> Value {
    ids.into_iter().map(|one| id(*one)).collect()
}

pub(crate) fn user(user: &User) -> Value {
    json!({
        "id": id(user.id),
        "username": user.name,
        "discriminator": if user.bot { "1234" } else { "0" },
        "global_name": user.global_name,
        "avatar": user.avatar,
        "bot": user.bot,
        "system": false,
        "public_flags": 0,
        "flags": 0,
        "banner": null,
        "accent_color": null,
        "avatar_decoration_data": null,
        "collectibles": null,
        "primary_guild": null,
    })
}

/// The bot's own user, as `/users/@me` and READY give it.
pub(crate) fn current_user(world: &World) -> Value {
    let mut value = user(world.user(world.bot));
    value["verified"] = json!(true);
    value["mfa_enabled"] = json!(false);
    value["email"] = Value::Null;
    value
}

/// A member without its user, as messages and resolved data carry it.
pub(crate) fn partial_member(member: &MemberState) -> Value {
    json!({
        "nick": member.nick,
        "avatar": null,
        "banner": null,
        "roles": ids(&member.roles),
        "joined_at": timestamp(member.joined_at),
        "premium_since": null,
        "deaf": member.deaf,
        "mute": member.mute,
        "flags": 0,
        "pending": false,
        "communication_disabled_until": member.timeout_until.map(timestamp),
        "avatar_decoration_data": null,
    })
}

pub(crate) fn member(world: &World, guild: &GuildState, who: Id) -> Value {
    let mut value = guild.members.get(&who).map_or_else(|| json!({}), partial_member);
    value["user"] = user(world.user(who));
    value
}

/// A member as an interaction carries it: with the permissions in the channel.
pub(crate) fn acting_member(world: &World, guild: &GuildState, who: Id, channel: Id) -> Value {
    let mut value = member(world, guild, who);
    value["permissions"] = world.permissions_in(who, channel).to_string().into();
    value
}

pub(crate) fn role(role: &Role) -> Value {
    let mut value = json!({
        "id": id(role.id),
        "name": role.name,
        "description": null,
        "permissions": role.permissions.to_string(),
        "position": role.position,
        "color": role.color,
        "colors": { "primary_color": role.color, "secondary_color": null, "tertiary_color": null },
        "hoist": role.hoist,
        "managed": role.bot.is_some(),
        "mentionable": role.mentionable,
        "icon": null,
        "unicode_emoji": null,
        "flags": 0,
    });
    if let Some(bot) = role.bot {
        value["tags"] = json!({ "bot_id": id(bot) });
    }
    value
}

pub(crate) fn channel(world: &World, channel: &Channel) -> Value {
    let last = id(world.messages.last_public(channel.id).map(|message| message.id));
    if let Some(recipient) = channel.recipient {
        return json!({
            "id": id(channel.id),
            "type": channel.kind,
            "last_message_id": last,
            "flags": 0,
            "recipients": [user(world.user(recipient))],
        });
    }
    let overwrites: Vec<_> = channel
        .overwrites
        .iter()
        .map(|(target, overwrite)| {
            json!({
                "id": id(*target),
                "type": overwrite.kind,
                "allow": overwrite.allow.to_string(),
                "deny": overwrite.deny.to_string(),
            })
        })
        .collect();
    if channel.is_thread() {
        let made = timestamp(created_at(channel.id));
        return json!({
            "id": id(channel.id),
            "type": channel.kind,
            "guild_id": id(channel.guild),
            "parent_id": id(channel.parent),
            "owner_id": channel.guild.and_then(|guild| world.guilds.get(&guild)).map(|one| id(one.owner)),
            "name": channel.name,
            "last_message_id": last,
            "rate_limit_per_user": channel.slow_mode,
            "message_count": world.messages.in_channel(channel.id).count(),
            "total_message_sent": world.messages.in_channel(channel.id).count(),
            "member_count": 1,
            "flags": 0,
            "thread_metadata": {
                "archived": false,
                "auto_archive_duration": 1440,
                "archive_timestamp": made,
                "locked": false,
                "create_timestamp": made,
            },
        });
    }
    json!({
        "id": id(channel.id),
        "type": channel.kind,
        "guild_id": id(channel.guild),
        "name": channel.name,
        "topic": channel.topic,
        "parent_id": id(channel.parent),
        "position": channel.position,
        "rate_limit_per_user": channel.slow_mode,
        "nsfw": false,
        "flags": 0,
        "last_message_id": last,
        "permission_overwrites": overwrites,
    })
}

/// A channel as interactions carry it.
pub(crate) fn partial_channel(world: &World, of: &Channel, viewer: Id) -> Value {
    let mut value = channel(world, of);
    value["permissions"] = world.permissions_in(viewer, of.id).to_string().into();
    value
}

/// What GET guild, and `GUILD_CREATE`'s core, hold.
pub(crate) fn guild(world: &World, guild: &GuildState) -> Value {
    json!({
        "id": id(guild.id),
        "name": guild.name,
        "icon": null,
        "splash": null,
        "discovery_splash": null,
        "banner": null,
        "description": null,
        "owner_id": id(guild.owner),
        "region": "deprecated",
        "afk_channel_id": null,
        "afk_timeout": 300,
        "widget_enabled": false,
        "widget_channel_id": null,
        "verification_level": 0,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "roles": guild.roles.values().map(role).collect::<Vec<_>>(),
        "emojis": guild.emojis,
        "stickers": [],
        "features": [],
        "mfa_level": 0,
        "application_id": null,
        "system_channel_id": id(guild.channels.first().copied()),
        "system_channel_flags": 0,
        "rules_channel_id": null,
        "public_updates_channel_id": null,
        "safety_alerts_channel_id": null,
        "max_presences": null,
        "max_members": 25_000_000,
        "max_video_channel_users": 25,
        "max_stage_video_channel_users": 50,
        "vanity_url_code": null,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "premium_progress_bar_enabled": false,
        "preferred_locale": "en-US",
        "nsfw": false,
        "nsfw_level": 0,
        "hub_type": null,
        "home_header": null,
        "latest_onboarding_question_id": null,
        "inventory_settings": null,
        "incidents_data": guild.incidents,
        "approximate_member_count": guild.members.len(),
        "approximate_presence_count": guild.members.len(),
        "owner": guild.owner == world.bot,
    })
}

/// `GUILD_CREATE` for a bot without the presences intent: of the members only the bot.
pub(crate) fn guild_create(world: &World, of: &GuildState) -> Value {
    let mut value = guild(world, of);
    let joined = of.members.get(&world.bot).map(|member| timestamp(member.joined_at));
    let (threads, channels): (Vec<_>, Vec<_>) =
        of.channels.iter().map(|id| &world.channels[id]).partition(|one| one.is_thread());
    let shown =
        |list: Vec<&Channel>| list.into_iter().map(|one| channel(world, one)).collect::<Value>();
    let more = json!({
        "joined_at": joined,
        "large": of.members.len() > 250,
        "unavailable": false,
        "member_count": of.members.len(),
        "members": [member(world, of, world.bot)],
        "channels": shown(channels),
        "threads": shown(threads),
        "voice_states": [],
        "presences": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
    });
    extend(&mut value, more);
    for key in ["approximate_member_count", "approximate_presence_count", "owner"] {
        value.as_object_mut().map(|map| map.remove(key));
    }
    value
}

fn extend(value: &mut Value, more: Value) {
    if let (Value::Object(map), Value::Object(more)) = (value, more) {
        map.extend(more);
    }
}

pub(crate) fn message(world: &World, message: &Message) -> Value {
    let mentions: Vec<_> = message.mentions.users.iter().map(|id| user(world.user(*id))).collect();
    let mut value = json!({
        "id": id(message.id),
        "channel_id": id(message.channel),
        "author": user(world.user(message.author)),
        "content": message.content,
        "timestamp": timestamp(message.at),
        "edited_timestamp": message.edited.map(timestamp),
        "tts": message.tts,
        "mention_everyone": message.mentions.everyone,
        "mentions": mentions,
        "mention_roles": ids(&message.mentions.roles),
        "attachments": message.attachments,
        "embeds": if message.flags & flags::SUPPRESS_EMBEDS == 0 { &message.embeds[..] } else { &[] },
        "components": message.components,
        "pinned": message.pinned,
        "flags": message.flags,
        "type": kind(world, message),
    });
    let more = value.as_object_mut().expect("just built as an object");
    if message.author == world.bot && message.turn.is_some() {
        more.insert("application_id".into(), id(world.bot));
        more.insert("webhook_id".into(), id(world.bot));
    }
    if let Some(nonce) = &message.nonce {
        more.insert("nonce".into(), nonce.clone());
    }
    if let Some(metadata) = message.turn.and_then(|turn| interaction_metadata(world, turn)) {
        more.insert("interaction_metadata".into(), metadata);
    }
    if let Some(to) = message.reply_to {
        let guild = world.channels.get(&message.channel).and_then(|channel| channel.guild);
        let reference = json!({
            "type": 0, "message_id": id(to), "channel_id": id(message.channel), "guild_id": id(guild),
        });
        more.insert("message_reference".into(), reference);
        let referenced = world.messages.get(to).map(|to| {
            let mut to = self::message(world, to);
            to.as_object_mut().map(|map| map.remove("referenced_message"));
            to
        });
        more.insert("referenced_message".into(), referenced.into());
    }
    value
}

/// 0 plain, 19 reply, 20 answer to a slash command, 23 answer to a context menu.
fn kind(world: &World, message: &Message) -> u8 {
    let turn = message.turn.and_then(|id| world.turns.get(&id));
    let answered = turn.filter(|turn| turn.original == Some(message.id));
    match answered.and_then(|turn| turn.command.as_ref()) {
        Some((_, 1)) => 20,
        Some(_) => 23,
        None if message.reply_to.is_some() => 19,
        None => 0,
    }
}

fn interaction_metadata(world: &World, turn: Id) -> Option<Value> {
    let turn = world.turns.get(&turn)?;
    let mut value = json!({
        "id": id(turn.id),
        "type": turn.kind,
        "user": user(world.user(turn.user)),
        "authorizing_integration_owners": { "0": id(turn.guild) },
    });
    if let Some((name, kind)) = &turn.command {
        value["name"] = name.as_str().into();
        value["command_type"] = (*kind).into();
    }
    if let Some(source) = turn.source.filter(|_| turn.kind == 3) {
        value["interacted_message_id"] = id(source);
    }
    if let Some(opener) = turn.opener.and_then(|opener| interaction_metadata(world, opener)) {
        value["triggering_interaction_metadata"] = opener;
    }
    Some(value)
}

/// A message as `MESSAGE_CREATE` and `MESSAGE_UPDATE` carry it: with guild and member.
pub(crate) fn message_event(world: &World, of: &Message, content: bool) -> Value {
    let mut value = readable_message(world, of, content);
    let guild = world.channels.get(&of.channel).and_then(|channel| channel.guild);
    if let Some(guild) = guild.and_then(|id| world.guilds.get(&id)) {
        value["guild_id"] = id(guild.id);
        if let Some(member) = guild.members.get(&of.author).filter(|_| of.turn.is_none()) {
            value["member"] = partial_member(member);
        }
    }
    value
}

/// A message for the bot, which without the content intent reads only DMs, its own words and what
/// mentions it.
pub(crate) fn readable_message(world: &World, of: &Message, content: bool) -> Value {
    let mut value = message(world, of);
    let open = content
        || world.channels.get(&of.channel).is_some_and(|channel| channel.guild.is_none())
        || of.author == world.bot
        || of.mentions.users.contains(&world.bot);
    if !open {
        value["content"] = "".into();
        for key in ["embeds", "attachments", "components"] {
            value[key] = json!([]);
        }
    }
    value
}

pub(crate) fn application(world: &World) -> Value {
    let settings = &world.application;
    let owner = world.users.values().find(|user| !user.bot).map(user);
    json!({
        "id": id(world.bot),
        "name": world.user(world.bot).name,
        "icon": null,
        "description": "",
        "summary": "",
        "type": null,
        "bot": user(world.user(world.bot)),
        "bot_public": settings.bot_public,
        "bot_require_code_grant": settings.bot_require_code_grant,
        "verify_key": "0".repeat(64),
        "flags": application_flags(world),
        "owner": owner.unwrap_or_else(|| user(world.user(world.bot))),
        "team": null,
        "hook": true,
        "is_monetized": false,
        "rpc_origins": [],
        "redirect_uris": [],
        "interactions_endpoint_url": settings.interactions_endpoint_url,
        "approximate_guild_count": world.guilds.len(),
        "approximate_user_install_count": 0,
        "integration_types_config": { "0": {} },
        "install_params": { "scopes": ["bot", "applications.commands"], "permissions": permissions::BOT.to_string() },
        "created_at": timestamp(created_at(world.bot)),
    })
}

/// The application's public flags: the "limited" variants of the intents that are switched on.
pub(crate) fn application_flags(world: &World) -> u64 {
    let settings = &world.application;
    let flag = |on: bool, bit: u32| if on { 1 << bit } else { 0 };
    flag(settings.presence_intent, 13)
        | flag(settings.guild_members_intent, 15)
        | flag(settings.message_content_intent, 19)
        | flag(!world.commands.is_empty(), 23)
}

/// The keys of `value` that are wanted, for the smaller objects of resolved data.
pub(crate) fn only(value: &Value, keys: &[&str]) -> Value {
    let picked: Map<_, _> =
        keys.iter().filter_map(|key| Some(((*key).to_owned(), value.get(key)?.clone()))).collect();
    Value::Object(picked)
}
