//! What a message may hold, and what posting and editing one does.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Call, File};
use crate::{
    Id,
    permissions::MENTION_EVERYONE,
    problem::Problem,
    state::{Mentions, Message, World, flags},
};

/// The most characters in all embeds of a message.
const EMBED_CHARACTERS: usize = 6000;
/// The most rows of components, and buttons in a row.
const ROWS: usize = 5;
/// Selects of strings, users, roles, mentionables and channels.
const SELECTS: [u64; 5] = [3, 5, 6, 7, 8];

/// A message's body, checked for what the published description can't say.
#[derive(Debug)]
pub(crate) struct Draft {
    content: Option<String>,
    embeds: Option<Vec<Value>>,
    components: Option<Vec<Value>>,
    kept_attachments: Option<Vec<String>>,
    new_attachments: Vec<Value>,
    allowed_mentions: Value,
    pub(crate) flags: Option<u64>,
    pub(crate) tts: bool,
    pub(crate) nonce: Option<Value>,
}

impl Draft {
    pub(crate) fn read(world: &mut World, call: &Call, body: &Value) -> Result<Self, Problem> {
        let list = |key: &str| match body.get(key) {
            None => None,
            Some(Value::Array(items)) => Some(items.iter().cloned().map(drop_empty).collect()),
            Some(_) => Some(Vec::new()),
        };
        let embeds: Option<Vec<Value>> = list("embeds");
        let components: Option<Vec<Value>> = list("components");
        check_embeds(embeds.as_deref().unwrap_or_default())?;
        check_components(components.as_deref().unwrap_or_default())?;
        check_allowed_mentions(&body["allowed_mentions"])?;
        let kept = list("attachments").map(|given: Vec<Value>| {
            given.iter().filter_map(|one| one["id"].as_str().map(str::to_owned)).collect()
        });
        Ok(Self {
            content: body.get("content").map(|text| text.as_str().unwrap_or("").trim().to_owned()),
            embeds: embeds.map(|embeds| embeds.into_iter().map(stored_embed).collect()),
            components,
            kept_attachments: kept,
            new_attachments: call
                .files
                .iter()
                .map(|File { name, kind, size }| world.attachment(name, kind.as_deref(), *size))
                .collect(),
            allowed_mentions: body["allowed_mentions"].clone(),
            flags: body["flags"].as_u64(),
            tts: body["tts"] == true,
            nonce: body.get("nonce").filter(|nonce| !nonce.is_null()).cloned(),
        })
    }

    /// A member's message: they mention whom they like.
    pub(crate) fn said(content: &str, attachments: Vec<Value>) -> Self {
        Self {
            content: Some(content.trim().to_owned()),
            embeds: None,
            components: None,
            kept_attachments: None,
            new_attachments: attachments,
            allowed_mentions: Value::Null,
            flags: None,
            tts: false,
            nonce: None,
        }
    }

    /// A new message must hold something.
    pub(crate) fn check_not_empty(&self) -> Result<(), Problem> {
        let nothing = |list: &Option<Vec<Value>>| list.as_ref().is_none_or(Vec::is_empty);
        let empty = self.content.as_ref().is_none_or(String::is_empty)
            && nothing(&self.embeds)
            && self.new_attachments.is_empty()
            && (nothing(&self.components) || self.flag(flags::IS_COMPONENTS_V2) == 0);
        if empty { Err(Problem::empty_message()) } else { Ok(()) }
    }

    pub(crate) fn flag(&self, flag: u64) -> u64 {
        self.flags.unwrap_or(0) & flag
    }

    fn mentions(&self, world: &World, channel: Id, author: Id, content: &str) -> Mentions {
        let found = Mentions::written(content);
        let guild = world.channels.get(&channel).and_then(|channel| channel.guild);
        let guild = guild.and_then(|id| world.guilds.get(&id));
        let privileged = world.can(author, channel, MENTION_EVERYONE);
        let allowed = &self.allowed_mentions;
        let parsed = |kind: &str| {
            allowed.is_null()
                || allowed["parse"]
                    .as_array()
                    .is_some_and(|parse| parse.iter().any(|one| one == kind))
        };
        let listed = |kind: &str, id: Id| {
            let text = id.to_string();
            parsed(kind) || allowed[kind].as_array().is_some_and(|ids| ids.contains(&json!(text)))
        };
        let mentionable = |id: &Id| {
            let role = guild.and_then(|guild| guild.roles.get(id));
            role.is_some_and(|role| role.mentionable || privileged)
        };
        Mentions {
            everyone: found.everyone && guild.is_some() && privileged && parsed("everyone"),
            users: found
                .users
                .into_iter()
                .filter(|id| world.users.contains_key(id) && listed("users", *id))
                .collect(),
            roles: found
                .roles
                .into_iter()
                .filter(|id| mentionable(id) && listed("roles", *id))
                .collect(),
        }
    }
}

