//! The world: plain data behind one lock, and the changes that several parts make alike.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    FirstResponse, Id, Request, clock::Clock, faults::Planned, gateway::Session, permissions,
    rate_limit::RateLimits,
};

/// What the server's tasks and the actors' handles share.
pub(crate) struct Shared {
    world: Mutex<World>,
    changed: watch::Sender<()>,
    pub(crate) stopped: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(world: World) -> Arc<Self> {
        let (changed, stopped) = (watch::Sender::new(()), watch::Sender::new(false));
        Arc::new(Self { world: Mutex::new(world), changed, stopped })
    }

    pub(crate) fn read<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        look(&self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn change<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let out = act(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.send_replace(());
        out
    }

    /// Waits until `look` finds something.
    pub(crate) async fn until<T>(&self, look: impl Fn(&World) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(found) = self.read(&look) {
                return found;
            }
            changed.changed().await.expect("the sender lives in self");
        }
    }
}

/// What the bot's owner sets in Discord's developer portal.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are the portal's switches")]
pub struct ApplicationSettings {
    /// Server Members Intent.
    pub guild_members_intent: bool,
    /// Presence Intent.
    pub presence_intent: bool,
    /// Message Content Intent.
    pub message_content_intent: bool,
    /// Anyone may add the bot to a guild.
    pub bot_public: bool,
    /// An invite link alone does not add the bot.
    pub bot_require_code_grant: bool,
    /// Where interactions go instead of the gateway. The sandbox sends none there: with an
    /// address set, the gateway gets no interactions, as at Discord.
    pub interactions_endpoint_url: Option<String>,
}

impl Default for ApplicationSettings {
    fn default() -> Self {
        Self {
            guild_members_intent: false,
            presence_intent: false,
            message_content_intent: false,
            bot_public: true,
            bot_require_code_grant: false,
            interactions_endpoint_url: None,
        }
    }
}

pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) url: String,
    pub(crate) bot: Id,
    pub(crate) token: String,
    pub(crate) application: ApplicationSettings,
    pub(crate) users: HashMap<Id, User>,
    pub(crate) guilds: BTreeMap<Id, GuildState>,
    pub(crate) channels: HashMap<Id, Channel>,
    pub(crate) messages: Messages,
    pub(crate) turns: HashMap<Id, Turn>,
    /// Whose interaction each token is.
    pub(crate) tokens: HashMap<String, Id>,
    pub(crate) commands: Vec<Value>,
    pub(crate) commands_registered: bool,
    pub(crate) sessions: Vec<Session>,
    pub(crate) heartbeat_interval: u64,
    pub(crate) requests: VecDeque<(u64, Request)>,
    pub(crate) faults: Vec<Planned>,
    pub(crate) limits: RateLimits,
    /// How far each user's handle has read the log of message changes.
    pub(crate) read_until: HashMap<Id, usize>,
}

pub(crate) struct User {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) global_name: Option<String>,
    pub(crate) avatar: Option<String>,
    pub(crate) bot: bool,
    pub(crate) dms_open: bool,
}

pub(crate) struct GuildState {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) owner: Id,
    pub(crate) roles: BTreeMap<Id, Role>,
    pub(crate) members: BTreeMap<Id, MemberState>,
    pub(crate) channels: Vec<Id>,
    pub(crate) bans: BTreeMap<Id, Option<String>>,
    pub(crate) audit_log: Vec<Value>,
    pub(crate) unavailable: bool,
    /// Until when invites are paused (incident actions), as the bot gave it.
    pub(crate) incidents: Value,
    /// The guild's own emojis as Discord gives them.
    pub(crate) emojis: Vec<Value>,
    /// Commands that the guild's admins opened to everyone.
    pub(crate) open_commands: BTreeSet<String>,
}

pub(crate) struct Role {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) permissions: u64,
    pub(crate) position: u16,
    pub(crate) color: u64,
    pub(crate) hoist: bool,
    pub(crate) mentionable: bool,
    /// The bot whose role this is: managed, so nobody can give or take it.
    pub(crate) bot: Option<Id>,
}

