//! A small RTMP publisher: sends FLV tags to a server as an encoder would.
//!
//! Used by the demo and by tests. Tags keep their timestamps; when to send them is the caller's
//! business. Every wait ends with the connection; a caller who wants less wraps it in a timeout.

use std::{fmt, io};

use bytes::{Bytes, BytesMut};
use mediahooks_media::flv::amf0::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use super::chunk::{ChunkError, ChunkReader, ChunkWriter, Message};
use super::handshake::{ClientHandshake, NotRtmp};
use super::message::{self, Command, type_id};

const PORT_DEFAULT: u16 = 1935;
/// Chunk size of what we send; most frames fit.
const OUTPUT_CHUNK_SIZE: u32 = 64 * 1024;
/// What a server's unfinished messages may hold; its answers are some hundred bytes.
const HELD_BYTES_MAX: usize = 64 * 1024;
const STREAM_ID: u32 = 1;
const MEDIA_CHUNK_STREAM: u32 = 4;

/// Transaction numbers of the calls, in the order made.
const CONNECT: f64 = 1.0;
const CREATE_STREAM: f64 = 2.0;
const PUBLISH: f64 = 3.0;

/// Why publishing failed.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The URL is not of the form `rtmp://HOST[:PORT]/APP/KEY`.
    #[error("`{0}` is not a publish URL; expected rtmp://HOST[:PORT]/v2/pub/STREAM?token=TOKEN")]
    BadUrl(String),
    /// The connection could not be made or broke.
    #[error("RTMP connection failed")]
    Io(#[from] io::Error),
    /// The server closed the connection without a word.
    #[error("the server closed the connection")]
    Closed,
    /// The server said no, or ended the stream.
    #[error("refused by the server: {description} ({code})")]
    Refused {
        /// The RTMP status code, such as `NetStream.Publish.BadName`.
        code: String,
        /// The server's own words.
        description: String,
    },
    /// The server does not speak RTMP.
    #[error("the server does not speak RTMP")]
    NotRtmp(#[from] NotRtmp),
    /// The server's chunks cannot be followed.
    #[error("the server's answer is malformed")]
    Malformed(#[from] ChunkError),
}

/// A connection that publishes one stream.
pub struct Publisher {
    stream: TcpStream,
    input: BytesMut,
    output: BytesMut,
    reader: ChunkReader,
    writer: ChunkWriter,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The buffers may hold the token.
        f.debug_struct("Publisher").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Publisher {
    /// Connects and publishes; resolves when the server has granted it.
    ///
    /// `url` is split as ffmpeg does: two path segments for the application, the rest with its query
    /// for the stream key.
    ///
    /// # Errors
    /// [`PublishError`], with the server's own words when it refuses.
    pub async fn connect(url: &str) -> Result<Publisher, PublishError> {
        let address = PublishAddress::parse(url)?;
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        let mut publisher = Publisher {
            stream,
            input: BytesMut::new(),
            output: BytesMut::new(),
            reader: ChunkReader::new(HELD_BYTES_MAX),
            writer: ChunkWriter::default(),
        };
        publisher.shake_hands().await?;
        publisher.publish(&address).await?;
        Ok(publisher)
    }

    /// Sends one FLV tag: `tag_type` 8, 9 or 18, its body without the tag header.
    ///
    /// # Errors
    /// [`PublishError::Refused`] when the server ended the stream meanwhile.
    pub async fn send_tag(
        &mut self,
        tag_type: u8,
        timestamp_ms: u32,
        body: &[u8],
    ) -> Result<(), PublishError> {
        let message = Message {
            chunk_stream: MEDIA_CHUNK_STREAM,
            type_id: tag_type,
            stream_id: STREAM_ID,
            timestamp: timestamp_ms,
            payload: Bytes::copy_from_slice(body),
        };
        self.writer.write(&message, &mut self.output);
        let sent = self.flush().await;
        self.read_available()?;
        sent
    }

    /// Ends the stream and waits until the server has read everything and closed its side.
    ///
    /// # Errors
    /// [`PublishError::Refused`] when the server ended the stream before it was complete.
    pub async fn finish(mut self) -> Result<(), PublishError> {
        let stream_id = Value::Number(f64::from(STREAM_ID));
        self.queue(&Command::new("deleteStream", 0.0, [Value::Null, stream_id]), 0);
        self.flush().await?;
        self.stream.shutdown().await?;
        loop {
            match self.read_message().await {
                Ok(message) => check_status(&message)?,
                Err(PublishError::Closed) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    async fn shake_hands(&mut self) -> Result<(), PublishError> {
        let mut handshake = ClientHandshake::start(rand::random(), &mut self.output);
        loop {
            self.flush().await?;
            self.read_more().await?;
            if handshake.advance(&mut self.input, &mut self.output)? {
                return self.flush().await;
            }
        }
    }

    async fn publish(&mut self, address: &PublishAddress) -> Result<(), PublishError> {
        self.writer.write(&message::control(type_id::SET_CHUNK_SIZE, OUTPUT_CHUNK_SIZE), &mut self.output);
        self.writer.set_chunk_size(OUTPUT_CHUNK_SIZE as usize);
        let properties = Value::object([
            ("app", Value::string(&*address.app)),
            ("type", Value::string("nonprivate")),
            ("flashVer", Value::string(concat!("mediahooks/", env!("CARGO_PKG_VERSION")))),
            ("tcUrl", Value::string(&*address.tc_url)),
        ]);
        self.queue(&Command::new("connect", CONNECT, [properties]), 0);
        self.wait_for_answer("_result").await?;
        self.queue(&Command::new("createStream", CREATE_STREAM, [Value::Null]), 0);
        self.wait_for_answer("_result").await?;
        let arguments = [Value::Null, Value::string(&*address.key), Value::string("live")];
        self.queue(&Command::new("publish", PUBLISH, arguments), STREAM_ID);
        self.wait_for_answer("onStatus").await
    }

    async fn wait_for_answer(&mut self, name: &str) -> Result<(), PublishError> {
        self.flush().await?;
        loop {
            let message = self.read_message().await?;
            check_status(&message)?;
            if command_of(&message).is_some_and(|command| command.name == name) {
                return Ok(());
            }
        }
    }

    fn queue(&mut self, command: &Command, stream_id: u32) {
        self.writer.write(&command.to_message(stream_id), &mut self.output);
    }

    async fn flush(&mut self) -> Result<(), PublishError> {
        let output = self.output.split();
        Ok(self.stream.write_all(&output).await?)
    }

    /// Looks at what the server has said meanwhile, without waiting for more.
    fn read_available(&mut self) -> Result<(), PublishError> {
        loop {
            match self.stream.try_read_buf(&mut self.input) {
                Ok(0) => return self.next_message().map(drop).and(Err(PublishError::Closed)),
                Ok(_) => {
                    while let Some(message) = self.next_message()? {
                        check_status(&message)?;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn read_message(&mut self) -> Result<Message, PublishError> {
        loop {
            if let Some(message) = self.next_message()? {
                return Ok(message);
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Result<(), PublishError> {
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(PublishError::Closed),
            _ => Ok(()),
        }
    }

    fn next_message(&mut self) -> Result<Option<Message>, PublishError> {
        let message = self.reader.read(&mut self.input)?;
        if let Some(message) = &message
            && message.type_id == type_id::SET_CHUNK_SIZE
            && let Some(size) = message.payload.first_chunk()
        {
            self.reader.set_chunk_size(u32::from_be_bytes(*size))?;
        }
        Ok(message)
    }
}

fn command_of(message: &Message) -> Option<Command> {
    (message.type_id == type_id::COMMAND_AMF0).then(|| Command::decode(&message.payload, false).ok())?
}

/// Finds the server's refusal: an `_error`, or a status of level `error`.
fn check_status(message: &Message) -> Result<(), PublishError> {
    let Some(command) = command_of(message) else { return Ok(()) };
    let info = command.arguments.last().unwrap_or(&Value::Null);
    let text = |name| info.get(name).and_then(Value::as_str).unwrap_or_default();
    if command.name == "_error" || text("level") == "error" {
        let (code, description) = (text("code").to_owned(), text("description").to_owned());
        return Err(PublishError::Refused { code, description });
    }
    Ok(())
}

struct PublishAddress {
    host: String,
    port: u16,
    app: String,
    tc_url: String,
    key: String,
}

impl PublishAddress {
    fn parse(text: &str) -> Result<PublishAddress, PublishError> {
        let (without_query, query) =
            text.split_once('?').map_or((text, None), |(url, query)| (url, Some(query)));
        let bad_url = || PublishError::BadUrl(without_query.to_owned());
        let url = Url::parse(without_query).map_err(|_| bad_url())?;
        let host = url.host_str().filter(|_| url.scheme() == "rtmp").ok_or_else(bad_url)?;
        let port = url.port().unwrap_or(PORT_DEFAULT);
        let mut segments = url.path().trim_start_matches('/').splitn(3, '/');
        let (Some(first), Some(second), Some(name)) = (segments.next(), segments.next(), segments.next())
        else {
            return Err(bad_url());
        };
        let app = format!("{first}/{second}");
        Ok(PublishAddress {
            // `Url` keeps the brackets of an IPv6 address, which a socket address must not have.
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            tc_url: format!("rtmp://{host}:{port}/{app}"),
            app,
            key: query.map_or_else(|| name.to_owned(), |query| format!("{name}?{query}")),
        })
    }
}
