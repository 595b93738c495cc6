//! Discord's refusals: status, JSON code and sentence.

use serde_json::{Value, json};

/// An answer that refuses a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) status: u16,
    pub(crate) body: Value,
    /// Seconds for the `Retry-After` header.
    pub(crate) retry_after: Option<f64>,
    pub(crate) global: bool,
}

impl Problem {
    pub(crate) fn new(status: u16, code: u32, message: &str) -> Self {
        Self::json(status, json!({ "message": message, "code": code }))
    }

    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self { status, body, retry_after: None, global: false }
    }

    /// "Invalid Form Body" with one fault at a dotted path.
    pub(crate) fn invalid(path: &str, code: &str, message: &str) -> Self {
        let fault = json!({ "_errors": [{ "code": code, "message": message }] });
        let errors = path.rsplit('.').fold(fault, |inner, key| json!({ key: inner }));
        Self::json(400, json!({ "message": "Invalid Form Body", "code": 50035, "errors": errors }))
    }

    pub(crate) fn rate_limited(retry_after: f64, global: bool) -> Self {
        let body = json!({
            "message": "You are being rate limited.",
            "retry_after": retry_after,
            "global": global,
        });
        Self { status: 429, body, retry_after: Some(retry_after), global }
    }
}

macro_rules! problems {
    ($($name:ident = $status:literal, $code:literal, $message:literal;)*) => {
        impl Problem {
            $(pub(crate) fn $name() -> Self {
                Self::new($status, $code, $message)
            })*
        }
    };
}

problems! {
    not_found = 404, 0, "404: Not Found";
    method_not_allowed = 405, 0, "405: Method Not Allowed";
    unauthorized = 401, 0, "401: Unauthorized";
    too_large = 413, 40005, "Request entity too large";
    invalid_json = 400, 50109, "The request body contains invalid JSON.";
    unknown_application = 404, 10002, "Unknown Application";
    unknown_channel = 404, 10003, "Unknown Channel";
    unknown_guild = 404, 10004, "Unknown Guild";
    unknown_member = 404, 10007, "Unknown Member";
    unknown_message = 404, 10008, "Unknown Message";
    unknown_role = 404, 10011, "Unknown Role";
    unknown_user = 404, 10013, "Unknown User";
    unknown_webhook = 404, 10015, "Unknown Webhook";
    unknown_ban = 404, 10026, "Unknown Ban";
    unknown_interaction = 404, 10062, "Unknown interaction";
    unknown_command = 404, 10063, "Unknown application command";
    already_acknowledged = 400, 40060, "Interaction has already been acknowledged.";
    missing_access = 403, 50001, "Missing Access";
    edits_anothers_message = 403, 50005, "Cannot edit a message authored by another user";
    empty_message = 400, 50006, "Cannot send an empty message";
    cannot_send_to_user = 403, 50007, "Cannot send messages to this user";
    missing_permissions = 403, 50013, "Missing Permissions";
    bulk_delete_count = 400, 50016, "Provided too few or too many messages to delete. Must provide at least 2 and fewer than 100 messages to delete";
    invalid_webhook_token = 401, 50027, "Invalid Webhook Token";
    invalid_role = 400, 50028, "Invalid Role";
    message_too_old = 400, 50034, "A message provided was too old to bulk delete";
    failed_to_ban = 400, 500_000, "Failed to ban users";
}
