//! Requests of the bot's own accord, through the gate. serenity's own calls hide what they must
//! obey: with its limiter it sleeps inside them, without it `Retry-After` is gone.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use poise::serenity_prelude as serenity;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use serenity::{LightMethod, Request, Route};
use tokio::time::{Instant, sleep};
use url::Url;

use super::gate::{Gate, Held, Key};
use crate::config::Secret;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a 429 holds that doesn't say it.
const UNSAID: Duration = Duration::from_secs(1);
/// The longest audit-log reason, in characters:
/// <https://discord.com/developers/docs/resources/audit-log>.
const LONGEST_REASON: usize = 512;

/// Discord's REST API, for all but answers to interactions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Rest(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: reqwest::Client,
    token: Secret,
    proxy: Option<String>,
    gate: Gate,
}

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestError {
    /// It was not made: a limit is used up until then.
    #[error("held back for {} ms", .after.as_millis())]
    Held {
        /// When to ask again.
        after: Duration,
    },
    /// Discord takes no such request for so long (429).
    #[error("limited for {} ms", .after.as_millis())]
    Limited {
        /// When to ask again, and not before.
        after: Duration,
    },
    /// The network's fault or Discord's: it may have been done.
    #[error("{0}")]
    Failed(String),
    /// Discord refuses (4xx), and would again.
    #[error("{message} (status {status}, code {code})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Discord's own code, 0 where it gave none:
        /// <https://discord.com/developers/docs/topics/opcodes-and-status-codes#json>.
        code: u64,
        /// Discord's words.
        message: String,
    },
}

impl Rest {
    /// Requests as the bot of `token`, to Discord or a proxy, so many a second.
    ///
    /// # Errors
    ///
    /// If there is no TLS.
    pub fn new(token: &Secret, proxy: Option<&Url>, a_second: u32) -> reqwest::Result<Self> {
        let client = reqwest::Client::builder().use_rustls_tls().timeout(PATIENCE).build()?;
        let token = Secret::new(format!("Bot {}", token.reveal()));
        let proxy = proxy.map(|url| url.as_str().trim_end_matches('/').to_owned());
        Ok(Self(Arc::new(Inner { client, token, proxy, gate: Gate::new(a_second) })))
    }

    /// Until when Discord wants to hear nothing at all.
    #[must_use]
    pub fn paused_until(&self) -> Option<Instant> {
        self.0.gate.paused_until()
    }

    /// Makes a request and returns the JSON of its answer; null where there is none.
    ///
    /// It waits for its turn, but not for a limit that is used up.
    ///
    /// # Errors
    ///
    /// [`RestError`].
    pub async fn call(&self, request: Request<'_>) -> Result<Value, RestError> {
        let Inner { client, token, proxy, gate } = &*self.0;
        let key = Key::of(&request);
        let request = request
            .build(client, token.reveal(), proxy.as_deref())
            .map_err(|error| RestError::Failed(error.to_string()))?;
        gate.pass(key).await.map_err(|Held { until }| RestError::Held {
            after: until.saturating_duration_since(Instant::now()),
        })?;
        let failed = |error: reqwest::Error| RestError::Failed(error.without_url().to_string());
        let response = request.send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        if let Some(remaining) = number(&headers, "x-ratelimit-remaining")
            && let Some(length) = seconds(&headers, "x-ratelimit-reset-after")
        {
            // A figure of requests, small and whole.
            gate.note(key, remaining.parse().unwrap_or(0), length);
        }
        let body = response.bytes().await.map_err(failed);
        if status.is_success() {
            let body = body?;
            return if body.is_empty() {
                Ok(Value::Null)
            } else {
                serde_json::from_slice(&body).map_err(|error| RestError::Failed(error.to_string()))
            };
        }
        let body = body.ok().and_then(|body| serde_json::from_slice::<Value>(&body).ok());
        if status.as_u16() == 429 {
            let said = body.as_ref().and_then(|body| duration(body["retry_after"].as_f64()?));
            let after = seconds(&headers, "retry-after").max(said).unwrap_or(UNSAID);
            // What isn't JSON comes from before the API, which refuses the address.
            let global = headers.contains_key("x-ratelimit-global")
                || body.as_ref().is_none_or(|body| body["global"] == true);
            if global {
                tracing::warn!(after_ms = after.as_millis(), "Discord asks for a pause");
                gate.pause(after);
            } else {
                gate.note(key, 0, after);
            }
            return Err(RestError::Limited { after });
        }
        // A token that was reset ends the gateway too; what is to be done stays to be done.
        let refused = status.is_client_error() && !matches!(status.as_u16(), 401 | 408);
        let message = body.as_ref().and_then(|body| body["message"].as_str());
        let message = message.unwrap_or_else(|| status.canonical_reason().unwrap_or("no words"));
        if !refused {
            return Err(RestError::Failed(format!("status {status}: {message}")));
        }
        let code = body.as_ref().and_then(|body| body["code"].as_u64()).unwrap_or(0);
        Err(RestError::Refused { status: status.as_u16(), code, message: message.to_owned() })
    }

