//! The environment, read once into a [`Config`].

use std::fmt;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::Duration;

use poise::serenity_prelude::GuildId;
use tracing_subscriber::EnvFilter;
use url::Url;

/// Everything a host can set; `.env.example` describes each variable.
#[derive(Debug, Clone)]
pub struct Config {
    /// The bot's token; only some commands need it.
    pub token: Option<Secret>,
    /// Where Discord's REST API is, without `/api/…`; `None` is Discord itself.
    pub api_url: Option<Url>,
    /// The most REST requests a second beside answers to interactions, 1..=50.
    pub requests_per_second: u32,
    /// The guild in which commands are registered at once; `None` registers them for all guilds.
    pub commands_guild: Option<GuildId>,
    /// Where the database is.
    pub database: DatabaseConfig,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Which log lines are written, as `tracing_subscriber`'s `EnvFilter` reads it.
    pub log_filter: String,
}

/// Where the database is and how it's reached.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// A `postgres://` address; `None` runs an embedded server in [`data_dir`](Self::data_dir).
    pub url: Option<Secret>,
    /// The folder of the embedded server and of the process's own small files.
    pub data_dir: PathBuf,
    /// The most connections at once, 1..=1000.
    pub pool_size: u32,
    /// How long one attempt to get a connection may take, 100..=60 000 ms.
    pub acquire_timeout: Duration,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A text that no `Debug`, log line or error shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// One variable that is missing or wrong; its text is one line and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: found {found}, expected {expected}")]
pub struct ConfigError {
    /// The variable's name, or `.env` for the file itself.
    pub variable: &'static str,
    /// What stands there, described where it is or may be a secret.
    pub found: String,
    /// What would be right.
    pub expected: &'static str,
}

impl Config {
    /// Reads `.env` if there is one (the real environment wins), then the environment.
    ///
    /// # Errors
    ///
    /// Every variable that is wrong, in the order of `.env.example`.
    pub fn from_env() -> Result<Self, Vec<ConfigError>> {
        match load_env_file(Path::new(".env")) {
            Err(EnvFileError::Missing) | Ok(()) => {}
            Err(EnvFileError::Wrong(error)) => return Err(vec![error]),
        }
        Self::from_lookup(|name| {
            std::env::var_os(name).map(|value| value.into_string().map_err(drop))
        })
    }

    /// Reads the variables through `lookup`, which returns `Err` for a value that is not UTF-8.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_lookup(
        lookup: impl Fn(&str) -> Option<Result<String, ()>>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut vars = Vars { lookup, errors: Vec::new() };
        let token = vars.read("DISCORD_TOKEN", EXPECTED_TOKEN, describe_secret, |text| {
            looks_like_a_token(text).then(|| Secret::new(text))
        });
        let api_url = vars.read(
            "DISCORD_API_URL",
            "an http:// or https:// address without path and password, such as http://127.0.0.1:8080",
            describe_address,
            api_url,
        );
        let requests_per_second = vars.read(
            "DISCORD_REQUESTS_PER_SECOND",
            "a whole number from 1 to 50",
            quote,
            |text| text.parse().ok().filter(|number| (1..=50).contains(number)),
        );
        let commands_guild = vars.read(
            "COMMANDS_GUILD_ID",
            "a guild's id, 1 to 20 digits (right-click the guild, Copy Server ID)",
            quote,
            |text| text.parse::<NonZeroU64>().ok().map(GuildId::from),
        );
        let url = vars.read(
            "DATABASE_URL",
            "an address postgres://user:password@host:port/database (options such as ?sslmode=require), or nothing for the embedded server",
            describe_secret,
            database_url,
        );
        let data_dir =
            vars.read("DATA_DIR", "a folder's path", quote, |text| Some(PathBuf::from(text)));
        let pool_size =
            vars.read("DATABASE_POOL_SIZE", "a whole number from 1 to 1000", quote, |text| {
                text.parse().ok().filter(|size| (1..=1000).contains(size))
            });
        let acquire_timeout = vars.read(
            "DATABASE_ACQUIRE_TIMEOUT_MS",
            "a whole number of milliseconds from 100 to 60000",
            quote,
            |text| {
                let ms = text.parse().ok().filter(|ms| (100..=60_000).contains(ms));
                ms.map(Duration::from_millis)
            },
        );
        let log_format = vars.read("LOG_FORMAT", "text or json", quote, |text| match text {
            "text" => Some(LogFormat::Text),
            "json" => Some(LogFormat::Json),
            _ => None,
        });
        let log_filter = vars.read(
            "RUST_LOG",
            "levels such as info or bytekeeper=debug,sqlx=warn",
            quote,
            |text| EnvFilter::try_new(text).ok().map(|_| text.to_owned()),
        );
        if !vars.errors.is_empty() {
            return Err(vars.errors);
        }
        Ok(Self {
            token,
            api_url,
            requests_per_second: requests_per_second.unwrap_or(30),
            commands_guild,
            database: DatabaseConfig {
                url,
                data_dir: data_dir.unwrap_or_else(|| PathBuf::from("data")),
                pool_size: pool_size.unwrap_or(10),
                acquire_timeout: acquire_timeout.unwrap_or(Duration::from_secs(5)),
            },
            log_format: log_format.unwrap_or(LogFormat::Text),
            log_filter: log_filter.unwrap_or_else(|| "info".to_owned()),
        })
    }

    /// The token, for what can't do without.
    ///
    /// # Errors
    ///
    /// If `DISCORD_TOKEN` is not set.
    pub fn require_token(&self) -> Result<&Secret, ConfigError> {
        self.token.as_ref().ok_or_else(|| ConfigError {
            variable: "DISCORD_TOKEN",
            found: "nothing".to_owned(),
            expected: EXPECTED_TOKEN,
        })
    }
}

