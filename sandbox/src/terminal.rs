//! A guild at the terminal: a line of text is what a member does, and its effect is drawn as
//! each member sees it.

mod help;
mod line;

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Datelike as _, SubsecRound as _, TimeDelta, Utc};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use self::line::{Deed, Line, When};
use crate::{
    Change, Discord, Guild, Id, Interaction, Member, Seen, created_at,
    draw::{self, Look, Names},
};

/// Nothing more is expected of the bot when it did nothing visible for so long.
const QUIET: Duration = Duration::from_millis(150);
/// How long a deferred answer, or an effect that goes on and on, is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Three fields side by side need this many columns.
const LEAST_WIDTH: usize = 40;
/// Ids stay below 2^63, where Discord's documents keep theirs, until this year.
const END_OF_IDS: i32 = 2084;
/// How far what a member sees is indented under who sees it.
const INDENT: &str = "   ";

/// A guild whose members are moved by lines of text.
pub struct Terminal {
    discord: Discord,
    guild: Guild,
    width: usize,
    color: bool,
    /// Where each member acts.
    places: HashMap<Id, Id>,
    /// What each interaction was, as Discord shows it above the answer.
    titles: HashMap<Id, String>,
    /// The form that each member opened last.
    forms: HashMap<Id, Interaction>,
    /// Who wrote the messages that were drawn.
    authors: HashMap<Id, String>,
    /// Who left, and may come back.
    gone: HashMap<String, Member>,
}

/// What came of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// What members see, as lines to print.
    pub seen: Vec<String>,
    /// A word to who types, beside what members see.
    pub note: Option<String>,
    /// The session ends here.
    pub quit: bool,
}

/// One thing that happened to a message, and who sees it.
struct Event {
    message: Id,
    kind: Kind,
    seen: Option<Seen>,
    viewers: Vec<String>,
    pinged: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Posted,
    Edited,
    Deleted,
}

impl Terminal {
    /// A terminal over a guild, `width` columns wide (at least 40), with or without colour; what
    /// was said before is not drawn.
    #[must_use]
    pub fn new(discord: &Discord, guild: &Guild, width: usize, color: bool) -> Self {
        let terminal = Self {
            discord: discord.clone(),
            guild: guild.clone(),
            width: width.max(LEAST_WIDTH),
            color,
            places: HashMap::new(),
            titles: HashMap::new(),
            forms: HashMap::new(),
            authors: HashMap::new(),
            gone: HashMap::new(),
        };
        terminal.people().iter().for_each(|member| drop(member.news()));
        terminal
    }

    /// Does what a line says, waits for what the bot makes of it, and draws what changed.
    ///
    /// # Errors
    ///
    /// A sentence, when the line could not be carried out: it is none, someone or something in it
    /// does not exist, Discord's client would not send it, or the bot left it unanswered. What the
    /// bot refuses is an answer as any other.
    pub async fn carry_out(&mut self, line: &str) -> Result<Effect, String> {
        match self.carried_out(line).await {
            Ok(Effect { seen, note, quit }) => {
                Ok(Effect { seen, note: note.map(|note| draw::harmless(&note)), quit })
            }
            Err(why) => Err(draw::harmless(&why)),
        }
    }

    async fn carried_out(&mut self, line: &str) -> Result<Effect, String> {
        let note = match line::read(line)? {
            Line::Nothing => return Ok(Effect::default()),
            Line::Quit => return Ok(Effect { quit: true, ..Effect::default() }),
            Line::Help => return Ok(shown(self.help())),
            Line::Time(when) => {
                if let Some(when) = when {
                    self.set_clock(when)?;
                }
                Some(format!("It is {} UTC.", self.discord.now().format("%A, %-d %B %Y %H:%M")))
            }
            Line::Act { who, deed } => return self.act(&who, deed).await,
        };
        Ok(Effect { seen: self.news(), note, quit: false })
    }

    /// Sets the clock within the guild's life and the reach of Discord's ids.
    fn set_clock(&self, when: When) -> Result<(), String> {
        let founded = created_at(self.guild.id).trunc_subsecs(0);
        let at = match when {
            When::At(at) => at,
            When::By(distance) => {
                let end = if distance < TimeDelta::zero() {
                    DateTime::<Utc>::MIN_UTC
                } else {
                    DateTime::<Utc>::MAX_UTC
                };
                self.discord.now().checked_add_signed(distance).unwrap_or(end)
            }
        };
        if at < founded {
            let founded = founded.format("%Y-%m-%dT%H:%M:%S");
            return Err(format!(
                "That is before the guild was founded; times from {founded} (UTC) on work."
            ));
        }
        if at.year() >= END_OF_IDS {
            return Err(format!(
                "That is beyond the end of Discord's ids; times before {END_OF_IDS}-01-01 work."
            ));
        }
        self.discord.set_now(at);
        Ok(())
    }

