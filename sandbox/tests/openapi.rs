//! What Discord's description lets pass, with the bodies that serenity builds, and what not.

use sandbox::openapi::{Description, Fault};
use serde_json::{Value, json, to_value};
use serenity::{
    all::{
        AutocompleteChoice, ButtonStyle, ChannelId, ChannelType, CommandOptionType, CommandType,
        CreateActionRow, CreateAllowedMentions, CreateAttachment, CreateAutocompleteResponse,
        CreateButton, CreateCommand, CreateCommandOption, CreateEmbed, CreateEmbedAuthor,
        CreateEmbedFooter, CreateInputText, CreateInteractionResponse,
        CreateInteractionResponseFollowup, CreateInteractionResponseMessage, CreateMessage,
        CreateModal, CreateSelectMenu, CreateSelectMenuKind, CreateSelectMenuOption, EditChannel,
        EditInteractionResponse, EditMember, EditMessage, EditRole, InputTextStyle,
        InstallationContext, InteractionContext, MessageFlags, MessageId, Nonce, Permissions,
        RoleId, Timestamp, UserId,
    },
    json::NULL,
};

fn check(method: &str, path: &str, body: &Value) -> Result<(), Fault> {
    Description::discord().check(method, path, &[], Some(body))
}

#[track_caller]
fn passes(method: &str, path: &str, body: impl serde::Serialize) {
    let body = to_value(body).expect("a body");
    if let Err(fault) = check(method, path, &body) {
        panic!("{method} {path} refused: {:#}\n{body:#}", fault.body());
    }
}

/// The complaints at `path` (fields joined by dots) as `code: message`, and that there are no
/// complaints elsewhere.
#[track_caller]
fn refused(method: &str, path: &str, body: &Value, at: &str) -> String {
    refused_with(method, path, &[], Some(body), at)
}

#[track_caller]
fn refused_with(
    method: &str,
    path: &str,
    query: &[(String, String)],
    body: Option<&Value>,
    at: &str,
) -> String {
    let fault = Description::discord()
        .check(method, path, query, body)
        .expect_err("the description should have refused it");
    let Fault::Invalid(answer) = fault else { panic!("{fault:?}") };
    assert_eq!((&answer["code"], &answer["message"]), (&json!(50035), &json!("Invalid Form Body")));
    let mut found = Vec::new();
    collect(&answer["errors"], "", &mut found);
    let [(path, complaint)] = found.as_slice() else { panic!("not one fault: {answer:#}") };
    assert_eq!(path, at, "{answer:#}");
    complaint.clone()
}

fn collect(errors: &Value, path: &str, found: &mut Vec<(String, String)>) {
    for (field, inner) in errors.as_object().into_iter().flatten() {
        if field == "_errors" {
            for error in inner.as_array().into_iter().flatten() {
                let text = |part: &str| error[part].as_str().expect("text").to_owned();
                found.push((path.to_owned(), format!("{}: {}", text("code"), text("message"))));
            }
        } else {
            let dot = if path.is_empty() { "" } else { "." };
            collect(inner, &format!("{path}{dot}{field}"), found);
        }
    }
}

const CALLBACK: &str = "/interactions/1178070000000000001/aW50ZXJhY3Rpb24/callback";
const ORIGINAL: &str = "/webhooks/1178070000000000002/aW50ZXJhY3Rpb24/messages/@original";
const FOLLOW_UP: &str = "/webhooks/1178070000000000002/aW50ZXJhY3Rpb24";
const MESSAGES: &str = "/channels/1178070000000000003/messages";
const COMMANDS: &str = "/applications/1178070000000000002/commands";
const MEMBER: &str = "/guilds/1178070000000000004/members/1178070000000000005";
const ROLES: &str = "/guilds/1178070000000000004/roles";

fn embed() -> CreateEmbed {
    CreateEmbed::new()
        .title("Balance")
        .description("ada has **40** bytes")
        .field("Received", "60", true)
        .field("Sent", "20", false)
        .author(CreateEmbedAuthor::new("ada").icon_url("https://cdn.discordapp.com/a.png"))
        .footer(CreateEmbedFooter::new("page 1"))
        .thumbnail("attachment://coin.png")
        .url("https://example.org/")
        .colour(0x57_F2_87)
        .timestamp(Timestamp::from_unix_timestamp(1_700_000_000).expect("a time"))
}

