//! The plain RTMP handshake (Adobe RTMP 1.0 §5.2), both sides.
//!
//! The contents of the peer's packets are not checked: encoders that send the digest variant of
//! Flash accept a plain answer, and the handshake authenticates nobody.

use bytes::{Buf, BufMut, BytesMut};

/// The one version in use (§5.2.2).
const VERSION: u8 = 3;
/// Bytes of C1, S1, C2 and S2.
const PACKET_LENGTH: usize = 1536;
/// Time and zero (version) at the start of C1 and S1.
const PACKET_HEADER_LENGTH: usize = 8;

/// The peer does not speak plain RTMP; holds the first byte it sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the connection does not begin with an RTMP handshake (version byte {0:#04x} instead of 0x03)")]
pub struct NotRtmp(pub u8);

/// The server's side.
#[derive(Debug)]
pub struct ServerHandshake {
    nonce: [u8; 8],
    answered: bool,
}

impl ServerHandshake {
    /// `nonce` tells this connection's packets from those of others; it need not be secret.
    pub fn new(nonce: [u8; 8]) -> ServerHandshake {
        ServerHandshake { nonce, answered: false }
    }

    /// Takes the client's part from `input`, writes ours to `output`; true when complete.
    ///
    /// # Errors
    /// [`NotRtmp`], from the first byte on.
    pub fn advance(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<bool, NotRtmp> {
        if !self.answered {
            check_version(input)?;
            let Some(c1) = input.get(1..=PACKET_LENGTH) else { return Ok(false) };
            put_hello(self.nonce, output);
            output.put_slice(c1);
            input.advance(1 + PACKET_LENGTH);
            self.answered = true;
        }
        if input.len() < PACKET_LENGTH {
            return Ok(false);
        }
        input.advance(PACKET_LENGTH);
        Ok(true)
    }
}

/// The client's side.
#[derive(Debug, Default)]
pub struct ClientHandshake(());

impl ClientHandshake {
    /// Writes C0 and C1 to `output`.
    pub fn start(nonce: [u8; 8], output: &mut BytesMut) -> ClientHandshake {
        put_hello(nonce, output);
        ClientHandshake(())
    }

    /// Takes S0, S1 and S2 from `input` and writes C2 to `output`; true when complete.
    ///
    /// # Errors
    /// [`NotRtmp`], from the first byte on.
    pub fn advance(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> Result<bool, NotRtmp> {
        check_version(input)?;
        if input.len() < 1 + 2 * PACKET_LENGTH {
            return Ok(false);
        }
        output.put_slice(input.get(1..=PACKET_LENGTH).unwrap_or_default());
        input.advance(1 + 2 * PACKET_LENGTH);
        Ok(true)
    }
}

fn check_version(input: &[u8]) -> Result<(), NotRtmp> {
    match input.first() {
        Some(&other) if other != VERSION => Err(NotRtmp(other)),
        _ => Ok(()),
    }
}

/// C0 and C1, or S0 and S1.
fn put_hello(nonce: [u8; 8], output: &mut BytesMut) {
    output.put_u8(VERSION);
    output.put_bytes(0, PACKET_HEADER_LENGTH);
    for _ in 0..(PACKET_LENGTH - PACKET_HEADER_LENGTH) / nonce.len() {
        output.put_slice(&nonce);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_complete_when_their_bytes_arrive_one_by_one() {
        let (mut to_server, mut to_client) = (BytesMut::new(), BytesMut::new());
        let mut client = ClientHandshake::start([7; 8], &mut to_server);
        let mut server = ServerHandshake::new([9; 8]);

        assert!(!feed_one_by_one(&mut to_server, |input| server.advance(input, &mut to_client)));
        assert!(feed_one_by_one(&mut to_client, |input| client.advance(input, &mut to_server)));
        let mut ignored = BytesMut::new();
        assert!(feed_one_by_one(&mut to_server, |input| server.advance(input, &mut ignored)));
    }

    fn feed_one_by_one(
        bytes: &mut BytesMut,
        mut advance: impl FnMut(&mut BytesMut) -> Result<bool, NotRtmp>,
    ) -> bool {
        let mut input = BytesMut::new();
        for byte in std::mem::take(bytes) {
            input.put_u8(byte);
            if advance(&mut input).unwrap() {
                return true;
            }
        }
        false
    }

    #[test]
    fn another_protocol_is_refused_at_its_first_byte() {
        let mut server = ServerHandshake::new([0; 8]);
        let refused = server.advance(&mut BytesMut::from("GET / HTTP/1.1"), &mut BytesMut::new());
        assert_eq!(refused, Err(NotRtmp(b'G')));
    }
}