impl Mentions {
    /// Every mention that stands in the text.
    pub(crate) fn written(content: &str) -> Self {
        let mut mentions = Self {
            everyone: content.contains("@everyone") || content.contains("@here"),
            ..Self::default()
        };
        for piece in content.split('<').skip(1) {
            let Some((inner, _)) = piece.split_once('>') else { continue };
            if let Some(role) = inner.strip_prefix("@&") {
                mentions.roles.extend(super::id(role));
            } else if let Some(user) = inner.strip_prefix('@') {
                mentions.users.extend(super::id(user.trim_start_matches('!')));
            }
        }
        mentions
    }
}

/// Where a new message goes and whose it is.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) channel: Id,
    pub(crate) author: Id,
    pub(crate) turn: Option<Id>,
    pub(crate) only_for: Option<Id>,
    pub(crate) reply_to: Option<Id>,
}

impl Place {
    /// In a channel, for everybody who sees it.
    pub(crate) fn channel(channel: Id, author: Id) -> Self {
        Self { channel, author, turn: None, only_for: None, reply_to: None }
    }
}

impl World {
    /// A file as messages carry it; its bytes are not kept.
    pub(crate) fn attachment(&mut self, name: &str, kind: Option<&str>, size: usize) -> Value {
        let id = self.clock.mint();
        let url = format!("{}/attachments/{id}/{name}", self.url);
        let mut value = json!({
            "id": id.to_string(),
            "filename": name,
            "size": size,
            "url": url,
            "proxy_url": url,
        });
        if let Some(kind) = kind {
            value["content_type"] = kind.into();
        }
        value
    }

    /// Posts a message and tells everybody.
    pub(crate) fn post(&mut self, draft: Draft, place: Place) -> Id {
        let Place { channel, author, turn, only_for, reply_to } = place;
        let content = draft.content.as_deref().unwrap_or_default();
        let mut mentions = draft.mentions(self, channel, author, content);
        let replied = reply_to.and_then(|id| self.messages.get(id)).map(|to| to.author);
        let pings_replied =
            draft.allowed_mentions.is_null() || draft.allowed_mentions["replied_user"] == true;
        mentions.users.extend(replied.filter(|_| pings_replied));
        let silent = only_for.is_some() || draft.flag(flags::SUPPRESS_NOTIFICATIONS) != 0;
        let mut pinged = if silent { BTreeSet::new() } else { self.reached(channel, &mentions) };
        pinged.remove(&author);
        let kept = flags::SUPPRESS_EMBEDS
            | flags::SUPPRESS_NOTIFICATIONS
            | flags::IS_COMPONENTS_V2
            | flags::LOADING;
        let ephemeral = if only_for.is_some() { flags::EPHEMERAL } else { 0 };
        let message = Message {
            id: self.clock.mint(),
            channel,
            author,
            flags: draft.flag(kept) | ephemeral,
            content: draft.content.unwrap_or_default(),
            embeds: draft.embeds.unwrap_or_default(),
            components: numbered(draft.components.unwrap_or_default()),
            attachments: draft.new_attachments,
            at: self.now(),
            edited: None,
            deleted: false,
            pinned: false,
            tts: draft.tts,
            nonce: draft.nonce,
            reply_to,
            turn,
            only_for,
            mentions,
            pinged,
        };
        let id = message.id;
        self.messages.post(message.clone());
        self.touch(turn);
        self.dispatch_message("MESSAGE_CREATE", &message);
        id
    }

