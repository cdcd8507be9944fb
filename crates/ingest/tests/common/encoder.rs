//! An encoder's side of the protocol without a socket: bytes for a [`Session`], and its answers.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use mediahooks_ingest::rtmp::RtmpSettings;
use mediahooks_ingest::rtmp::chunk::{ChunkReader, ChunkWriter, Message};
use mediahooks_ingest::rtmp::handshake::ClientHandshake;
use mediahooks_ingest::rtmp::message::{Command, type_id};
use mediahooks_ingest::rtmp::session::{Session, SessionError, SessionEvent};
use mediahooks_media::flv::amf0::Value;

/// C0, C1 and C2.
pub fn handshake() -> BytesMut {
    let mut bytes = BytesMut::new();
    ClientHandshake::start([1; 8], &mut bytes);
    bytes.extend_from_slice(&[0; 1536]);
    bytes
}

pub fn command(name: &str, transaction: f64, arguments: impl Into<Vec<Value>>, stream_id: u32) -> BytesMut {
    chunks(&Command::new(name, transaction, arguments).to_message(stream_id))
}

/// In chunks of the default size.
pub fn chunks(message: &Message) -> BytesMut {
    let mut bytes = BytesMut::new();
    ChunkWriter::default().write(message, &mut bytes);
    bytes
}

pub fn connect(app: &str) -> BytesMut {
    connect_with(app, Vec::new())
}

pub fn connect_with(app: &str, offer: Vec<(String, Value)>) -> BytesMut {
    let mut members = vec![
        ("app".to_owned(), Value::string(app)),
        ("flashVer".to_owned(), Value::string("FMLE/3.0 (test)")),
        ("tcUrl".to_owned(), Value::String(format!("rtmp://localhost/{app}"))),
    ];
    members.extend(offer);
    command("connect", 1.0, [Value::Object(members)], 0)
}

pub fn publish(stream_key: &str) -> BytesMut {
    let arguments = [Value::Null, Value::string(stream_key), Value::string("live")];
    command("publish", 5.0, arguments, 1)
}

pub fn control(type_id: u8, payload: &[u8]) -> BytesMut {
    let payload = Bytes::copy_from_slice(payload);
    chunks(&Message { chunk_stream: 2, type_id, stream_id: 0, timestamp: 0, payload })
}

/// A media message on chunk stream 4.
pub fn media(type_id: u8, timestamp: u32, payload: impl Into<Bytes>) -> BytesMut {
    chunks(&Message { chunk_stream: 4, type_id, stream_id: 1, timestamp, payload: payload.into() })
}

/// All that an encoder sends until media follows.
pub fn opening(stream_key: &str) -> BytesMut {
    let mut bytes = handshake();
    bytes.extend_from_slice(&connect("v2/pub"));
    bytes.extend_from_slice(&command("releaseStream", 2.0, [Value::Null, Value::string(stream_key)], 0));
    bytes.extend_from_slice(&command("FCPublish", 3.0, [Value::Null, Value::string(stream_key)], 0));
    bytes.extend_from_slice(&command("createStream", 4.0, [Value::Null], 0));
    bytes.extend_from_slice(&publish(stream_key));
    bytes
}

/// A session and the encoder that talks to it.
pub struct Peer {
    pub session: Session,
    pub now: Duration,
    /// The most bytes that were ever held.
    pub held_bytes_max: usize,
    handshake_bytes: usize,
    answers: BytesMut,
    reader: ChunkReader,
}

impl Peer {
    pub fn new(settings: &RtmpSettings) -> Peer {
        Peer {
            session: Session::new(settings, [2; 8]),
            now: Duration::ZERO,
            held_bytes_max: 0,
            handshake_bytes: 1 + 2 * 1536,
            answers: BytesMut::new(),
            reader: ChunkReader::new(usize::MAX),
        }
    }

    pub fn connected() -> Peer {
        let mut peer = Peer::new(&RtmpSettings::default());
        assert_eq!(peer.send(&[&handshake()[..], &connect("v2/pub")].concat()), Ok(vec![]));
        peer
    }

    pub fn publishing() -> Peer {
        let mut peer = Peer::new(&RtmpSettings::default());
        let events = peer.send(&opening("cam?token=00c0ffee")).unwrap();
        assert!(matches!(events[..], [SessionEvent::PublishRequested { .. }]));
        peer.session.grant();
        peer.answers();
        peer
    }

    /// Sends bytes as the shell does: never more at once than the session wants, polled dry in
    /// between.
    pub fn send(&mut self, mut bytes: &[u8]) -> Result<Vec<SessionEvent>, SessionError> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            let input = self.session.input();
            let (now, rest) = bytes.split_at(bytes.len().min(input.len()));
            input[..now.len()].copy_from_slice(now);
            self.session.received(now.len(), self.now);
            self.held_bytes_max = self.held_bytes_max.max(self.session.held_bytes());
            while let Some(event) = self.session.poll(self.now)? {
                events.push(event);
            }
            self.held_bytes_max = self.held_bytes_max.max(self.session.held_bytes());
            bytes = rest;
        }
        Ok(events)
    }

    /// The messages that the session has answered since the last call.
    pub fn answers(&mut self) -> Vec<Message> {
        self.answers.extend_from_slice(&self.session.take_output());
        let skipped = self.handshake_bytes.min(self.answers.len());
        drop(self.answers.split_to(skipped));
        self.handshake_bytes -= skipped;
        let mut messages = Vec::new();
        while let Some(message) = self.reader.read(&mut self.answers).unwrap() {
            if message.type_id == type_id::SET_CHUNK_SIZE {
                let size = u32::from_be_bytes(*message.payload.first_chunk().unwrap());
                self.reader.set_chunk_size(size).unwrap();
            }
            messages.push(message);
        }
        messages
    }

    /// The commands among the answers.
    pub fn commands(&mut self) -> Vec<Command> {
        let is_command = |message: &Message| message.type_id == type_id::COMMAND_AMF0;
        let messages = self.answers().into_iter().filter(is_command);
        messages.map(|message| Command::decode(&message.payload, false).unwrap()).collect()
    }
}

/// Member `name` of a command's last argument.
pub fn info<'a>(command: &'a Command, name: &str) -> &'a str {
    command.arguments.last().and_then(|info| info.get(name)?.as_str()).unwrap_or_default()
}