fn rows() -> Vec<CreateActionRow> {
    let options = vec![
        CreateSelectMenuOption::new("Bytes", "bytes").description("by balance").emoji('🪙'),
        CreateSelectMenuOption::new("Streak", "streak").default_selection(true),
    ];
    let menu = |id: &str, kind| CreateActionRow::SelectMenu(CreateSelectMenu::new(id, kind));
    vec![
        CreateActionRow::Buttons(vec![
            CreateButton::new("page:1").label("Next").style(ButtonStyle::Primary),
            CreateButton::new("page:0").emoji('◀').disabled(true),
            CreateButton::new_link("https://example.org/").label("Site"),
        ]),
        CreateActionRow::SelectMenu(
            CreateSelectMenu::new("scope", CreateSelectMenuKind::String { options })
                .placeholder("Scope")
                .min_values(1)
                .max_values(2),
        ),
        menu("who", CreateSelectMenuKind::User { default_users: Some(vec![UserId::new(5)]) }),
        menu("role", CreateSelectMenuKind::Role { default_roles: None }),
        menu(
            "where",
            CreateSelectMenuKind::Channel {
                channel_types: Some(vec![ChannelType::Text]),
                default_channels: None,
            },
        ),
    ]
}

fn mentions() -> CreateAllowedMentions {
    CreateAllowedMentions::new().users([UserId::new(1_178_070_000_000_000_005)])
}

fn command() -> CreateCommand {
    let option = CreateCommandOption::new;
    let send = option(CommandOptionType::SubCommand, "send", "Give bytes to a member")
        .name_localized("de", "senden")
        .description_localized("de", "Gib einem Mitglied Bytes")
        .add_sub_option(option(CommandOptionType::User, "member", "Whom").required(true))
        .add_sub_option(
            option(CommandOptionType::Integer, "amount", "How many")
                .required(true)
                .min_int_value(1)
                .max_int_value(100_000),
        )
        .add_sub_option(
            option(CommandOptionType::String, "reason", "Why").min_length(1).max_length(200),
        )
        .add_sub_option(
            option(CommandOptionType::Channel, "channel", "Where")
                .channel_types(vec![ChannelType::Text, ChannelType::News]),
        );
    let scope = option(CommandOptionType::String, "scope", "By what")
        .add_string_choice("Bytes", "bytes")
        .add_string_choice_localized("Streak", "streak", [("de", "Serie")]);
    let group = option(CommandOptionType::SubCommandGroup, "list", "Lists").add_sub_option(
        option(CommandOptionType::SubCommand, "top", "The first ones")
            .add_sub_option(scope)
            .add_sub_option(
                option(CommandOptionType::String, "squad", "Which").set_autocomplete(true),
            )
            .add_sub_option(
                option(CommandOptionType::Number, "share", "How much")
                    .min_number_value(0.5)
                    .max_number_value(1.0),
            )
            .add_sub_option(
                option(CommandOptionType::Integer, "days", "Of").add_int_choice("one", 1),
            ),
    );
    CreateCommand::new("bytes")
        .description("Bytes")
        .name_localized("de", "bytes")
        .description_localized("de", "Die Währung")
        .default_member_permissions(Permissions::MANAGE_GUILD | Permissions::MODERATE_MEMBERS)
        .contexts(vec![InteractionContext::Guild])
        .integration_types(vec![InstallationContext::Guild])
        .nsfw(true)
        .add_option(send)
        .add_option(group)
}

#[test]
fn what_serenity_registers_passes() {
    let menu = CreateCommand::new("Send bytes").kind(CommandType::Message);
    let user = CreateCommand::new("Moderation history").kind(CommandType::User);
    passes("PUT", COMMANDS, vec![command(), menu.clone(), user]);
    passes("POST", COMMANDS, command());
    passes("PUT", "/applications/2/guilds/4/commands", vec![menu]);
    passes("PUT", COMMANDS, json!([]));
}

