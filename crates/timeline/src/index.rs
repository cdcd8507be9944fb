//! The sample table of one segment, in the compact form the database keeps.
//!
//! With it and the run's track configurations every header is built without reading media. A
//! sample takes about four bytes: neighbours resemble each other, so differences are stored.

use mediahooks_media::sample::{SampleInfo, Ticks};
use mediahooks_media::varint;

/// The first byte of the encoding; raised when the layout changes.
const VERSION: u8 = 1;

/// Which samples a segment holds and where their bytes are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SegmentIndex {
    /// One entry per track that has samples in this segment, in the order of their bytes.
    pub tracks: Vec<TrackSpan>,
}

/// The samples of one track in one segment. Their bytes lie one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackSpan {
    /// Position of the track in the run's list of tracks.
    pub track: u32,
    /// Decode time of the first sample, in ticks of the track on the run's media clock; not negative.
    pub base_dts: Ticks,
    /// First sample byte, counted from the start of the segment.
    pub data_offset: u32,
    /// In decode order; never empty.
    pub samples: Vec<SampleInfo>,
}

/// A stored index that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Written by a version of the program that this one does not know.
    #[error("the segment index has layout {0}; this program knows {VERSION}: update it")]
    UnknownVersion(u8),
    /// The bytes are damaged.
    #[error("the segment index is damaged")]
    Damaged,
}

impl TrackSpan {
    /// Decode time at which the last sample ends.
    pub fn end_dts(&self) -> Ticks {
        Ticks(self.base_dts.0 + self.samples.iter().map(|sample| i64::from(sample.duration)).sum::<i64>())
    }

    /// Every sample with its decode time.
    pub fn timed(&self) -> impl Iterator<Item = (Ticks, &SampleInfo)> {
        self.samples.iter().scan(self.base_dts.0, |dts, sample| {
            let this = *dts;
            *dts += i64::from(sample.duration);
            Some((Ticks(this), sample))
        })
    }
}

impl SegmentIndex {
    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let samples: usize = self.tracks.iter().map(|track| track.samples.len()).sum();
        let mut out = Vec::with_capacity(16 + 5 * samples);
        out.push(VERSION);
        varint::put(&mut out, self.tracks.len() as u64);
        for track in &self.tracks {
            encode_track(&mut out, track);
        }
        out
    }

    /// Reads what [`SegmentIndex::encode`] wrote.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, IndexError> {
        let (&version, rest) = bytes.split_first().ok_or(IndexError::Damaged)?;
        if version != VERSION {
            return Err(IndexError::UnknownVersion(version));
        }
        bytes = rest;
        let count = varint::take(&mut bytes).ok_or(IndexError::Damaged)?;
        let mut tracks = Vec::new();
        for _ in 0..count {
            tracks.push(decode_track(&mut bytes).ok_or(IndexError::Damaged)?);
        }
        if bytes.is_empty() { Ok(Self { tracks }) } else { Err(IndexError::Damaged) }
    }
}

fn encode_track(out: &mut Vec<u8>, track: &TrackSpan) {
    varint::put(out, u64::from(track.track));
    varint::put_signed(out, track.base_dts.0);
    varint::put(out, u64::from(track.data_offset));
    varint::put(out, track.samples.len() as u64);
    let (mut duration, mut cts) = (0i64, 0i64);
    for sample in &track.samples {
        varint::put(out, u64::from(sample.size) << 1 | u64::from(sample.is_sync));
        varint::put_signed(out, i64::from(sample.duration) - duration);
        varint::put_signed(out, i64::from(sample.cts_offset) - cts);
        duration = i64::from(sample.duration);
        cts = i64::from(sample.cts_offset);
    }
}

fn decode_track(bytes: &mut &[u8]) -> Option<TrackSpan> {
    let track = u32::try_from(varint::take(bytes)?).ok()?;
    let base_dts = Ticks(varint::take_signed(bytes)?);
    let data_offset = u32::try_from(varint::take(bytes)?).ok()?;
    let count = usize::try_from(varint::take(bytes)?).ok()?;
    // A sample takes at least three bytes: a count that promises more is damage, and must not
    // make us reserve memory for it.
    if count == 0 || count > bytes.len() / 3 {
        return None;
    }
    let mut samples = Vec::with_capacity(count);
    let (mut duration, mut cts) = (0i64, 0i64);
    for _ in 0..count {
        let size = varint::take(bytes)?;
        duration = duration.checked_add(varint::take_signed(bytes)?)?;
        cts = cts.checked_add(varint::take_signed(bytes)?)?;
        samples.push(SampleInfo {
            duration: u32::try_from(duration).ok()?,
            size: u32::try_from(size >> 1).ok()?,
            cts_offset: i32::try_from(cts).ok()?,
            is_sync: size & 1 == 1,
        });
    }
    Some(TrackSpan { track, base_dts, data_offset, samples })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_sample() -> impl Strategy<Value = SampleInfo> {
        (any::<u32>(), any::<u32>(), any::<i32>(), any::<bool>()).prop_map(
            |(duration, size, cts_offset, is_sync)| SampleInfo { duration, size, cts_offset, is_sync },
        )
    }

    fn any_span() -> impl Strategy<Value = TrackSpan> {
        (any::<u32>(), any::<i64>(), any::<u32>(), prop::collection::vec(any_sample(), 1..40)).prop_map(
            |(track, base, data_offset, samples)| TrackSpan {
                track,
                base_dts: Ticks(base),
                data_offset,
                samples,
            },
        )
    }

    proptest! {
        #[test]
        fn an_index_survives_storage(tracks in prop::collection::vec(any_span(), 0..4)) {
            let index = SegmentIndex { tracks };
            prop_assert_eq!(SegmentIndex::decode(&index.encode()), Ok(index));
        }

        #[test]
        fn no_bytes_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = SegmentIndex::decode(&bytes);
            let _ = SegmentIndex::decode(&[&[VERSION], bytes.as_slice()].concat());
        }
    }

    #[test]
    fn a_usual_second_of_media_takes_a_few_bytes_a_sample() {
        let sample =
            |n: u32| SampleInfo { duration: 3000, size: 9000 + n * 37, cts_offset: 6000, is_sync: n == 0 };
        let track = TrackSpan {
            track: 0,
            base_dts: Ticks(900_000),
            data_offset: 500,
            samples: (0..30).map(sample).collect(),
        };
        let bytes = SegmentIndex { tracks: vec![track] }.encode();
        assert!(bytes.len() < 30 * 6, "{} bytes", bytes.len());
    }
}
