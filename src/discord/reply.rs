//! The look of every reply.

use poise::serenity_prelude::{
    ButtonStyle, CreateActionRow, CreateAllowedMentions, CreateButton, CreateEmbed,
    CreateInteractionResponseFollowup, CreateInteractionResponseMessage, EditInteractionResponse,
    UserId,
};

/// The colour of what was done or is shown.
const GREEN: u32 = 0x57_F2_87;
/// The colour of what was refused.
const YELLOW: u32 = 0xFE_E7_5C;
/// The colour of what failed.
const RED: u32 = 0xED_42_45;

/// Who sees a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Everybody in the channel.
    Everyone,
    /// Only who acted.
    Actor,
}

/// Where a reply stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a message of its own.
    New,
    /// In the message that the pressed button stands on.
    OnMessage,
}

/// One answer to an interaction. It pings nobody but whom [`ping`](Self::ping) names.
#[derive(Debug, Clone)]
pub struct Reply {
    embed: CreateEmbed,
    ping: Option<UserId>,
    buttons: Vec<CreateButton>,
    audience: Audience,
    place: Place,
    then: Option<Box<Reply>>,
    shown: Vec<UserId>,
}

impl Reply {
    /// Shows something to everybody.
    #[must_use]
    pub fn public(embed: CreateEmbed) -> Self {
        Self { audience: Audience::Everyone, ..Self::private(embed) }
    }

    /// Shows something to who acted.
    #[must_use]
    pub fn private(embed: CreateEmbed) -> Self {
        Self::colored(embed, GREEN)
    }

    /// Says to who acted that nothing was done, and why.
    #[must_use]
    pub fn refused(why: &str) -> Self {
        Self::colored(CreateEmbed::new().description(why), YELLOW)
    }

    /// Says to who acted that something went wrong on our side.
    #[must_use]
    pub fn failed(what: &str) -> Self {
        Self::colored(CreateEmbed::new().description(what), RED)
    }

    fn colored(embed: CreateEmbed, color: u32) -> Self {
        Self {
            embed: embed.color(color),
            ping: None,
            buttons: Vec::new(),
            audience: Audience::Actor,
            place: Place::New,
            then: None,
            shown: Vec::new(),
        }
    }

    /// Has another reply follow in a message of its own, once this one stands: what everybody is to
    /// see of what one member was asked alone. If Discord doesn't take it, it stands in this one's
    /// place.
    #[must_use]
    pub fn followed_by(self, next: Self) -> Self {
        Self { then: Some(Box::new(next)), ..self }
    }

    /// Names a member in the text above the embed and pings them, and nobody else.
    #[must_use]
    pub fn ping(self, member: UserId) -> Self {
        Self { ping: Some(member), ..self }
    }

    /// Says which members it shows, at most 100: it's checked whether they are still in the guild,
    /// for the next reply.
    #[must_use]
    pub fn showing(self, members: Vec<UserId>) -> Self {
        Self { shown: members, ..self }
    }

    pub(super) fn shown(&self) -> &[UserId] {
        &self.shown
    }

    /// Adds a button; at most five fit.
    #[must_use]
    pub fn button(mut self, label: &str, custom_id: String, enabled: bool) -> Self {
        let button = CreateButton::new(custom_id).label(label).style(ButtonStyle::Secondary);
        self.buttons.push(button.disabled(!enabled));
        self
    }

    /// Adds the button that does what was asked for.
    #[must_use]
    pub fn main_button(mut self, label: &str, custom_id: String) -> Self {
        let button = CreateButton::new(custom_id).label(label).style(ButtonStyle::Primary);
        self.buttons.push(button);
        self
    }

    /// Adds a Previous and a Next button; `id` makes the `custom_id` of a step of -1 or 1.
    #[must_use]
    pub fn pager(self, back: bool, on: bool, id: impl Fn(i32) -> String) -> Self {
        self.button("Previous", id(-1), back).button("Next", id(1), on)
    }

    /// The same for a press of one of its buttons: in the place of the message if that is the
    /// presser's own, else in a message that only they see.
    #[must_use]
    pub fn to_press(self, own: bool) -> Self {
        if own {
            Self { place: Place::OnMessage, ..self }
        } else {
            Self { audience: Audience::Actor, ..self }
        }
    }

    /// The same for the eyes of who acted; it pings nobody then.
    #[must_use]
    pub fn to_actor(self) -> Self {
        Self { audience: Audience::Actor, ping: None, ..self }
    }

    /// Where it stands.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// Who sees it.
    #[must_use]
    pub fn audience(&self) -> Audience {
        self.audience
    }

    /// What follows it.
    pub(super) fn then(&self) -> Option<&Self> {
        self.then.as_deref()
    }

    /// What stands in for a deferred answer whose public reply follows.
    pub(super) fn done() -> Self {
        Self::private(CreateEmbed::new().description("Done."))
    }

    fn content(&self) -> String {
        self.ping.map(|member| format!("<@{member}>")).unwrap_or_default()
    }

    fn mentions(&self) -> CreateAllowedMentions {
        CreateAllowedMentions::new().users(self.ping)
    }

    fn rows(&self) -> Vec<CreateActionRow> {
        if self.buttons.is_empty() {
            Vec::new()
        } else {
            vec![CreateActionRow::Buttons(self.buttons.clone())]
        }
    }

    /// As the first answer, or as the new text of the message that a button stands on.
    pub(super) fn message(&self) -> CreateInteractionResponseMessage {
        CreateInteractionResponseMessage::new()
            .content(self.content())
            .embed(self.embed.clone())
            .components(self.rows())
            .allowed_mentions(self.mentions())
            .ephemeral(self.audience == Audience::Actor)
    }

    /// What Discord gets of it, for tests of its look.
    #[cfg(test)]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::to_value(self.message()).expect("serializes")
    }

    /// As the text of a deferred answer.
    pub(super) fn edit(&self) -> EditInteractionResponse {
        EditInteractionResponse::new()
            .content(self.content())
            .embed(self.embed.clone())
            .components(self.rows())
            .allowed_mentions(self.mentions())
    }

    /// As a further message.
    pub(super) fn followup(&self) -> CreateInteractionResponseFollowup {
        CreateInteractionResponseFollowup::new()
            .content(self.content())
            .embed(self.embed.clone())
            .components(self.rows())
            .allowed_mentions(self.mentions())
            .ephemeral(self.audience == Audience::Actor)
    }
}