const EXPECTED_TOKEN: &str =
    "the bot's token of three parts with dots between (Developer Portal, Bot, Reset Token)";

/// Reads variables one by one and collects what is wrong.
struct Vars<L> {
    lookup: L,
    errors: Vec<ConfigError>,
}

impl<L: Fn(&str) -> Option<Result<String, ()>>> Vars<L> {
    /// An empty value counts as unset: that is how compose files pass on what a host left out.
    fn read<T>(
        &mut self,
        variable: &'static str,
        expected: &'static str,
        describe: fn(&str) -> String,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let found = match (self.lookup)(variable)? {
            Ok(text) if text.trim().is_empty() => return None,
            Ok(text) => match parse(text.trim()) {
                Some(value) => return Some(value),
                None => describe(text.trim()),
            },
            Err(()) => "bytes that are not UTF-8".to_owned(),
        };
        self.errors.push(ConfigError { variable, found, expected });
        None
    }
}

fn quote(text: &str) -> String {
    let short: String = text.chars().take(60).collect();
    format!("{short:?}")
}

fn describe_secret(text: &str) -> String {
    format!("a text of length {} (not shown)", text.chars().count())
}

/// The form that serenity insists on too: three parts of base64, the first of them the id.
fn looks_like_a_token(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'='))
    };
    text.split('.').count() == 3 && text.split('.').all(part)
}

fn api_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        // It's shown in errors, so it holds no secret.
        && url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    plain.then_some(url)
}

fn database_url(text: &str) -> Option<Secret> {
    let url = Url::parse(text).ok()?;
    // What sqlx doesn't know it would log, value and all.
    let options = [
        "application_name",
        "dbname",
        "host",
        "hostaddr",
        "options",
        "password",
        "port",
        "ssl-ca",
        "ssl-cert",
        "ssl-key",
        "ssl-mode",
        "ssl-root-cert",
        "sslcert",
        "sslkey",
        "sslmode",
        "sslrootcert",
        "statement-cache-capacity",
        "user",
    ];
    let usable = matches!(url.scheme(), "postgres" | "postgresql")
        && url.query_pairs().all(|(name, _)| options.contains(&&*name))
        && text.parse::<sqlx::postgres::PgConnectOptions>().is_ok();
    usable.then(|| Secret::new(text))
}

fn describe_address(text: &str) -> String {
    if text.contains('@') { describe_secret(text) } else { quote(text) }
}

/// Why a file of variables was not read.
#[derive(Debug)]
enum EnvFileError {
    Missing,
    Wrong(ConfigError),
}

