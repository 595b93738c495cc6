//! A small real bot on serenity, for the tests of the sandbox.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod rest;
pub(crate) mod socket;

use sandbox::Discord;
use serenity::{
    all::{Context, EventHandler, GatewayIntents, Interaction, Ready},
    async_trait,
    builder::{
        CreateActionRow, CreateAllowedMentions, CreateButton, CreateCommand, CreateCommandOption,
        CreateInputText, CreateInteractionResponse as Respond,
        CreateInteractionResponseFollowup as FollowUp, CreateInteractionResponseMessage as Say,
        CreateModal, EditInteractionResponse as Edit,
    },
    http::HttpBuilder,
    model::application::{Command, CommandOptionType, CommandType, InputTextStyle},
};
use tokio::task::JoinHandle;

pub(crate) struct Bot {
    task: JoinHandle<Result<(), serenity::Error>>,
}

impl Drop for Bot {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Bot {
    pub(crate) async fn start(discord: &Discord, intents: GatewayIntents) -> Self {
        Self::start_as(discord, intents, &discord.token()).await
    }

    pub(crate) async fn start_as(discord: &Discord, intents: GatewayIntents, token: &str) -> Self {
        // With its limiter on, serenity ignores the proxy and asks discord.com.
        let http = HttpBuilder::new(token).proxy(discord.url()).ratelimiter_disabled(true).build();
        let mut client = serenity::client::ClientBuilder::new_with_http(http, intents)
            .event_handler(Handler)
            .await
            .expect("a client is built");
        let task = tokio::spawn(async move { client.start().await });
        Self { task }
    }

    pub(crate) async fn ended(mut self) -> Result<(), serenity::Error> {
        (&mut self.task).await.expect("it did not panic")
    }
}

struct Handler;

fn commands() -> Vec<CreateCommand> {
    let option = CreateCommandOption::new;
    let greet = option(CommandOptionType::SubCommand, "greet", "Greet someone")
        .add_sub_option(option(CommandOptionType::User, "member", "Whom").required(true))
        .add_sub_option(
            option(CommandOptionType::Integer, "times", "How often")
                .min_int_value(1)
                .max_int_value(10),
        )
        .add_sub_option(option(CommandOptionType::String, "words", "Which").set_autocomplete(true));
    let plain = |name: &str| CreateCommand::new(name).description("Do it");
    vec![
        plain("hello").add_option(greet),
        plain("secret"),
        plain("slow"),
        plain("late"),
        plain("never"),
        plain("twice"),
        plain("panel"),
        plain("ask"),
        plain("admin").default_member_permissions(serenity::all::Permissions::MANAGE_GUILD),
        CreateCommand::new("Look").kind(CommandType::User),
        CreateCommand::new("Quote").kind(CommandType::Message),
    ]
}

#[async_trait]
impl EventHandler for Handler {
    async fn ready(&self, context: Context, ready: Ready) {
        assert_eq!(ready.version, 10);
        Command::set_global_commands(&context.http, commands()).await.expect("they are valid");
    }

    async fn interaction_create(&self, context: Context, interaction: Interaction) {
        answer(&context, interaction).await.expect("the sandbox takes it");
    }
}

fn say(text: &str) -> Respond {
    Respond::Message(Say::new().content(text))
}

fn hidden(text: &str) -> Respond {
    Respond::Message(Say::new().content(text).ephemeral(true))
}

async fn answer(context: &Context, interaction: Interaction) -> serenity::Result<()> {
    match interaction {
        Interaction::Autocomplete(command) => {
            let typed = command.data.autocomplete().expect("an option is focused").value;
            let response = serenity::builder::CreateAutocompleteResponse::new()
                .add_string_choice(format!("{typed}!"), typed);
            command.create_response(context, Respond::Autocomplete(response)).await
        }
        Interaction::Component(press) => {
            if press.data.custom_id == "next" {
                let row = CreateActionRow::Buttons(vec![
                    CreateButton::new("next").label("Next").disabled(true),
                ]);
                let page = Say::new().content("page 2").components(vec![row]);
                press.create_response(context, Respond::UpdateMessage(page)).await
            } else {
                press.create_response(context, Respond::Acknowledge).await?;
                press.edit_response(context, Edit::new().content("later")).await.map(drop)
            }
        }
        Interaction::Modal(modal) => {
            let row = &modal.data.components[0].components[0];
            let serenity::all::ActionRowComponent::InputText(input) = row else {
                panic!("it has one text")
            };
            let heard = format!("heard {}", input.value.clone().unwrap_or_default());
            modal.create_response(context, say(&heard)).await
        }
        Interaction::Command(command) => match command.data.name.as_str() {
            "hello" => {
                let options = command.data.options();
                let serenity::all::ResolvedValue::SubCommand(options) = &options[0].value else {
                    panic!("it is a subcommand")
                };
                let serenity::all::ResolvedValue::User(user, member) = &options[0].value else {
                    panic!("it is a user")
                };
                assert!(member.is_some());
                let text = format!("Hello <@{}>, @everyone!", user.id);
                let pings = CreateAllowedMentions::new().users([user.id]);
                let say = Say::new().content(text).allowed_mentions(pings);
                command.create_response(context, Respond::Message(say)).await
            }
            "secret" => {
                command.create_response(context, hidden("only you")).await?;
                let more = FollowUp::new().content("to all");
                command.create_followup(context, more).await.map(drop)
            }
            "slow" => {
                command.defer_ephemeral(context).await?;
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                command.edit_response(context, Edit::new().content("done")).await.map(drop)
            }
            "late" => {
                tokio::time::sleep(std::time::Duration::from_millis(3_100)).await;
                let refused = command.create_response(context, say("too late")).await;
                assert!(
                    refused.expect_err("it is late").to_string().contains("Unknown interaction")
                );
                Ok(())
            }
            "never" => Ok(()),
            "twice" => {
                command.create_response(context, say("once")).await?;
                let again = command.create_response(context, say("again")).await;
                let error = again.expect_err("it was answered").to_string();
                assert!(error.contains("already been acknowledged"), "{error}");
                Ok(())
            }
            "panel" => {
                let row = CreateActionRow::Buttons(vec![
                    CreateButton::new("next").label("Next"),
                    CreateButton::new("later").label("Later"),
                ]);
                let panel = Say::new().content("page 1").components(vec![row]).ephemeral(true);
                command.create_response(context, Respond::Message(panel)).await
            }
            "ask" => {
                let text = CreateInputText::new(InputTextStyle::Short, "Why", "why").max_length(5);
                let modal = CreateModal::new("form", "Form")
                    .components(vec![CreateActionRow::InputText(text)]);
                command.create_response(context, Respond::Modal(modal)).await
            }
            "Look" | "Quote" => command.create_response(context, hidden("seen")).await,
            other => panic!("no such command: {other}"),
        },
        _ => Ok(()),
    }
}
