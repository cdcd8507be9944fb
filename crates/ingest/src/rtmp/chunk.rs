//! RTMP messages to chunks and back (Adobe RTMP 1.0 §5.3).
//!
//! [`ChunkReader`] is fed by the session with whatever bytes have arrived; it consumes them at
//! once and holds only unfinished messages. A message that arrived in one piece is not copied: it keeps the
//! buffer that it lies in, which whoever keeps it has to think of. What always holds: [`ChunkReader::held_bytes`] never
//! passes the limit, and memory follows the bytes received, not the lengths announced.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Chunk payload size of both directions until a Set Chunk Size message (§5.4.1).
pub const CHUNK_SIZE_DEFAULT: usize = 128;
/// No message is longer than its 24-bit length field, so larger chunk sizes mean the same (§5.4.1).
pub const CHUNK_SIZE_MAX: usize = 0xFF_FFFF;
/// Chunk streams one peer may use. Encoders use three to six.
pub const CHUNK_STREAMS_MAX: usize = 16;

/// In a 24-bit timestamp field: the time is in the extended timestamp field (§5.3.1.3).
const EXTENDED: u32 = 0xFF_FFFF;

/// One RTMP message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Chunk stream it travels on; 2 is for protocol control.
    pub chunk_stream: u32,
    /// Message type id (§5.4, §7.1).
    pub type_id: u8,
    /// Message stream id; 0 for the connection itself.
    pub stream_id: u32,
    /// Milliseconds, wrapping at 2^32.
    pub timestamp: u32,
    /// The message without headers.
    pub payload: Bytes,
}

/// Why a byte stream is not followed any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// A chunk that depends on an earlier one opens its chunk stream.
    #[error("chunk stream {0} begins with a type 3 chunk, which needs an earlier one")]
    NothingToContinue(u32),
    /// A new message begins before the previous one of the same chunk stream is complete.
    #[error("a new message begins on chunk stream {0} inside another one")]
    Interrupted(u32),
    /// The peer opened more than [`CHUNK_STREAMS_MAX`] chunk streams.
    #[error("more than {CHUNK_STREAMS_MAX} chunk streams")]
    TooManyChunkStreams,
    /// The announced length of a message is over the limit.
    #[error("a message of {length} bytes is longer than the {limit} bytes allowed now")]
    MessageTooLong {
        /// As announced.
        length: usize,
        /// The limit in force, which is lower before publishing is granted.
        limit: usize,
    },
    /// The unfinished messages together are over the limit.
    #[error("unfinished messages hold more than the {limit} bytes allowed now")]
    TooMuchHeld {
        /// The limit in force, which is lower before publishing is granted.
        limit: usize,
    },
    /// A chunk size that the specification forbids.
    #[error("chunk size {0} is outside 1 to 2147483647")]
    BadChunkSize(u32),
}

/// Puts the messages of one direction of a connection together again.
#[derive(Debug)]
pub struct ChunkReader {
    streams: Vec<ChunkStream>,
    chunk_size: usize,
    held_bytes: usize,
    held_bytes_max: usize,
    open: Option<OpenChunk>,
}

/// The last message header of a chunk stream, and the message being put together.
#[derive(Debug, Default)]
struct ChunkStream {
    id: u32,
    /// Time of the current message, absolute.
    timestamp: u32,
    /// What the last header of type 0, 1 or 2 carried: a type 3 chunk that begins a message adds
    /// it again (§5.3.1.2.4), even after type 0, where it was absolute.
    time_field: u32,
    is_extended: bool,
    length: usize,
    type_id: u8,
    stream_id: u32,
    payload: BytesMut,
    in_message: bool,
}

/// A chunk whose payload has not fully arrived.
#[derive(Debug, Clone, Copy)]
struct OpenChunk {
    stream: usize,
    missing: usize,
}

impl ChunkReader {
    /// A reader that holds at most `held_bytes_max` bytes of unfinished messages.
    pub fn new(held_bytes_max: usize) -> ChunkReader {
        ChunkReader {
            streams: Vec::new(),
            chunk_size: CHUNK_SIZE_DEFAULT,
            held_bytes: 0,
            held_bytes_max,
            open: None,
        }
    }

    /// Applies the peer's Set Chunk Size from the next chunk on.
    ///
    /// # Errors
    /// [`ChunkError::BadChunkSize`] for zero or with the top bit set, which must not be (§5.4.1).
    pub fn set_chunk_size(&mut self, size: u32) -> Result<(), ChunkError> {
        if size == 0 || size > 0x7FFF_FFFF {
            return Err(ChunkError::BadChunkSize(size));
        }
        self.chunk_size = usize::try_from(size).map_or(CHUNK_SIZE_MAX, |size| size.min(CHUNK_SIZE_MAX));
        Ok(())
    }

