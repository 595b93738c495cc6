//! Reads a typed command line as Discord's client does, against the registered commands.

use serde_json::{Map, Value, json};

use super::{Refused, refuse};
use crate::{
    Id,
    permissions::{ADMINISTRATOR, USE_APPLICATION_COMMANDS},
    render,
    state::{GuildState, World},
};

/// The largest whole number a client sends.
const SAFE_INTEGER: i64 = 1 << 53;
/// Option types by Discord's numbers.
const SUBCOMMAND: u64 = 1;
const GROUP: u64 = 2;

/// Who types, and where.
pub(crate) struct Typist<'a> {
    pub(crate) world: &'a World,
    pub(crate) guild: &'a GuildState,
    pub(crate) user: Id,
    pub(crate) channel: Id,
}

impl World {
    /// The commands a guild has: its own, then the global ones.
    pub(crate) fn commands_in(&self, guild: Option<Id>) -> impl Iterator<Item = &Value> {
        let guild = guild.map(|id| id.to_string());
        let own = move |command: &&Value| match (command["guild_id"].as_str(), &guild) {
            (Some(of), Some(guild)) => of == guild,
            (Some(_), None) => false,
            (None, _) => true,
        };
        let mut found: Vec<_> = self.commands.iter().filter(own).collect();
        found.sort_by_key(|command| command["guild_id"].is_null());
        found.into_iter()
    }
}

