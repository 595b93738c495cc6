//! The people: guilds and members as handles, and the reader of command lines.

mod guild;
mod line;
mod member;
mod moderator;

pub use guild::Guild;
pub use member::{Choice, Member};

/// Why a client would not send what a member tried: a sentence for the member.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub(crate) String);

pub(crate) fn refuse<T>(sentence: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(sentence.into()))
}