    /// Sets what unfinished messages may hold together, and so the longest message.
    pub fn set_held_bytes_max(&mut self, bytes: usize) {
        self.held_bytes_max = bytes;
    }

    /// Bytes of unfinished messages held now.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Drops the unfinished message of a chunk stream (Abort Message, §5.4.2).
    pub fn abort(&mut self, chunk_stream: u32) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == chunk_stream) {
            self.held_bytes -= stream.payload.len();
            stream.payload = BytesMut::new();
            stream.in_message = false;
        }
    }

    /// Takes bytes from the front of `input` until a message is complete. `None` means that all
    /// usable bytes were taken (what stays is less than one chunk header).
    ///
    /// # Errors
    /// [`ChunkError`]; the connection cannot be understood any further.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<Message>, ChunkError> {
        loop {
            let open = match self.open {
                Some(open) => open,
                None => match self.begin_chunk(input)? {
                    Some(open) => match self.take_whole(open, input) {
                        Some(message) => return Ok(Some(message)),
                        None => open,
                    },
                    None => return Ok(None),
                },
            };
            let left = self.fill(open, input)?;
            self.open = (left.missing > 0).then_some(left);
            if left.missing > 0 {
                return Ok(None);
            }
            if let Some(message) = self.complete(open.stream) {
                return Ok(Some(message));
            }
        }
    }

    /// Reads a whole chunk header, or nothing of it.
    fn begin_chunk(&mut self, input: &mut BytesMut) -> Result<Option<OpenChunk>, ChunkError> {
        let Some((header, header_length)) = parse_header(input, &self.streams) else { return Ok(None) };
        let index = self.stream_index(header.chunk_stream, header.format)?;
        let (chunk_size, limit) = (self.chunk_size, self.held_bytes_max);
        let Some(stream) = self.streams.get_mut(index) else { return Ok(None) };
        stream.apply(&header)?;
        if stream.length > limit {
            return Err(ChunkError::MessageTooLong { length: stream.length, limit });
        }
        input.advance(header_length);
        let missing = chunk_size.min(stream.length - stream.payload.len());
        Ok(Some(OpenChunk { stream: index, missing }))
    }

    fn stream_index(&mut self, id: u32, format: u8) -> Result<usize, ChunkError> {
        if let Some(index) = self.streams.iter().position(|stream| stream.id == id) {
            return Ok(index);
        }
        if self.streams.len() >= CHUNK_STREAMS_MAX {
            return Err(ChunkError::TooManyChunkStreams);
        }
        // librtmp opens the control stream with a type 1 header; what is left out counts as zero.
        if format == 3 {
            return Err(ChunkError::NothingToContinue(id));
        }
        self.streams.push(ChunkStream { id, ..ChunkStream::default() });
        Ok(self.streams.len() - 1)
    }

    /// A message whose only chunk has arrived whole, as a slice of `input`.
    fn take_whole(&mut self, open: OpenChunk, input: &mut BytesMut) -> Option<Message> {
        let stream = self.streams.get_mut(open.stream)?;
        let is_whole = open.missing == stream.length && input.len() >= stream.length;
        if !is_whole || self.held_bytes + stream.length > self.held_bytes_max {
            return None;
        }
        stream.in_message = false;
        Some(stream.message(input.split_to(stream.length).freeze()))
    }

    fn fill(&mut self, open: OpenChunk, input: &mut BytesMut) -> Result<OpenChunk, ChunkError> {
        let count = open.missing.min(input.len());
        if self.held_bytes + count > self.held_bytes_max {
            return Err(ChunkError::TooMuchHeld { limit: self.held_bytes_max });
        }
        if let (Some(stream), Some(part)) = (self.streams.get_mut(open.stream), input.get(..count)) {
            stream.payload.extend_from_slice(part);
            self.held_bytes += count;
        }
        input.advance(count);
        Ok(OpenChunk { missing: open.missing - count, ..open })
    }

    fn complete(&mut self, index: usize) -> Option<Message> {
        let stream = self.streams.get_mut(index)?;
        if !stream.in_message || stream.payload.len() < stream.length {
            return None;
        }
        stream.in_message = false;
        let payload = std::mem::take(&mut stream.payload).freeze();
        self.held_bytes -= payload.len();
        Some(stream.message(payload))
    }
}

impl ChunkStream {
    fn message(&self, payload: Bytes) -> Message {
        Message {
            chunk_stream: self.id,
            type_id: self.type_id,
            stream_id: self.stream_id,
            timestamp: self.timestamp,
            payload,
        }
    }

