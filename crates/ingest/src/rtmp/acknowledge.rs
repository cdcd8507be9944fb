//! When to acknowledge received bytes (Adobe RTMP 1.0 §5.4.3 and §5.4.4).

/// No peer's window is taken as smaller than this, so that a tiny one does not make us answer
/// every few bytes.
const WINDOW_BYTES_MIN: u32 = 4096;

/// Counts received bytes against the peer's window.
#[derive(Debug)]
pub struct Acknowledger {
    window_bytes: u32,
    /// Bytes received since the beginning; wraps with the 32-bit field it is sent in.
    received: u32,
    acknowledged: u32,
}

impl Acknowledger {
    /// `window_bytes` holds until the peer sets its own.
    pub fn new(window_bytes: u32) -> Acknowledger {
        Acknowledger { window_bytes, received: 0, acknowledged: 0 }
    }

    /// The peer's Window Acknowledgement Size.
    pub fn set_window(&mut self, bytes: u32) {
        self.window_bytes = bytes.max(WINDOW_BYTES_MIN);
    }

    /// Counts bytes; answers the sequence number to send when half of the window is used up, so
    /// that a peer which stops at a full window never has to.
    pub fn received(&mut self, bytes: usize) -> Option<u32> {
        // Truncation is the arithmetic of the field: sequence numbers wrap.
        self.received = self.received.wrapping_add(bytes as u32);
        if self.received.wrapping_sub(self.acknowledged) < self.window_bytes / 2 {
            return None;
        }
        self.acknowledged = self.received;
        Some(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledges_at_half_the_window_and_across_the_wrap_of_the_sequence_number() {
        let mut acknowledger = Acknowledger::new(2_500_000);
        assert_eq!(acknowledger.received(1_249_999), None);
        assert_eq!(acknowledger.received(1), Some(1_250_000));
        acknowledger.set_window(0);
        assert_eq!(acknowledger.received(2047), None);
        assert_eq!(acknowledger.received(u32::MAX as usize - 1_250_000), Some(2046));
    }
}
