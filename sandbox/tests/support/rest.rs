//! The bot's REST side without a library, for bodies that no library would send.

use reqwest::{Method, RequestBuilder, Response};
use sandbox::Discord;
use serde_json::Value;

pub(crate) struct Rest {
    client: reqwest::Client,
    base: String,
    token: String,
}

impl Rest {
    pub(crate) fn of(discord: &Discord) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client is built");
        Self { client, base: format!("{}/api/v10", discord.url()), token: discord.token() }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method: Method = method.parse().expect("a method");
        let request = self.client.request(method, format!("{}{path}", self.base));
        request.header("authorization", format!("Bot {}", self.token))
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &Value) -> Response {
        let request = self.request(method, path);
        let request = if body.is_null() { request } else { request.json(body) };
        request.send().await.expect("the sandbox answers")
    }

    /// The status and the JSON of the answer.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let response = self.send(method, path, &body).await;
        let status = response.status().as_u16();
        let text = response.text().await.expect("it is text");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// The status and Discord's code of an answer that refuses.
    pub(crate) async fn code(&self, method: &str, path: &str, body: Value) -> (u16, u64) {
        let (status, answer) = self.call(method, path, body).await;
        (status, answer["code"].as_u64().unwrap_or(0))
    }
}
