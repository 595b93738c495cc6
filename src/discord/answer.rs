//! One answer to each interaction, in time.
//!
//! Discord wants a first answer within 3 s of an interaction and gives its token 15 minutes
//! (<https://discord.com/developers/docs/interactions/receiving-and-responding>). The work's own
//! reply is the first answer if it's there within [`IN_TIME`]; else the answer is deferred, seen
//! only by who acted, and the reply follows when the work ends.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use poise::futures_util::FutureExt;
use poise::serenity_prelude as serenity;
use serenity::{
    CommandInteraction, CreateInteractionResponse as Response, CreateInteractionResponseMessage,
    CreateModal, GuildId, Http, HttpError, InteractionId, ShardMessenger, StatusCode,
};
use tokio::time::{Instant, sleep, timeout_at};

use super::reply::{Audience, Place, Reply};
use super::{App, Refusal};
use crate::{Error, Result};

/// How long the work may take before its answer is deferred.
const IN_TIME: Duration = Duration::from_secs(2);
/// The pauses before another try of a first answer, which must stay within Discord's 3 s.
const FIRST_PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(500)];
/// The pauses before another try of what follows a first answer: half a minute in all.
const LATER_PAUSES: [Duration; 6] = [
    Duration::from_millis(250),
    Duration::from_millis(750),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
];
/// Discord's code of an answer to an interaction that has one.
const ALREADY_ACKNOWLEDGED: isize = 40_060;

/// Where an interaction's answer goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) http: &'a Http,
    pub(super) app: &'a App,
    pub(super) shard: &'a ShardMessenger,
    pub(super) guild: Option<GuildId>,
    pub(super) id: InteractionId,
    pub(super) token: &'a str,
    /// What was asked for, in the log's words: `/bytes send`, `bytes:board`.
    pub(super) what: &'a str,
    /// What a deferral promises: a message of its own, or the message of the pressed button.
    pub(super) place: Place,
}

impl<'a> Asked<'a> {
    /// For a command's interaction, whose answer is a message of its own.
    pub(super) fn by_command(
        context: poise::FrameworkContext<'a, App, Error>,
        interaction: &'a CommandInteraction,
        what: &'a str,
    ) -> Self {
        Self {
            http: &context.serenity_context.http,
            app: context.user_data,
            shard: &context.serenity_context.shard,
            guild: interaction.guild_id,
            id: interaction.id,
            token: &interaction.token,
            what,
            place: Place::New,
        }
    }

    /// Does the work and answers with what it comes to.
    ///
    /// What goes wrong in answering is logged: the work is done by then, and an error would read
    /// as if it were not.
    pub(super) async fn answer(self, work: impl Future<Output = Result<Reply>>) {
        let _running = self.app.running();
        let started = Instant::now();
        let mut work = Box::pin(caught(work));
        let answered = if let Ok(result) = timeout_at(started + IN_TIME, &mut work).await {
            let reply = self.words(result);
            self.check_presence(&reply);
            self.at_once(reply).await
        } else {
            let (deferred, result) = tokio::join!(self.defer(), work);
            let reply = self.words(result);
            self.check_presence(&reply);
            match deferred {
                Ok(true) => self.late(reply).await,
                // Another delivery answers.
                Ok(false) => self.tell(&reply).await,
                Err(error) => Err(error),
            }
        };
        self.log(started, answered);
    }

    fn check_presence(&self, reply: &Reply) {
        if let Some(guild) = self.guild {
            self.app.presence.ask(self.shard, guild, reply.shown().to_vec());
        }
    }

    /// Does the work and opens the form that it comes to.
    ///
    /// A form must be the first answer and can't be deferred, so the work is given up when it takes
    /// too long: it must change nothing.
    pub(super) async fn open(self, work: impl Future<Output = Result<CreateModal>>) {
        let _running = self.app.running();
        let started = Instant::now();
        let answered = match timeout_at(started + IN_TIME, Box::pin(caught(work))).await {
            Ok(Ok(form)) => self.first(&Response::Modal(form)).await.map(drop),
            Ok(Err(error)) => self.at_once(self.words(Err(error))).await,
            Err(_) => {
                let late = "This took too long, so I did nothing. Please try again.";
                self.at_once(Reply::failed(late)).await
            }
        };
        self.log(started, answered);
    }

    fn log(&self, started: Instant, answered: Result<()>) {
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match answered {
            Ok(()) => {
                tracing::debug!(what = self.what, interaction.id = %self.id, duration_ms, "Answered");
            }
            Err(error) => tracing::warn!(
                what = self.what, interaction.id = %self.id, duration_ms, %error,
                "Could not answer {}", self.what
            ),
        }
    }

    /// Takes the buttons off the message that one was pressed on too late, and says so.
    pub(super) async fn expire(self) {
        let _running = self.app.running();
        let bare =
            Response::UpdateMessage(CreateInteractionResponseMessage::new().components(Vec::new()));
        let said = async {
            if self.first(&bare).await? {
                self.follow(&Reply::refused(&Refusal::Expired.to_string())).await?;
            }
            Ok::<_, Error>(())
        };
        if let Err(error) = said.await {
            tracing::warn!(what = self.what, interaction.id = %self.id, %error, "Could not say that {} expired", self.what);
        }
    }

    /// The reply that a result reads as; the one place where an error becomes words and a log line.
    fn words(&self, result: Result<Reply>) -> Reply {
        result.unwrap_or_else(|error| match &error {
            Error::Bytes(refusal) => Reply::refused(&refusal.to_string()),
            Error::Interaction(refusal) => Reply::refused(&refusal.to_string()),
            _ => self.failed(&error),
        })
    }

