//! The gateway: sessions, what each is sent, and the socket that carries it.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt::Display,
    sync::Arc,
    time::Duration,
};

use axum::extract::ws::{CloseFrame, Message as Frame, Utf8Bytes, WebSocket};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    Id, render,
    state::{GuildState, Message, Shared, World},
};

/// How many events a session keeps for RESUME.
const KEPT_EVENTS: usize = 5_000;
/// How many payloads a socket may send a minute.
const PAYLOADS_A_MINUTE: u32 = 120;
/// How many sessions without a socket wait to be resumed.
const DORMANT_SESSIONS: usize = 4;

/// Gateway intents, by Discord's bits.
pub mod intents {
    /// Guilds, roles and channels.
    pub const GUILDS: u64 = 1 << 0;
    /// Members joining, changing and leaving; privileged.
    pub const GUILD_MEMBERS: u64 = 1 << 1;
    /// Bans and the audit log.
    pub const GUILD_MODERATION: u64 = 1 << 2;
    /// Emojis, stickers and sounds of guilds.
    pub const GUILD_EXPRESSIONS: u64 = 1 << 3;
    /// Presences; privileged.
    pub const GUILD_PRESENCES: u64 = 1 << 8;
    /// Messages in guilds.
    pub const GUILD_MESSAGES: u64 = 1 << 9;
    /// Messages in DMs.
    pub const DIRECT_MESSAGES: u64 = 1 << 12;
    /// What messages say; privileged.
    pub const MESSAGE_CONTENT: u64 = 1 << 15;
    /// Every bit Discord defines.
    pub const ALL: u64 = 0b11_0011_0001_1111_1111_1111_1111;
}

/// A gateway session, as tests see it.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// The id READY gave.
    pub id: String,
    /// The intents it identified with.
    pub intents: u64,
    /// A socket carries it now.
    pub connected: bool,
    /// How often it was resumed.
    pub resumed: u32,
    /// The sequence number of the last event sent.
    pub seq: u64,
    /// The last sequence number the bot acknowledged in a heartbeat.
    pub acknowledged: Option<u64>,
    /// Heartbeats received.
    pub heartbeats: u32,
}

pub(crate) struct Session {
    info: SessionInfo,
    shard: (u64, u64),
    kept: VecDeque<(u64, Utf8Bytes)>,
    wire: Option<mpsc::UnboundedSender<Wire>>,
}

/// What a session's socket is told to do.
pub(crate) enum Wire {
    Send(Utf8Bytes),
    Close(u16, &'static str),
    /// Ends the connection without a close frame.
    Cut,
}

impl Session {
    pub(crate) fn info(&self) -> SessionInfo {
        SessionInfo { connected: self.wire.is_some(), ..self.info.clone() }
    }

    fn serves(&self, guild: Option<Id>) -> bool {
        let (shard, shards) = self.shard;
        guild.map_or(shard == 0, |id| (id >> 22) % shards == shard)
    }