#[test]
fn the_answers_that_serenity_builds_to_an_interaction_pass() {
    use CreateInteractionResponse as Response;
    let message = CreateInteractionResponseMessage::new()
        .content("x".repeat(2000))
        .embed(embed())
        .ephemeral(true)
        .allowed_mentions(mentions())
        .components(rows());
    let choices = CreateAutocompleteResponse::new()
        .add_string_choice("North", "1")
        .set_choices(vec![AutocompleteChoice::new("South", "2").add_localized_name("de", "Süd")]);
    let input = CreateInputText::new(InputTextStyle::Paragraph, "Reason", "reason")
        .placeholder("for tea")
        .min_length(1)
        .max_length(200)
        .required(false);
    let modal = CreateModal::new("send:5", "Send bytes")
        .components(vec![CreateActionRow::InputText(input)]);
    for answer in [
        Response::Pong,
        Response::Message(message.clone()),
        Response::Message(CreateInteractionResponseMessage::new()),
        Response::Defer(CreateInteractionResponseMessage::new().ephemeral(true)),
        Response::Defer(CreateInteractionResponseMessage::new()),
        Response::Acknowledge,
        Response::UpdateMessage(message),
        Response::Autocomplete(choices),
        Response::Autocomplete(CreateAutocompleteResponse::new().add_int_choice("one", 1)),
        Response::Autocomplete(CreateAutocompleteResponse::new()),
        Response::Modal(modal),
    ] {
        passes("POST", CALLBACK, answer);
    }
}

#[test]
fn the_messages_that_serenity_builds_pass() {
    passes(
        "PATCH",
        ORIGINAL,
        EditInteractionResponse::new()
            .content("done")
            .embeds(vec![embed()])
            .components(rows())
            .allowed_mentions(mentions()),
    );
    passes("PATCH", ORIGINAL, EditInteractionResponse::new().content("").components(vec![]));
    passes(
        "POST",
        FOLLOW_UP,
        CreateInteractionResponseFollowup::new()
            .content("and")
            .embed(embed())
            .ephemeral(true)
            .components(rows())
            .allowed_mentions(mentions()),
    );
    passes(
        "POST",
        MESSAGES,
        CreateMessage::new()
            .content("hello")
            .embed(embed())
            .components(rows())
            .nonce(Nonce::String("case-7-1178070000000000".to_owned()))
            .enforce_nonce(true)
            .reference_message((ChannelId::new(3), MessageId::new(9)))
            .flags(MessageFlags::SUPPRESS_NOTIFICATIONS)
            .add_file(CreateAttachment::bytes("a,b", "cases.csv")),
    );
    passes("POST", MESSAGES, CreateMessage::new().content("hello").nonce(Nonce::Number(7)));
    passes("PATCH", &format!("{MESSAGES}/9"), EditMessage::new().content("x").embed(embed()));
    passes("POST", "/users/@me/channels", json!({"recipient_id": UserId::new(5)}));
    passes(
        "POST",
        &format!("{MESSAGES}/bulk-delete"),
        json!({"messages": [MessageId::new(8), MessageId::new(9)]}),
    );
}

#[test]
fn what_serenity_changes_in_a_guild_passes() {
    passes("PATCH", MEMBER, EditMember::new().nickname("ada").roles([RoleId::new(6)]));
    let until = Timestamp::from_unix_timestamp(1_700_000_000).expect("a time");
    passes("PATCH", MEMBER, EditMember::new().disable_communication_until_datetime(until));
    passes("PATCH", MEMBER, EditMember::new().enable_communication());
    passes("PUT", &format!("{MEMBER}/roles/6"), NULL);
    passes("DELETE", MEMBER, NULL);
    let role = EditRole::new()
        .name("north")
        .permissions(Permissions::SEND_MESSAGES)
        .hoist(true)
        .mentionable(false)
        .colour(0x00_57_F2);
    passes("POST", ROLES, role.clone());
    passes("PATCH", &format!("{ROLES}/6"), role);
    passes("PATCH", ROLES, json!([{"id": RoleId::new(6), "position": 3}]));
    let channel = EditChannel::new().name("log").topic("cases").rate_limit_per_user(21_600);
    passes("PATCH", "/channels/3", channel);
    passes("PUT", "/guilds/4/bans/5", json!({"delete_message_seconds": 604_800}));
    passes("POST", "/guilds/4/bulk-ban", json!({"user_ids": ["5"], "delete_message_seconds": 0}));
    // serenity names the seconds in the query, with no body.
    let query = [("delete_message_seconds".to_owned(), "0".to_owned())];
    let ban = Description::discord().check("PUT", "/guilds/4/bans/5", &query, None);
    assert_eq!(ban, Ok(()));
}

