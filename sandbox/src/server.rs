//! The HTTP side of the server: what every request passes before its route acts.

use std::{
    fmt::Display,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{FromRequest, Multipart, Query, Request as HttpRequest, State, WebSocketUpgrade},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::get,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::{
    Fault, faults, gateway,
    openapi::Description,
    problem::Problem,
    rate_limit::Standing,
    rest::{self, Answer, Call, File, Reply},
    state::{Shared, World},
};

/// The largest body that is read: Discord's 25 MiB of files and some room for the rest.
const BODY_LIMIT: usize = 30 << 20;
/// How many requests are remembered.
const KEPT_REQUESTS: usize = 50_000;
/// The longest audit-log reason, in characters.
const REASON_LIMIT: usize = 512;

/// One REST request that the bot made.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `POST` and so on.
    pub method: String,
    /// After `/api/v10`, with its ids, without the query.
    pub path: String,
    /// The query's pairs.
    pub query: Vec<(String, String)>,
    /// The JSON body, or `payload_json` of a multipart one; null without.
    pub body: Value,
    /// The decoded `X-Audit-Log-Reason`.
    pub reason: Option<String>,
    /// The status of the answer.
    pub status: u16,
    /// The JSON of an answer that refused.
    pub error: Option<Value>,
    /// The answer was a planned fault, not the sandbox's own.
    pub injected: bool,
    /// When it came, by the sandbox's clock.
    pub at: DateTime<Utc>,
}

/// Serves until the sandbox is stopped.
pub(crate) async fn serve(shared: Arc<Shared>, listener: TcpListener) {
    let mut stopped = shared.stopped.subscribe();
    let app = Router::new().route("/", get(upgrade)).fallback(handle).with_state(shared);
    let stop = async move {
        // The sender's end is the end of the sandbox too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    if let Err(error) = axum::serve(listener, app).with_graceful_shutdown(stop).await {
        tracing::error!(%error, "the sandbox's server ended");
    }
}

async fn upgrade(State(shared): State<Arc<Shared>>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| gateway::serve(shared, socket))
}

async fn handle(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Response {
    let arrived = Instant::now();
    let (parts, body) = request.into_parts();
    let (mut call, malformed) = read(&parts, body, arrived).await;
    let (record, fault) = shared.change(|world| {
        let fault = faults::meet(&mut world.faults, call.method.as_str(), &call.path);
        (record_start(world, &call), fault)
    });
    if let Some(fault) = &fault {
        tokio::time::sleep(fault.delay).await;
        call.arrived += fault.delay;
    }
    let injected = fault.as_ref().and_then(Fault::problem);
    let mut outcome = Outcome::default();
    if injected.is_none() || fault.is_some_and(|fault| fault.after) {
        let checked = malformed.map_or_else(|| check(&call), Err);
        outcome = shared.change(|world| pass(world, &parts.headers, &call, checked));
    }
    outcome.injected = injected.is_some();
    if let Some(problem) = injected {
        outcome.answer = Err(problem);
    }
    shared.change(|world| {
        if let Some(request) = find_record(world, record) {
            request.status = outcome.status();
            request.error = outcome.answer.as_ref().err().map(|problem| problem.body.clone());
            request.injected = outcome.injected;
        }
    });
    if outcome.status() == 0 {
        // Ends the connection's task, and with it the connection, without a word on stderr.
        std::panic::resume_unwind(Box::new("a planned fault"));
    }
    outcome.into_response()
}

/// What every request passes: the token, the limits, the published description, its route.
fn pass(
    world: &mut World,
    headers: &HeaderMap,
    call: &Call,
    checked: Result<(), Problem>,
) -> Outcome {
    let segments: Vec<&str> = call.path.trim_matches('/').split('/').collect();
    let mut outcome = Outcome::default();
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let open = matches!(
        segments[..],
        ["gateway"] | ["interactions", _, _, "callback"] | ["webhooks", _, _, ..]
    );
    if !open && token.and_then(|token| token.strip_prefix("Bot ")) != Some(&world.token) {
        outcome.answer = Err(Problem::unauthorized());
        return outcome;
    }
    outcome.standing = world.limits.count(call.method.as_str(), &segments);
    if let Some(standing) = outcome.standing.as_ref().filter(|standing| standing.exceeded) {
        outcome.answer = Err(Problem::rate_limited(standing.reset_after, standing.global));
        return outcome;
    }
    outcome.answer = checked.and_then(|()| rest::route(world, call, &segments));
    outcome
}

/// Holds the request against Discord's published description.
fn check(call: &Call) -> Result<(), Problem> {
    let body = (!call.body.is_null()).then_some(&call.body);
    Description::discord()
        .check(call.method.as_str(), &call.path, &call.query, body)
        .map_err(|fault| Problem::json(fault.status(), fault.body()))
}

struct Outcome {
    answer: Answer,
    injected: bool,
    standing: Option<Standing>,
}

impl Default for Outcome {
    fn default() -> Self {
        Self { answer: Ok(Reply::empty()), injected: false, standing: None }
    }
}

impl Outcome {
    fn status(&self) -> u16 {
        self.answer.as_ref().map_or_else(|problem| problem.status, |reply| reply.status)
    }

    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut headers = HeaderMap::new();
        if let Some(standing) = &self.standing {
            limit_headers(&mut headers, standing);
        }
        let body = match self.answer {
            Ok(reply) => reply.body,
            Err(problem) => {
                if let Some(seconds) = problem.retry_after {
                    put(&mut headers, "retry-after", seconds.ceil());
                }
                if problem.status == 429 {
                    let scope = if problem.global { "global" } else { "user" };
                    put(&mut headers, "x-ratelimit-scope", scope);
                }
                if problem.global {
                    put(&mut headers, "x-ratelimit-global", "true");
                }
                Some(problem.body)
            }
        };
        match body {
            Some(body) => (status, headers, axum::Json(body)).into_response(),
            None => (status, headers).into_response(),
        }
    }
}