    fn dispatch(&mut self, event: &str, data: impl Display) {
        self.info.seq += 1;
        let seq = self.info.seq;
        let text = Utf8Bytes::from(format!(r#"{{"op":0,"t":"{event}","s":{seq},"d":{data}}}"#));
        if self.kept.len() == KEPT_EVENTS {
            self.kept.pop_front();
        }
        self.kept.push_back((seq, text.clone()));
        self.tell(Wire::Send(text));
    }

    fn tell(&self, what: Wire) {
        if let Some(wire) = &self.wire {
            // A socket that has just gone takes nothing; RESUME replays it.
            let _ = wire.send(what);
        }
    }
}

impl World {
    /// Sends an event to each session that serves the guild and asked for one of `needs`
    /// (0: everybody gets it).
    pub(crate) fn dispatch(&mut self, event: &str, guild: Option<Id>, needs: u64, data: &Value) {
        self.dispatch_text(event, guild, needs, &data.to_string());
    }

    pub(crate) fn dispatch_text(&mut self, event: &str, guild: Option<Id>, needs: u64, data: &str) {
        let absent = guild
            .and_then(|id| self.guilds.get(&id))
            .is_some_and(|guild| guild.unavailable || !guild.members.contains_key(&self.bot));
        if absent && event != "GUILD_DELETE" {
            return;
        }
        for session in &mut self.sessions {
            if session.serves(guild) && (needs == 0 || session.info.intents & needs != 0) {
                session.dispatch(event, data);
            }
        }
    }

    /// Sends `MESSAGE_CREATE` or `MESSAGE_UPDATE`, to each session with what it may read.
    pub(crate) fn dispatch_message(&mut self, event: &str, message: &Message) {
        if message.only_for.is_some() || !self.sees(self.bot, message) {
            return;
        }
        let guild = self.channels[&message.channel].guild;
        let needs =
            if guild.is_some() { intents::GUILD_MESSAGES } else { intents::DIRECT_MESSAGES };
        let mut sessions = std::mem::take(&mut self.sessions);
        for session in &mut sessions {
            if session.serves(guild) && session.info.intents & needs != 0 {
                let content = session.info.intents & intents::MESSAGE_CONTENT != 0;
                session.dispatch(event, render::message_event(self, message, content));
            }
        }
        self.sessions = sessions;
    }

    pub(crate) fn dispatch_guild_create(&mut self, guild: Id) {
        let Some(guild) = self.guilds.get(&guild) else { return };
        let (id, data) = (guild.id, render::guild_create(self, guild));
        self.dispatch("GUILD_CREATE", Some(id), intents::GUILDS, &data);
    }

    /// Tells every session's socket the same.
    pub(crate) fn tell_sessions(&self, what: impl Fn() -> Wire) {
        self.sessions.iter().for_each(|session| session.tell(what()));
    }

    /// Sends op 9. A session that cannot be resumed is forgotten; its socket stays for a new
    /// IDENTIFY.
    pub(crate) fn invalidate_sessions(&mut self, resumable: bool) {
        let text = json!({ "op": 9, "s": null, "t": null, "d": resumable }).to_string();
        self.tell_sessions(|| Wire::Send(text.clone().into()));
        if !resumable {
            self.sessions.clear();
        }
    }

    fn joined(&self, session: &Session) -> Vec<Id> {
        let here = |guild: &&GuildState| guild.members.contains_key(&self.bot);
        let guilds = self.guilds.values().filter(here).map(|guild| guild.id);
        guilds.filter(|id| session.serves(Some(*id))).collect()
    }

    fn identify(&mut self, d: &Value, wire: &mpsc::UnboundedSender<Wire>) -> Result<String, Close> {
        if d["token"].as_str().map(bare_token) != Some(&self.token) {
            return Err(Close(4004, "Authentication failed."));
        }
        let Some(asked) = d["intents"].as_u64().filter(|asked| asked & !intents::ALL == 0) else {
            return Err(Close(4013, "Invalid intent(s)."));
        };
        let settings = &self.application;
        let denied = [
            (intents::GUILD_MEMBERS, settings.guild_members_intent),
            (intents::GUILD_PRESENCES, settings.presence_intent),
            (intents::MESSAGE_CONTENT, settings.message_content_intent),
        ];
        if denied.iter().any(|(intent, granted)| asked & intent != 0 && !granted) {
            return Err(Close(4014, "Disallowed intent(s)."));
        }
        let shard = match &d["shard"] {
            Value::Null => (0, 1),
            given => match (given[0].as_u64(), given[1].as_u64()) {
                (Some(shard), Some(shards)) if shard < shards => (shard, shards),
                _ => return Err(Close(4010, "Invalid shard.")),
            },
        };
        let id = format!("{:032x}", self.clock.mint());
        let mut session = Session {
            info: SessionInfo {
                id: id.clone(),
                intents: asked,
                connected: true,
                resumed: 0,
                seq: 0,
                acknowledged: None,
                heartbeats: 0,
            },
            shard,
            kept: VecDeque::new(),
            wire: Some(wire.clone()),
        };
        let joined = self.joined(&session);
        let stubs: Vec<_> =
            joined.iter().map(|id| json!({ "id": id.to_string(), "unavailable": true })).collect();
        let ready = json!({
            "v": 10,
            "user": render::current_user(self),
            "user_settings": {},
            "relationships": [],
            "private_channels": [],
            "presences": [],
            "guilds": stubs,
            "guild_join_requests": [],
            "geo_ordered_rtc_regions": [],
            "session_id": id,
            "session_type": "normal",
            "resume_gateway_url": self.gateway_url(),
            "shard": [shard.0, shard.1],
            "application": {
                "id": self.bot.to_string(),
                "flags": render::application_flags(self),
            },
            "_trace": [],
        });
        session.dispatch("READY", &ready);
        if asked & intents::GUILDS != 0 {
            for guild in joined.iter().filter_map(|id| self.guilds.get(id)) {
                if !guild.unavailable {
                    session.dispatch("GUILD_CREATE", render::guild_create(self, guild));
                }
            }
        }
        self.sessions.push(session);
        let dormant = self.sessions.iter().filter(|session| session.wire.is_none()).count();
        if dormant > DORMANT_SESSIONS {
            let oldest = self.sessions.iter().position(|session| session.wire.is_none());
            self.sessions.remove(oldest.expect("one was counted"));
        }
        Ok(id)
    }

    fn resume(&mut self, d: &Value, wire: &mpsc::UnboundedSender<Wire>) -> Result<Resumed, Close> {
        if d["token"].as_str().map(bare_token) != Some(&self.token) {
            return Err(Close(4004, "Authentication failed."));
        }
        let asked = d["session_id"].as_str();
        let found = self.sessions.iter_mut().find(|session| Some(&*session.info.id) == asked);
        let (Some(session), Some(seq)) = (found, d["seq"].as_u64()) else {
            return Ok(Resumed::Unknown);
        };
        if seq > session.info.seq {
            return Err(Close(4007, "Invalid seq."));
        }
        let lost = session.kept.front().is_some_and(|(first, _)| seq + 1 < *first);
        if lost {
            return Ok(Resumed::Unknown);
        }
        session.tell(Wire::Close(4000, "Resumed elsewhere."));
        session.wire = Some(wire.clone());
        session.info.resumed += 1;
        let missed: Vec<_> =
            session.kept.iter().filter(|(at, _)| *at > seq).map(|(_, text)| text.clone()).collect();
        for text in missed {
            session.tell(Wire::Send(text));
        }
        session.dispatch("RESUMED", json!({ "_trace": [] }));
        Ok(Resumed::As(session.info.id.clone()))
    }

    pub(crate) fn gateway_url(&self) -> String {
        self.url.replacen("http", "ws", 1)
    }
}

struct Close(u16, &'static str);

enum Resumed {
    As(String),
    Unknown,
}

fn bare_token(token: &str) -> &str {
    token.strip_prefix("Bot ").unwrap_or(token)
}

/// One socket from HELLO to its end.
pub(crate) async fn serve(shared: Arc<Shared>, mut socket: WebSocket) {
    let (wire, inbox) = mpsc::unbounded_channel();
    let interval = shared.read(|world| world.heartbeat_interval);
    let mut connection = Connection {
        shared: shared.clone(),
        wire: wire.clone(),
        known: BTreeSet::new(),
        session: None,
        patience: Duration::from_millis(interval) * 3 / 2,
        deadline: Instant::now() + Duration::from_millis(interval) * 3 / 2,
        minute: Instant::now(),
        received: 0,
    };
    let hello = json!({ "op": 10, "s": null, "t": null, "d": { "heartbeat_interval": interval, "_trace": [] } });
    if socket.send(Frame::text(hello.to_string())).await.is_ok() {
        connection.run(&mut socket, inbox).await;
    }
    shared.change(|world| {
        for session in &mut world.sessions {
            if session.wire.as_ref().is_some_and(|theirs| theirs.same_channel(&wire)) {
                session.wire = None;
            }
        }
        if connection.invalidated() {
            world.sessions.retain(|session| Some(&session.info.id) != connection.session.as_ref());
        }
    });
}

struct Connection {
    shared: Arc<Shared>,
    wire: mpsc::UnboundedSender<Wire>,
    known: BTreeSet<u16>,
    session: Option<String>,
    patience: Duration,
    deadline: Instant,
    /// When the minute began in which `received` payloads came.
    minute: Instant,
    received: u32,
}

impl Connection {
    /// After these closes a session cannot be resumed.
    fn invalidated(&self) -> bool {
        self.known.iter().any(|code| matches!(code, 1000 | 1001 | 4004 | 4010..=4014))
    }

    async fn run(&mut self, socket: &mut WebSocket, mut inbox: mpsc::UnboundedReceiver<Wire>) {
        let mut stopped = self.shared.stopped.subscribe();
        loop {
            let out = tokio::select! {
                biased;
                _ = stopped.wait_for(|stopped| *stopped) => return,
                Some(out) = inbox.recv() => out,
                frame = socket.recv() => match frame {
                    Some(Ok(Frame::Text(text))) => match self.receive(&text) {
                        Ok(()) => continue,
                        Err(Close(code, reason)) => Wire::Close(code, reason),
                    },
                    Some(Ok(Frame::Binary(_))) => Wire::Close(4002, "Error while decoding payload."),
                    Some(Ok(Frame::Close(frame))) => {
                        self.known.extend(frame.map(|frame| frame.code));
                        return;
                    }
                    Some(Ok(Frame::Ping(_) | Frame::Pong(_))) => continue,
                    Some(Err(_)) | None => return,
                },
                () = sleep_until(self.deadline) => Wire::Close(4009, "Session timed out."),
            };
            match out {
                Wire::Send(text) => {
                    if socket.send(Frame::Text(text)).await.is_err() {
                        return;
                    }
                }
                Wire::Close(code, reason) => {
                    self.known.insert(code);
                    let frame = CloseFrame { code, reason: reason.into() };
                    // The other side may be gone already; either way this socket ends here.
                    let _ = socket.send(Frame::Close(Some(frame))).await;
                    let wait = Duration::from_secs(2);
                    // Lets the close frame be read before the connection ends.
                    let _ = tokio::time::timeout(wait, async {
                        while let Some(Ok(_)) = socket.recv().await {}
                    })
                    .await;
                    return;
                }
                Wire::Cut => return,
            }
        }
    }

    fn receive(&mut self, text: &str) -> Result<(), Close> {
        if self.minute.elapsed() > Duration::from_mins(1) {
            (self.minute, self.received) = (Instant::now(), 0);
        }
        self.received += 1;
        if self.received > PAYLOADS_A_MINUTE {
            return Err(Close(4008, "Rate limited."));
        }
        let undecodable = Close(4002, "Error while decoding payload.");
        let Ok(payload) = serde_json::from_str::<Value>(text) else { return Err(undecodable) };
        let Some(op) = payload["op"].as_u64() else { return Err(undecodable) };
        let d = &payload["d"];
        match op {
            1 => {
                self.deadline = Instant::now() + self.patience;
                self.heartbeat(d.as_u64());
                self.say(11, &Value::Null);
                Ok(())
            }
            2 | 6 if self.authenticated() => Err(Close(4005, "Already authenticated.")),
            2 => {
                let wire = &self.wire;
                let id = self.shared.change(|world| world.identify(d, wire))?;
                self.session = Some(id);
                Ok(())
            }
            6 => {
                let wire = &self.wire;
                match self.shared.change(|world| world.resume(d, wire))? {
                    Resumed::As(id) => self.session = Some(id),
                    Resumed::Unknown => self.say(9, &json!(false)),
                }
                Ok(())
            }
            3 | 4 | 8 | 31 if !self.authenticated() => Err(Close(4003, "Not authenticated.")),
            8 => {
                self.send_members(d);
                Ok(())
            }
            3 | 4 | 31 => Ok(()),
            _ => Err(Close(4001, "Unknown opcode.")),
        }
    }

    fn authenticated(&self) -> bool {
        let mine = |session: &Session| Some(&session.info.id) == self.session.as_ref();
        self.shared.read(|world| world.sessions.iter().any(mine))
    }

    fn say(&self, op: u8, d: &Value) {
        let text = json!({ "op": op, "s": null, "t": null, "d": d }).to_string();
        // The receiver lives in the task that runs this.
        let _ = self.wire.send(Wire::Send(text.into()));
    }

    fn heartbeat(&self, seq: Option<u64>) {
        self.shared.change(|world| {
            let mine = |session: &&mut Session| Some(&session.info.id) == self.session.as_ref();
            if let Some(session) = world.sessions.iter_mut().find(mine) {
                session.info.acknowledged = seq.or(session.info.acknowledged);
                session.info.heartbeats += 1;
            }
        });
    }

    /// Answers Request Guild Members in chunks of at most 1000.
    fn send_members(&self, d: &Value) {
        self.shared.change(|world| {
            let text = |value: &Value| value.as_str().and_then(|id| id.parse::<Id>().ok());
            let Some(guild) = text(&d["guild_id"]).and_then(|id| world.guilds.get(&id)) else {
                return;
            };
            let wanted: Option<Vec<Id>> = match &d["user_ids"] {
                Value::Null => None,
                Value::Array(ids) => Some(ids.iter().filter_map(text).collect()),
                one => Some(text(one).into_iter().collect()),
            };
            let query = d["query"].as_str().unwrap_or("").to_lowercase();
            let limit = d["limit"].as_u64().filter(|limit| *limit > 0).unwrap_or(u64::MAX);
            let (found, missing): (Vec<Id>, Vec<Id>) = if let Some(ids) = wanted {
                ids.into_iter().partition(|id| guild.members.contains_key(id))
            } else {
                let named = |id: &&Id| world.user(**id).name.to_lowercase().starts_with(&query);
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                (guild.members.keys().filter(named).take(limit).copied().collect(), Vec::new())
            };
            let chunks = found.chunks(1000).map(<[Id]>::to_vec).collect::<Vec<_>>();
            let chunks = if chunks.is_empty() { vec![Vec::new()] } else { chunks };
            let missing: Vec<_> = missing.iter().map(Id::to_string).collect();
            let events: Vec<_> = chunks
                .iter()
                .enumerate()
                .map(|(index, ids)| {
                    let members: Vec<_> =
                        ids.iter().map(|id| render::member(world, guild, *id)).collect();
                    json!({
                        "guild_id": guild.id.to_string(),
                        "members": members,
                        "chunk_index": index,
                        "chunk_count": chunks.len(),
                        "not_found": missing,
                        "nonce": d["nonce"],
                    })
                })
                .collect();
            let mine = |session: &&mut Session| Some(&session.info.id) == self.session.as_ref();
            if let Some(session) = world.sessions.iter_mut().find(mine) {
                for event in &events {
                    session.dispatch("GUILD_MEMBERS_CHUNK", event);
                }
            }
        });
    }
}