/// Sets the variables of a file that the environment lacks, or none if a line is wrong.
///
/// Of a wrong line nothing is shown, for it may hold a secret: it's named by the variable before.
fn load_env_file(file: &Path) -> Result<(), EnvFileError> {
    let wrong = |found: String| {
        let expected = "lines of the form NAME=value, with a value of several words or with $ in 'single quotes'";
        EnvFileError::Wrong(ConfigError { variable: ".env", found, expected })
    };
    let lines = dotenvy::from_path_iter(file).map_err(|error| match error {
        dotenvy::Error::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
            EnvFileError::Missing
        }
        _ => wrong("a file that can't be read".to_owned()),
    })?;
    let mut place = "at the beginning".to_owned();
    for line in lines {
        match line {
            Ok((name, _)) => place = format!("behind {name}"),
            Err(_) => return Err(wrong(format!("a line that can't be read {place} (not shown)"))),
        }
    }
    dotenvy::from_path(file).map_err(|_| wrong("a file that can't be read".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        Config::from_lookup(|name| {
            vars.iter().find(|(n, _)| *n == name).map(|(_, value)| Ok((*value).to_owned()))
        })
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_set_is_the_defaults() {
        let config = config(&[]).expect("valid");

        assert!(
            config.token.is_none() && config.api_url.is_none() && config.database.url.is_none()
        );
        assert_eq!(config.requests_per_second, 30);
        assert_eq!(config.database.data_dir, PathBuf::from("data"));
        assert_eq!(config.database.pool_size, 10);
        assert_eq!(config.database.acquire_timeout, Duration::from_secs(5));
        assert_eq!((config.log_format, config.log_filter.as_str()), (LogFormat::Text, "info"));
    }

    #[test]
    fn an_empty_value_is_as_good_as_none() {
        assert!(config(&[("DATABASE_URL", ""), ("COMMANDS_GUILD_ID", " ")]).is_ok());
    }

    #[test]
    fn each_wrong_value_is_one_line_with_name_finding_and_expectation() {
        let errors = config(&[
            ("DISCORD_TOKEN", "hunter2"),
            ("DISCORD_API_URL", "localhost:80/api"),
            ("DISCORD_REQUESTS_PER_SECOND", "51"),
            ("COMMANDS_GUILD_ID", "0"),
            ("DATABASE_URL", "mysql://root:hunter2@db/x"),
            ("DATABASE_POOL_SIZE", "0"),
            ("DATABASE_ACQUIRE_TIMEOUT_MS", "5s"),
            ("LOG_FORMAT", "xml\nyaml"),
            ("RUST_LOG", "bytekeeper=loud"),
        ])
        .expect_err("all are wrong");

        insta::assert_snapshot!(errors.join("\n"));
        assert!(!errors.join("\n").contains("hunter2"));
    }

    #[test]
    fn no_secret_is_shown_by_debug() {
        let config = config(&[
            ("DISCORD_TOKEN", "MTIz.hunter2.abc"),
            ("DATABASE_URL", "postgres://bot:hunter2@localhost/bot"),
        ])
        .expect("valid");

        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_broken_env_file_is_named_by_its_place_and_without_its_secret() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(".env");
        let found = |text: &str| {
            std::fs::write(&file, text).expect("writable");
            match load_env_file(&file) {
                Err(EnvFileError::Wrong(error)) => error.found,
                other => panic!("{other:?}"),
            }
        };

        assert_eq!(
            found("DISCORD_TOKEN=hunter2 with a space\n"),
            "a line that can't be read at the beginning (not shown)"
        );
        assert_eq!(
            found("# first\nLOG_FORMAT=text\n\nDISCORD_TOKEN='hunter2\n"),
            "a line that can't be read behind LOG_FORMAT (not shown)"
        );
        let missing = load_env_file(&folder.path().join("none"));
        assert!(matches!(missing, Err(EnvFileError::Missing)), "{missing:?}");
    }

    #[test]
    fn an_address_with_a_password_or_an_unknown_option_is_refused_and_not_shown() {
        let errors = config(&[
            ("DISCORD_API_URL", "http://bot:hunter2@127.0.0.1:1"),
            ("DATABASE_URL", "postgres://bot@localhost/bot?sslpassword=hunter2"),
        ])
        .expect_err("both are wrong");

        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(!errors.join("\n").contains("hunter2"), "{errors:?}");
        assert!(
            config(&[("DATABASE_URL", "postgres://bot@localhost/bot?sslmode=require&host=/run")])
                .is_ok()
        );
    }
}