const REQUIRED: &str = "BASE_TYPE_REQUIRED: This field is required";
const UNKNOWN: &str = "UNKNOWN_FIELD: This field does not exist";

/// `object` with `fields` set in it.
fn with(mut object: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("no fields: {fields}") };
    object.as_object_mut().expect("an object").extend(fields);
    object
}

fn text(length: usize) -> String {
    "é".repeat(length)
}

/// Wherever a message is sent or edited: the body, where its one fault is, and the complaint.
#[track_caller]
fn refused_in_every_message(message: &Value, at: &str, complaint: &str) {
    assert_eq!(refused("POST", MESSAGES, message, at), complaint);
    assert_eq!(refused("PATCH", &format!("{MESSAGES}/9"), message, at), complaint);
    assert_eq!(refused("POST", FOLLOW_UP, message, at), complaint);
    assert_eq!(refused("PATCH", ORIGINAL, message, at), complaint);
    let answer = json!({"type": 4, "data": message});
    assert_eq!(refused("POST", CALLBACK, &answer, &format!("data.{at}")), complaint);
}

#[test]
fn a_faulty_message_is_refused_with_the_path_of_the_fault() {
    for (message, at, complaint) in [
        (
            json!({"content": text(2001)}),
            "content",
            "BASE_TYPE_MAX_LENGTH: Must be 2000 or fewer in length.",
        ),
        (json!({"content": 5}), "content", "STRING_TYPE_CONVERT: Could not interpret 5 as string."),
        (json!({"contents": "x"}), "contents", UNKNOWN),
        (
            json!({"allowed_mentions": {"parse": ["all"]}}),
            "allowed_mentions.parse.0",
            "BASE_TYPE_CHOICES: Value must be one of ('users', 'roles', 'everyone').",
        ),
        (
            json!({"allowed_mentions": {"users": ["ada"]}}),
            "allowed_mentions.users.0",
            "NUMBER_TYPE_COERCE: Value \"ada\" is not snowflake.",
        ),
        (
            json!({"allowed_mentions": {"users": ["5", "5"]}}),
            "allowed_mentions.users",
            "SET_TYPE_ALREADY_CONTAINS_VALUE: The set already contains this value",
        ),
    ] {
        refused_in_every_message(&message, at, complaint);
    }
    let nonce = json!({"nonce": text(26), "enforce_nonce": true});
    let most = "BASE_TYPE_MAX_LENGTH: Must be 25 or fewer in length.";
    assert_eq!(refused("POST", MESSAGES, &nonce, "nonce"), most);
    let boolean = "BOOLEAN_TYPE_CONVERT: Must be either true or false.";
    assert_eq!(refused("POST", MESSAGES, &json!({"tts": "yes"}), "tts"), boolean);
}

