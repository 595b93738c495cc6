//! The handle to a running sandbox.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    ApplicationSettings, Fault, Guild, Id, Interaction, Request, SessionInfo,
    clock::Clock,
    faults::Planned,
    gateway::Wire,
    openapi::Description,
    rate_limit::RateLimits,
    server,
    state::{Messages, Shared, User, World},
};

/// A running local Discord. Clones are handles to the same one; it stops with the last of them.
#[derive(Clone)]
pub struct Discord {
    owner: Arc<Owner>,
}

impl std::fmt::Debug for Discord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Discord").finish_non_exhaustive()
    }
}

struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.stopped.send_replace(true);
    }
}

/// The bot was not connected, with commands registered, in time.
#[derive(Debug, thiserror::Error)]
#[error("the bot was not ready within {waited:?}: {missing}")]
pub struct Timeout {
    waited: Duration,
    missing: &'static str,
}

#[expect(clippy::must_use_candidate, reason = "a guild is often looked up by id later")]
impl Discord {
    /// Starts a Discord with one application and no guild, on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no socket can be bound.
    pub async fn start() -> std::io::Result<Self> {
        Self::start_with(Clock::new()).await
    }

    /// The same with a clock that stands still at `at` until it is set: what is made meanwhile,
    /// the bot among it, has the same ids in every run.
    ///
    /// # Errors
    /// When no socket can be bound.
    pub async fn start_at(at: DateTime<Utc>) -> std::io::Result<Self> {
        Self::start_with(Clock::standing(at)).await
    }

    async fn start_with(clock: Clock) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Shared::new(new_world(url, clock));
        // Reading the published description takes a while: done before the first request comes.
        tokio::task::spawn_blocking(Description::discord);
        tokio::spawn(server::serve(shared.clone(), listener));
        Ok(Self { owner: Arc::new(Owner { shared }) })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    /// Stops the server and cuts every connection, also while handles are left.
    pub fn stop(&self) {
        self.shared().stopped.send_replace(true);
    }

