//! The bot as a whole: built from its configuration, started, stopped. What `main` runs is what
//! the tests run.

use std::sync::Arc;
use std::time::Duration;

use poise::serenity_prelude as serenity;
use serenity::{
    ApplicationId, Client, GatewayError, Http, HttpBuilder, HttpError, ShardManager, StatusCode,
};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};
use url::Url;

use crate::act::{self, Person};
use crate::bytes;
use crate::config::{Config, ConfigError, Secret};
use crate::db::{self, Database, DatabaseError, Server};
use crate::discord::needs::{self, Intents};
use crate::discord::rest::Rest;
use crate::discord::{self, App, registration};
use crate::health::{self, Health};
use crate::outbox;

/// How long a stop waits for the gateway to close.
const CLOSE: Duration = Duration::from_secs(1);
/// How long a stop waits for running commands, and for their answers once the pool is closed.
const FINISH: (Duration, Duration) = (Duration::from_secs(3), Duration::from_millis(500));
/// How long a stop may take in all, below the 8 s that a host is promised.
const STOP: Duration = Duration::from_millis(7_500);
/// How long start-up waits for an answer of Discord's REST API, tries included.
const DISCORD_PATIENCE: Duration = Duration::from_secs(10);

/// Why the bot can't start, or had to stop; each is one line for the host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A variable is missing.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no database.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// Discord doesn't know the token.
    #[error(
        "DISCORD_TOKEN: Discord refused it; reset it in the Developer Portal (Bot, Reset Token) and set the new one"
    )]
    Token,
    /// The REST API can't be reached or is something else.
    #[error("Discord's API at {address} can't be used: {reason}")]
    Api {
        /// Where it was looked for.
        address: String,
        /// What happened.
        reason: String,
    },
    /// Commands can't be registered.
    #[error(
        "COMMANDS_GUILD_ID: the commands can't be registered there: {0}; invite the bot with the link that `bytekeeper check` prints"
    )]
    CommandsGuild(String),
    /// A privileged intent is switched off in the portal.
    #[error(
        "Discord refused the bot's intents; switch them on in the Developer Portal (Bot, Privileged Gateway Intents): {0}"
    )]
    Intents(String),
    /// The gateway ended for good.
    #[error("the connection to Discord ended: {0}")]
    Gateway(String),
    /// The embedded server ended.
    #[error("the database ended: {0}")]
    DatabaseDied(String),
    /// The folder for the process's own files can't be used.
    #[error("DATA_DIR: {0}")]
    DataDir(String),
}

impl StartError {
    /// An error of Discord's REST API in a host's words.
    pub(crate) fn from_discord(config: &Config, error: &serenity::Error) -> Self {
        api_error(config.api_url.as_ref(), error)
    }
}

/// The shards of the client that runs now.
pub(crate) type Shards = watch::Receiver<Arc<ShardManager>>;

/// A bot that runs.
#[derive(Debug)]
pub struct Bot {
    app: App,
    server: Server,
    shards: Shards,
    gateway: JoinHandle<StartError>,
    worker: Worker,
    ready: watch::Receiver<bool>,
    sweeper: JoinHandle<()>,
    ranker: JoinHandle<()>,
    health: Health,
}