    /// Draws what changed for the members since this was last asked.
    pub fn news(&mut self) -> Vec<String> {
        let mut events: Vec<Event> = Vec::new();
        let people = self.people();
        for member in &people {
            for change in member.news() {
                let (message, kind, seen) = match change {
                    Change::Posted(seen) => (seen.id, Kind::Posted, Some(seen)),
                    Change::Edited(seen) => (seen.id, Kind::Edited, Some(seen)),
                    Change::Deleted(id) => (id, Kind::Deleted, None),
                };
                let pings = kind == Kind::Posted && seen.as_ref().is_some_and(|seen| seen.pings);
                let same = |event: &&mut Event| event.message == message && event.kind == kind;
                let event = match events.iter_mut().find(same) {
                    Some(event) => event,
                    None => events.push_mut(Event {
                        message,
                        kind,
                        seen,
                        viewers: Vec::new(),
                        pinged: Vec::new(),
                    }),
                };
                event.viewers.push(member.name.clone());
                if pings {
                    event.pinged.push(member.name.clone());
                }
            }
        }
        events.sort_by_key(|event| event.message);
        for event in &events {
            self.authors.extend(event.seen.iter().map(|seen| (seen.id, seen.author.clone())));
        }
        let look = self.look();
        events.iter().flat_map(|event| self.drawn(event, people.len(), &look)).collect()
    }

    /// Waits until something happened to a message.
    pub async fn changed(&self) {
        self.grown(self.log_length()).await;
    }

    async fn act(&mut self, who: &str, deed: Deed) -> Result<Effect, String> {
        let member = match deed {
            Deed::Joins => return self.join(who),
            _ => self.member(who)?,
        };
        let as_member = |refused: crate::Refused| refused.to_string();
        let interaction = match deed {
            Deed::Slash(line) => {
                let interaction = member.slash(&line).map_err(as_member)?;
                let title = format!("{who} used {}", self.title(&line));
                self.titles.insert(interaction.id, title);
                interaction
            }
            Deed::Types(line) => return self.suggestions(&member, &line).await,
            Deed::Presses(button) => member.press(&button).map_err(as_member)?,
            Deed::Picks { values, menu } => {
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                member.select(&menu, &values).map_err(as_member)?
            }
            Deed::Submits(fields) => {
                let form = self.forms.get(&member.id);
                let form = form.ok_or_else(|| format!("{who} has no form open."))?;
                let fields: Vec<(&str, &str)> =
                    fields.iter().map(|(name, value)| (&**name, &**value)).collect();
                let interaction = member.submit(form, &fields).map_err(as_member)?;
                self.forms.remove(&member.id);
                interaction
            }
            Deed::Menu { entry, on } => {
                let interaction = self.menu(&member, &entry, &on)?;
                self.titles.insert(interaction.id, format!("{who} used {entry}"));
                interaction
            }
            Deed::Says(text) => {
                member.try_say(&self.mentioned(&text), &[]).map_err(as_member)?;
                return Ok(shown(self.settled().await));
            }
            Deed::Edits(text) => {
                let text = self.mentioned(&text);
                member.edits(own_message(&member)?, &text).map_err(as_member)?;
                return Ok(shown(self.settled().await));
            }
            Deed::Deletes => {
                member.deletes(own_message(&member)?).map_err(as_member)?;
                return Ok(shown(self.settled().await));
            }
            Deed::GoesTo(place) => return self.go(&member, &place),
            Deed::Leaves => {
                self.guild.remove_member(&member);
                self.gone.insert(member.name.clone(), member);
                return Ok(shown(self.settled().await));
            }
            Deed::Dms { open: true } => {
                member.open_dms();
                return Ok(noted(format!("{who} takes direct messages.")));
            }
            Deed::Dms { open: false } => {
                member.close_dms();
                return Ok(noted(format!("{who} takes no direct messages.")));
            }
            Deed::Joins => unreachable!("it was handled before there was a member"),
        };
        self.answered(&member, interaction).await
    }

