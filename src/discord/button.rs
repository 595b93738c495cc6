//! What stands in a button's `custom_id`: enough to serve a press after a restart, in any process.
//!
//! `<feature>:<action>:<key>:<owner>:<argument>`, where the key is the id of the interaction that
//! began the act and the owner the member who did. Discord's limit is 100 characters.

use std::num::NonZeroU64;

use chrono::{DateTime, TimeDelta, Utc};
use poise::serenity_prelude::{InteractionId, UserId};

/// How long a message's buttons work, counted from the interaction that began the act.
pub const LIFETIME: TimeDelta = TimeDelta::hours(1);

/// A parsed `custom_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    /// Whose it is: `bytes`.
    pub feature: String,
    /// What it does there: `board`.
    pub action: String,
    /// The interaction that began the act.
    pub key: InteractionId,
    /// Who began it.
    pub owner: UserId,
    /// What the action needs to know: a page, a member.
    pub argument: String,
}

impl Button {
    /// Reads a `custom_id`; `None` if it isn't of this form.
    #[must_use]
    pub fn parse(custom_id: &str) -> Option<Self> {
        let mut parts = custom_id.splitn(5, ':');
        let feature = parts.next()?.to_owned();
        let action = parts.next()?.to_owned();
        let key = parts.next()?.parse::<NonZeroU64>().ok()?.into();
        let owner = parts.next()?.parse::<NonZeroU64>().ok()?.into();
        let argument = parts.next()?.to_owned();
        Some(Self { feature, action, key, owner, argument })
    }

    /// The `custom_id`.
    #[must_use]
    pub fn custom_id(&self) -> String {
        let Self { feature, action, key, owner, argument } = self;
        format!("{feature}:{action}:{key}:{owner}:{argument}")
    }

    /// When presses stop to work.
    #[must_use]
    pub fn expires(&self) -> DateTime<Utc> {
        expires(self.key)
    }
}

/// When the buttons of the act that `key` began stop to work.
#[must_use]
pub fn expires(key: InteractionId) -> DateTime<Utc> {
    *key.created_at() + LIFETIME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_reads_back_what_it_was_made_of() {
        let button = Button {
            feature: "bytes".into(),
            action: "history".into(),
            key: InteractionId::new(u64::MAX),
            owner: UserId::new(u64::MAX),
            argument: format!("{}:99", u64::MAX),
        };

        assert_eq!(Button::parse(&button.custom_id()), Some(button.clone()));
        assert!(button.custom_id().len() <= 100, "{}", button.custom_id().len());
    }

    #[test]
    fn what_is_no_button_of_ours_is_none() {
        for custom_id in
            ["", "bytes", "bytes:board:0:1:2", "bytes:board:x:1:2", "bytes:board:1:2", "a:b:1:0:c"]
        {
            assert_eq!(Button::parse(custom_id), None, "{custom_id}");
        }
    }
}
