//! Users, and the bot's own guilds and DMs.

use serde_json::{Value, json};

use super::{Answer, Call, Reply, access, id};
use crate::{problem::Problem, render, state::World};

pub(super) fn route(world: &mut World, call: &Call, rest: &[&str]) -> Answer {
    match (call.method.as_str(), rest) {
        ("GET", ["@me"]) => Ok(render::current_user(world).into()),
        ("PATCH", ["@me"]) => {
            if let Some(name) = call.body["username"].as_str() {
                let bot = world.bot;
                world.users.get_mut(&bot).expect("the bot is a user").name = name.into();
            }
            Ok(render::current_user(world).into())
        }
        ("POST", ["@me", "channels"]) => {
            let user = call.body["recipient_id"].as_str().and_then(id);
            let user =
                user.and_then(|id| world.users.get(&id)).ok_or_else(Problem::unknown_user)?;
            if user.bot {
                return Err(Problem::cannot_send_to_user());
            }
            let channel = world.dm_with(user.id);
            Ok(render::channel(world, &world.channels[&channel]).into())
        }
        ("GET", ["@me", "guilds"]) => {
            let after = access::query_id(call, "after").unwrap_or(0);
            let guilds = world.guilds.range(after + 1..).map(|(_, guild)| guild);
            let joined = guilds.filter(|guild| guild.members.contains_key(&world.bot));
            let shown = joined.take(access::limit(call, 200, 200)).map(|guild| {
                json!({
                    "id": guild.id.to_string(),
                    "name": guild.name,
                    "icon": null,
                    "banner": null,
                    "owner": false,
                    "permissions": guild.permissions(world.bot).to_string(),
                    "features": [],
                })
            });
            Ok(shown.collect::<Value>().into())
        }
        ("DELETE", ["@me", "guilds", guild]) => {
            let guild = access::guild(world, guild)?;
            world.remove_bot(guild);
            Ok(Reply::empty())
        }
        ("GET", ["@me", "guilds", guild, "member"]) => {
            let guild = access::guild(world, guild)?;
            Ok(render::member(world, &world.guilds[&guild], world.bot).into())
        }
        ("GET", [user]) => {
            let user = id(user).and_then(|id| world.users.get(&id));
            Ok(render::user(user.ok_or_else(Problem::unknown_user)?).into())
        }
        _ => Err(Problem::not_found()),
    }
}