impl<'a> Typist<'a> {
    /// The command of that type and name, if the member may use it here.
    pub(crate) fn command(&self, kind: u64, name: &str) -> Result<&'a Value, Refused> {
        let dm = self.world.channels.get(&self.channel).is_some_and(|place| place.guild.is_none());
        let mut commands = self.world.commands_in((!dm).then_some(self.guild.id));
        let found = commands
            .find(|one| one["type"] == kind && one["name"] == name && available(one, u8::from(dm)));
        let Some(command) = found else {
            return refuse(match kind {
                1 => format!("There is no command /{name}."),
                _ => format!("There is no menu entry \"{name}\"."),
            });
        };
        let granted = self.world.permissions_in(self.user, self.channel);
        let needed =
            command["default_member_permissions"].as_str().and_then(|bits| bits.parse().ok());
        let hidden = match needed {
            None => false,
            _ if dm || self.guild.open_commands.contains(name) => false,
            Some(0) => granted & ADMINISTRATOR == 0,
            Some(needed) => granted & needed != needed,
        };
        if hidden {
            return refuse(format!("{} may not see the command /{name}.", self.name()));
        }
        if granted & USE_APPLICATION_COMMANDS == 0 {
            return refuse(format!("{} may not use commands in this channel.", self.name()));
        }
        Ok(command)
    }

    fn name(&self) -> &str {
        &self.world.user(self.user).name
    }

    /// The `data` of the interaction that this line sends. With `focus` the last option is still
    /// being typed: it goes as it is, and others may be missing.
    pub(crate) fn read(&self, line: &str, focus: bool) -> Result<Value, Refused> {
        let Some(mut rest) = line.trim_start().strip_prefix('/') else {
            return refuse("A command begins with a slash.");
        };
        let name = word(&mut rest);
        let command = self.command(1, name)?;
        let mut path = vec![name];
        let mut level = command;
        let mut kinds = Vec::new();
        while let Some(inner) = subcommands(level) {
            let name = word(&mut rest);
            let Some(next) = inner.iter().find(|option| option["name"] == name) else {
                let known: Vec<_> = inner.iter().filter_map(|one| one["name"].as_str()).collect();
                let (path, known) = (path.join(" "), known.join(", "));
                return refuse(format!("/{path} goes on with one of: {known}; not \"{name}\"."));
            };
            kinds.push(next["type"].as_u64().unwrap_or(SUBCOMMAND));
            path.push(name);
            level = next;
        }
        let title = path.join(" ");
        let mut resolved = Resolved::default();
        let mut options = self.options(level, &title, rest, focus, &mut resolved)?;
        for (kind, name) in kinds.iter().zip(&path[1..]).rev() {
            options = vec![json!({ "name": name, "type": kind, "options": options })];
        }
        let mut data = json!({
            "id": command["id"],
            "name": command["name"],
            "type": 1,
            "options": options,
        });
        if let Some(guild) = command["guild_id"].as_str() {
            data["guild_id"] = guild.into();
        }
        if !resolved.0.is_empty() {
            data["resolved"] = Value::Object(resolved.0);
        }
        Ok(data)
    }

    fn options(
        &self,
        level: &Value,
        title: &str,
        rest: &str,
        focus: bool,
        resolved: &mut Resolved,
    ) -> Result<Vec<Value>, Refused> {
        let known = level["options"].as_array().map_or(&[][..], Vec::as_slice);
        let given = split(rest, known, title)?;
        let mut options: Vec<Value> = Vec::new();
        for (index, (option, text)) in given.iter().enumerate() {
            let (name, kind) = (&option["name"], &option["type"]);
            if options.iter().any(|one| one["name"] == *name) {
                return refuse(format!("The option `{}` is there twice.", label(option)));
            }
            if focus && index + 1 == given.len() {
                if option["autocomplete"] != true {
                    return refuse(format!("The option `{}` has no autocomplete.", label(option)));
                }
                options.push(json!({ "name": name, "type": kind, "value": text, "focused": true }));
            } else {
                let value = self.value(option, text, resolved)?;
                options.push(json!({ "name": name, "type": kind, "value": value }));
            }
        }
        let missing = known.iter().find(|option| {
            option["required"] == true && !options.iter().any(|one| one["name"] == option["name"])
        });
        match missing {
            Some(option) if !focus => {
                refuse(format!("/{title} misses the option `{}`.", label(option)))
            }
            _ => Ok(options),
        }
    }

    fn value(&self, option: &Value, text: &str, resolved: &mut Resolved) -> Result<Value, Refused> {
        let name = label(option);
        if text.is_empty() {
            return refuse(format!("The option `{name}` is empty."));
        }
        let choices = option["choices"].as_array().filter(|choices| !choices.is_empty());
        if let Some(choices) = choices {
            let found = choices.iter().find(|choice| {
                choice["value"] == text
                    || choice["value"].as_f64().is_some_and(|value| text.parse() == Ok(value))
                    || choice["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(text))
            });
            let Some(choice) = found else {
                let names: Vec<_> = choices.iter().filter_map(|one| one["name"].as_str()).collect();
                return refuse(format!("`{name}` is one of: {}.", names.join(", ")));
            };
            return Ok(choice["value"].clone());
        }
        match option["type"].as_u64() {
            Some(3) => in_length(option, text).map(Value::from),
            Some(4) => match text.parse::<i64>() {
                Ok(number) if number.abs() <= SAFE_INTEGER => {
                    #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
                    in_range(option, number as f64)?;
                    Ok(number.into())
                }
                Ok(_) => refuse(format!("`{name}` is beyond what Discord's client can send.")),
                Err(_) => refuse(format!("`{name}` is not a whole number: {text}.")),
            },
            Some(5) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" => Ok(true.into()),
                "false" | "no" => Ok(false.into()),
                _ => refuse(format!("`{name}` is true or false, not {text}.")),
            },
            Some(6) => self.user(text, resolved),
            Some(7) => self.channel(option, text, resolved),
            Some(8) => self.role(text, resolved),
            Some(9) => self.user(text, resolved).or_else(|_| self.role(text, resolved)),
            Some(10) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => {
                    in_range(option, number)?;
                    Ok(number.into())
                }
                _ => refuse(format!("`{name}` is not a number: {text}.")),
            },
            Some(11) => {
                let id = "1";
                let file =
                    json!({ "id": id, "filename": text, "size": 1, "url": "", "proxy_url": "" });
                resolved.put("attachments", id, file);
                Ok(id.into())
            }
            _ => refuse(format!("`{name}` is of a type that is not known here.")),
        }
    }

    /// A value of a select menu: of its own options, or someone or something of the guild.
    pub(crate) fn chosen(
        &self,
        menu: &Value,
        text: &str,
        resolved: &mut Resolved,
    ) -> Result<Value, Refused> {
        match menu["type"].as_u64() {
            Some(5) => self.user(text, resolved),
            Some(6) => self.role(text, resolved),
            Some(7) => self.user(text, resolved).or_else(|_| self.role(text, resolved)),
            Some(8) => self.channel(menu, text, resolved),
            _ => {
                let mut options = menu["options"].as_array().into_iter().flatten();
                match options.find(|one| one["label"] == text || one["value"] == text) {
                    Some(option) => Ok(option["value"].clone()),
                    None => refuse(format!("The menu does not offer \"{text}\".")),
                }
            }
        }
    }

    /// `bob`, `@bob`, `<@id>` or an id. By id also someone who is not a member.
    fn user(&self, text: &str, resolved: &mut Resolved) -> Result<Value, Refused> {
        let name = text.strip_prefix('@').unwrap_or(text);
        let mention = text.strip_prefix("<@").and_then(|text| text.strip_suffix('>'));
        let by_id = mention.unwrap_or(text).trim_start_matches('!').parse::<Id>().ok();
        let found = self
            .world
            .member_named(self.guild, name)
            .or_else(|| by_id.filter(|id| self.world.users.contains_key(id)));
        match found {
            Some(id) => {
                resolved.user(self, id);
                Ok(id.to_string().into())
            }
            None => refuse(format!("There is no member \"{name}\" here.")),
        }
    }

    fn role(&self, text: &str, resolved: &mut Resolved) -> Result<Value, Refused> {
        let name = text.strip_prefix('@').unwrap_or(text);
        let mention = text.strip_prefix("<@&").and_then(|text| text.strip_suffix('>'));
        let by_id = mention.unwrap_or(text).parse::<Id>().ok();
        let roles = &self.guild.roles;
        let by_name = || {
            roles.values().find(|role| role.name == name || role.name == text).map(|role| role.id)
        };
        match by_id.filter(|id| roles.contains_key(id)).or_else(by_name) {
            Some(id) => {
                resolved.put("roles", &id.to_string(), render::role(&roles[&id]));
                Ok(id.to_string().into())
            }
            None => refuse(format!("There is no role \"{name}\" here.")),
        }
    }

    fn channel(
        &self,
        option: &Value,
        text: &str,
        resolved: &mut Resolved,
    ) -> Result<Value, Refused> {
        let name = text.strip_prefix('#').unwrap_or(text);
        let mention = text.strip_prefix("<#").and_then(|text| text.strip_suffix('>'));
        let by_id = mention.unwrap_or(text).parse::<Id>().ok();
        let allowed = option["channel_types"].as_array().filter(|types| !types.is_empty());
        let mut channels = self.guild.channels.iter().map(|id| &self.world.channels[id]);
        let found = channels.find(|channel| Some(channel.id) == by_id || channel.name == name);
        let Some(channel) = found else {
            return refuse(format!("There is no channel \"{name}\" here."));
        };
        if allowed.is_some_and(|types| !types.contains(&channel.kind.into())) {
            return refuse(format!("The channel \"{name}\" is not of a type that fits."));
        }
        let shown = render::partial_channel(self.world, channel, self.user);
        let keys = ["id", "name", "type", "permissions", "parent_id", "topic", "position", "flags"];
        resolved.put("channels", &channel.id.to_string(), render::only(&shown, &keys));
        Ok(channel.id.to_string().into())
    }
}

