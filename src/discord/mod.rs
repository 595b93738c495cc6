//! The border with Discord: the framework, what comes in, and the look of what goes out.

mod answer;
pub mod button;
mod effects;
mod events;
mod gate;
pub mod needs;
mod on_error;
mod presence;
pub mod registration;
pub mod reply;
pub mod rest;
pub mod text;

use std::sync::Arc;
use std::time::Duration;

use poise::serenity_prelude as serenity;
use serenity::{CreateModal, GuildId, Http, HttpError, UserId};
use tokio::sync::OwnedRwLockReadGuard;
use tokio::time::timeout;

pub(crate) use effects::carry_out;
pub(crate) use events::{Press, Submission};

use self::needs::Intents;
use self::reply::Reply;
use self::rest::Rest;
use crate::act::{Act, Person};
use crate::db::Database;
use crate::outbox::Outbox;
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
    /// Discord's REST API, for all but answers to interactions.
    pub rest: Rest,
    /// Wakes the worker that does what transactions promised.
    pub outbox: Outbox,
    /// The intents that the gateway granted.
    pub intents: Intents,
    /// Asks whether those whom a reply shows are still there.
    presence: presence::Asks,
    /// Held for reading by all that runs, so that a clean stop can wait for it.
    running: Arc<tokio::sync::RwLock<()>>,
}

impl App {
    /// Joins what the bot works with.
    #[must_use]
    pub fn new(db: Database, bot: Person, rest: Rest, intents: Intents) -> Self {
        let outbox = Outbox::default();
        Self {
            bank: bytes::Bank::new(db.clone(), outbox.clone()),
            db,
            bot,
            rest,
            outbox,
            intents,
            presence: presence::Asks::default(),
            running: Arc::default(),
        }
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
    /// The form's time is over.
    #[error("This form has expired. Open it again for a new one.")]
    FormExpired,
    /// Somebody else's button.
    #[error("This is not yours to decide.")]
    NotYours,
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

/// The same for a command whose answer is a form: the work must be quick and change nothing.
pub(crate) async fn open(ctx: Context<'_>, work: impl Future<Output = Result<CreateModal>>) {
    let what = ctx.command().qualified_name.clone();
    answer::Asked::by_command(ctx.framework, ctx.interaction, &what).open(work).await;
}

/// Whether a user is in a guild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Membership {
    /// They are, by this username.
    Member(String),
    /// They aren't.
    Stranger,
    /// Discord didn't say.
    Unknown,
}

/// How long Discord may take to say who is a member.
const MEMBER_PATIENCE: Duration = Duration::from_secs(1);
/// Discord's code of a user who is in no such guild.
const UNKNOWN_MEMBER: isize = 10_007;

/// Asks Discord whether a user is in a guild: for interactions that don't say it themselves.
pub(crate) async fn membership(http: &Http, guild: GuildId, user: UserId) -> Membership {
    match timeout(MEMBER_PATIENCE, Box::pin(http.get_member(guild, user))).await {
        Ok(Ok(member)) => Membership::Member(member.user.name),
        Ok(Err(serenity::Error::Http(HttpError::UnsuccessfulRequest(response))))
            if response.error.code == UNKNOWN_MEMBER =>
        {
            Membership::Stranger
        }
        Ok(Err(error)) => {
            tracing::warn!(guild.id = %guild, user.id = %user, %error, "Could not look up a member");
            Membership::Unknown
        }
        Err(_) => Membership::Unknown,
    }
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
