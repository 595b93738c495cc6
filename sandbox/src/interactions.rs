//! Interactions: how they are dispatched, and what is waited for.

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    Discord, Id, Seen, render,
    state::{Turn, World},
};

/// How long [`Interaction::answer`] waits.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);
/// How long [`Interaction::acknowledged`] waits: Discord's 3 s and what a busy machine adds.
const FIRST_RESPONSE_PATIENCE: Duration = Duration::from_secs(4);

/// An interaction that a member began, and what the bot made of it.
#[derive(Clone, Debug)]
pub struct Interaction {
    /// Its id; the time in it is the act's.
    pub id: Id,
    /// What opens its follow-ups, for 15 minutes.
    pub token: String,
    discord: Discord,
}

/// The bot's first response to an interaction.
#[derive(Clone, Debug)]
pub struct FirstResponse {
    /// Discord's callback type: 4 message, 5 deferred message, 6 deferred update, 7 update,
    /// 8 autocomplete result, 9 modal.
    pub kind: u8,
    /// How long after the dispatch it came, before the sandbox read or checked it.
    pub after: Duration,
    /// Only the member sees it.
    pub ephemeral: bool,
}

/// An interaction that is about to be dispatched.
pub(crate) struct Act {
    /// 2 command, 3 component, 4 autocomplete, 5 modal submit.
    pub(crate) kind: u8,
    pub(crate) user: Id,
    pub(crate) channel: Id,
    pub(crate) data: Value,
    /// The message whose component was used.
    pub(crate) source: Option<Id>,
}

impl World {
    /// Mints an interaction and sends it to the bot.
    pub(crate) fn begin(&mut self, act: Act) -> (Id, String) {
        let Act { kind, user, channel, data, source } = act;
        let id = self.clock.mint();
        let token = URL_SAFE_NO_PAD.encode(format!("interaction:{id}:{}", self.clock.mint()));
        let place = &self.channels[&channel];
        let guild = place.guild.and_then(|id| self.guilds.get(&id));
        let guild_id = guild.map(|guild| guild.id);
        let mut payload = json!({
            "id": id.to_string(),
            "application_id": self.bot.to_string(),
            "type": kind,
            "token": token,
            "version": 1,
            "data": data,
            "channel_id": channel.to_string(),
            "channel": render::partial_channel(self, place, user),
            "app_permissions": self.permissions_in(self.bot, channel).to_string(),
            "locale": "en-US",
            "entitlements": [],
            "entitlement_sku_ids": [],
            "attachment_size_limit": 10_485_760,
            "context": u8::from(guild.is_none()),
            "authorizing_integration_owners": { "0": guild_id.unwrap_or(0).to_string() },
        });
        if let Some(guild) = guild {
            payload["guild_id"] = guild.id.to_string().into();
            payload["guild_locale"] = "en-US".into();
            payload["guild"] =
                json!({ "id": guild.id.to_string(), "locale": "en-US", "features": [] });
            payload["member"] = render::acting_member(self, guild, user, channel);
        } else {
            payload["user"] = render::user(self.user(user));
        }
        if let Some(message) = source.and_then(|id| self.messages.get(id)) {
            payload["message"] = render::message(self, message);
        }
        let name = payload["data"]["name"].as_str().filter(|_| kind == 2).map(str::to_owned);
        let command = name.zip(payload["data"]["type"].as_u64());
        let turn = Turn {
            id,
            token: token.clone(),
            kind,
            user,
            guild: guild_id,
            channel,
            payload: payload.to_string(),
            command,
            dispatched: Instant::now(),
            attempts: 0,
            first: None,
            original: None,
            followups: Vec::new(),
            source,
            opener: None,
            updated: false,
            modal: None,
            choices: None,
            changed: watch::Sender::new(()),
        };
        self.turns.insert(id, turn);
        self.tokens.insert(token.clone(), id);
        self.deliver(id);
        (id, token)
    }

    /// Sends an interaction again. One without an answer gets its 3 s anew.
    pub(crate) fn redeliver(&mut self, id: Id) {
        if let Some(turn) = self.turns.get_mut(&id).filter(|turn| turn.first.is_none()) {
            turn.dispatched = Instant::now();
        }
        self.deliver(id);
    }

    fn deliver(&mut self, id: Id) {
        if self.application.interactions_endpoint_url.is_some() {
            return;
        }
        let Some(turn) = self.turns.get(&id) else { return };
        let (guild, payload) = (turn.guild, turn.payload.clone());
        self.dispatch_text("INTERACTION_CREATE", guild, 0, &payload);
    }
}