    fn failed(&self, error: &Error) -> Reply {
        let reference = reference(self.id);
        tracing::error!(what = self.what, interaction.id = %self.id, reference, %error, "{} failed", self.what);
        let what = match error {
            Error::Unreachable(_) => {
                "My database can't be reached or is too busy, so I did nothing. Please try again in a \
                 few minutes."
            }
            Error::Unknown(_) => {
                "My database stopped answering while I worked. If this was to change something, I don't \
                 know whether it did: look at `/bytes history` before you try again."
            }
            Error::Database(_) => "Something went wrong and nothing was changed.",
            _ => "Something went wrong.",
        };
        Reply::failed(&format!("{what}\n-# Reference: {reference}"))
    }

    async fn at_once(&self, reply: Reply) -> Result<()> {
        let message = reply.message();
        let response = match reply.place() {
            Place::New => Response::Message(message),
            Place::OnMessage => Response::UpdateMessage(message),
        };
        // Also where another delivery was quicker: what follows is this one's to tell.
        self.first(&response).await?;
        self.tell(&reply).await
    }

    /// Whether this delivery is the one that answers.
    async fn defer(&self) -> Result<bool> {
        let response = match self.place {
            Place::New => Response::Defer(CreateInteractionResponseMessage::new().ephemeral(true)),
            Place::OnMessage => Response::Acknowledge,
        };
        self.first(&response).await
    }

    /// The reply behind a deferred answer, which only who acted sees.
    async fn late(&self, reply: Reply) -> Result<()> {
        let reply = match (self.place, reply.place(), reply.audience()) {
            (Place::New, _, Audience::Everyone) => Reply::done().followed_by(reply),
            (Place::OnMessage, Place::New, _) => return self.follow(&reply).await,
            _ => reply,
        };
        // In this order: the first follow-up would fill the deferred answer.
        self.edit(&reply).await?;
        self.tell(&reply).await
    }

    /// Posts what follows a reply, if anything does.
    async fn tell(&self, reply: &Reply) -> Result<()> {
        let Some(next) = reply.then() else { return Ok(()) };
        let followed = self.follow(next).await;
        if followed.is_err() {
            // Who acted learns of it all the same.
            self.edit(next).await?;
        }
        followed
    }

    /// Sends a first answer; `false` if Discord has one already.
    async fn first(&self, response: &Response) -> Result<bool> {
        let tries = AtomicUsize::new(0);
        let sent = retried(&FIRST_PAUSES, is_passing, || {
            tries.fetch_add(1, Ordering::Relaxed);
            self.http.create_interaction_response(self.id, self.token, response, Vec::new())
        });
        match sent.await {
            // Behind a try whose own answer was lost, it's ours that Discord has.
            Err(error) if discord_code(&error) == Some(ALREADY_ACKNOWLEDGED) => {
                Ok(tries.load(Ordering::Relaxed) > 1)
            }
            sent => Ok(sent.map(|()| true)?),
        }
    }

    async fn edit(&self, reply: &Reply) -> Result<()> {
        let edit = reply.edit();
        retried(&LATER_PAUSES, is_passing, || {
            self.http.edit_original_interaction_response(self.token, &edit, Vec::new())
        })
        .await?;
        Ok(())
    }

    async fn follow(&self, reply: &Reply) -> Result<()> {
        let followup = reply.followup();
        retried(&LATER_PAUSES, is_surely_not_done, || {
            self.http.create_followup_message(self.token, &followup, Vec::new())
        })
        .await?;
        Ok(())
    }
}

/// The work, with a panic as an error.
async fn caught<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Err(Error::Panic(panic_text(panic.as_ref()))),
    }
}

/// Tries again, after each of the pauses, what failed so that it `may_succeed`.
async fn retried<T, F>(
    pauses: &[Duration],
    may_succeed: fn(&serenity::Error) -> bool,
    call: impl Fn() -> F,
) -> serenity::Result<T>
where
    F: Future<Output = serenity::Result<T>>,
{
    for &pause in pauses {
        match Box::pin(call()).await {
            Err(error) if may_succeed(&error) => sleep(pause).await,
            result => return result,
        }
    }
    Box::pin(call()).await
}

/// Whether another try may succeed: Discord's fault, the network's, or too many requests. What is
/// done twice must be as good as once.
fn is_passing(error: &serenity::Error) -> bool {
    match error {
        serenity::Error::Http(HttpError::UnsuccessfulRequest(response)) => {
            response.status_code.is_server_error() || is_surely_not_done(error)
        }
        serenity::Error::Http(HttpError::Request(_)) => true,
        _ => false,
    }
}

/// Whether Discord surely did nothing and may on another try. A message can't be posted twice then.
fn is_surely_not_done(error: &serenity::Error) -> bool {
    match error {
        serenity::Error::Http(HttpError::UnsuccessfulRequest(response)) => {
            response.status_code == StatusCode::TOO_MANY_REQUESTS
        }
        serenity::Error::Http(HttpError::Request(error)) => error.is_connect(),
        _ => false,
    }
}

fn discord_code(error: &serenity::Error) -> Option<isize> {
    match error {
        serenity::Error::Http(HttpError::UnsuccessfulRequest(response)) => {
            Some(response.error.code)
        }
        _ => None,
    }
}

/// A short name of a failure that stands in the reply and in the log.
fn reference(id: InteractionId) -> String {
    // The low 12 bits of a snowflake are a counter that is nearly always small.
    format!("{:08X}", (id.get() >> 12) & 0xFFFF_FFFF)
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no text".to_owned())
}