/// What the ids in an interaction's options stand for.
#[derive(Default)]
pub(crate) struct Resolved(pub(crate) Map<String, Value>);

impl Resolved {
    pub(crate) fn put(&mut self, kind: &str, id: &str, value: Value) {
        let of_kind = self.0.entry(kind).or_insert_with(|| json!({}));
        of_kind[id] = value;
    }

    pub(crate) fn user(&mut self, typist: &Typist<'_>, id: Id) {
        let key = id.to_string();
        self.put("users", &key, render::user(typist.world.user(id)));
        if let Some(member) = typist.guild.members.get(&id) {
            let mut shown = render::partial_member(member);
            let granted = typist.world.permissions_in(id, typist.channel);
            shown["permissions"] = granted.to_string().into();
            self.put("members", &key, shown);
        }
    }
}

/// Whether a command can be used in a guild (context 0) or in the DM with the bot (1).
fn available(command: &Value, context: u8) -> bool {
    match command["contexts"].as_array() {
        Some(contexts) => contexts.contains(&context.into()),
        None => context == 0 || command["dm_permission"] != false,
    }
}

fn subcommands(level: &Value) -> Option<&Vec<Value>> {
    let options = level["options"].as_array()?;
    options.iter().any(|one| one["type"] == SUBCOMMAND || one["type"] == GROUP).then_some(options)
}

fn label(option: &Value) -> &str {
    option["name"].as_str().unwrap_or_default()
}

fn word<'a>(rest: &mut &'a str) -> &'a str {
    let text = rest.trim_start();
    let (word, more) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    *rest = more;
    word
}

/// Splits `name:value name:"quoted value"`. An unquoted value goes on until the next option's
/// name, as in the client.
fn split<'a>(
    mut rest: &str,
    known: &'a [Value],
    title: &str,
) -> Result<Vec<(&'a Value, String)>, Refused> {
    let names = || known.iter().map(label).collect::<Vec<_>>().join(", ");
    let mut given = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(given);
        }
        if known.is_empty() {
            return refuse(format!(
                "/{title} takes no options; leave out \"{}\".",
                rest.trim_end()
            ));
        }
        let name = rest.split(|c: char| c == ':' || c.is_whitespace()).next().unwrap_or_default();
        let Some(after) = rest[name.len()..].strip_prefix(':') else {
            return refuse(format!(
                "\"{name}\" has no option's name before it; /{title} has: {}.",
                names()
            ));
        };
        let Some(option) = known.iter().find(|option| label(option) == name) else {
            return refuse(format!("/{title} has no option `{name}`; it has: {}.", names()));
        };
        let after = after.trim_start();
        let value = if let Some(quoted) = after.strip_prefix('"') {
            let (value, more) = unquote(quoted, name)?;
            rest = more;
            value
        } else {
            let end = value_end(after, known);
            rest = &after[end..];
            after[..end].trim_end().to_owned()
        };
        given.push((option, value));
    }
}