#[test]
fn a_faulty_embed_is_refused_with_the_path_of_the_fault() {
    let field = |fields: Value| json!([{"fields": [fields]}]);
    for (embeds, at, complaint) in [
        (
            json!([{"title": text(257)}]),
            "embeds.0.title",
            "BASE_TYPE_MAX_LENGTH: Must be 256 or fewer in length.",
        ),
        (
            json!([{"description": text(4097)}]),
            "embeds.0.description",
            "BASE_TYPE_MAX_LENGTH: Must be 4096 or fewer in length.",
        ),
        (
            field(json!({"name": "a", "value": text(1025)})),
            "embeds.0.fields.0.value",
            "BASE_TYPE_MAX_LENGTH: Must be 1024 or fewer in length.",
        ),
        (field(json!({"name": "a"})), "embeds.0.fields.0.value", REQUIRED),
        (json!([{}, {"colour": 1}]), "embeds.1.colour", UNKNOWN),
        (json!([{"footer": {"text": "a", "icon": "b"}}]), "embeds.0.footer.icon", UNKNOWN),
        (
            json!([{"color": 0x0100_0000}]),
            "embeds.0.color",
            "NUMBER_TYPE_MAX: int value should be less than or equal to 16777215.",
        ),
        (
            json!([{"timestamp": "tomorrow"}]),
            "embeds.0.timestamp",
            "DATE_TIME_TYPE_PARSE: Could not parse tomorrow. Should be ISO8601.",
        ),
        (
            json!([{"url": "not a url"}]),
            "embeds.0.url",
            "URL_TYPE_INVALID_URL: Not a well formed URL.",
        ),
        (
            json!(vec![json!({}); 11]),
            "embeds",
            "BASE_TYPE_MAX_LENGTH: Must be 10 or fewer in length.",
        ),
        (
            json!({"title": "a"}),
            "embeds",
            "LIST_TYPE_CONVERT: Only iterables may be used in a ListType",
        ),
    ] {
        refused_in_every_message(&json!({"embeds": embeds}), at, complaint);
    }
}

#[test]
fn a_faulty_component_is_refused_with_the_path_of_the_fault() {
    let button =
        |fields| with(json!({"type": 2, "style": 1, "custom_id": "a", "label": "A"}), fields);
    let option = json!({"label": "a", "value": "a"});
    let menu = |options| json!({"type": 3, "custom_id": "m", "options": vec![&option; options]});
    for (component, at, complaint) in [
        (
            button(json!({"label": text(81)})),
            ".label",
            "BASE_TYPE_MAX_LENGTH: Must be 80 or fewer in length.",
        ),
        (
            button(json!({"custom_id": text(101)})),
            ".custom_id",
            "BASE_TYPE_BAD_LENGTH: Must be between 1 and 100 in length.",
        ),
        (
            button(json!({"style": 9})),
            ".style",
            "BASE_TYPE_CHOICES: Value must be one of (1, 2, 3, 4, 5, 6).",
        ),
        (button(json!({"style": null})), ".style", REQUIRED),
        (button(json!({"colour": 1})), ".colour", UNKNOWN),
        (
            button(json!({"type": 99})),
            "",
            "UNION_TYPE_CHOICES: Value of field \"type\" must be one of (2, 8, 7, 6, 3, 5).",
        ),
        (json!({"custom_id": "a", "label": "A"}), ".type", REQUIRED),
        (menu(26), ".options", "BASE_TYPE_BAD_LENGTH: Must be between 1 and 25 in length."),
        (menu(0), ".options", "BASE_TYPE_BAD_LENGTH: Must be between 1 and 25 in length."),
    ] {
        let row = json!({"components": [{"type": 1, "components": [component]}]});
        refused_in_every_message(&row, &format!("components.0.components.0{at}"), complaint);
    }
}

#[test]
fn a_faulty_answer_to_an_interaction_is_refused() {
    let kinds = "UNION_TYPE_CHOICES: Value of field \"type\" must be one of \
                 (8, 4, 5, 12, 9, 1, 13, 6, 7).";
    assert_eq!(refused("POST", CALLBACK, &json!({"type": 3}), ""), kinds);
    let input = json!({"type": 4, "custom_id": "a", "style": 1, "label": "A"});
    let rows = json!([{"type": 1, "components": [input]}]);
    let modal = json!({"custom_id": "m", "title": text(46), "components": rows});
    let modal = json!({"type": 9, "data": modal});
    let length = "BASE_TYPE_BAD_LENGTH: Must be between 1 and 45 in length.";
    assert_eq!(refused("POST", CALLBACK, &modal, "data.title"), length);
    let choices = vec![json!({"name": "a", "value": "a"}); 26];
    let choices = json!({"type": 8, "data": {"choices": choices}});
    let most = "BASE_TYPE_MAX_LENGTH: Must be 25 or fewer in length.";
    assert_eq!(refused("POST", CALLBACK, &choices, "data.choices"), most);
}

