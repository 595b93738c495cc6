//! The bot itself: where its gateway is, and its commands.

use serde_json::{Map, Value, json};

use super::{Answer, Call, Reply, id};
use crate::{Id, problem::Problem, state::World};

pub(super) fn gateway(world: &World) -> Reply {
    json!({ "url": world.gateway_url() }).into()
}

pub(super) fn gateway_bot(world: &World) -> Reply {
    let limit = json!({ "total": 1000, "remaining": 999, "reset_after": 0, "max_concurrency": 1 });
    json!({ "url": world.gateway_url(), "shards": 1, "session_start_limit": limit }).into()
}

/// Commands of the application, or of it in one guild.
pub(super) fn commands(
    world: &mut World,
    call: &Call,
    guild: Option<&str>,
    rest: &[&str],
) -> Answer {
    let guild = match guild.map(id) {
        None => None,
        Some(guild) => {
            let known = guild.and_then(|id| world.guild(id));
            let known = known.filter(|guild| guild.members.contains_key(&world.bot));
            Some(known.ok_or_else(Problem::missing_access)?.id)
        }
    };
    let owner = guild.map_or(Value::Null, |id| id.to_string().into());
    let here = |command: &Value| command.get("guild_id").unwrap_or(&Value::Null) == &owner;
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            Ok(world.commands.iter().filter(|one| here(one)).cloned().collect::<Value>().into())
        }
        ("PUT", []) => {
            let given = call.body.as_array().cloned().unwrap_or_default();
            check_names(&given)?;
            let old: Vec<Value> = world.commands.iter().filter(|one| here(one)).cloned().collect();
            world.commands.retain(|one| !here(one));
            for command in given {
                let same = old.iter().find(|old| same_command(old, &command));
                let command = registered(world, guild, &command, same);
                world.commands.push(command);
            }
            world.commands_registered = true;
            Ok(world.commands.iter().filter(|one| here(one)).cloned().collect::<Value>().into())
        }
        ("POST", []) => {
            let at =
                world.commands.iter().position(|old| here(old) && same_command(old, &call.body));
            let old = at.map(|at| world.commands.remove(at));
            let command = registered(world, guild, &call.body, old.as_ref());
            world.commands.push(command.clone());
            world.commands_registered = true;
            Ok(if old.is_some() { command.into() } else { Reply::created(command) })
        }
        (method, [command]) => {
            let at = world.commands.iter().position(|one| here(one) && one["id"] == **command);
            let at = at.ok_or_else(Problem::unknown_command)?;
            match method {
                "GET" => Ok(world.commands[at].clone().into()),
                "DELETE" => {
                    world.commands.remove(at);
                    Ok(Reply::empty())
                }
                "PATCH" => {
                    let old = world.commands[at].clone();
                    let mut merged = old.clone();
                    for (key, value) in call.body.as_object().into_iter().flatten() {
                        merged[key] = value.clone();
                    }
                    world.commands[at] = registered(world, guild, &merged, Some(&old));
                    Ok(world.commands[at].clone().into())
                }
                _ => Err(Problem::method_not_allowed()),
            }
        }
        _ => Err(Problem::not_found()),
    }
}

fn kind(command: &Value) -> u64 {
    command["type"].as_u64().unwrap_or(1)
}

fn same_command(a: &Value, b: &Value) -> bool {
    a["name"] == b["name"] && kind(a) == kind(b)
}

/// Names are unique per type, and a scope holds at most 100 slash commands and 15 of each menu.
fn check_names(commands: &[Value]) -> Result<(), Problem> {
    for (index, command) in commands.iter().enumerate() {
        if commands[..index].iter().any(|earlier| same_command(earlier, command)) {
            return Err(Problem::invalid(
                &format!("{index}.name"),
                "APPLICATION_COMMANDS_DUPLICATE_NAME",
                "Application command names must be unique",
            ));
        }
    }
    for (of, most) in [(1, 100), (2, 15), (3, 15)] {
        if commands.iter().filter(|command| kind(command) == of).count() > most {
            let message = format!("Maximum number of application commands reached ({most}).");
            return Err(Problem::new(400, 30032, &message));
        }
    }
    Ok(())
}

/// The command as Discord stores and returns it; one that was there keeps its id.
fn registered(world: &mut World, guild: Option<Id>, given: &Value, old: Option<&Value>) -> Value {
    let minted = world.clock.mint().to_string();
    let given = |key: &str| given.get(key).cloned().unwrap_or(Value::Null);
    let or = |value: Value, default: Value| if value.is_null() { default } else { value };
    let mut command = Map::new();
    let kind = or(given("type"), json!(1));
    let slash = kind == 1;
    command.insert("id".into(), old.map_or_else(|| minted.clone().into(), |old| old["id"].clone()));
    command.insert("application_id".into(), world.bot.to_string().into());
    command.insert("version".into(), minted.into());
    command.insert("type".into(), kind);
    for key in ["name", "name_localizations", "description_localizations"] {
        command.insert(key.into(), given(key));
    }
    command.insert("default_member_permissions".into(), given("default_member_permissions"));
    command.insert("description".into(), or(given("description"), "".into()));
    command.insert("nsfw".into(), or(given("nsfw"), false.into()));
    command.insert("integration_types".into(), or(given("integration_types"), json!([0])));
    if slash {
        command.insert("options".into(), or(given("options"), json!([])));
    }
    if let Some(guild) = guild {
        command.insert("guild_id".into(), guild.to_string().into());
    } else {
        command.insert("contexts".into(), given("contexts"));
        command.insert("dm_permission".into(), or(given("dm_permission"), true.into()));
    }
    Value::Object(command)
}
