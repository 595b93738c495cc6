//! Faults on demand: routes that fail, answer late or lose their answer.

use std::time::Duration;

use crate::problem::Problem;
use serde_json::json;

/// What happens to a request that a fault is planned for.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The HTTP status of the answer. 0: the connection breaks without one. Other values below 400:
    /// the request is carried out and answered as usual, for a fault that only delays.
    pub status: u16,
    /// Discord's JSON error code.
    pub code: u32,
    /// Discord's message for it.
    pub message: String,
    /// Seconds for `Retry-After` and the body of a 429.
    pub retry_after: Option<f64>,
    /// A 429 that holds for the whole bot.
    pub global: bool,
    /// How long the answer is held back.
    pub delay: Duration,
    /// How many requests it meets; `None`: all until healed.
    pub times: Option<u32>,
    /// The work is done first, then the fault answers: an answer that got lost.
    pub after: bool,
}

impl Default for Fault {
    fn default() -> Self {
        Self {
            status: 500,
            code: 0,
            message: "500: Internal Server Error".into(),
            retry_after: None,
            global: false,
            delay: Duration::ZERO,
            times: None,
            after: false,
        }
    }
}

impl Fault {
    /// An answer with this status, as often as it is asked for.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, message: format!("{status}: Fault"), ..Self::default() }
    }

    /// The usual answer, but late.
    #[must_use]
    pub fn delay(delay: Duration) -> Self {
        Self { status: 200, delay, ..Self::default() }
    }

    /// The work is done, but the connection breaks before the answer.
    #[must_use]
    pub fn lost() -> Self {
        Self { status: 0, after: true, ..Self::default() }
    }

    /// Status 429 for so many seconds.
    #[must_use]
    pub fn rate_limited(retry_after: f64, global: bool) -> Self {
        Self { status: 429, retry_after: Some(retry_after), global, ..Self::default() }
    }

    /// The same for one request only.
    #[must_use]
    pub fn once(self) -> Self {
        Self { times: Some(1), ..self }
    }

    /// The same, but after the work is done.
    #[must_use]
    pub fn after(self) -> Self {
        Self { after: true, ..self }
    }

    pub(crate) fn problem(&self) -> Option<Problem> {
        match self.status {
            1..400 => None,
            429 => Some(Problem::rate_limited(self.retry_after.unwrap_or(1.0), self.global)),
            status => {
                let body = json!({ "message": self.message, "code": self.code });
                Some(Problem { retry_after: self.retry_after, ..Problem::json(status, body) })
            }
        }
    }
}

/// A fault and the requests it is meant for.
pub(crate) struct Planned {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) fault: Fault,
}

/// The fault that meets this request, counted down.
pub(crate) fn meet(planned: &mut Vec<Planned>, method: &str, path: &str) -> Option<Fault> {
    let at = planned.iter().position(|plan| {
        (plan.method == "*" || plan.method.eq_ignore_ascii_case(method)) && globs(&plan.path, path)
    })?;
    let fault = planned[at].fault.clone();
    if let Some(times) = &mut planned[at].fault.times {
        *times = times.saturating_sub(1);
        if *times == 0 {
            planned.remove(at);
        }
    }
    Some(fault)
}

/// `*` stands for one segment, `**` for the rest.
fn globs(pattern: &str, path: &str) -> bool {
    let mut path = path.trim_matches('/').split('/');
    for want in pattern.trim_matches('/').split('/') {
        match (want, path.next()) {
            ("**", _) => return true,
            ("*", Some(_)) => {}
            (want, Some(have)) if want == have => {}
            _ => return false,
        }
    }
    path.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_segment_and_two_are_the_rest() {
        assert!(globs("/channels/*/messages", "/channels/1/messages"));
        assert!(!globs("/channels/*/messages", "/channels/1/messages/2"));
        assert!(globs("/channels/**", "/channels/1/messages/2"));
        assert!(globs("**", "/gateway/bot"));
        assert!(!globs("/channels/*", "/channels"));
    }

    #[test]
    fn a_counted_fault_is_used_up() {
        let mut planned = vec![Planned {
            method: "get".into(),
            path: "/gateway".into(),
            fault: Fault { times: Some(2), ..Fault::status(503) },
        }];
        for expected in [true, true, false] {
            assert_eq!(meet(&mut planned, "GET", "/gateway").is_some(), expected);
        }
    }
}
