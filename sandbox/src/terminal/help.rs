//! What `help` lists.

use std::iter;

use serde_json::Value;

use super::Terminal;
use crate::draw::harmless;

/// Every kind of line, with what it does.
const LINES: [(&str, &str); 15] = [
    ("ada: /daily", "sends a slash command"),
    ("ada: types /squads join na", "shows what it offers for the last option"),
    ("ada: presses Next", "presses the newest such button that ada sees"),
    ("ada: picks Streak in Scope", "chooses in a menu; several with commas"),
    ("ada: submits amount=5 reason=\"tea\"", "fills in the form that just opened"),
    ("ada: menu \"Send bytes\" on bob", "a menu of a member, or of their last message"),
    ("ada: says hello", "posts a message"),
    ("ada: edits hello all", "changes ada's last message"),
    ("ada: deletes", "deletes it"),
    ("ada: goes to #bots", "acts in that channel from now on; or to DMs"),
    ("eve: joins", "lets a new member in; `eve: leaves` ends it"),
    ("ada: closes DMs", "takes no direct messages; `opens DMs` ends it"),
    ("time +1d12h", "moves the clock; `time 2026-03-01T12:00` sets it"),
    ("# tea time", "is ignored, as blank lines are"),
    ("quit", "ends; so do Ctrl-D and Ctrl-C"),
];

impl Terminal {
    /// The bot's commands as it registered them, the people, the places, and the kinds of lines.
    pub(super) fn help(&self) -> Vec<String> {
        let mut entries = Vec::new();
        for command in self.discord.commands(Some(self.guild.id)) {
            commands_under(&command, "", &mut entries);
        }
        let names: Vec<String> = self.people().into_iter().map(|member| member.name).collect();
        let mut channels: Vec<String> = self.discord.shared().read(|world| {
            let here = |place: &&crate::state::Channel| place.guild == Some(self.guild.id);
            world.channels.values().filter(here).map(|place| format!("#{}", place.name)).collect()
        });
        channels.sort();
        let mut help = vec![self.styled("The bot's commands", "1")];
        help.extend(columns(entries, self.width));
        help.extend([String::new(), self.styled("Lines", "1")]);
        let lines = LINES.map(|(line, what)| (line.to_owned(), what.to_owned()));
        help.extend(columns(lines.into(), self.width));
        help.push(String::new());
        for (heading, names) in [("Members ", names), ("Channels", channels)] {
            let names = harmless(&names.join(", "));
            help.push(format!("{} {names}", self.styled(heading, "1")));
        }
        help.push(String::new());
        help
    }
}

/// What can be typed, with its options (optional ones in brackets), and what it does.
fn commands_under(command: &Value, prefix: &str, entries: &mut Vec<(String, String)>) {
    let text = |value: &Value| harmless(value.as_str().unwrap_or_default());
    let name = text(&command["name"]);
    if prefix.is_empty() && matches!(command["type"].as_u64(), Some(2 | 3)) {
        let of = if command["type"] == 2 { "a member" } else { "a message" };
        entries.push((format!("menu \"{name}\""), format!("in the menu of {of}")));
        return;
    }
    let path = if prefix.is_empty() { format!("/{name}") } else { format!("{prefix} {name}") };
    let options = command["options"].as_array().map(Vec::as_slice).unwrap_or_default();
    if options.iter().any(|option| matches!(option["type"].as_u64(), Some(1 | 2))) {
        for option in options {
            commands_under(option, &path, entries);
        }
        return;
    }
    let options = options.iter().map(|option| {
        let name = text(&option["name"]);
        if option["required"] == true { name } else { format!("[{name}]") }
    });
    let usage: Vec<String> = iter::once(path).chain(options).collect();
    entries.push((usage.join(" "), text(&command["description"])));
}

/// Two columns; what has no room beside its first part stands under it.
fn columns(entries: Vec<(String, String)>, width: usize) -> Vec<String> {
    let most = width / 2;
    let lengths = entries.iter().map(|(first, _)| first.chars().count());
    let first_width = lengths.filter(|length| *length <= most).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (first, second) in entries {
        if first.chars().count() > first_width {
            lines.push(format!("  {first}"));
            lines.push(format!("  {:first_width$}  {second}", ""));
        } else {
            lines.push(format!("  {first:first_width$}  {second}"));
        }
    }
    lines
}