impl Role {
    /// Higher position ranks higher; among equals the older role does.
    pub(crate) fn rank(&self) -> (u16, std::cmp::Reverse<Id>) {
        (self.position, std::cmp::Reverse(self.id))
    }
}

pub(crate) struct MemberState {
    pub(crate) nick: Option<String>,
    pub(crate) roles: BTreeSet<Id>,
    pub(crate) joined_at: DateTime<Utc>,
    pub(crate) timeout_until: Option<DateTime<Utc>>,
    pub(crate) deaf: bool,
    pub(crate) mute: bool,
}

/// Discord's channel types, as far as they are made here.
pub(crate) mod channel_type {
    pub(crate) const TEXT: u64 = 0;
    pub(crate) const DM: u64 = 1;
    pub(crate) const CATEGORY: u64 = 4;
    pub(crate) const PUBLIC_THREAD: u64 = 11;
}

pub(crate) struct Channel {
    pub(crate) id: Id,
    /// One of [`channel_type`].
    pub(crate) kind: u64,
    pub(crate) guild: Option<Id>,
    pub(crate) name: String,
    pub(crate) topic: Option<String>,
    pub(crate) parent: Option<Id>,
    pub(crate) position: usize,
    pub(crate) slow_mode: u64,
    /// The other user of a DM with the bot.
    pub(crate) recipient: Option<Id>,
    pub(crate) overwrites: BTreeMap<Id, Overwrite>,
}

impl Channel {
    pub(crate) fn is_thread(&self) -> bool {
        self.kind == channel_type::PUBLIC_THREAD
    }