#[test]
fn a_faulty_command_is_refused() {
    let command = |fields| with(json!({"name": "bytes", "description": "Bytes"}), fields);
    let option = |fields| {
        let amount = json!({"type": 4, "name": "amount", "description": "How many"});
        let send = json!({"type": 1, "name": "send", "description": "Give",
            "options": [with(amount, fields)]});
        command(json!({"options": [send]}))
    };
    let invalid_name = "APPLICATION_COMMAND_INVALID_NAME: Command name is invalid";
    for (command, at, complaint) in [
        (command(json!({"name": "Bytes"})), "name", invalid_name),
        (command(json!({"name": "by tes"})), "name", invalid_name),
        (
            command(json!({"name": "b".repeat(33)})),
            "name",
            "BASE_TYPE_BAD_LENGTH: Must be between 1 and 32 in length.",
        ),
        (command(json!({"description": null})), "description", REQUIRED),
        (json!({"name": "bytes"}), "description", REQUIRED),
        (option(json!({"name": "Amount"})), "options.0.options.0.name", invalid_name),
        (
            option(json!({"description": text(101)})),
            "options.0.options.0.description",
            "BASE_TYPE_BAD_LENGTH: Must be between 1 and 100 in length.",
        ),
        (
            option(json!({"min_value": "one"})),
            "options.0.options.0.min_value",
            "NUMBER_TYPE_COERCE: Value \"one\" is not int.",
        ),
        (option(json!({"max_length": 5})), "options.0.options.0.max_length", UNKNOWN),
        (
            option(json!({"choices": [{"name": "a", "value": "b"}]})),
            "options.0.options.0.choices.0.value",
            "NUMBER_TYPE_COERCE: Value \"b\" is not int.",
        ),
        (
            command(json!({"default_member_permissions": "kick"})),
            "default_member_permissions",
            "NUMBER_TYPE_COERCE: Value \"kick\" is not int.",
        ),
    ] {
        assert_eq!(refused("POST", COMMANDS, &command, at), complaint);
        assert_eq!(refused("PUT", COMMANDS, &json!([command]), &format!("0.{at}")), complaint);
    }
}

#[test]
fn a_command_is_refused_for_what_no_schema_says() {
    let option = |name: &str, kind: u8, required: bool| json!({"type": kind, "name": name, "description": "x", "required": required});
    let of = |options: Value| json!({"name": "bytes", "description": "x", "options": options});
    let nested = |options: Value| {
        let send = json!({"type": 1, "name": "send", "description": "x", "options": options});
        of(json!([send]))
    };
    let choice = json!({"name": "é".repeat(100), "value": "é".repeat(100)});
    let wide = json!({"type": 3, "name": "a", "description": "x", "choices": vec![choice; 25]});
    let named = |name: &str| with(wide.clone(), json!({"name": name}));
    for (command, at, complaint) in [
        (
            nested(json!([option("reason", 3, false), option("amount", 4, true)])),
            "options.0.options.1",
            "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID: \
             Required options must be placed before non-required options",
        ),
        (
            nested(json!([option("amount", 3, true), option("amount", 4, false)])),
            "options.0.options.1.name",
            "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS: \
             Application command option names must be unique",
        ),
        (
            of(json!([option("send", 1, false), option("amount", 4, false)])),
            "options.1",
            "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID: Sub-command and sub-command group option \
             types are mutually exclusive to all other types",
        ),
        (
            of(json!([named("a"), named("b")])),
            "",
            "APPLICATION_COMMAND_TOO_LARGE: Command exceeds maximum size (8000)",
        ),
    ] {
        assert_eq!(refused("POST", COMMANDS, &command, at), complaint);
        let at = format!("1.{at}");
        let commands = json!([of(json!([named("a")])), command]);
        assert_eq!(refused("PUT", COMMANDS, &commands, at.trim_end_matches('.')), complaint);
    }
}

