//! The REST routes: one file per resource, one table for all.

mod access;
mod application;
mod bans;
mod channels;
mod guilds;
mod interactions;
mod members;
mod messages;
mod users;

use std::time::Instant;

use axum::http::Method;
use serde_json::Value;

use crate::{Id, problem::Problem, render, state::World};

pub(crate) use messages::{Draft, Place, drop_empty, message_intent};

/// A request as the routes see it.
pub(crate) struct Call {
    pub(crate) method: Method,
    /// After `/api/v10`.
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Value,
    pub(crate) files: Vec<File>,
    pub(crate) reason: Option<String>,
    /// When it reached Discord: before it was read, and behind what a fault held it up.
    pub(crate) arrived: Instant,
}

/// A file that came as multipart; its bytes are not kept.
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) kind: Option<String>,
    pub(crate) size: usize,
}

impl Call {
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| &**value)
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.query(name), Some("true" | "True" | "1"))
    }
}

pub(crate) type Answer = Result<Reply, Problem>;

/// An answer that grants a request.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Option<Value>,
}

impl Reply {
    pub(crate) fn empty() -> Self {
        Self { status: 204, body: None }
    }

    pub(crate) fn created(body: Value) -> Self {
        Self { status: 201, body: Some(body) }
    }
}

impl From<Value> for Reply {
    fn from(body: Value) -> Self {
        Self { status: 200, body: Some(body) }
    }
}

/// An id in a path or a body.
pub(crate) fn id(text: &str) -> Option<Id> {
    text.parse().ok()
}

/// The route table.
pub(crate) fn route(world: &mut World, call: &Call, segments: &[&str]) -> Answer {
    match (call.method.as_str(), segments) {
        ("GET", ["gateway"]) => Ok(application::gateway(world)),
        ("GET", ["gateway", "bot"]) => Ok(application::gateway_bot(world)),
        (_, ["users", rest @ ..]) => users::route(world, call, rest),
        (_, ["channels", channel, rest @ ..]) => channels::route(world, call, channel, rest),
        (_, ["guilds", guild, rest @ ..]) => guilds::route(world, call, guild, rest),
        ("GET", ["applications", "@me"] | ["oauth2", "applications", "@me"]) => {
            Ok(render::application(world).into())
        }
        (_, ["applications", app, rest @ ..]) if id(app) == Some(world.bot) => match rest {
            ["commands", rest @ ..] => application::commands(world, call, None, rest),
            ["guilds", guild, "commands", rest @ ..] => {
                application::commands(world, call, Some(guild), rest)
            }
            ["emojis"] => Ok(serde_json::json!({ "items": [] }).into()),
            _ => Err(Problem::not_served()),
        },
        (_, ["applications", ..]) => Err(Problem::unknown_application()),
        ("POST", ["interactions", interaction, token, "callback"]) => {
            interactions::callback(world, call, interaction, token)
        }
        (_, ["webhooks", app, token, rest @ ..]) => {
            interactions::webhook(world, call, app, token, rest)
        }
        _ => Err(Problem::not_served()),
    }
}
