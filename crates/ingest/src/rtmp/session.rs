//! One RTMP connection from the server's side, without a socket: bytes and the time go in, events
//! and bytes to send come out.
//!
//! Fed by [`super::handle`]: [`Session::input`] is read into, then [`Session::received`] and [`Session::poll`]
//! until it has no more events, [`Session::take_output`] to the peer, and
//! [`Session::check_deadline`] when [`Session::deadline`] has come. Time is the [`Duration`] since
//! the connection was accepted. What always holds: memory stays within [`RtmpSettings`] whatever
//! the peer sends, and media comes out only between a granted publish and its end.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mediahooks_media::flv::amf0::{AmfError, Value};
use mediahooks_media::flv::file::FlvTag;
use mediahooks_media::flv::{Aggregate, CutOff};

use super::acknowledge::Acknowledger;
use super::capabilities;
use super::chunk::{ChunkError, ChunkReader, ChunkWriter, Message};
use super::handshake::{NotRtmp, ServerHandshake};
use super::message::{self, Command, status_info, type_id, user_control};
use super::settings::RtmpSettings;
use crate::target::{PublishTarget, TargetError, is_publish_app, parse_publish_target};

/// Window Acknowledgement Size and Set Peer Bandwidth that we announce; the usual figure.
const WINDOW_BYTES: u32 = 2_500_000;
/// Chunk size of what we send: every answer fits into one chunk.
const OUTPUT_CHUNK_SIZE: u32 = 4096;
/// Bytes taken at once from a publisher, and so what its input buffer is made for.
const INPUT_BYTES_MAX: usize = 64 * 1024;
/// The same before it is one. All that an encoder sends until then is about as much.
const UNPUBLISHED_INPUT_BYTES_MAX: usize = 4 * 1024;
/// Bytes that a peer may send while it does not publish. There is no use for them, but an encoder that ends a stream may
/// be ahead of us.
const UNPUBLISHED_BYTES_MAX: usize = 1024 * 1024;
/// The message stream id given to every `createStream`: a connection publishes one stream.
const STREAM_ID: u32 = 1;

/// What the peer did.
#[derive(Debug, PartialEq)]
pub enum SessionEvent {
    /// It asks to publish. The session waits for [`Session::grant`] or [`Session::refuse`] before it
    /// reads on.
    PublishRequested {
        /// What it wants to publish.
        target: PublishTarget,
        /// Its `flashVer`.
        encoder: Option<String>,
    },
    /// The body of an FLV tag of the granted stream.
    Tag {
        /// FLV tag type: 8 audio, 9 video, 18 script data.
        tag_type: u8,
        /// Milliseconds, wrapping at 2^32.
        timestamp_ms: u32,
        /// Body of the tag.
        body: Bytes,
    },
    /// A message of the granted stream that ends inside a tag. What was whole in it has come out.
    CutOff,
    /// It has ended the granted stream.
    Unpublished,
}