#[test]
fn a_faulty_change_of_a_guild_is_refused() {
    let until = json!({"communication_disabled_until": "in an hour"});
    let parse = "DATE_TIME_TYPE_PARSE: Could not parse in an hour. Should be ISO8601.";
    assert_eq!(refused("PATCH", MEMBER, &until, "communication_disabled_until"), parse);
    let ban = json!({"delete_message_seconds": 604_801});
    let most = "NUMBER_TYPE_MAX: int value should be less than or equal to 604800.";
    assert_eq!(refused("PUT", "/guilds/4/bans/5", &ban, "delete_message_seconds"), most);
    let slow = json!({"rate_limit_per_user": 21_601});
    let most = "NUMBER_TYPE_MAX: int value should be less than or equal to 21600.";
    assert_eq!(refused("PATCH", "/channels/3", &slow, "rate_limit_per_user"), most);
    let reason = json!({"reason": "spam"});
    assert_eq!(refused("DELETE", MEMBER, &reason, "reason"), UNKNOWN);
    assert_eq!(refused("PUT", &format!("{MEMBER}/roles/6"), &reason, "reason"), UNKNOWN);
}

#[test]
fn parameters_are_checked_in_path_and_query() {
    let query = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let get =
        |path, query: &[(String, String)]| Description::discord().check("GET", path, query, None);
    assert_eq!(get(MESSAGES, &query("limit", "100")), Ok(()));
    assert_eq!(get(MEMBER, &[]), Ok(()));
    assert_eq!(get("/guilds/4", &query("with_counts", "true")), Ok(()));
    assert_eq!(get("/guilds/4/members/search", &query("query", "a")), Ok(()));

    let refused = |path, query: &[(String, String)], at| refused_with("GET", path, query, None, at);
    let snowflake = "NUMBER_TYPE_COERCE: Value \"ada\" is not snowflake.";
    assert_eq!(refused("/guilds/4/members/ada", &[], "user_id"), snowflake);
    assert_eq!(refused(MESSAGES, &query("after", "ada"), "after"), snowflake);
    let most = "NUMBER_TYPE_MAX: int value should be less than or equal to 100.";
    assert_eq!(refused(MESSAGES, &query("limit", "101"), "limit"), most);
    let number = "NUMBER_TYPE_COERCE: Value \"many\" is not int.";
    assert_eq!(refused(MESSAGES, &query("limit", "many"), "limit"), number);
    let boolean = "BOOLEAN_TYPE_CONVERT: Must be either true or false.";
    assert_eq!(refused("/guilds/4", &query("with_counts", "maybe"), "with_counts"), boolean);
    assert_eq!(refused("/guilds/4/members/search", &[], "query"), REQUIRED);
}

#[test]
fn a_literal_segment_wins_over_a_parameter() {
    passes("PATCH", "/guilds/4/members/@me", json!({"nick": "keeper"}));
    let nobody = refused("PATCH", "/guilds/4/members/@you", &json!({"nick": "a"}), "user_id");
    assert_eq!(nobody, "NUMBER_TYPE_COERCE: Value \"@you\" is not snowflake.");
    // `bulk-delete` is not a message's id.
    passes("POST", &format!("{MESSAGES}/bulk-delete"), json!({"messages": ["1", "2"]}));
}

#[test]
fn an_unknown_route_and_a_wrong_method_are_told_apart() {
    assert_eq!(check("GET", "/guilds/4/balance", &NULL), Err(Fault::UnknownRoute));
    assert_eq!(check("GET", "/guilds/", &NULL), Err(Fault::UnknownRoute));
    assert_eq!(check("PUT", "/gateway/bot", &NULL), Err(Fault::WrongMethod));
    assert_eq!(Fault::UnknownRoute.body(), json!({"message": "404: Not Found", "code": 0}));
    assert_eq!(Fault::WrongMethod.status(), 405);
}

#[test]
fn every_fault_is_reported_and_neutral_extras_pass() {
    let fault = check(
        "POST",
        MESSAGES,
        &json!({
            "content": "x".repeat(2001),
            "embeds": [{"title": "t", "colour": 7, "type": ""}],
            "files": [], "emoji": null, "stickers": {}, "mention": false, "reply": "",
        }),
    );
    assert_eq!(
        fault,
        Err(Fault::Invalid(json!({
            "message": "Invalid Form Body",
            "code": 50035,
            "errors": {
                "content": {"_errors": [
                    {"code": "BASE_TYPE_MAX_LENGTH", "message": "Must be 2000 or fewer in length."}
                ]},
                "embeds": {"0": {"colour": {"_errors": [
                    {"code": "UNKNOWN_FIELD", "message": "This field does not exist"}
                ]}}},
            },
        })))
    );
}