impl Bot {
    /// Starts everything: the database and its tables, the commands at Discord, the gateway.
    ///
    /// Returns when the gateway is being dialled; [`ready`](Self::ready) waits until it's up.
    ///
    /// # Errors
    ///
    /// [`StartError`]; what was started is stopped again.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        let token = config.require_token()?;
        // At the same time: each takes a while, and neither needs the other. Without a database
        // there's no waiting for Discord; a server that is just starting is waited for.
        let mut reaching = Box::pin(Discord::reach(config, token));
        let mut reached = None;
        let (server, pool) = {
            let mut starting = Box::pin(database(config));
            loop {
                tokio::select! {
                    started = &mut starting => break started?,
                    ended = &mut reaching, if reached.is_none() => reached = Some(ended),
                }
            }
        };
        let discord = match reached {
            Some(ended) => ended,
            None => reaching.await,
        };
        match Box::pin(Self::connect(config, token, discord, pool.clone(), server)).await {
            Ok(bot) => Ok(bot),
            Err((error, server)) => {
                pool.close().await;
                server.stop().await;
                Err(error)
            }
        }
    }

    /// The part of the start that must give the server back when it fails.
    async fn connect(
        config: &Config,
        token: &Secret,
        discord: Result<Discord, StartError>,
        pool: PgPool,
        server: Server,
    ) -> Result<Self, (StartError, Server)> {
        let (tell_ready, ready) = watch::channel(false);
        let started = async {
            let discord = discord?;
            discord.register(config).await?;
            let rest = Rest::new(token, config.api_url.as_ref(), config.requests_per_second)
                .map_err(|error| StartError::Api {
                    address: address(config.api_url.as_ref()),
                    reason: with_causes(&error),
                })?;
            // Where Discord doesn't say which switches are on, it's found out by trying.
            let flags = discord.application.flags;
            let intents = Intents::new(flags.map_or_else(needs::intents, needs::allowed_intents));
            warn_of_missing_switches(intents.granted());
            let app = App::new(Database::new(pool), discord.bot.clone(), rest, intents);
            let dialler = Dialler { discord, token: token.clone(), app: app.clone(), tell_ready };
            let client = dialler.client().await?;
            let (tell_shards, shards) = watch::channel(Arc::clone(&client.shard_manager));
            let health = health::serve(&config.database.data_dir, &app, &shards)
                .await
                .map_err(|error| StartError::DataDir(error.to_string()))?;
            Ok((app, shards, health, dialler.dial(client, tell_shards)))
        }
        .await;
        let (app, shards, health, gateway) = match started {
            Ok(started) => started,
            Err(error) => return Err((error, server)),
        };
        Ok(Self {
            sweeper: tokio::spawn(sweep(app.db.clone())),
            worker: Worker::start(&app),
            ranker: tokio::spawn(bytes::keep_ranked(app.bank.clone())),
            shards,
            gateway: tokio::spawn(gateway),
            app,
            server,
            ready,
            health,
        })
    }

    /// Waits for the gateway's first READY.
    ///
    /// # Errors
    ///
    /// As [`ended`](Self::ended), if it comes first.
    pub async fn ready(&mut self) -> Result<(), StartError> {
        let mut ready = self.ready.clone();
        tokio::select! {
            _ = ready.wait_for(|ready| *ready) => Ok(()),
            error = self.ended() => Err(error),
        }
    }

    /// Waits until the bot can't go on: a token or intents that Discord refuses, or a database
    /// that died. [`stop`](Self::stop) it then.
    pub async fn ended(&mut self) -> StartError {
        tokio::select! {
            ended = &mut self.gateway => match ended {
                Ok(error) => error,
                Err(error) => StartError::Gateway(error.to_string()),
            },
            reason = self.server.died() => StartError::DatabaseDied(reason),
        }
    }

    /// Stops cleanly: no new work, what runs finishes, then the pool and the embedded server.
    ///
    /// Takes less than 8 s. What Postgres hasn't answered by then may still be committed: its member
    /// is told that it's not known.
    pub async fn stop(self) {
        let Self { app, server, shards, gateway, worker, sweeper, ranker, health, .. } = self;
        let end = Instant::now() + STOP;
        worker.stop.send_replace(true);
        let shards = Arc::clone(&shards.borrow());
        if timeout(CLOSE, shards.shutdown_all()).await.is_err() {
            tracing::warn!("The gateway did not close in time");
        }
        sweeper.abort();
        ranker.abort();
        let mut working = worker.working;
        let finished = timeout(FINISH.0, async { tokio::join!(app.idle(), &mut working).1 }).await;
        // What is not done by now is, by a later claim.
        working.abort();
        let finished = finished.is_ok();
        // An act that waits for the database ends now, and its member is told.
        let closed = timeout(FINISH.1, app.db.pool().close()).await.is_ok();
        if !finished && timeout(FINISH.1, app.idle()).await.is_err() || !closed {
            tracing::warn!("Some commands did not finish in time");
        }
        gateway.abort();
        drop(health);
        if timeout_at(end, server.stop()).await.is_err() {
            tracing::warn!(
                "The embedded Postgres did not stop in time; the next start takes it over"
            );
        }
    }
}

/// The outbox's worker.
#[derive(Debug)]
struct Worker {
    stop: watch::Sender<bool>,
    working: JoinHandle<()>,
}

impl Worker {
    fn start(app: &App) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (app, rest) = (app.clone(), app.rest.clone());
        let working = outbox::run(
            app.db.clone(),
            app.outbox.clone(),
            move |promise| discord::carry_out(app.clone(), promise),
            move || rest.paused_until(),
            stopped,
        );
        Self { stop, working: tokio::spawn(working) }
    }
}

