//! The commands at Discord: registered only when they differ, for Discord limits how often.

use poise::serenity_prelude as serenity;
use serde_json::{Map, Value};
use serenity::{Command, CreateCommand, GuildId, Http};

/// What Discord adds to a command by itself.
const ADDED: [&str; 11] = [
    "id",
    "application_id",
    "guild_id",
    "version",
    "nsfw",
    "contexts",
    "integration_types",
    "dm_permission",
    "default_permission",
    "name_localized",
    "description_localized",
];

/// The commands of this version, as Discord gets them.
#[must_use]
pub fn own() -> Vec<CreateCommand> {
    poise::builtins::create_application_commands(&super::commands())
}

/// The commands that are registered, in one guild or for all.
///
/// # Errors
///
/// If Discord refuses or can't be reached.
pub async fn registered(http: &Http, guild: Option<GuildId>) -> serenity::Result<Vec<Command>> {
    match guild {
        Some(guild) => http.get_guild_commands(guild).await,
        None => http.get_global_commands().await,
    }
}

/// Makes the registered commands those of this version; `false` if they were already.
///
/// # Errors
///
/// As [`registered`].
pub async fn register(http: &Http, guild: Option<GuildId>) -> serenity::Result<bool> {
    if is_current(&registered(http, guild).await?)? {
        return Ok(false);
    }
    match guild {
        Some(guild) => http.create_guild_commands(guild, &own()).await?,
        None => http.create_global_commands(&own()).await?,
    };
    Ok(true)
}

/// Whether these are the commands of this version, in any order.
///
/// # Errors
///
/// If one can't be written as JSON.
pub fn is_current(registered: &[Command]) -> serde_json::Result<bool> {
    let mut found: Vec<Value> =
        registered.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    let mut own: Vec<Value> = own().iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
    for command in found.iter_mut().chain(&mut own) {
        if let Some(fields) = command.as_object_mut() {
            fields.retain(|name, _| !ADDED.contains(&name.as_str()));
            // A slash command, where nothing is said.
            fields.entry("type").or_insert(1.into());
        }
        neutralise(command);
    }
    found.sort_by_key(name);
    own.sort_by_key(name);
    Ok(found == own)
}

fn name(command: &Value) -> String {
    command["name"].as_str().unwrap_or_default().to_owned()
}

/// Takes out what means nothing (null, false, empty), and writes each number in one form.
fn neutralise(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(neutralise);
            fields.retain(|_, value| !is_neutral(value));
        }
        Value::Array(items) => items.iter_mut().for_each(neutralise),
        Value::Number(number) => *value = number.as_f64().into(),
        _ => {}
    }
}

fn is_neutral(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => Map::is_empty(fields),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Discord gives the commands back.
    fn returned() -> Vec<Value> {
        let own = own().into_iter().enumerate().map(|(n, command)| {
            let mut command = serde_json::to_value(command).expect("serializes");
            command["type"] = 1.into();
            command["id"] = (n + 1).to_string().into();
            command["application_id"] = "5".into();
            command["version"] = "9".into();
            command
        });
        own.rev().collect()
    }

    fn read(commands: &[Value]) -> bool {
        let commands: Vec<Command> = commands
            .iter()
            .map(|command| serde_json::from_value(command.clone()).expect("readable"))
            .collect();
        is_current(&commands).expect("comparable")
    }

    #[test]
    fn commands_that_came_back_are_current_and_any_change_is_seen() {
        assert!(read(&returned()));
        let change = |path: &str, value: Value| {
            let mut commands = returned();
            let bytes = commands.iter_mut().find(|command| command["name"] == "bytes");
            *bytes.expect("there").pointer_mut(path).expect(path) = value;
            read(&commands)
        };
        assert!(!change("/description", "Other words".into()));
        assert!(!change("/options/1/options/1/min_value", 2.into()));
        assert!(!change("/options/1/options/2/max_length", Value::Null));
        assert!(!change("/options/1/options/0/required", false.into()));
        assert!(!read(&returned()[1..]), "one is missing");
    }
}