    /// Waits for the bot's answer and for what follows it.
    async fn answered(
        &mut self,
        member: &Member,
        interaction: Interaction,
    ) -> Result<Effect, String> {
        let Some(first) = interaction.try_acknowledged().await else {
            return Err(format!(
                "The bot gave no answer within 3 s; {} sees \"The application did not respond\".",
                member.name
            ));
        };
        // Deferred: what counts is the text that comes later.
        if first.kind == 5 && interaction.try_answer(PATIENCE).await.is_none() {
            self.settled().await;
            return Err(format!(
                "The bot said it was thinking, and nothing more to {}.",
                member.name
            ));
        }
        let mut effect = shown(self.settled().await);
        if let Some(modal) = interaction.modal() {
            let form = draw::modal(&modal, &self.look());
            effect.seen.extend(self.framed(&format!("only {} sees · a form", member.name), form));
            self.forms.insert(member.id, interaction);
        }
        Ok(effect)
    }

    /// Waits until the bot has been quiet for a moment, and draws what changed.
    pub async fn settled(&mut self) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let settled =
            async { while timeout(QUIET, self.grown(self.log_length())).await.is_ok() {} };
        // At the deadline it is drawn as it stands; the rest comes with the next line.
        drop(timeout_at(deadline, settled).await);
        self.news()
    }

    fn log_length(&self) -> usize {
        self.discord.shared().read(|world| world.messages.log.len())
    }

    async fn grown(&self, known: usize) {
        let more =
            self.discord.shared().until(|world| (world.messages.log.len() > known).then_some(()));
        more.await;
    }

    fn people(&self) -> Vec<Member> {
        let is_person =
            |member: &Member| self.discord.shared().read(|world| !world.user(member.id).bot);
        self.guild.members().into_iter().filter(is_person).collect()
    }

    /// The member of that name, where they act.
    fn member(&self, name: &str) -> Result<Member, String> {
        let found = self.guild.member(name.trim_start_matches('@'));
        let member = found.ok_or_else(|| {
            let names: Vec<String> = self.people().into_iter().map(|member| member.name).collect();
            let there_are = match names.len() {
                0 => "nobody is left".to_owned(),
                1 => format!("there is {}", names[0]),
                _ => format!("there are {}", listed(&names)),
            };
            format!("There is no member \"{name}\"; {there_are}.")
        })?;
        Ok(match self.places.get(&member.id) {
            Some(&channel) => member.in_channel(channel),
            None => member,
        })
    }

    fn join(&mut self, who: &str) -> Result<Effect, String> {
        if self.guild.member(who).is_some() {
            return Err(format!("{who} is a member already."));
        }
        let member = match self.gone.remove(who) {
            Some(member) => self.guild.join(&member),
            None => self.guild.add_member(who),
        };
        // What was said before is history.
        drop(member.news());
        Ok(noted(format!("{who} is a member now.")))
    }

    fn go(&mut self, member: &Member, place: &str) -> Result<Effect, String> {
        let channel = if place.eq_ignore_ascii_case("dms") {
            member.in_dm().channel()
        } else {
            let channel = self.guild.channel(place);
            channel.ok_or_else(|| format!("There is no channel #{place}."))?
        };
        self.places.insert(member.id, channel);
        Ok(noted(format!("{} acts in {} from now on.", member.name, self.place(channel))))
    }

    fn menu(&self, member: &Member, entry: &str, on: &str) -> Result<Interaction, String> {
        let target = self.member(on)?;
        let commands = self.discord.commands(Some(self.guild.id));
        let is_of_messages =
            commands.iter().any(|command| command["type"] == 3 && command["name"] == entry);
        if !is_of_messages {
            return member.user_menu(entry, &target).map_err(|refused| refused.to_string());
        }
        let seen = member.sees();
        let message = seen.iter().rev().find(|seen| seen.author_id == target.id);
        let message = message.ok_or_else(|| format!("{} sees no message of {on}.", member.name))?;
        member.message_menu(entry, message.id).map_err(|refused| refused.to_string())
    }

    /// Text with `@bob`, `@North` and `#bots` as the mentions that a client would make of them.
    fn mentioned(&self, text: &str) -> String {
        let word = |word: &str| {
            let end = word.trim_end_matches(|c: char| c.is_ascii_punctuation()).len();
            let (name, rest) = word.split_at(end);
            let mention = if let Some(name) = name.strip_prefix('@') {
                let member = self.guild.member(name).map(|member| format!("<@{}>", member.id));
                member.or_else(|| self.guild.role(name).map(|role| format!("<@&{role}>")))
            } else {
                let channel = name.strip_prefix('#').and_then(|name| self.guild.channel(name));
                channel.map(|channel| format!("<#{channel}>"))
            };
            mention.map_or_else(|| word.to_owned(), |mention| mention + rest)
        };
        text.split(' ').map(word).collect::<Vec<_>>().join(" ")
    }

    async fn suggestions(&self, member: &Member, line: &str) -> Result<Effect, String> {
        let choices = member.complete(line).await.map_err(|refused| refused.to_string())?;
        let mut offered: Vec<String> =
            choices.into_iter().map(|choice| draw::harmless(&choice.name)).collect();
        if offered.is_empty() {
            offered.push("No options match your search.".to_owned());
        }
        Ok(shown(self.framed(&format!("only {} sees · suggestions", member.name), offered)))
    }

    /// The command in a line that was accepted: `/bytes send` of `/bytes send member:bob`.
    fn title(&self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let commands = self.discord.commands(Some(self.guild.id));
        let mut level: &[Value] = &commands;
        let mut known = Vec::new();
        for word in words {
            let name = word.trim_start_matches('/');
            let Some(next) = level.iter().find(|one| {
                one["name"] == name
                    && (known.is_empty() || matches!(one["type"].as_u64(), Some(1 | 2)))
            }) else {
                break;
            };
            known.push(name);
            level = next["options"].as_array().map(Vec::as_slice).unwrap_or_default();
        }
        format!("/{}", known.join(" "))
    }

    fn look(&self) -> Look {
        let names = self.discord.shared().read(|world| {
            let guild = world.guild(self.guild.id);
            let roles = guild.into_iter().flat_map(|guild| guild.roles.values());
            Names {
                members: world.users.iter().map(|(&id, user)| (id, user.name.clone())).collect(),
                roles: roles
                    .map(|role| (role.id, role.name.trim_start_matches('@').to_owned()))
                    .collect(),
                channels: world
                    .channels
                    .iter()
                    .map(|(&id, place)| (id, place.name.clone()))
                    .collect(),
            }
        });
        Look { width: self.width - INDENT.len(), color: self.color, now: self.discord.now(), names }
    }

    /// A channel as it is written.
    fn place(&self, channel: Id) -> String {
        let name = self.discord.shared().read(|world| {
            let place = world.channels.get(&channel);
            place.filter(|place| place.guild.is_some()).map(|place| place.name.clone())
        });
        name.map_or_else(|| "direct messages".to_owned(), |name| format!("#{name}"))
    }

    fn drawn(&self, event: &Event, people: usize, look: &Look) -> Vec<String> {
        let who = if event.viewers.len() == people && people > 1 {
            "everyone".to_owned()
        } else if let [viewer] = &event.viewers[..] {
            format!("only {viewer}")
        } else {
            listed(&event.viewers)
        };
        let one = event.viewers.len() == 1 || who == "everyone";
        let mut head = vec![format!("{who} {}", if one { "sees" } else { "see" })];
        let Some(seen) = &event.seen else {
            let author = self.authors.get(&event.message).map_or("someone", String::as_str);
            return self.framed(
                &head[0],
                vec![draw::harmless(&format!("A message of {author} is gone."))],
            );
        };
        head.push(self.place(seen.channel));
        if !event.pinged.is_empty() {
            let all = people > 2 && event.pinged.len() + 1 >= people;
            let whom = if all { "everyone".to_owned() } else { listed(&event.pinged) };
            head.push(format!("pings {whom}"));
        }
        if event.kind == Kind::Edited {
            head.push("edited".to_owned());
        }
        let title = seen.interaction.and_then(|interaction| self.titles.get(&interaction));
        let by = title.map(|title| format!("  ↩ {title}")).unwrap_or_default();
        let mut body = vec![self.styled(&seen.author, "1") + &self.styled(&by, "2")];
        body.extend(draw::message(seen, look));
        self.framed(&head.join(" · "), body)
    }

    /// A heading, the lines under it, and a blank line.
    fn framed(&self, head: &str, body: Vec<String>) -> Vec<String> {
        let rule = "─".repeat(self.width.saturating_sub(head.chars().count() + 4));
        let mut lines = vec![self.styled(&format!("── {head} {rule}"), "36")];
        lines.extend(body.into_iter().map(|line| format!("{INDENT}{line}").trim_end().to_owned()));
        lines.push(String::new());
        lines
    }

    fn styled(&self, text: &str, code: &str) -> String {
        let text = draw::harmless(text);
        if self.color && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text }
    }
}

fn shown(seen: Vec<String>) -> Effect {
    Effect { seen, ..Effect::default() }
}

fn noted(note: String) -> Effect {
    Effect { note: Some(note), ..Effect::default() }
}

/// The newest message that a member wrote.
fn own_message(member: &Member) -> Result<Id, String> {
    let seen = member.sees();
    let own = seen.iter().rev().find(|seen| seen.author_id == member.id);
    own.map(|seen| seen.id).ok_or_else(|| format!("{} has said nothing yet.", member.name))
}

/// `ada`, `ada and bob`, `ada, bob and cleo`
fn listed(names: &[String]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [name] => name.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
