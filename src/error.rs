//! The one error type that crosses module borders.

use poise::serenity_prelude as serenity;

use crate::{bytes, discord};

/// Why a command stopped.
///
/// A refusal is the member's to fix and its text is shown to them; anything else is ours to fix,
/// is logged with its cause, and reads as "something went wrong" in Discord.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes rules forbid it.
    #[error(transparent)]
    Bytes(#[from] bytes::Refusal),
    /// The interaction itself can't be served.
    #[error(transparent)]
    Interaction(#[from] discord::Refusal),
    /// Postgres refused; the transaction was rolled back.
    #[error("database: {0}")]
    Database(#[source] sqlx::Error),
    /// Postgres was out of reach before anything was asked of it; nothing was done.
    #[error("database out of reach: {0}")]
    Unreachable(#[source] sqlx::Error),
    /// Postgres went away while it worked, and didn't come back in time to be asked again.
    #[error("database lost in mid-act: {0}")]
    Unknown(#[source] sqlx::Error),
    /// Discord failed.
    #[error("discord: {0}")]
    Discord(#[from] Box<serenity::Error>),
    /// The code failed.
    #[error("panic: {0}")]
    Panic(String),
}

impl From<serenity::Error> for Error {
    fn from(error: serenity::Error) -> Self {
        Self::Discord(Box::new(error))
    }
}

/// [`std::result::Result`] with the bot's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