    /// The same, waiting for limits that are used up.
    ///
    /// # Errors
    ///
    /// [`RestError::Failed`] or [`RestError::Refused`].
    pub async fn call_patiently(&self, request: &Request<'_>) -> Result<Value, RestError> {
        loop {
            match self.call(request.clone()).await {
                Err(RestError::Held { after } | RestError::Limited { after }) => sleep(after).await,
                ended => return ended,
            }
        }
    }

    /// Makes a request without a body whose reason the guild's audit log shows.
    ///
    /// # Errors
    ///
    /// [`RestError`].
    pub async fn act(
        &self,
        method: LightMethod,
        route: Route<'_>,
        reason: &str,
    ) -> Result<Value, RestError> {
        let reason = HeaderValue::try_from(encoded(reason)).ok();
        let headers = reason
            .map(|reason| (HeaderName::from_static("x-audit-log-reason"), reason))
            .into_iter()
            .collect();
        self.call(Request::new(route, method).headers(Some(headers))).await
    }
}

fn number<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn seconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    duration(number(headers, name)?.parse().ok()?)
}

fn duration(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// A reason as a header: at most 512 characters, UTF-8 behind percent signs.
fn encoded(reason: &str) -> String {
    let mut header = String::with_capacity(reason.len());
    for byte in reason.chars().take(LONGEST_REASON).collect::<String>().bytes() {
        match byte {
            b'%' => header.push_str("%25"),
            b' '..=b'~' => header.push(char::from(byte)),
            // Writing to a String can't fail.
            _ => write!(header, "%{byte:02X}").expect("infallible"),
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use poise::serenity_prelude::GuildId;
    use sandbox::Fault;

    use super::*;

    #[tokio::test]
    async fn each_way_to_fail_is_told_apart() {
        let discord = sandbox::Discord::start().await.expect("a port is free");
        let guild = GuildId::new(discord.add_guild("The Reading Room", "olga").id);
        let proxy = discord.url().parse().expect("an address");
        let rest = Rest::new(&Secret::new(discord.token()), Some(&proxy), 50).expect("TLS");
        let ask = async |fault: Option<Fault>| {
            if let Some(fault) = fault {
                discord.fail("GET", "/guilds/*", fault.once());
            }
            rest.call(Request::new(Route::Guild { guild_id: guild }, LightMethod::Get)).await
        };

        assert_eq!(ask(None).await.expect("there")["name"], "The Reading Room");
        for passing in [Fault::status(500), Fault::status(401), Fault::status(408), Fault::lost()] {
            let failed = ask(Some(passing.clone())).await;
            assert!(matches!(failed, Err(RestError::Failed(_))), "{passing:?}: {failed:?}");
        }
        let fault = Fault { code: 50_013, message: "No".to_owned(), ..Fault::status(403) };
        assert_eq!(
            ask(Some(fault)).await,
            Err(RestError::Refused { status: 403, code: 50_013, message: "No".to_owned() })
        );
        let limited = ask(Some(Fault::rate_limited(1.5, false))).await;
        // The header is in whole seconds, and the longer one is obeyed.
        assert_eq!(limited, Err(RestError::Limited { after: Duration::from_secs(2) }));
        let held = ask(None).await;
        assert!(matches!(held, Err(RestError::Held { .. })), "{held:?}");
        assert_eq!(rest.paused_until(), None);
        let request = Request::new(Route::Guild { guild_id: guild }, LightMethod::Get);
        let before = Instant::now();
        rest.call_patiently(&request).await.expect("waits");
        assert!(before.elapsed() > Duration::from_millis(1_500), "{:?}", before.elapsed());

        ask(Some(Fault::rate_limited(1.0, true))).await.expect_err("limited");
        assert!(rest.paused_until().is_some());
        let elsewhere = Request::new(Route::Gateway, LightMethod::Get);
        let held = rest.call(elsewhere.clone()).await;
        assert!(matches!(held, Err(RestError::Held { .. })), "everywhere: {held:?}");
        rest.call_patiently(&elsewhere).await.expect("waits");
    }

    #[test]
    fn a_reason_is_readable_where_it_can_be_and_encoded_where_it_must() {
        assert_eq!(encoded("Reached 500 bytes"), "Reached 500 bytes");
        assert_eq!(encoded("50% дракон\n"), "50%25 %D0%B4%D1%80%D0%B0%D0%BA%D0%BE%D0%BD%0A");
        assert_eq!(encoded(&"я".repeat(600)).len(), 512 * 6);
        assert!(HeaderValue::try_from(encoded("🐉 \u{7f}")).is_ok());
    }
}
