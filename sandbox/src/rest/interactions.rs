//! Answers to interactions: the callback, `@original` and the follow-ups.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{
    Answer, Call, Reply, id,
    messages::{Draft, Place},
};
use crate::{
    FirstResponse, Id,
    clock::created_at,
    problem::Problem,
    render,
    state::{Turn, World, flags},
};

/// How long Discord waits for the first response.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);
/// How long an interaction's token lives.
const TOKEN_LIFE: TimeDelta = TimeDelta::minutes(15);

/// The first response to an interaction.
pub(super) fn callback(world: &mut World, call: &Call, turn: &str, token: &str) -> Answer {
    let known = id(turn).and_then(|id| world.turns.get_mut(&id));
    let turn = known.filter(|turn| turn.token == token).ok_or_else(Problem::unknown_interaction)?;
    turn.attempts += 1;
    if turn.first.is_some() {
        return Err(Problem::already_acknowledged());
    }
    let after = call.arrived.saturating_duration_since(turn.dispatched);
    if after > PATIENCE {
        return Err(Problem::unknown_interaction());
    }
    let (turn_id, turn_kind, source) = (turn.id, turn.kind, turn.source);
    let kind = call.body["type"].as_u64().and_then(|kind| u8::try_from(kind).ok()).unwrap_or(0);
    let fits = match kind {
        4 | 5 => turn_kind != 4,
        6 | 7 => matches!(turn_kind, 3 | 5) && source.is_some(),
        8 => turn_kind == 4,
        9 => matches!(turn_kind, 2 | 3),
        _ => false,
    };
    if !fits {
        let message = format!("Value \"{kind}\" is not a valid response to this interaction.");
        return Err(Problem::invalid("type", "INTERACTION_TYPE_MISMATCH", &message));
    }
    let data = &call.body["data"];
    let mut ephemeral = data["flags"].as_u64().unwrap_or(0) & flags::EPHEMERAL != 0;
    let mut original = None;
    match kind {
        4 => {
            let draft = Draft::read(world, call, data)?;
            draft.check_not_empty()?;
            original = Some(post(world, turn_id, draft, ephemeral));
        }
        5 => {
            let mut draft = Draft::said("", Vec::new());
            draft.flags = Some(flags::LOADING);
            original = Some(post(world, turn_id, draft, ephemeral));
        }
        6 | 7 => {
            original = source;
            let message = source.and_then(|id| world.messages.get(id));
            ephemeral = message.is_some_and(|message| message.only_for.is_some());
            if kind == 7 {
                let draft = Draft::read(world, call, data)?;
                world.edit(source.ok_or_else(Problem::unknown_message)?, &draft)?;
            }
        }
        8 => check_choices(data)?,
        _ => check_modal(data)?,
    }
    let turn = world.turns.get_mut(&turn_id).expect("found above");
    turn.first = Some(FirstResponse { kind, after, ephemeral });
    turn.original = original;
    turn.updated = kind == 7;
    match kind {
        8 => turn.choices = Some(data["choices"].clone()),
        9 => turn.modal = Some(super::drop_empty(data.clone())),
        _ => {}
    }
    world.touch(Some(turn_id));
    if call.flag("with_response") {
        return Ok(with_response(world, turn_id, kind).into());
    }
    Ok(Reply::empty())
}

fn post(world: &mut World, turn: Id, draft: Draft, ephemeral: bool) -> Id {
    let Turn { channel, user, .. } = world.turns[&turn];
    let place = Place {
        channel,
        author: world.bot,
        turn: Some(turn),
        only_for: ephemeral.then_some(user),
        reply_to: None,
    };
    world.post(draft, place)
}