    fn apply(&mut self, header: &ChunkHeader) -> Result<(), ChunkError> {
        if header.format < 3 && self.in_message {
            return Err(ChunkError::Interrupted(self.id));
        }
        if let Some(time) = header.time {
            self.time_field = time.value;
            self.is_extended = time.is_extended;
        }
        if let Some((length, type_id)) = header.length_and_type {
            (self.length, self.type_id) = (length, type_id);
        }
        if let Some(stream_id) = header.stream_id {
            self.stream_id = stream_id;
        }
        if !self.in_message {
            let base = if header.format == 0 { 0 } else { self.timestamp };
            self.timestamp = base.wrapping_add(self.time_field);
            self.in_message = true;
        }
        Ok(())
    }
}

/// The fields present in one chunk header (§5.3.1).
struct ChunkHeader {
    chunk_stream: u32,
    format: u8,
    time: Option<TimeField>,
    length_and_type: Option<(usize, u8)>,
    stream_id: Option<u32>,
}

#[derive(Clone, Copy)]
struct TimeField {
    value: u32,
    is_extended: bool,
}

/// Reads a header without consuming it; `None` until all its bytes are there. Also answers its
/// length in bytes.
fn parse_header(input: &[u8], streams: &[ChunkStream]) -> Option<(ChunkHeader, usize)> {
    let mut rest = input;
    let [first] = take(&mut rest)?;
    let format = first >> 6;
    let chunk_stream = match first & 0x3F {
        0 => {
            let [low] = take(&mut rest)?;
            u32::from(low) + 64
        }
        1 => {
            let [low, high] = take(&mut rest)?;
            u32::from(low) + u32::from(high) * 256 + 64
        }
        id => u32::from(id),
    };
    let mut header = ChunkHeader { chunk_stream, format, time: None, length_and_type: None, stream_id: None };
    if format < 3 {
        let value = be24(take(&mut rest)?);
        header.time = Some(TimeField { value, is_extended: value == EXTENDED });
    }
    if format < 2 {
        let length = be24(take(&mut rest)?);
        let [type_id] = take(&mut rest)?;
        header.length_and_type = Some((usize::try_from(length).ok()?, type_id));
    }
    if format == 0 {
        header.stream_id = Some(u32::from_le_bytes(take(&mut rest)?));
    }
    match &mut header.time {
        Some(time) if time.is_extended => time.value = u32::from_be_bytes(take(&mut rest)?),
        Some(_) => {}
        None => skip_repeated_time(&mut rest, chunk_stream, streams)?,
    }
    Some((header, input.len() - rest.len()))
}

/// A type 3 chunk repeats the extended timestamp of its chunk stream (§5.3.1.3). Some encoders
/// leave it out, so it is taken only where it is indeed the same. `None` asks for more bytes.
fn skip_repeated_time(rest: &mut &[u8], chunk_stream: u32, streams: &[ChunkStream]) -> Option<()> {
    let stream = streams.iter().find(|stream| stream.id == chunk_stream);
    if let Some(stream) = stream.filter(|stream| stream.is_extended) {
        let mut ahead = *rest;
        let repeated = u32::from_be_bytes(take(&mut ahead)?);
        if repeated == stream.time_field {
            *rest = ahead;
        }
    }
    Some(())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

fn be24([high, middle, low]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, high, middle, low])
}

/// Cuts the messages of one direction of a connection into chunks.
///
/// Every message begins with a full header (type 0), which is always allowed and never depends on
/// what went before.
#[derive(Debug)]
pub struct ChunkWriter {
    chunk_size: usize,
}

impl Default for ChunkWriter {
    fn default() -> ChunkWriter {
        ChunkWriter { chunk_size: CHUNK_SIZE_DEFAULT }
    }
}

impl ChunkWriter {
    /// Uses another chunk size from the next message on; the peer must be told before.
    pub fn set_chunk_size(&mut self, size: usize) {
        self.chunk_size = size.clamp(1, CHUNK_SIZE_MAX);
    }

    /// Appends `message` to `out`. A chunk stream id is 2 to 63 here, one byte on the wire; the
    /// payload is at most 16 MiB, of which a length field of 24 bits allows no more.
    pub fn write(&self, message: &Message, out: &mut BytesMut) {
        let chunk_stream = u8::try_from(message.chunk_stream.clamp(2, 63)).unwrap_or(2);
        let payload = message.payload.get(..CHUNK_SIZE_MAX).unwrap_or(&message.payload);
        let is_extended = message.timestamp >= EXTENDED;
        out.put_u8(chunk_stream);
        out.put_uint(u64::from(message.timestamp.min(EXTENDED)), 3);
        out.put_uint(payload.len() as u64, 3);
        out.put_u8(message.type_id);
        out.put_u32_le(message.stream_id);
        if is_extended {
            out.put_u32(message.timestamp);
        }
        for (index, part) in payload.chunks(self.chunk_size).enumerate() {
            if index > 0 {
                out.put_u8(0xC0 | chunk_stream);
                if is_extended {
                    out.put_u32(message.timestamp);
                }
            }
            out.put_slice(part);
        }
    }
}