impl Interaction {
    pub(crate) fn new(discord: &Discord, (id, token): (Id, String)) -> Self {
        Self { id, token, discord: discord.clone() }
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&World, &Turn) -> T) -> T {
        self.discord.shared().read(|world| {
            look(world, world.turns.get(&self.id).expect("interactions are never forgotten"))
        })
    }

    async fn wait<T>(
        &self,
        patience: Duration,
        found: impl Fn(&World, &Turn) -> Option<T>,
    ) -> Option<T> {
        let mut changed = self.look(|_, turn| turn.changed.subscribe());
        let wait = async {
            loop {
                if let Some(found) = self.look(&found) {
                    return found;
                }
                changed.changed().await.expect("its sender is never dropped");
            }
        };
        tokio::time::timeout(patience, wait).await.ok()
    }

    /// The first message that the member can read: the response, the deferred one once it is
    /// filled, or the message that was updated.
    ///
    /// # Panics
    /// After 10 s without one, with what happened instead.
    pub async fn answer(&self) -> Seen {
        let answer = self.try_answer(ANSWER_PATIENCE).await;
        answer.unwrap_or_else(|| panic!("no answer that can be read within 10 s: {}", self.story()))
    }

    /// The same, or nothing after `within`.
    pub async fn try_answer(&self, within: Duration) -> Option<Seen> {
        self.wait(within, |world, turn| readable(world, turn).next()).await
    }

    /// The `n`-th follow-up, counted from 0.
    ///
    /// # Panics
    /// After 10 s without it, with what happened instead.
    pub async fn followup(&self, n: usize) -> Seen {
        let found = self
            .wait(ANSWER_PATIENCE, |world, turn| {
                let message = world.messages.get(*turn.followups.get(n)?)?;
                Some(Seen::of(world, message, turn.user))
            })
            .await;
        found.unwrap_or_else(|| panic!("no follow-up {n} within 10 s: {}", self.story()))
    }

    /// The first response, if it came.
    #[must_use]
    pub fn first_response(&self) -> Option<FirstResponse> {
        self.look(|_, turn| turn.first.clone())
    }

    /// The first response.
    ///
    /// # Panics
    /// After 4 s without one, with what happened instead.
    pub async fn acknowledged(&self) -> FirstResponse {
        let first = self.try_acknowledged().await;
        first.unwrap_or_else(|| panic!("no first response within 4 s: {}", self.story()))
    }

    /// The first response, or nothing after 4 s without one.
    pub async fn try_acknowledged(&self) -> Option<FirstResponse> {
        self.wait(FIRST_RESPONSE_PATIENCE, |_, turn| turn.first.clone()).await
    }

    /// The modal that the bot opened, as stored.
    #[must_use]
    pub fn modal(&self) -> Option<Value> {
        self.look(|_, turn| turn.modal.clone())
    }

    /// The choices that the bot gave to an autocomplete, once it did.
    pub(crate) async fn choices(&self) -> Option<Value> {
        self.wait(FIRST_RESPONSE_PATIENCE, |_, turn| turn.choices.clone()).await
    }

    /// Every message this interaction produced or updated that the member can see, also one that
    /// is still "thinking".
    #[must_use]
    pub fn messages(&self) -> Vec<Seen> {
        self.look(|world, turn| seen(world, turn).collect())
    }

    /// How many first responses the bot tried; all but one are refused.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.look(|_, turn| turn.attempts)
    }

    /// What the bot did about this interaction, for those who wait in vain.
    fn story(&self) -> String {
        let requests: Vec<String> = self
            .discord
            .requests()
            .iter()
            .filter(|request| request.path.contains(&self.token))
            .map(|request| {
                let path = request.path.replace(&self.token, "TOKEN");
                let error = request.error.as_ref().map(Value::to_string).unwrap_or_default();
                format!("\n  {} {path} -> {} {error}", request.method, request.status)
            })
            .collect();
        let first = self.first_response();
        let first = first.map_or("no first response".to_owned(), |first| format!("{first:?}"));
        let sessions = self.discord.sessions();
        let connected = sessions.iter().filter(|session| session.connected).count();
        format!("{first}; {connected} sessions connected; its requests: {}", requests.concat())
    }
}

fn seen(world: &World, turn: &Turn) -> impl Iterator<Item = Seen> {
    turn.messages()
        .filter_map(|id| world.messages.get(id))
        .filter(|message| world.sees(turn.user, message))
        .map(|message| Seen::of(world, message, turn.user))
}

fn readable(world: &World, turn: &Turn) -> impl Iterator<Item = Seen> {
    seen(world, turn).filter(|seen| !seen.thinking)
}