fn limit_headers(headers: &mut HeaderMap, standing: &Standing) {
    let left = TimeDelta::from_std(Duration::from_secs_f64(standing.reset_after));
    let reset = Utc::now() + left.expect("a window lasts seconds");
    put(headers, "x-ratelimit-limit", standing.limit);
    put(headers, "x-ratelimit-remaining", standing.remaining);
    put(headers, "x-ratelimit-reset", reset.format("%s%.3f"));
    put(headers, "x-ratelimit-reset-after", format!("{:.3}", standing.reset_after));
    put(headers, "x-ratelimit-bucket", standing.bucket);
}

fn put(headers: &mut HeaderMap, name: &'static str, value: impl Display) {
    let value = HeaderValue::try_from(value.to_string()).expect("figures and names are visible");
    headers.insert(HeaderName::from_static(name), value);
}

fn record_start(world: &mut World, call: &Call) -> u64 {
    let serial = world.requests.back().map_or(0, |(serial, _)| serial + 1);
    if world.requests.len() == KEPT_REQUESTS {
        world.requests.pop_front();
    }
    let request = Request {
        method: call.method.to_string(),
        path: call.path.clone(),
        query: call.query.clone(),
        body: call.body.clone(),
        reason: call.reason.clone(),
        status: 0,
        error: None,
        injected: false,
        at: world.now(),
    };
    world.requests.push_back((serial, request));
    serial
}

fn find_record(world: &mut World, serial: u64) -> Option<&mut Request> {
    let first = world.requests.front()?.0;
    let at = usize::try_from(serial.checked_sub(first)?).ok()?;
    world.requests.get_mut(at).map(|(_, request)| request)
}

/// The request as the routes see it, and what makes it unreadable.
async fn read(parts: &Parts, body: Body, arrived: Instant) -> (Call, Option<Problem>) {
    let path = parts.uri.path();
    let below = path.strip_prefix("/api/v10").or_else(|| path.strip_prefix("/api"));
    let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
    let mut call = Call {
        method: parts.method.clone(),
        path: below.unwrap_or(path).trim_end_matches('/').to_owned(),
        query: query.map_or_else(|_| Vec::new(), |Query(query)| query),
        body: Value::Null,
        files: Vec::new(),
        reason: None,
        arrived,
    };
    let malformed = match below {
        None | Some("") => Some(Problem::not_found()),
        Some(_) => read_rest(&mut call, parts, body).await.err(),
    };
    (call, malformed)
}

async fn read_rest(call: &mut Call, parts: &Parts, body: Body) -> Result<(), Problem> {
    let bytes = to_bytes(body, BODY_LIMIT).await.map_err(|_| Problem::too_large())?;
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if kind.is_some_and(|kind| kind.starts_with("multipart/form-data")) {
        read_multipart(call, HttpRequest::from_parts(parts.clone(), Body::from(bytes))).await?;
    } else if !bytes.is_empty() && call.method != Method::GET {
        call.body = serde_json::from_slice(&bytes).map_err(|_| Problem::invalid_json())?;
    }
    call.reason = reason(&parts.headers)?;
    Ok(())
}

async fn read_multipart(call: &mut Call, request: HttpRequest) -> Result<(), Problem> {
    let mut form =
        Multipart::from_request(request, &()).await.map_err(|_| Problem::invalid_json())?;
    while let Some(field) = form.next_field().await.map_err(|_| Problem::invalid_json())? {
        let payload = field.name() == Some("payload_json");
        let name = field.file_name().map(str::to_owned);
        let kind = field.content_type().map(str::to_owned);
        let bytes = field.bytes().await.map_err(|_| Problem::invalid_json())?;
        if payload {
            call.body = serde_json::from_slice(&bytes).map_err(|_| Problem::invalid_json())?;
        } else if let Some(name) = name {
            call.files.push(File { name, kind, size: bytes.len() });
        }
    }
    Ok(())
}

/// The audit log's reason: URL-encoded UTF-8 of 1..=512 characters.
fn reason(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("x-audit-log-reason") else { return Ok(None) };
    let bad =
        |message: &str| Problem::invalid("X-Audit-Log-Reason", "BASE_TYPE_BAD_STRING", message);
    let raw = value.to_str().map_err(|_| bad("The reason must be URL-encoded."))?;
    let text = percent_decode(raw).ok_or_else(|| bad("The reason is not UTF-8."))?;
    match text.chars().count() {
        0 => Ok(None),
        1..=REASON_LIMIT => Ok(Some(text)),
        _ => Err(Problem::invalid(
            "X-Audit-Log-Reason",
            "BASE_TYPE_BAD_LENGTH",
            "Must be between 1 and 512 in length.",
        )),
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let hex = (*first == b'%')
            .then(|| more.get(..2))
            .flatten()
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        bytes.push(hex.unwrap_or(*first));
        rest = if hex.is_some() { &more[2..] } else { more };
    }
    String::from_utf8(bytes).ok()
}