/// What keeps the connection to the gateway.
struct Dialler {
    discord: Discord,
    token: Secret,
    app: App,
    tell_ready: watch::Sender<bool>,
}

impl Dialler {
    /// A client with the intents that are granted.
    async fn client(&self) -> Result<Client, StartError> {
        let intents = self.app.intents.granted();
        self.discord.client(&self.token, self.app.clone(), self.tell_ready.clone(), intents).await
    }

    /// Runs a client to its end. If Discord refuses its privileged intents, the bot goes on without
    /// them.
    async fn dial(
        self,
        mut client: Client,
        shards: watch::Sender<Arc<ShardManager>>,
    ) -> StartError {
        loop {
            let ended = client.start().await;
            let granted = self.app.intents.granted();
            let privileged = granted & serenity::GatewayIntents::privileged();
            match ended {
                Err(serenity::Error::Gateway(GatewayError::DisallowedGatewayIntents))
                    if !privileged.is_empty() =>
                {
                    self.app.intents.set(granted - privileged);
                    warn_of_missing_switches(granted - privileged);
                }
                Ok(()) => return StartError::Gateway("it was closed".to_owned()),
                Err(error) => return gateway_error(error),
            }
            client = match self.client().await {
                Ok(client) => client,
                Err(error) => return error,
            };
            shards.send_replace(Arc::clone(&client.shard_manager));
        }
    }
}

/// Says what doesn't work without which switch of the portal.
fn warn_of_missing_switches(granted: serenity::GatewayIntents) {
    for (switch, need) in needs::missing_switches(granted) {
        tracing::warn!(
            without = need.without,
            "{switch} is off in the Developer Portal (Bot, Privileged Gateway Intents): {} goes without it",
            need.part
        );
    }
}

async fn database(config: &Config) -> Result<(Server, PgPool), StartError> {
    let (server, pool) = db::connect(&config.database).await?;
    if let Err(error) = db::migrate(&pool).await {
        pool.close().await;
        server.stop().await;
        return Err(error.into());
    }
    Ok((server, pool))
}

/// Forgets old acts and old failures, hourly.
async fn sweep(db: Database) {
    let mut hourly = interval(Duration::from_hours(1));
    hourly.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        hourly.tick().await;
        if let Err(error) = act::forget_old(&db).await {
            tracing::warn!(%error, "Could not forget old acts");
        }
        if let Err(error) = outbox::forget_old(&db).await {
            tracing::warn!(%error, "Could not forget old failures");
        }
    }
}

/// Discord's API, found and asked who we are.
#[derive(Debug)]
pub(crate) struct Discord {
    pub(crate) http: Http,
    pub(crate) application: serenity::CurrentApplicationInfo,
    pub(crate) bot: Person,
    gateway: String,
    proxy: Option<Url>,
}

impl Discord {
    /// Finds the gateway's address without the token, then asks with it who the bot is.
    ///
    /// serenity dials Discord's own gateway when it isn't told the address, so a wrong
    /// `DISCORD_API_URL` must end here, before the token goes anywhere.
    pub(crate) async fn reach(config: &Config, token: &Secret) -> Result<Self, StartError> {
        let proxy = config.api_url.clone();
        let anonymous = http("", proxy.as_ref());
        let gateway = patient(proxy.as_ref(), || anonymous.get_gateway()).await?.url;
        let secure =
            gateway.starts_with("wss://") || (proxy.is_some() && gateway.starts_with("ws://"));
        if !secure || Url::parse(&gateway).is_err() {
            return Err(StartError::Api {
                address: address(proxy.as_ref()),
                reason: format!("its gateway's address is {gateway:?}"),
            });
        }
        let http = http(token.reveal(), proxy.as_ref());
        let application = patient(proxy.as_ref(), || http.get_current_application_info()).await?;
        let user = patient(proxy.as_ref(), || http.get_current_user()).await?;
        http.set_application_id(application.id);
        Ok(Self { http, application, bot: Person::new(user.id, &user.name), gateway, proxy })
    }