fn value_end(text: &str, known: &[Value]) -> usize {
    let starts_option = |at: usize| {
        let next = text[at..].trim_start();
        known.iter().any(|option| {
            next.strip_prefix(label(option)).is_some_and(|after| after.starts_with(':'))
        })
    };
    let spaces = text.char_indices().filter(|(_, c)| c.is_whitespace()).map(|(at, _)| at);
    spaces.into_iter().find(|at| starts_option(*at)).unwrap_or(text.len())
}

fn unquote<'a>(text: &'a str, name: &str) -> Result<(String, &'a str), Refused> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => value.push('\n'),
                Some((_, c)) => value.push(c),
                None => break,
            },
            c => value.push(c),
        }
    }
    refuse(format!("The quotes of `{name}` are not closed."))
}

fn in_length<'a>(option: &Value, text: &'a str) -> Result<&'a str, Refused> {
    let (name, length) = (label(option), text.chars().count() as u64);
    let most = option["max_length"].as_u64().unwrap_or(6000);
    match option["min_length"].as_u64() {
        _ if length > most => {
            refuse(format!("`{name}` has {length} characters, more than {most}."))
        }
        Some(least) if length < least => {
            refuse(format!("`{name}` has {length} characters, fewer than {least}."))
        }
        _ => Ok(text),
    }
}

fn in_range(option: &Value, number: f64) -> Result<(), Refused> {
    let name = label(option);
    if let Some(most) = option["max_value"].as_f64().filter(|most| number > *most) {
        return refuse(format!("`{name}` is {number}, above {most}."));
    }
    if let Some(least) = option["min_value"].as_f64().filter(|least| number < *least) {
        return refuse(format!("`{name}` is {number}, below {least}."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Vec<Value> {
        vec![
            json!({ "name": "member", "type": 6 }),
            json!({ "name": "amount", "type": 4, "min_value": 1, "max_value": 10 }),
            json!({ "name": "reason", "type": 3, "max_length": 5 }),
        ]
    }

    fn pairs(text: &str) -> Result<Vec<(String, String)>, Refused> {
        let known = known();
        let given = split(text, &known, "bytes send")?;
        Ok(given.into_iter().map(|(option, text)| (label(option).to_owned(), text)).collect())
    }

    #[test]
    fn an_unquoted_value_goes_on_to_the_next_option() {
        let given = pairs(" reason:for a: b tea member:bob").expect("it reads");
        assert_eq!(given[0], ("reason".into(), "for a: b tea".into()));
        assert_eq!(given[1], ("member".into(), "bob".into()));
    }

    #[test]
    fn quotes_hold_spaces_names_and_escapes() {
        let given = pairs(r#"reason:"say \"member:x\" twice" amount:3"#).expect("it reads");
        assert_eq!(given[0].1, r#"say "member:x" twice"#);
        assert_eq!(given[1].1, "3");
        assert!(pairs(r#"reason:"open"#).is_err());
    }

    #[test]
    fn a_name_that_is_not_known_is_refused_by_name() {
        let refused = pairs("amuont:3").expect_err("there is no such option");
        assert_eq!(
            refused.0,
            "/bytes send has no option `amuont`; it has: member, amount, reason."
        );
        let refused = pairs("bob").expect_err("it has no name");
        assert!(refused.0.contains("\"bob\""), "{refused}");
    }

    #[test]
    fn a_command_without_options_says_so() {
        for text in [" tea:1 ", " tea"] {
            let refused = split(text, &[], "daily").expect_err("it takes none");
            let why = format!("/daily takes no options; leave out \"{}\".", text.trim());
            assert_eq!(refused.0, why);
        }
        assert!(split("  ", &[], "daily").is_ok());
    }

    #[test]
    fn lengths_and_ranges_are_the_commands_own() {
        let known = known();
        assert!(in_range(&known[1], 10.0).is_ok());
        assert_eq!(in_range(&known[1], 11.0).expect_err("above").0, "`amount` is 11, above 10.");
        assert_eq!(in_range(&known[1], 0.0).expect_err("below").0, "`amount` is 0, below 1.");
        assert!(in_length(&known[2], "äöüß1").is_ok());
        assert!(in_length(&known[2], "äöüß12").is_err());
    }
}