    /// The permission that posting in it takes.
    pub(crate) fn speaking(&self) -> u64 {
        if self.is_thread() {
            permissions::SEND_MESSAGES_IN_THREADS
        } else {
            permissions::SEND_MESSAGES
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Overwrite {
    /// 0: a role's, 1: a member's.
    pub(crate) kind: u8,
    pub(crate) allow: u64,
    pub(crate) deny: u64,
}

#[derive(Clone)]
pub(crate) struct Message {
    pub(crate) id: Id,
    pub(crate) channel: Id,
    pub(crate) author: Id,
    pub(crate) content: String,
    pub(crate) embeds: Vec<Value>,
    pub(crate) components: Vec<Value>,
    pub(crate) attachments: Vec<Value>,
    pub(crate) flags: u64,
    pub(crate) at: DateTime<Utc>,
    pub(crate) edited: Option<DateTime<Utc>>,
    pub(crate) deleted: bool,
    pub(crate) pinned: bool,
    pub(crate) tts: bool,
    pub(crate) nonce: Option<Value>,
    /// The message this one replies to.
    pub(crate) reply_to: Option<Id>,
    /// The interaction that produced it.
    pub(crate) turn: Option<Id>,
    /// The only user who sees it.
    pub(crate) only_for: Option<Id>,
    pub(crate) mentions: Mentions,
    /// Who got a ping when it was posted.
    pub(crate) pinged: BTreeSet<Id>,
}

/// Whom a message mentions, as its JSON lists them.
#[derive(Clone, Default)]
pub(crate) struct Mentions {
    pub(crate) everyone: bool,
    pub(crate) users: BTreeSet<Id>,
    pub(crate) roles: BTreeSet<Id>,
}

pub(crate) mod flags {
    pub(crate) const SUPPRESS_EMBEDS: u64 = 1 << 2;
    pub(crate) const EPHEMERAL: u64 = 1 << 6;
    pub(crate) const LOADING: u64 = 1 << 7;
    pub(crate) const SUPPRESS_NOTIFICATIONS: u64 = 1 << 12;
    pub(crate) const IS_COMPONENTS_V2: u64 = 1 << 15;
}

impl Message {
    pub(crate) fn is_thinking(&self) -> bool {
        self.flags & flags::LOADING != 0
    }
}

/// All messages in order of arrival, and what happened to them.
#[derive(Default)]
pub(crate) struct Messages {
    all: Vec<Message>,
    index: HashMap<Id, usize>,
    by_channel: HashMap<Id, Vec<usize>>,
    /// Those of a channel that everybody there sees.
    public: HashMap<Id, Vec<usize>>,
    /// What happened, in order: for those who read only news.
    pub(crate) log: Vec<(Happened, Id)>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Happened {
    Posted,
    Edited,
    Deleted,
}

impl Messages {
    pub(crate) fn get(&self, id: Id) -> Option<&Message> {
        self.index.get(&id).map(|at| &self.all[*at]).filter(|message| !message.deleted)
    }

    /// The message even after its deletion.
    pub(crate) fn ever(&self, id: Id) -> Option<&Message> {
        self.index.get(&id).map(|at| &self.all[*at])
    }

    pub(crate) fn in_channel(&self, channel: Id) -> impl DoubleEndedIterator<Item = &Message> {
        let places = self.by_channel.get(&channel).map_or(&[][..], Vec::as_slice);
        places.iter().map(|at| &self.all[*at]).filter(|message| !message.deleted)
    }

    /// The newest message of a channel that everybody there sees.
    pub(crate) fn last_public(&self, channel: Id) -> Option<&Message> {
        let places = self.public.get(&channel)?;
        places.iter().rev().map(|at| &self.all[*at]).find(|message| !message.deleted)
    }

    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = &Message> {
        self.all.iter().filter(|message| !message.deleted)
    }

    pub(crate) fn post(&mut self, message: Message) {
        let (at, id) = (self.all.len(), message.id);
        self.index.insert(id, at);
        self.by_channel.entry(message.channel).or_default().push(at);
        if message.only_for.is_none() {
            self.public.entry(message.channel).or_default().push(at);
        }
        self.all.push(message);
        self.log.push((Happened::Posted, id));
    }

    /// Changes a message that is there.
    pub(crate) fn edit(&mut self, id: Id, change: impl FnOnce(&mut Message)) {
        if let Some(message) = self.index.get(&id).map(|at| &mut self.all[*at]) {
            change(message);
            self.log.push((Happened::Edited, id));
        }
    }

    pub(crate) fn delete(&mut self, id: Id) {
        if let Some(message) = self.index.get(&id).map(|at| &mut self.all[*at]) {
            message.deleted = true;
            self.log.push((Happened::Deleted, id));
        }
    }
}

/// One interaction: what was dispatched and what came of it.
pub(crate) struct Turn {
    pub(crate) id: Id,
    pub(crate) token: String,
    /// 2 command, 3 component, 4 autocomplete, 5 modal submit.
    pub(crate) kind: u8,
    pub(crate) user: Id,
    pub(crate) guild: Option<Id>,
    pub(crate) channel: Id,
    /// The whole `INTERACTION_CREATE` payload as text, for redeliveries.
    pub(crate) payload: String,
    /// A command's name and type (1 slash, 2 user, 3 message).
    pub(crate) command: Option<(String, u64)>,
    pub(crate) dispatched: Instant,
    pub(crate) attempts: usize,
    pub(crate) first: Option<FirstResponse>,
    /// The message that `@original` means.
    pub(crate) original: Option<Id>,
    pub(crate) followups: Vec<Id>,
    /// The message whose component was used.
    pub(crate) source: Option<Id>,
    /// Of a modal's submission: the interaction that opened the modal.
    pub(crate) opener: Option<Id>,
    /// An answer changed the message whose component was used.
    pub(crate) updated: bool,
    pub(crate) modal: Option<Value>,
    pub(crate) choices: Option<Value>,
    pub(crate) changed: watch::Sender<()>,
}

impl Turn {
    /// What the member can read of the answers: the first response's message, then the follow-ups.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Id> {
        let own = self.original.filter(|id| self.updated || self.source != Some(*id));
        own.into_iter().chain(self.followups.iter().copied())
    }
}

impl World {
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(crate) fn user(&self, id: Id) -> &User {
        self.users.get(&id).expect("users are never forgotten")
    }

    pub(crate) fn guild(&self, id: Id) -> Option<&GuildState> {
        self.guilds.get(&id)
    }

    /// Tells those who wait for this interaction that something came of it.
    pub(crate) fn touch(&self, turn: Option<Id>) {
        if let Some(turn) = turn.and_then(|id| self.turns.get(&id)) {
            turn.changed.send_replace(());
        }
    }

    /// The user's permissions where they act; in a DM with the bot there is nothing to forbid.
    pub(crate) fn permissions_in(&self, user: Id, channel: Id) -> u64 {
        let Some(channel) = self.channels.get(&channel) else { return 0 };
        // A thread has no overwrites of its own.
        let parent = channel.parent.filter(|_| channel.is_thread());
        let channel = parent.and_then(|id| self.channels.get(&id)).unwrap_or(channel);
        match channel.guild.map(|id| self.guilds.get(&id)) {
            None if user == self.bot || channel.recipient == Some(user) => permissions::ALL,
            None | Some(None) => 0,
            Some(Some(guild)) => {
                let granted = guild.permissions_in(user, channel);
                let member = guild.members.get(&user);
                let silenced = member.and_then(|member| member.timeout_until) > Some(self.now());
                if silenced && granted != permissions::ALL {
                    granted & (permissions::VIEW_CHANNEL | permissions::READ_MESSAGE_HISTORY)
                } else {
                    granted
                }
            }
        }
    }

    pub(crate) fn can(&self, user: Id, channel: Id, permission: u64) -> bool {
        self.permissions_in(user, channel) & permission == permission
    }

    /// Whether the user sees the message now.
    pub(crate) fn sees(&self, user: Id, message: &Message) -> bool {
        match message.only_for {
            Some(only) => {
                only == user && self.can(user, message.channel, permissions::VIEW_CHANNEL)
            }
            None => self.can(user, message.channel, permissions::VIEW_CHANNEL),
        }
    }

    /// Members who would get a ping of these mentions.
    pub(crate) fn reached(&self, channel: Id, mentions: &Mentions) -> BTreeSet<Id> {
        let Some(place) = self.channels.get(&channel) else { return BTreeSet::new() };
        let Some(guild) = place.guild.and_then(|id| self.guilds.get(&id)) else {
            return mentions
                .users
                .iter()
                .copied()
                .filter(|id| place.recipient == Some(*id))
                .collect();
        };
        let in_role = |roles: &BTreeSet<Id>| !roles.is_disjoint(&mentions.roles);
        guild
            .members
            .iter()
            .filter(|(id, member)| {
                mentions.everyone || mentions.users.contains(id) || in_role(&member.roles)
            })
            .map(|(id, _)| *id)
            .filter(|id| self.can(*id, channel, permissions::VIEW_CHANNEL))
            .collect()
    }

    /// The bot's DM channel with a user, made when it is first needed.
    pub(crate) fn dm_with(&mut self, user: Id) -> Id {
        let known = self.channels.values().find(|channel| channel.recipient == Some(user));
        if let Some(channel) = known {
            return channel.id;
        }
        let id = self.clock.mint();
        let channel = Channel {
            id,
            kind: channel_type::DM,
            guild: None,
            name: String::new(),
            topic: None,
            parent: None,
            position: 0,
            slow_mode: 0,
            recipient: Some(user),
            overwrites: BTreeMap::new(),
        };
        self.channels.insert(id, channel);
        id
    }

    pub(crate) fn member_named(&self, guild: &GuildState, name: &str) -> Option<Id> {
        let by = |test: &dyn Fn(Id) -> bool| guild.members.keys().copied().find(|id| test(*id));
        by(&|id| self.user(id).name == name)
            .or_else(|| by(&|id| guild.members[&id].nick.as_deref() == Some(name)))
            .or_else(|| by(&|id| self.user(id).global_name.as_deref() == Some(name)))
            .or_else(|| by(&|id| self.user(id).name.eq_ignore_ascii_case(name)))
            .or_else(|| name.parse().ok().filter(|id| guild.members.contains_key(id)))
    }
}
