//! Has what is kept of a publisher's messages hold little more memory than its own bytes.
//!
//! A sample is a slice of what was read, and keeps all of it alive: its buffer, or a message of megabytes of which it is
//! one byte. Pure: fed by [`super::feed`] with samples. What always holds: together they keep less than about six times their bytes
//! alive, and some megabytes, whatever lies between them; of a publisher that sends what is kept, large ones are not copied.

use bytes::{Bytes, BytesMut};

/// Samples smaller than this are copied, one behind the other into buffers of this size: each sound would need memory of its
/// own otherwise. Two such buffers in a row are more than half full.
const SHARED_BYTES: usize = 4096;

/// Large samples are copied while the publisher has sent more than so many times what is kept of it, and [`SPARE_BYTES`].
const TIMES_MAX: u64 = 4;

/// What a publisher may send in any case before its samples are copied.
const SPARE_BYTES: u64 = 256 << 10;

/// What was received is forgotten by halves when it was so much: what a publisher did hours ago says little.
const REMEMBERED_BYTES: u64 = 16 << 20;

/// Decides for the samples of one publisher.
#[derive(Debug, Default)]
pub(super) struct Keep {
    /// Room for the next small samples.
    small: BytesMut,
    received: u64,
    kept: u64,
}

impl Keep {
    /// So many bytes arrived, whatever they are.
    pub(super) fn received(&mut self, bytes: usize) {
        self.received += bytes as u64;
        if self.received > REMEMBERED_BYTES {
            self.received /= 2;
            self.kept /= 2;
        }
    }

    /// The bytes of a sample, to be kept.
    pub(super) fn keep(&mut self, data: Bytes) -> Bytes {
        self.kept += data.len() as u64;
        if data.len() < SHARED_BYTES {
            self.share(&data)
        } else if self.received > TIMES_MAX * self.kept + SPARE_BYTES {
            Bytes::copy_from_slice(&data)
        } else {
            data
        }
    }

    fn share(&mut self, data: &[u8]) -> Bytes {
        if self.small.capacity() < data.len() {
            self.small = BytesMut::with_capacity(SHARED_BYTES);
        }
        self.small.extend_from_slice(data);
        self.small.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_samples_of_who_sends_what_is_kept_are_not_copied() {
        let mut keep = Keep::default();
        for _ in 0..10_000 {
            let data = Bytes::from(vec![1; 20_000]);
            keep.received(2 * data.len());
            let at = data.as_ptr();
            assert_eq!(keep.keep(data).as_ptr(), at);
        }
    }

    #[test]
    fn those_of_who_sends_mostly_something_else_are_from_soon_on() {
        let mut keep = Keep::default();
        let mut samples = Vec::new();
        for _ in 0..1000 {
            keep.received(20_000 * 5);
            let data = Bytes::from(vec![1; 20_000]);
            let at = data.as_ptr();
            samples.push(keep.keep(data).as_ptr() != at);
        }
        let slices = samples.iter().take_while(|is_copy| !**is_copy).count();
        assert!(slices <= 14 && samples[slices..].iter().all(|is_copy| *is_copy), "{slices}");
    }

    #[test]
    fn small_samples_share_memory() {
        let mut keep = Keep::default();
        let samples: Vec<_> = (0..100).map(|at| keep.keep(Bytes::from(vec![at; 100]))).collect();
        let ends = samples.windows(2).filter(|pair| pair[0].as_ptr_range().end == pair[1].as_ptr());
        assert!(ends.count() >= 97, "a hundred of them fill three buffers");
        assert!(samples.iter().zip(0..).all(|(sample, at)| **sample == [at; 100]));
    }
}
