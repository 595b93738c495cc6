//! A gateway client that can misbehave.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use sandbox::Discord;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async, tungstenite::protocol::Message,
};

pub(crate) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What came over the socket.
#[derive(Debug, PartialEq)]
pub(crate) enum Came {
    Payload(Value),
    Closed(u16),
    /// The connection ended without a close frame.
    Cut,
}

impl Socket {
    /// Connects and takes the HELLO.
    pub(crate) async fn open(discord: &Discord) -> Self {
        let url = format!("{}/?v=10&encoding=json", discord.url().replacen("http", "ws", 1));
        let (stream, _) = connect_async(url).await.expect("the gateway listens");
        let mut socket = Self { stream };
        assert_eq!(socket.payload().await["op"], 10);
        socket
    }

    /// Connects, identifies and takes the READY.
    pub(crate) async fn identified(discord: &Discord, intents: u64) -> (Self, Value) {
        let mut socket = Self::open(discord).await;
        socket.identify(&discord.token(), intents).await;
        let ready = socket.payload().await;
        assert_eq!(ready["t"], "READY", "{ready}");
        (socket, ready["d"].clone())
    }

    pub(crate) async fn identify(&mut self, token: &str, intents: u64) {
        let properties = json!({ "os": "linux", "browser": "test", "device": "test" });
        let d = json!({ "token": token, "intents": intents, "properties": properties });
        self.send(&json!({ "op": 2, "d": d })).await;
    }

    pub(crate) async fn resume(&mut self, discord: &Discord, session: &Value, seq: u64) {
        let d = json!({ "token": discord.token(), "session_id": session, "seq": seq });
        self.send(&json!({ "op": 6, "d": d })).await;
    }

    pub(crate) async fn send(&mut self, payload: &Value) {
        self.send_text(&payload.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        self.stream.send(Message::Text(text.into())).await.expect("the socket is open");
    }

    pub(crate) async fn next(&mut self) -> Came {
        let next = tokio::time::timeout(Duration::from_secs(5), self.stream.next());
        match next.await.expect("something comes within 5 s") {
            Some(Ok(Message::Text(text))) => {
                Came::Payload(serde_json::from_str(&text).expect("it is JSON"))
            }
            Some(Ok(Message::Close(frame))) => {
                Came::Closed(frame.expect("it has a code").code.into())
            }
            _ => Came::Cut,
        }
    }

    pub(crate) async fn payload(&mut self) -> Value {
        match self.next().await {
            Came::Payload(payload) => payload,
            other => panic!("no payload but {other:?}"),
        }
    }

    /// The next event with that name; others before it are passed over.
    pub(crate) async fn event(&mut self, name: &str) -> Value {
        loop {
            let payload = self.payload().await;
            if payload["t"] == name {
                return payload["d"].clone();
            }
        }
    }

    /// The names of all events until nothing comes for a moment.
    pub(crate) async fn events(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Ok(Some(Ok(Message::Text(text)))) =
            tokio::time::timeout(Duration::from_millis(100), self.stream.next()).await
        {
            let payload: Value = serde_json::from_str(&text).expect("it is JSON");
            names.extend(payload["t"].as_str().map(str::to_owned));
        }
        names
    }
}