    /// Where the bot finds this Discord, as `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        self.shared().read(|world| world.url.clone())
    }

    /// The only token that is let in.
    #[must_use]
    pub fn token(&self) -> String {
        self.shared().read(|world| world.token.clone())
    }

    /// The bot's user.
    #[must_use]
    pub fn bot_id(&self) -> Id {
        self.shared().read(|world| world.bot)
    }

    /// The bot's application: the same id as its user's.
    #[must_use]
    pub fn application_id(&self) -> Id {
        self.bot_id()
    }

    /// Makes a guild with a new user as its owner, the channel "general" and the bot as a member.
    pub fn add_guild(&self, name: &str, owner: &str) -> Guild {
        Guild::create(self, name, owner)
    }

    /// A guild by its id.
    #[must_use]
    pub fn guild(&self, id: Id) -> Option<Guild> {
        Guild::find(self, id)
    }

    /// What is set in the portal.
    #[must_use]
    pub fn application(&self) -> ApplicationSettings {
        self.shared().read(|world| world.application.clone())
    }

    /// Changes what is set in the portal. Sessions that are running are not closed by it.
    pub fn configure_application(&self, change: impl FnOnce(&mut ApplicationSettings)) {
        self.shared().change(|world| change(&mut world.application));
    }

    /// Sets the clock, which runs on from there. Ids stay unique, and grow unless it is set back.
    pub fn set_now(&self, at: DateTime<Utc>) {
        self.shared().change(|world| world.clock.set(at));
    }

    /// Moves the clock.
    pub fn advance(&self, by: TimeDelta) {
        self.shared().change(|world| {
            let at = world.now() + by;
            world.clock.set(at);
        });
    }

    /// The time by the sandbox's clock.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.shared().read(World::now)
    }

    /// The REST requests so far (of a long run the last 50 000), in the order they came.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared()
            .read(|world| world.requests.iter().map(|(_, request)| request.clone()).collect())
    }

    /// Those that the sandbox's own rules refused with a 4xx; planned faults are not among them.
    #[must_use]
    pub fn refused(&self) -> Vec<Request> {
        let refused = |request: &Request| !request.injected && (400..500).contains(&request.status);
        self.requests().into_iter().filter(refused).collect()
    }

    /// The commands the bot registered: the global ones, and the guild's own.
    #[must_use]
    pub fn commands(&self, guild: Option<Id>) -> Vec<Value> {
        self.shared().read(|world| world.commands_in(guild).cloned().collect())
    }

    /// Waits up to 30 s until the bot is connected and has registered commands.
    ///
    /// # Errors
    /// When it is not by then.
    pub async fn ready(&self) -> Result<(), Timeout> {
        self.ready_within(Duration::from_secs(30)).await
    }

    /// The same with another patience.
    ///
    /// # Errors
    /// When the bot is not ready by then.
    pub async fn ready_within(&self, patience: Duration) -> Result<(), Timeout> {
        let connected = |world: &World| world.sessions.iter().any(|one| one.info().connected);
        let ready = self
            .shared()
            .until(|world| (connected(world) && world.commands_registered).then_some(()));
        tokio::time::timeout(patience, ready).await.map_err(|_| Timeout {
            waited: patience,
            missing: if self.shared().read(connected) {
                "it registered no commands"
            } else {
                "it did not identify"
            },
        })
    }

    /// Waits until `found` holds for the sessions.
    pub async fn sessions_until(&self, found: impl Fn(&[SessionInfo]) -> bool) -> Vec<SessionInfo> {
        self.shared()
            .until(|world| {
                let sessions: Vec<_> =
                    world.sessions.iter().map(crate::gateway::Session::info).collect();
                found(&sessions).then_some(sessions)
            })
            .await
    }

    /// The gateway sessions, also those that wait to be resumed; the oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.shared()
            .read(|world| world.sessions.iter().map(crate::gateway::Session::info).collect())
    }

    /// The milliseconds between heartbeats that the next HELLO asks for.
    pub fn set_heartbeat_interval(&self, milliseconds: u64) {
        self.shared().change(|world| world.heartbeat_interval = milliseconds);
    }

    /// Asks every session for a heartbeat at once (op 1).
    pub fn request_heartbeat(&self) {
        self.tell_all(&json!({ "op": 1, "s": null, "t": null, "d": null }));
    }

    /// Cuts the sockets without a close frame: the bot should resume.
    pub fn drop_gateway(&self) {
        self.shared().change(|world| world.tell_sessions(|| Wire::Cut));
    }

    /// Asks the bot to reconnect and resume (op 7).
    pub fn request_reconnect(&self) {
        self.tell_all(&json!({ "op": 7, "s": null, "t": null, "d": null }));
    }

    fn tell_all(&self, payload: &Value) {
        let text = payload.to_string();
        self.shared().change(|world| world.tell_sessions(|| Wire::Send(text.clone().into())));
    }

    /// Tells the bot that its session is invalid (op 9); one that can't be resumed is forgotten.
    pub fn invalidate_session(&self, resumable: bool) {
        self.shared().change(|world| world.invalidate_sessions(resumable));
    }

    /// Closes the sockets with a code, e.g. 4014.
    pub fn close_gateway(&self, code: u16) {
        self.shared()
            .change(|world| world.tell_sessions(|| Wire::Close(code, "Closed by the test.")));
    }

    /// Delivers an interaction again: the same id, token and data.
    pub fn replay(&self, interaction: &Interaction) {
        self.shared().change(|world| world.redeliver(interaction.id));
    }

    /// Plans a fault for requests of `method` (or `*`) to `path`, where `*` stands for one segment
    /// and `**` for the rest. The fault that was planned first is met first.
    pub fn fail(&self, method: &str, path: &str, fault: Fault) {
        let (method, path) = (method.to_owned(), path.to_owned());
        self.shared().change(|world| world.faults.push(Planned { method, path, fault }));
    }

    /// Removes all planned faults.
    pub fn heal(&self) {
        self.shared().change(|world| world.faults.clear());
    }

    /// Turns rate limits on (as they are from the start) or off.
    pub fn set_rate_limits(&self, on: bool) {
        self.shared().change(|world| world.limits.on = on);
    }
}

fn new_world(url: String, mut clock: Clock) -> World {
    let bot = clock.mint_at(clock.now() - TimeDelta::days(365));
    let token = format!("{}.GsAnDb.{}", STANDARD_NO_PAD.encode(bot.to_string()), "x".repeat(38));
    let user = User {
        id: bot,
        name: "Bytekeeper".into(),
        global_name: None,
        avatar: None,
        bot: true,
        dms_open: false,
    };
    World {
        clock,
        url,
        bot,
        token,
        application: ApplicationSettings::default(),
        users: HashMap::from([(bot, user)]),
        guilds: BTreeMap::new(),
        channels: HashMap::new(),
        messages: Messages::default(),
        turns: HashMap::new(),
        tokens: HashMap::new(),
        commands: Vec::new(),
        commands_registered: false,
        sessions: Vec::new(),
        heartbeat_interval: 41_250,
        requests: VecDeque::new(),
        faults: Vec::new(),
        limits: RateLimits::new(),
        read_until: HashMap::new(),
    }
}
