//! What Discord demands of a command beyond what a schema can say.
//! <https://discord.com/developers/docs/interactions/application-commands>

use serde_json::Value;

use super::Complaint;

/// The most characters of names, descriptions and choices' values in one command.
const COMMAND_CHARACTERS: usize = 8000;

/// What is wrong with a body that registers one command, or a list of them.
pub(super) fn complaints(body: &Value) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    match body.as_array() {
        Some(commands) => {
            for (index, command) in commands.iter().enumerate() {
                check(command, vec![index.to_string()], &mut complaints);
            }
        }
        None => check(body, Vec::new(), &mut complaints),
    }
    complaints
}

fn check(command: &Value, path: Vec<String>, complaints: &mut Vec<Complaint>) {
    check_options(command, &path, complaints);
    if characters(command) > COMMAND_CHARACTERS {
        complaints.push(Complaint {
            path,
            code: "APPLICATION_COMMAND_TOO_LARGE",
            message: format!("Command exceeds maximum size ({COMMAND_CHARACTERS})"),
        });
    }
}

fn check_options(level: &Value, path: &[String], complaints: &mut Vec<Complaint>) {
    let options = level["options"].as_array().map_or(&[][..], Vec::as_slice);
    for (index, option) in options.iter().enumerate() {
        let earlier = &options[..index];
        let path = [path, &["options".to_owned(), index.to_string()]].concat();
        let mut complain = |field: Option<&str>, code, message: &str| {
            let path = path.iter().cloned().chain(field.map(str::to_owned)).collect();
            complaints.push(Complaint { path, code, message: message.to_owned() });
        };
        if earlier.iter().any(|other| other["name"] == option["name"]) {
            complain(
                Some("name"),
                "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS",
                "Application command option names must be unique",
            );
        }
        if earlier.iter().any(|other| is_subcommand(other) != is_subcommand(option)) {
            complain(
                None,
                "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID",
                "Sub-command and sub-command group option types are mutually exclusive to all \
                 other types",
            );
        } else if option["required"] == true
            && earlier.iter().any(|other| other["required"] != true)
        {
            complain(
                None,
                "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
                "Required options must be placed before non-required options",
            );
        }
        check_options(option, &path, complaints);
    }
}

/// A subcommand (type 1) or a group of them (2).
fn is_subcommand(option: &Value) -> bool {
    matches!(option["type"].as_u64(), Some(1 | 2))
}

/// What counts for the size of a command; of a text and its translations only the longest does.
fn characters(level: &Value) -> usize {
    let length = |text: &Value| text.as_str().map_or(0, |text| text.chars().count());
    let longest = |key: &str| {
        let translations = level[format!("{key}_localizations")].as_object();
        let translated = translations.into_iter().flatten().map(|(_, text)| length(text));
        translated.chain([length(&level[key])]).max().unwrap_or(0)
    };
    let inner = ["options", "choices"].iter().filter_map(|key| level[*key].as_array()).flatten();
    longest("name")
        + longest("description")
        + length(&level["value"])
        + inner.map(characters).sum::<usize>()
}