    /// Changes what the draft names, and tells everybody. An edit pings nobody, also where it
    /// fills a deferred answer.
    pub(crate) fn edit(&mut self, id: Id, draft: &Draft) -> Result<(), Problem> {
        let Some(old) = self.messages.get(id).cloned() else {
            return Err(Problem::unknown_message());
        };
        let mut new = old.clone();
        if let Some(content) = &draft.content {
            new.content.clone_from(content);
        }
        if let Some(embeds) = &draft.embeds {
            new.embeds.clone_from(embeds);
        }
        if let Some(components) = &draft.components {
            new.components = numbered(components.clone());
        }
        if let Some(kept) = &draft.kept_attachments {
            new.attachments.retain(|one| kept.iter().any(|id| one["id"] == **id));
        }
        new.attachments.extend(draft.new_attachments.iter().cloned());
        if let Some(given) = draft.flags {
            let changeable = flags::SUPPRESS_EMBEDS | flags::IS_COMPONENTS_V2;
            new.flags =
                new.flags & !changeable | given & changeable | new.flags & flags::IS_COMPONENTS_V2;
        }
        let nothing = new.content.is_empty()
            && new.embeds.is_empty()
            && new.attachments.is_empty()
            && (new.components.is_empty() || new.flags & flags::IS_COMPONENTS_V2 == 0);
        if nothing {
            return Err(Problem::empty_message());
        }
        new.mentions = draft.mentions(self, new.channel, new.author, &new.content);
        new.flags &= !flags::LOADING;
        // Filling a deferred answer is not an edit that members would see marked.
        new.edited = if old.is_thinking() { None } else { Some(self.now()) };
        let changed = new.clone();
        self.messages.edit(id, |message| *message = changed);
        self.touch(new.turn);
        self.dispatch_message("MESSAGE_UPDATE", &new);
        Ok(())
    }

    /// Deletes a message and tells everybody.
    pub(crate) fn delete_message(&mut self, id: Id) {
        let Some(message) = self.messages.get(id).cloned() else { return };
        self.messages.delete(id);
        self.touch(message.turn);
        if message.only_for.is_some() || !self.sees(self.bot, &message) {
            return;
        }
        let guild = self.channels[&message.channel].guild;
        let mut data = json!({ "id": id.to_string(), "channel_id": message.channel.to_string() });
        if let Some(guild) = guild {
            data["guild_id"] = guild.to_string().into();
        }
        let needs = message_intent(guild);
        self.dispatch("MESSAGE_DELETE", guild, needs, &data);
    }
}

/// The intent that events about messages of a guild, or of a DM, need.
pub(crate) fn message_intent(guild: Option<Id>) -> u64 {
    use crate::gateway::intents::{DIRECT_MESSAGES, GUILD_MESSAGES};
    if guild.is_some() { GUILD_MESSAGES } else { DIRECT_MESSAGES }
}

/// The value without nulls in it, at any depth: what Discord keeps of a body.
pub(crate) fn drop_empty(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, drop_empty(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.into_iter().map(drop_empty).collect(),
        other => other,
    }
}

fn stored_embed(mut embed: Value) -> Value {
    embed["type"] = "rich".into();
    for field in embed["fields"].as_array_mut().into_iter().flatten() {
        if field["inline"].is_null() {
            field["inline"] = false.into();
        }
    }
    drop_empty(embed)
}

/// Components as Discord returns them: each with a number of its own.
fn numbered(mut components: Vec<Value>) -> Vec<Value> {
    fn number(components: &mut [Value], next: &mut u32) {
        for component in components {
            *next += 1;
            if component["id"].as_u64().is_none_or(|id| id == 0) {
                component["id"] = (*next).into();
            }
            if let Some(children) = component["components"].as_array_mut() {
                number(children, next);
            }
            for key in ["accessory", "component"] {
                if component[key].is_object() {
                    number(std::slice::from_mut(&mut component[key]), next);
                }
            }
        }
    }
    number(&mut components, &mut 0);
    components.into_iter().map(drop_empty).collect()
}

fn check_allowed_mentions(allowed: &Value) -> Result<(), Problem> {
    for kind in ["users", "roles"] {
        let parsed = allowed["parse"].as_array().is_some_and(|parse| parse.contains(&json!(kind)));
        let listed = allowed[kind].as_array().is_some_and(|ids| !ids.is_empty());
        if parsed && listed {
            return Err(Problem::invalid(
                "allowed_mentions",
                "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
                &format!("parse:[\"{kind}\"] and {kind}: [ids...] are mutually exclusive."),
            ));
        }
    }
    Ok(())
}

