//! Bans of a guild.

use serde_json::{Value, json};

use super::{
    Answer, Call, Reply,
    access::{self, by_bot},
    id,
};
use crate::{
    Id,
    permissions::{BAN_MEMBERS, MANAGE_GUILD},
    problem::Problem,
    render,
    state::World,
};

pub(super) fn route(world: &mut World, call: &Call, guild: Id, rest: &[&str]) -> Answer {
    world.demand(guild, world.bot, BAN_MEMBERS)?;
    let by = by_bot(world, guild, call);
    let ban = |world: &World, user: &Id, reason: &Option<String>| json!({ "user": render::user(world.user(*user)), "reason": reason });
    match (call.method.as_str(), rest) {
        ("GET", ["bans"]) => {
            let (before, after) =
                (access::query_id(call, "before"), access::query_id(call, "after"));
            let bans = world.guilds[&guild].bans.iter().filter(|(id, _)| {
                before.is_none_or(|before| **id < before) && after.is_none_or(|after| **id > after)
            });
            let bans = bans.take(access::limit(call, 1000, 1000));
            Ok(bans.map(|(id, reason)| ban(world, id, reason)).collect::<Value>().into())
        }
        (method, ["bans", user]) => {
            let user = id(user).filter(|id| world.users.contains_key(id));
            let user = user.ok_or_else(Problem::unknown_user)?;
            match method {
                "GET" => {
                    let reason = world.guilds[&guild].bans.get(&user);
                    Ok(ban(world, &user, reason.ok_or_else(Problem::unknown_ban)?).into())
                }
                "PUT" => {
                    world.ban(by, user, delete_seconds(&call.body))?;
                    Ok(Reply::empty())
                }
                "DELETE" => {
                    world.unban(by, user)?;
                    Ok(Reply::empty())
                }
                _ => Err(Problem::method_not_allowed()),
            }
        }
        ("POST", ["bulk-ban"]) => {
            world.demand(guild, world.bot, MANAGE_GUILD)?;
            let given = call.body["user_ids"].as_array().map_or(&[][..], Vec::as_slice);
            let (mut banned, mut failed) = (Vec::new(), Vec::new());
            for text in given.iter().filter_map(Value::as_str) {
                let user = id(text).filter(|id| !world.guilds[&guild].bans.contains_key(id));
                let done = user
                    .is_some_and(|user| world.ban(by, user, delete_seconds(&call.body)).is_ok());
                if done { banned.push(text) } else { failed.push(text) }
            }
            if banned.is_empty() {
                return Err(Problem::failed_to_ban());
            }
            Ok(json!({ "banned_users": banned, "failed_users": failed }).into())
        }
        _ => Err(Problem::not_found()),
    }
}

/// How far back the banned user's messages go, in either of the fields Discord has for it.
fn delete_seconds(body: &Value) -> i64 {
    let days = body["delete_message_days"].as_i64().unwrap_or(0);
    body["delete_message_seconds"].as_i64().unwrap_or(days * 86_400)
}