fn with_response(world: &World, turn: Id, kind: u8) -> Value {
    let turn = &world.turns[&turn];
    let message = turn.original.and_then(|id| world.messages.get(id));
    let thinking = message.is_some_and(crate::state::Message::is_thinking);
    let mut interaction = json!({
        "id": turn.id.to_string(),
        "type": turn.kind,
        "response_message_loading": thinking,
        "response_message_ephemeral": message.is_some_and(|message| message.only_for.is_some()),
    });
    let mut resource = json!({ "type": kind });
    if let Some(message) = message.filter(|_| kind != 6) {
        interaction["response_message_id"] = message.id.to_string().into();
        resource["message"] = render::message(world, message);
    }
    json!({ "interaction": interaction, "resource": resource })
}

fn check_choices(data: &Value) -> Result<(), Problem> {
    match data["choices"].as_array() {
        Some(choices) if choices.len() > 25 => Err(Problem::invalid(
            "data.choices",
            "BASE_TYPE_MAX_LENGTH",
            "Must be 25 or fewer in length.",
        )),
        _ => Ok(()),
    }
}

fn check_modal(data: &Value) -> Result<(), Problem> {
    match data["components"].as_array().map(Vec::len) {
        Some(1..=5) => Ok(()),
        _ => Err(Problem::invalid(
            "data.components",
            "BASE_TYPE_BAD_LENGTH",
            "Must be between 1 and 5 in length.",
        )),
    }
}

/// What an interaction's token opens: follow-ups, and the messages it produced.
pub(super) fn webhook(
    world: &mut World,
    call: &Call,
    app: &str,
    token: &str,
    rest: &[&str],
) -> Answer {
    let turn = world.tokens.get(token).and_then(|id| world.turns.get(id));
    let turn = turn.filter(|_| id(app) == Some(world.bot)).ok_or_else(Problem::unknown_webhook)?;
    if world.now() - created_at(turn.id) > TOKEN_LIFE {
        return Err(Problem::invalid_webhook_token());
    }
    // Discord makes the webhook with the first response.
    if turn.first.is_none() {
        return Err(Problem::unknown_webhook());
    }
    let turn_id = turn.id;
    match (call.method.as_str(), rest) {
        ("POST", []) => follow_up(world, call, turn_id),
        (method, ["messages", which]) => {
            let message = if *which == "@original" { turn.original } else { id(which) };
            let message = message.filter(|id| {
                turn.original == Some(*id)
                    || turn.source == Some(*id)
                    || turn.followups.contains(id)
            });
            let message = message.filter(|id| world.messages.get(*id).is_some());
            let message = message.ok_or_else(Problem::unknown_message)?;
            match method {
                "GET" => {}
                "PATCH" => {
                    let draft = Draft::read(world, call, &call.body)?;
                    world.edit(message, &draft)?;
                    let turn = world.turns.get_mut(&turn_id).expect("it was found above");
                    turn.updated |= turn.source == Some(message);
                    world.touch(Some(turn_id));
                }
                "DELETE" => {
                    world.delete_message(message);
                    world.touch(Some(turn_id));
                    return Ok(Reply::empty());
                }
                _ => return Err(Problem::not_served()),
            }
            Ok(shown(world, message))
        }
        _ => Err(Problem::not_served()),
    }
}

fn shown(world: &World, message: Id) -> Reply {
    world.messages.get(message).map_or(Value::Null, |one| render::message(world, one)).into()
}

/// A follow-up; the first after a deferral fills the deferred message instead, as it is.
fn follow_up(world: &mut World, call: &Call, turn: Id) -> Answer {
    let draft = Draft::read(world, call, &call.body)?;
    draft.check_not_empty()?;
    let original = world.turns[&turn].original.and_then(|id| world.messages.get(id));
    if let Some(thinking) = original.filter(|message| message.is_thinking()).map(|one| one.id) {
        world.edit(thinking, &draft)?;
        world.touch(Some(turn));
        return Ok(shown(world, thinking));
    }
    let ephemeral = draft.flag(flags::EPHEMERAL) != 0;
    let message = post(world, turn, draft, ephemeral);
    world.turns.get_mut(&turn).expect("it was just read").followups.push(message);
    world.touch(Some(turn));
    Ok(shown(world, message))
}
