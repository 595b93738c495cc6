//! The border with Discord: the framework, what comes in, and the look of what goes out.

mod answer;
pub mod button;
mod events;
pub mod needs;
mod on_error;
pub mod registration;
pub mod reply;
pub mod text;

use std::sync::Arc;

use poise::serenity_prelude as serenity;
use tokio::sync::OwnedRwLockReadGuard;

pub(crate) use events::Press;

use self::reply::Reply;
use crate::act::{Act, Person};
use crate::db::Database;
use crate::{Error, Result, bytes};

/// What every command and event can reach. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    /// The database.
    pub db: Database,
    /// Where bytes are.
    pub bank: bytes::Bank,
    /// The bot's own user.
    pub bot: Person,
    /// Held for reading by all that runs, so that a clean stop can wait for it.
    running: Arc<tokio::sync::RwLock<()>>,
}

impl App {
    /// Joins what the bot works with.
    #[must_use]
    pub fn new(db: Database, bot: Person) -> Self {
        Self { bank: bytes::Bank::new(db.clone()), db, bot, running: Arc::default() }
    }

    /// Says that something runs, for as long as the guard lives; `None` while a stop waits already.
    fn running(&self) -> Option<OwnedRwLockReadGuard<()>> {
        Arc::clone(&self.running).try_read_owned().ok()
    }

    /// Waits until nothing runs.
    pub(crate) async fn idle(&self) {
        drop(self.running.write().await);
    }
}

/// The context of one slash command.
pub type Context<'a> = poise::ApplicationContext<'a, App, Error>;

/// Why an interaction can't be served. The text is shown to the member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Bytes are a guild's.
    #[error("This works in a server only.")]
    GuildOnly,
    /// The command or button is known to Discord, but not to this version.
    #[error(
        "This belongs to another version of the bot. Reload Discord (Ctrl+R, or restart the app) \
         and use the command again."
    )]
    Outdated,
    /// The button's time is over.
    #[error("These buttons have expired. Use the command again for new ones.")]
    Expired,
    /// Somebody without the permission asked.
    #[error("You don't have the permission to do this here.")]
    Forbidden,
}

/// Every command.
#[must_use]
pub fn commands() -> Vec<poise::Command<App, Error>> {
    bytes::commands()
}

/// The options of the framework.
#[must_use]
pub fn options() -> poise::FrameworkOptions<App, Error> {
    poise::FrameworkOptions {
        commands: commands(),
        on_error: |error| Box::pin(on_error::on_error(error)),
        event_handler: |context, event| {
            Box::pin(async move {
                events::handle(context, event).await;
                Ok(())
            })
        },
        // Each reply says itself whom it pings.
        allowed_mentions: Some(serenity::CreateAllowedMentions::new()),
        initialize_owners: false,
        ..Default::default()
    }
}

/// The act that a command's interaction begins.
///
/// # Errors
///
/// [`Refusal::GuildOnly`] outside a guild.
pub fn act(ctx: Context<'_>) -> Result<Act> {
    let guild = ctx.interaction.guild_id.ok_or(Refusal::GuildOnly)?;
    let user = &ctx.interaction.user;
    Ok(Act {
        guild,
        member: Person::new(user.id, &user.name),
        bot: ctx.data().bot.clone(),
        key: ctx.interaction.id,
    })
}

/// Does a command's work and answers with what it comes to; the command is over then.
pub async fn answer(ctx: Context<'_>, work: impl Future<Output = Result<Reply>>) {
    let what = format!("/{}", ctx.command().qualified_name);
    answer::Asked::by_command(ctx.framework, ctx.interaction, &what).answer(work).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_as_discord_gets_them() {
        insta::assert_json_snapshot!(registration::own());
    }

    #[test]
    fn no_command_has_more_text_than_discord_takes() {
        for command in registration::own() {
            let json = serde_json::to_value(&command).expect("serializes");

            assert!(text_length(&json) <= 8_000, "{} characters: {json}", text_length(&json));
        }
    }

    /// Names, descriptions and values of choices, as Discord counts them:
    /// <https://discord.com/developers/docs/interactions/application-commands#slash-commands>
    fn text_length(json: &serde_json::Value) -> usize {
        let own: usize = ["name", "description", "value"]
            .iter()
            .filter_map(|key| json[key].as_str())
            .map(|text| text.chars().count())
            .sum();
        let nested = ["options", "choices"].iter().filter_map(|key| json[key].as_array()).flatten();
        own + nested.map(text_length).sum::<usize>()
    }
}