    /// Makes the commands known to Discord: in one guild at once, or everywhere.
    async fn register(&self, config: &Config) -> Result<(), StartError> {
        let guild = config.commands_guild;
        let changed = patient(self.proxy.as_ref(), || registration::register(&self.http, guild))
            .await
            .map_err(|error| match error {
                StartError::Api { reason, .. } if guild.is_some() => {
                    StartError::CommandsGuild(reason)
                }
                error => error,
            })?;
        tracing::info!(changed, "The commands are registered");
        Ok(())
    }

    /// A client that will dial the address that the API gave, and no other.
    async fn client(
        &self,
        token: &Secret,
        app: App,
        tell_ready: watch::Sender<bool>,
        intents: serenity::GatewayIntents,
    ) -> Result<Client, StartError> {
        let framework = poise::Framework::builder()
            .options(discord::options())
            .setup(move |_, _, _| {
                Box::pin(async move {
                    tell_ready.send_replace(true);
                    Ok(app)
                })
            })
            .build();
        let http = http(token.reveal(), self.proxy.as_ref());
        http.set_application_id(self.application.id);
        let mut cache = serenity::cache::Settings::default();
        cache.cache_users = false;
        let client = serenity::ClientBuilder::new_with_http(http, intents)
            .framework(framework)
            .cache_settings(cache)
            .await
            .map_err(|error| api_error(self.proxy.as_ref(), &error))?;
        client.ws_url.lock().await.clone_from(&self.gateway);
        Ok(client)
    }

    /// The id under which the bot is invited.
    pub(crate) fn application_id(&self) -> ApplicationId {
        self.application.id
    }
}

fn http(token: &str, proxy: Option<&Url>) -> Http {
    let builder = HttpBuilder::new(token)
        // Nothing pings by accident, also where a message should forget to say so.
        .default_allowed_mentions(serenity::CreateAllowedMentions::new());
    match proxy {
        // serenity's limiter sends what passes it to Discord itself, past the proxy.
        Some(url) => builder.proxy(url.as_str().trim_end_matches('/')).ratelimiter_disabled(true),
        None => builder,
    }
    .build()
}

/// Asks Discord again while it fails for a passing reason, within [`DISCORD_PATIENCE`].
async fn patient<T, F>(proxy: Option<&Url>, call: impl Fn() -> F) -> Result<T, StartError>
where
    F: Future<Output = serenity::Result<T>>,
{
    let mut pause = Duration::from_millis(250);
    let mut last = None;
    let tries = async {
        loop {
            match call().await {
                Ok(value) => return Ok(value),
                Err(error) if !is_refusal(&error) => {
                    let error = with_causes(&error);
                    tracing::warn!(error, "Discord can't be reached, trying again");
                    last = Some(error);
                    sleep(pause).await;
                    pause *= 2;
                }
                Err(error) => return Err(api_error(proxy, &error)),
            }
        }
    };
    match timeout(DISCORD_PATIENCE, tries).await {
        Ok(ended) => ended,
        Err(_) => Err(StartError::Api {
            address: address(proxy),
            reason: last
                .unwrap_or_else(|| format!("no answer within {} s", DISCORD_PATIENCE.as_secs())),
        }),
    }
}

fn is_refusal(error: &serenity::Error) -> bool {
    matches!(
        error,
        serenity::Error::Http(HttpError::UnsuccessfulRequest(response))
            if response.status_code.is_client_error() && response.status_code != StatusCode::TOO_MANY_REQUESTS
    )
}

fn api_error(proxy: Option<&Url>, error: &serenity::Error) -> StartError {
    match error {
        serenity::Error::Http(HttpError::UnsuccessfulRequest(response))
            if response.status_code == StatusCode::UNAUTHORIZED =>
        {
            StartError::Token
        }
        error => StartError::Api { address: address(proxy), reason: with_causes(error) },
    }
}

/// An error and what is behind it: "error sending request" alone helps nobody.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn address(proxy: Option<&Url>) -> String {
    proxy.map_or_else(|| "https://discord.com".to_owned(), |url| format!("{url} (DISCORD_API_URL)"))
}

fn gateway_error(error: serenity::Error) -> StartError {
    match error {
        serenity::Error::Gateway(GatewayError::InvalidAuthentication) => StartError::Token,
        serenity::Error::Gateway(GatewayError::DisallowedGatewayIntents) => {
            let privileged = needs::intents() & serenity::GatewayIntents::privileged();
            let names: Vec<&str> = privileged.iter_names().map(|(name, _)| name).collect();
            StartError::Intents(names.join(", "))
        }
        error => StartError::Gateway(error.to_string()),
    }
}