/// Why a connection has to be closed. Where the peer can be told, the answer is in
/// [`Session::take_output`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The handshake is of another protocol.
    #[error(transparent)]
    NotRtmp(#[from] NotRtmp),
    /// The chunk layer cannot be followed.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// A command is not AMF0.
    #[error("malformed command: {0}")]
    Amf(#[from] AmfError),
    /// A control message is too short for its type.
    #[error("control message of type {0} is too short")]
    ShortControl(u8),
    /// The publish URL cannot be used.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A command came before the one it needs, or twice.
    #[error("command `{0}` is out of order")]
    OutOfOrder(&'static str),
    /// The peer wants to watch.
    #[error("this server takes streams by RTMP but does not play them")]
    PlayRequested,
    /// The peer sends and sends, but does not publish.
    #[error("more than {UNPUBLISHED_BYTES_MAX} bytes were sent without a stream that is published")]
    TooMuchUnpublished,
    /// No complete handshake in time.
    #[error("no complete handshake within the handshake timeout")]
    HandshakeTimeout,
    /// No granted publish in time.
    #[error("nothing published within the publish timeout")]
    PublishTimeout,
    /// A publisher fell silent.
    #[error("nothing received for the idle timeout")]
    IdleTimeout,
}

/// One connection; see the module's description. Not `Debug`: it holds the publish URL with its token.
pub struct Session {
    settings: RtmpSettings,
    phase: Phase,
    /// Read and not understood yet.
    input: BytesMut,
    /// Where the next bytes go, directly behind `input`.
    room: BytesMut,
    output: BytesMut,
    reader: ChunkReader,
    writer: ChunkWriter,
    acknowledger: Acknowledger,
    /// What is left of an aggregate message.
    aggregate: Option<Aggregate>,
    connect: Option<Connect>,
    /// Bytes received since the session last began to wait for a publish request.
    unpublished_bytes: usize,
    /// When the session last began to wait for a publish request.
    idle_since: Duration,
    last_input: Duration,
}

enum Phase {
    Handshake(ServerHandshake),
    /// Commands are expected; media is dropped.
    Idle,
    /// A publish request on this message stream waits for the gate.
    Deciding {
        stream_id: u32,
    },
    Publishing {
        stream_id: u32,
    },
    Closed,
}

struct Connect {
    app: String,
    tc_url: String,
    encoder: Option<String>,
}

impl Session {
    /// A connection that was just accepted; `nonce` as for [`ServerHandshake::new`].
    pub fn new(settings: &RtmpSettings, nonce: [u8; 8]) -> Session {
        Session {
            settings: settings.clone(),
            phase: Phase::Handshake(ServerHandshake::new(nonce)),
            input: BytesMut::new(),
            room: BytesMut::new(),
            output: BytesMut::new(),
            reader: ChunkReader::new(settings.unauthorised_bytes_max),
            writer: ChunkWriter::default(),
            acknowledger: Acknowledger::new(WINDOW_BYTES),
            aggregate: None,
            connect: None,
            unpublished_bytes: 0,
            idle_since: Duration::ZERO,
            last_input: Duration::ZERO,
        }
    }

    /// Where to put the next bytes from the peer, at least one; [`Session::received`] follows. Poll until `None`
    /// before the next call, so that the bytes kept are those of one call and a chunk header.
    pub fn input(&mut self) -> &mut [u8] {
        let most = self.input_bytes_max();
        // Another buffer is begun when the last one has only a quarter of it left.
        if self.room.len() < most.div_ceil(4) {
            let mut buffer = BytesMut::zeroed(self.input.len() + most);
            self.room = buffer.split_off(self.input.len());
            buffer.copy_from_slice(&self.input);
            self.input = buffer;
        }
        let length = most.min(self.room.len());
        self.room.get_mut(..length).unwrap_or_default()
    }

    fn input_bytes_max(&self) -> usize {
        match self.phase {
            Phase::Publishing { .. } => INPUT_BYTES_MAX,
            _ => {
                let room = self.settings.unauthorised_bytes_max.saturating_sub(self.held_bytes());
                room.clamp(1, UNPUBLISHED_INPUT_BYTES_MAX)
            }
        }
    }

    /// Takes note that `length` bytes, at most those there were, were put into [`Session::input`].
    pub fn received(&mut self, length: usize, now: Duration) {
        if length == 0 {
            return;
        }
        // Both are of one buffer: nothing is copied.
        self.input.unsplit(self.room.split_to(length.min(self.room.len())));
        self.last_input = now;
        if !matches!(self.phase, Phase::Publishing { .. }) {
            self.unpublished_bytes += length;
        }
        let sequence = self.acknowledger.received(length);
        if let Some(sequence) = sequence.filter(|_| self.reads_acknowledgements()) {
            self.send(&message::control(type_id::ACKNOWLEDGEMENT, sequence));
        }
    }

    /// Whether the peer may be told how much arrived. FFmpeg (`Lavf` in its `flashVer`) never waits for
    /// it, and leaves without reading the last one. That turns its goodbye into a reset, which takes
    /// with it what it sent and we have not read yet: megabytes, when it does not pace itself.
    fn reads_acknowledgements(&self) -> bool {
        let encoder = self.connect.as_ref().and_then(|connect| connect.encoder.as_deref());
        !encoder.is_some_and(|encoder| encoder.contains("Lavf"))
    }

    /// The next event; `None` when more bytes, or the answer to a publish request, are needed.
    ///
    /// # Errors
    /// [`SessionError`]: send what is left of the output and close.
    pub fn poll(&mut self, now: Duration) -> Result<Option<SessionEvent>, SessionError> {
        loop {
            match &mut self.phase {
                Phase::Handshake(handshake) => {
                    if !handshake.advance(&mut self.input, &mut self.output)? {
                        return Ok(None);
                    }
                    self.phase = Phase::Idle;
                }
                Phase::Deciding { .. } | Phase::Closed => return Ok(None),
                Phase::Idle | Phase::Publishing { .. } => {
                    if let Some(event) = self.next_of_aggregate() {
                        return Ok(Some(event));
                    }
                    let Some(message) = self.reader.read(&mut self.input)? else {
                        return self.check_held_bytes().map(|()| None);
                    };
                    if let Some(event) = self.on_message(message, now)? {
                        return Ok(Some(event));
                    }
                }
            }
        }
    }

    /// Grants the publish request that was polled.
    pub fn grant(&mut self) {
        let Phase::Deciding { stream_id } = self.phase else { return };
        self.phase = Phase::Publishing { stream_id };
        self.reader.set_held_bytes_max(self.settings.publisher_bytes_max);
        self.send(&message::user_control(user_control::STREAM_BEGIN, stream_id));
        let status = Command::on_status("status", "NetStream.Publish.Start", "publishing");
        self.send_command(&status, stream_id);
    }

    /// Refuses the publish request that was polled, telling the encoder why; then close.
    pub fn refuse(&mut self, reason: &str, description: &str) {
        if let Phase::Deciding { stream_id } = self.phase {
            self.fail("NetStream.Publish.BadName", reason, description, stream_id);
        }
    }

    /// Ends the granted stream from our side, telling the encoder why; then close.
    pub fn stop(&mut self, reason: &str, description: &str) {
        if let Phase::Publishing { stream_id } = self.phase {
            self.fail("NetStream.Failed", reason, description, stream_id);
        }
    }

    /// Bytes to send to the peer; empty when there are none.
    pub fn take_output(&mut self) -> Bytes {
        self.output.split().freeze()
    }

    /// When [`Session::check_deadline`] is due.
    pub fn deadline(&self) -> Duration {
        match self.phase {
            Phase::Handshake(_) => self.settings.handshake_timeout,
            Phase::Publishing { .. } => self.last_input + self.settings.idle_timeout,
            Phase::Idle | Phase::Deciding { .. } | Phase::Closed => {
                self.idle_since + self.settings.publish_timeout
            }
        }
    }

    /// Whether the peer still has time at `now`.
    ///
    /// # Errors
    /// The timeout that has passed; close.
    pub fn check_deadline(&self, now: Duration) -> Result<(), SessionError> {
        if now < self.deadline() {
            return Ok(());
        }
        Err(match self.phase {
            Phase::Handshake(_) => SessionError::HandshakeTimeout,
            Phase::Publishing { .. } => SessionError::IdleTimeout,
            Phase::Idle | Phase::Deciding { .. } | Phase::Closed => SessionError::PublishTimeout,
        })
    }

    /// Bytes from the peer that are held now: unread input and unfinished messages.
    pub fn held_bytes(&self) -> usize {
        self.input.len() + self.reader.held_bytes()
    }

    /// Ends a session that could not take another byte without passing its limits.
    fn check_held_bytes(&self) -> Result<(), SessionError> {
        let limit = self.settings.unauthorised_bytes_max;
        match self.phase {
            Phase::Publishing { .. } => Ok(()),
            _ if self.unpublished_bytes > UNPUBLISHED_BYTES_MAX => Err(SessionError::TooMuchUnpublished),
            _ if self.held_bytes() < limit => Ok(()),
            _ => Err(ChunkError::TooMuchHeld { limit }.into()),
        }
    }

    fn on_message(&mut self, message: Message, now: Duration) -> Result<Option<SessionEvent>, SessionError> {
        match message.type_id {
            type_id::SET_CHUNK_SIZE => self.reader.set_chunk_size(control_value(&message)?)?,
            type_id::ABORT => self.reader.abort(control_value(&message)?),
            type_id::WINDOW_ACK_SIZE => self.acknowledger.set_window(control_value(&message)?),
            type_id::USER_CONTROL => self.on_user_control(&message),
            type_id::COMMAND_AMF0 | type_id::COMMAND_AMF3 => return self.on_command(&message, now),
            type_id::AUDIO | type_id::VIDEO | type_id::DATA_AMF0
                if matches!(self.phase, Phase::Publishing { .. }) =>
            {
                return Ok(Some(SessionEvent::Tag {
                    tag_type: message.type_id,
                    timestamp_ms: message.timestamp,
                    body: message.payload,
                }));
            }
            type_id::AGGREGATE if matches!(self.phase, Phase::Publishing { .. }) => {
                self.aggregate = Some(Aggregate::new(message.timestamp, message.payload));
                return Ok(self.next_of_aggregate());
            }
            // Acknowledgements and peer bandwidth ask nothing of a server that hardly sends; other
            // types (shared objects, AMF3 data) are not part of publishing.
            _ => {}
        }
        Ok(None)
    }

    /// The next tag of an aggregate message. Only media counts in one: its messages are of the granted stream,
    /// whatever they say.
    fn next_of_aggregate(&mut self) -> Option<SessionEvent> {
        let is_media =
            |tag_type: u8| matches!(tag_type, type_id::AUDIO | type_id::VIDEO | type_id::DATA_AMF0);
        for tag in self.aggregate.as_mut()? {
            match tag {
                Ok(FlvTag { tag_type, timestamp_ms, body }) if is_media(tag_type) => {
                    return Some(SessionEvent::Tag { tag_type, timestamp_ms, body });
                }
                Ok(_) => {}
                Err(CutOff) => return Some(SessionEvent::CutOff),
            }
        }
        self.aggregate = None;
        None
    }

    fn on_user_control(&mut self, message: &Message) {
        if let Some([high, low, value @ ..]) = message.payload.first_chunk::<6>()
            && u16::from_be_bytes([*high, *low]) == user_control::PING_REQUEST
        {
            self.send(&message::user_control(user_control::PING_RESPONSE, u32::from_be_bytes(*value)));
        }
    }

    fn on_command(&mut self, message: &Message, now: Duration) -> Result<Option<SessionEvent>, SessionError> {
        let command = Command::decode(&message.payload, message.type_id == type_id::COMMAND_AMF3)?;
        match command.name.as_str() {
            "connect" => self.on_connect(&command).map(|()| None),
            "createStream" => {
                let id = Value::Number(f64::from(STREAM_ID));
                self.send_command(&Command::new("_result", command.transaction, [Value::Null, id]), 0);
                Ok(None)
            }
            "releaseStream" => {
                self.send_command(&Command::new("_result", command.transaction, [Value::Null]), 0);
                Ok(None)
            }
            // Encoders that send it want both answers to a call and this notice, in FMLE's manner.
            "FCPublish" => {
                self.send_command(&Command::new("_result", command.transaction, [Value::Null]), 0);
                let info = status_info("status", "NetStream.Publish.Start", "ready");
                self.send_command(&Command::new("onFCPublish", 0.0, [Value::Null, info]), 0);
                Ok(None)
            }
            "publish" => self.on_publish(&command, message.stream_id).map(Some),
            "FCUnpublish" | "deleteStream" | "closeStream" => Ok(self.on_unpublish(now)),
            "play" | "play2" => {
                let description = SessionError::PlayRequested.to_string();
                self.fail("NetStream.Play.Failed", "play_not_supported", &description, message.stream_id);
                Err(SessionError::PlayRequested)
            }
            _ => Ok(None),
        }
    }

    fn on_connect(&mut self, command: &Command) -> Result<(), SessionError> {
        if self.connect.is_some() {
            return Err(SessionError::OutOfOrder("connect"));
        }
        let offer = command.arguments.first().unwrap_or(&Value::Null);
        let text = |name| offer.get(name).and_then(Value::as_str);
        let connect = Connect {
            app: text("app").unwrap_or_default().to_owned(),
            tc_url: text("tcUrl").unwrap_or_default().to_owned(),
            encoder: text("flashVer").map(str::to_owned),
        };
        if !is_publish_app(&connect.app) {
            let error = TargetError::WrongApp;
            let info = status_info("error", "NetConnection.Connect.Rejected", &error.to_string());
            self.send_command(&Command::new("_error", command.transaction, [Value::Null, info]), 0);
            self.phase = Phase::Closed;
            return Err(error.into());
        }
        self.connect = Some(connect);
        self.send(&message::control(type_id::WINDOW_ACK_SIZE, WINDOW_BYTES));
        self.send(&message::set_peer_bandwidth(WINDOW_BYTES));
        self.send(&message::control(type_id::SET_CHUNK_SIZE, OUTPUT_CHUNK_SIZE));
        self.writer.set_chunk_size(OUTPUT_CHUNK_SIZE as usize);
        let answer = [capabilities::server_properties(), connect_info(offer)];
        self.send_command(&Command::new("_result", command.transaction, answer), 0);
        Ok(())
    }

    fn on_publish(&mut self, command: &Command, stream_id: u32) -> Result<SessionEvent, SessionError> {
        if !matches!(self.phase, Phase::Idle) {
            return Err(SessionError::OutOfOrder("publish"));
        }
        let Some(connect) = &self.connect else { return Err(SessionError::OutOfOrder("publish")) };
        let stream_key = command.text(1).unwrap_or_default();
        match parse_publish_target(&connect.app, &connect.tc_url, stream_key) {
            Ok(target) => {
                let encoder = connect.encoder.clone();
                self.phase = Phase::Deciding { stream_id };
                Ok(SessionEvent::PublishRequested { target, encoder })
            }
            Err(error) => {
                self.fail("NetStream.Publish.BadName", error.code(), &error.to_string(), stream_id);
                Err(error.into())
            }
        }
    }

    fn on_unpublish(&mut self, now: Duration) -> Option<SessionEvent> {
        let Phase::Publishing { stream_id } = self.phase else { return None };
        self.phase = Phase::Idle;
        self.idle_since = now;
        self.unpublished_bytes = 0;
        self.reader.set_held_bytes_max(self.settings.unauthorised_bytes_max);
        let status = Command::on_status("status", "NetStream.Unpublish.Success", "unpublished");
        self.send_command(&status, stream_id);
        Some(SessionEvent::Unpublished)
    }

    /// Tells the peer of an error about a stream; nothing it sends is looked at any more.
    fn fail(&mut self, code: &str, reason: &str, description: &str, stream_id: u32) {
        let mut status = Command::on_status("error", code, description);
        if let Some(Value::Object(info)) = status.arguments.last_mut() {
            info.push(("details".to_owned(), Value::string(reason)));
        }
        self.send_command(&status, stream_id);
        self.phase = Phase::Closed;
    }

    fn send_command(&mut self, command: &Command, stream_id: u32) {
        self.send(&command.to_message(stream_id));
    }

    fn send(&mut self, message: &Message) {
        self.writer.write(message, &mut self.output);
    }
}

fn connect_info(offer: &Value) -> Value {
    let mut info = status_info("status", "NetConnection.Connect.Success", "connected");
    if let Value::Object(members) = &mut info {
        members.push(("objectEncoding".to_owned(), Value::Number(0.0)));
        members.extend(capabilities::enhanced_members(offer));
    }
    info
}

fn control_value(message: &Message) -> Result<u32, SessionError> {
    let bytes = message.payload.first_chunk::<4>().ok_or(SessionError::ShortControl(message.type_id))?;
    Ok(u32::from_be_bytes(*bytes))
}
