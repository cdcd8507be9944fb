//! The server's stream of events, made again whenever it breaks.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use serde::Deserialize;
use sse_stream::{Sse, SseStream};

use super::Shown;
use crate::cli::{NoStream, Rest};
use crate::output::failure::Failure;

/// The wait before the first attempt to come back; each further one doubles it.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// The server shows that it lives every 15 s; a stream that is silent for three times as long is dead.
const SILENCE_MAX: Duration = Duration::from_secs(45);

type Messages = Pin<Box<dyn Stream<Item = Result<Sse, sse_stream::Error>> + Send>>;

/// What comes of following.
pub enum Message {
    /// Something happened.
    Event(Box<Shown>),
    /// Nothing happened that was asked for, up to this cursor.
    Passed(String),
    /// Some events are missing.
    Gap {
        /// Behind this cursor,
        after: String,
        /// up to this one.
        oldest: String,
    },
    /// The stream broke; the next call comes back to it after the wait.
    Lost {
        /// What happened.
        why: String,
        /// How long it is waited.
        wait: Duration,
    },
}

/// The stream and the place to come back to.
pub struct Follow {
    rest: Rest,
    query: Vec<(&'static str, String)>,
    cursor: Option<String>,
    messages: Option<Messages>,
    wait: Duration,
}

#[derive(Deserialize)]
struct Gap {
    after: String,
    oldest: String,
}

impl Follow {
    /// Follows what `query` asks for.
    pub fn new(rest: Rest, query: Vec<(&'static str, String)>) -> Self {
        Self { rest, query, cursor: None, messages: None, wait: Duration::ZERO }
    }

    /// Remembers that everything up to here was handled.
    pub fn handled(&mut self, cursor: &str) {
        self.cursor = Some(cursor.to_owned());
    }

    /// Opens the stream.
    ///
    /// Errors: the server cannot be reached or refuses; only a refusal is final.
    pub async fn connect(&mut self) -> Result<(), NoStream> {
        let response = self.rest.stream("/api/events/stream", &self.query, self.cursor.as_deref());
        let response = response.await?;
        let bytes: Pin<Box<dyn Stream<Item = Result<Bytes, reqwest::Error>> + Send>> =
            Box::pin(response.bytes_stream());
        self.messages = Some(Box::pin(SseStream::from_bytes_stream(bytes)));
        Ok(())
    }

    /// The next message.
    ///
    /// Errors: the server refuses to be followed any more.
    pub async fn next(&mut self) -> anyhow::Result<Message> {
        loop {
            if self.messages.is_none() {
                tokio::time::sleep(self.wait).await;
                if let Err(NoStream { failure, refused }) = self.connect().await {
                    // What the server refuses it refuses again.
                    return if refused { Err(failure.into()) } else { Ok(self.lost(failure.to_string())) };
                }
            }
            let Some(messages) = &mut self.messages else { continue };
            let message = match tokio::time::timeout(SILENCE_MAX, messages.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => return Ok(self.lost(error.to_string())),
                Ok(None) => return Ok(self.lost("the server ended it".to_owned())),
                Err(_) => return Ok(self.lost(format!("nothing came for {} s", SILENCE_MAX.as_secs()))),
            };
            self.wait = Duration::ZERO;
            if let Some(message) = self.read(message)? {
                return Ok(message);
            }
        }
    }

    fn read(&mut self, message: Sse) -> anyhow::Result<Option<Message>> {
        let unlike = |error: serde_json::Error| {
            Failure::new("the server's stream is not as documented").caused_by(&error)
        };
        match (message.event.as_deref(), message.data, message.id) {
            (Some("gap"), Some(data), _) => {
                let Gap { after, oldest } = serde_json::from_str(&data).map_err(unlike)?;
                self.cursor = Some(oldest.clone());
                Ok(Some(Message::Gap { after, oldest }))
            }
            (None, Some(data), _) => Ok(Some(Message::Event(serde_json::from_str(&data).map_err(unlike)?))),
            (None, None, Some(cursor)) => {
                self.cursor = Some(cursor.clone());
                Ok(Some(Message::Passed(cursor)))
            }
            _ => Ok(None),
        }
    }

    fn lost(&mut self, why: String) -> Message {
        self.messages = None;
        self.wait = (self.wait * 2).clamp(BACKOFF_FIRST, BACKOFF_MAX);
        Message::Lost { why, wait: self.wait }
    }
}
