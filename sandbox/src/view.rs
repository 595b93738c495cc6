//! What a member sees.

use serde_json::Value;

use crate::{
    Id,
    state::{Message, World},
};

/// A message as one member sees it now.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a mark that Discord's client shows")]
pub struct Seen {
    /// The message.
    pub id: Id,
    /// Where it stands.
    pub channel: Id,
    /// The author's name in that guild: nickname, display name or username.
    pub author: String,
    /// The author.
    pub author_id: Id,
    /// Its text.
    pub content: String,
    /// Its embeds, as stored.
    pub embeds: Vec<Value>,
    /// Its components, as stored.
    pub components: Vec<Value>,
    /// Its attachments, as stored.
    pub attachments: Vec<Value>,
    /// Only this member sees it.
    pub ephemeral: bool,
    /// The bot deferred and has not answered yet.
    pub thinking: bool,
    /// It carries the mark "(edited)".
    pub edited: bool,
    /// It stands in the member's DMs with the bot.
    pub dm: bool,
    /// It pinged this member when it was posted.
    pub pings: bool,
    /// The members that it pinged.
    pub pinged: Vec<Id>,
    /// The interaction that produced it.
    pub interaction: Option<Id>,
}

/// A button that is seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Button {
    /// Its text; empty where it is only an emoji.
    pub label: String,
    /// What a press sends; none for links.
    pub custom_id: Option<String>,
    /// Where a link leads.
    pub url: Option<String>,
    /// It can't be pressed.
    pub disabled: bool,
    /// Discord's style: 1 primary, 2 secondary, 3 success, 4 danger, 5 link.
    pub style: u64,
}

/// Something new for a member.
#[derive(Clone, Debug)]
pub enum Change {
    /// A message came.
    Posted(Seen),
    /// A message that was there changed.
    Edited(Seen),
    /// A message went.
    Deleted(Id),
}

impl Seen {
    pub(crate) fn of(world: &World, message: &Message, viewer: Id) -> Self {
        let place = world.channels.get(&message.channel);
        let guild = place.and_then(|place| place.guild).and_then(|id| world.guilds.get(&id));
        let author = world.user(message.author);
        let nick = guild.and_then(|guild| guild.members.get(&message.author)?.nick.clone());
        let name = nick.or_else(|| author.global_name.clone());
        Self {
            id: message.id,
            channel: message.channel,
            author: name.unwrap_or_else(|| author.name.clone()),
            author_id: message.author,
            content: message.content.clone(),
            embeds: message.embeds.clone(),
            components: message.components.clone(),
            attachments: message.attachments.clone(),
            ephemeral: message.only_for.is_some(),
            thinking: message.is_thinking(),
            edited: message.edited.is_some(),
            dm: guild.is_none(),
            pings: message.pinged.contains(&viewer),
            pinged: message.pinged.iter().copied().collect(),
            interaction: message.turn,
        }
    }

    /// All its words: content, then each embed's author, title, description, fields and footer,
    /// a line each; of components the texts that are displayed.
    #[must_use]
    pub fn text(&self) -> String {
        let mut lines = vec![self.content.as_str()];
        for embed in &self.embeds {
            lines.extend(embed["author"]["name"].as_str());
            lines.extend(embed["title"].as_str());
            lines.extend(embed["description"].as_str());
            for field in embed["fields"].as_array().into_iter().flatten() {
                lines.extend(field["name"].as_str());
                lines.extend(field["value"].as_str());
            }
            lines.extend(embed["footer"]["text"].as_str());
        }
        walk(&self.components, &mut |component| lines.extend(component["content"].as_str()));
        lines.retain(|line| !line.is_empty());
        lines.join("\n")
    }

    /// Its buttons, in order.
    #[must_use]
    pub fn buttons(&self) -> Vec<Button> {
        let mut buttons = Vec::new();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        walk(&self.components, &mut |component| {
            if component["type"] == 2 {
                buttons.push(Button {
                    label: text(&component["label"]).unwrap_or_default(),
                    custom_id: text(&component["custom_id"]),
                    url: text(&component["url"]),
                    disabled: component["disabled"] == true,
                    style: component["style"].as_u64().unwrap_or(0),
                });
            }
        });
        buttons
    }
}

/// Visits components at every depth, in the order they are shown.
pub(crate) fn walk<'a>(components: &'a [Value], visit: &mut impl FnMut(&'a Value)) {
    for component in components {
        visit(component);
        if let Some(children) = component["components"].as_array() {
            walk(children, visit);
        }
        for key in ["component", "accessory"] {
            if component[key].is_object() {
                walk(std::slice::from_ref(&component[key]), visit);
            }
        }
    }
}