fn check_embeds(embeds: &[Value]) -> Result<(), Problem> {
    let length = |value: &Value| value.as_str().map_or(0, |text| text.chars().count());
    let mut total = 0;
    for (index, embed) in embeds.iter().enumerate() {
        let holds_something = embed.as_object().is_some_and(|embed| {
            ["title", "description", "fields", "image", "thumbnail", "footer", "author", "url"]
                .iter()
                .any(|key| embed.get(*key).is_some_and(|value| value != "" && value != &json!([])))
        });
        let required =
            |path: &str| Problem::invalid(path, "BASE_TYPE_REQUIRED", "This field is required");
        if !holds_something {
            return Err(required(&format!("embeds.{index}.description")));
        }
        total += length(&embed["title"])
            + length(&embed["description"])
            + length(&embed["footer"]["text"])
            + length(&embed["author"]["name"]);
        for (at, field) in embed["fields"].as_array().into_iter().flatten().enumerate() {
            for key in ["name", "value"] {
                if field[key].as_str().is_none_or(|text| text.trim().is_empty()) {
                    return Err(required(&format!("embeds.{index}.fields.{at}.{key}")));
                }
                total += length(&field[key]);
            }
        }
    }
    if total > EMBED_CHARACTERS {
        return Err(Problem::invalid(
            "embeds",
            "MAX_EMBED_SIZE_EXCEEDED",
            "Embed size exceeds maximum size of 6000",
        ));
    }
    Ok(())
}

fn check_components(components: &[Value]) -> Result<(), Problem> {
    let rows = components.iter().filter(|component| component["type"] == 1).count();
    if rows > ROWS {
        let message = "Must be between 1 and 5 in length.";
        return Err(Problem::invalid("components", "BASE_TYPE_BAD_LENGTH", message));
    }
    let mut seen = BTreeSet::new();
    check_level(components, "components", &mut seen)
}

fn check_level(
    components: &[Value],
    path: &str,
    seen: &mut BTreeSet<String>,
) -> Result<(), Problem> {
    for (index, component) in components.iter().enumerate() {
        let path = format!("{path}.{index}");
        if let Some(custom_id) = component["custom_id"].as_str()
            && !seen.insert(custom_id.to_owned())
        {
            return Err(Problem::invalid(
                &format!("{path}.custom_id"),
                "COMPONENT_CUSTOM_ID_DUPLICATED",
                "Component custom id cannot be duplicated",
            ));
        }
        let required = |key: &str| {
            let path = format!("{path}.{key}");
            Problem::invalid(&path, "BASE_TYPE_REQUIRED", "This field is required")
        };
        let children = component["components"].as_array().map_or(&[][..], Vec::as_slice);
        let kind = component["type"].as_u64().unwrap_or(0);
        match kind {
            1 => {
                let width: usize = children.iter().map(width).sum();
                if children.is_empty() || width > ROWS {
                    return Err(Problem::invalid(
                        &format!("{path}.components"),
                        "COMPONENT_LAYOUT_WIDTH_EXCEEDED",
                        "The specified component exceeds the maximum width",
                    ));
                }
            }
            2 => check_button(component, &required)?,
            3 if component["options"].as_array().is_none_or(Vec::is_empty) => {
                return Err(required("options"));
            }
            _ => {}
        }
        if SELECTS.contains(&kind) && component["custom_id"].is_null() {
            return Err(required("custom_id"));
        }
        check_level(children, &format!("{path}.components"), seen)?;
    }
    Ok(())
}

/// A row holds five buttons or one select.
fn width(component: &Value) -> usize {
    if component["type"] == 2 { 1 } else { ROWS }
}

fn check_button(button: &Value, required: &dyn Fn(&str) -> Problem) -> Result<(), Problem> {
    let missing = |key: &str| button[key].as_str().is_none_or(str::is_empty);
    match button["style"].as_u64() {
        Some(5) if missing("url") => return Err(required("url")),
        Some(1..=4) if missing("custom_id") => return Err(required("custom_id")),
        _ => {}
    }
    if button["style"] != 6 && missing("label") && button["emoji"].is_null() {
        return Err(required("label"));
    }
    Ok(())
}
