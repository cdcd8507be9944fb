//! The first layout of an index: sample by sample, without a summary. No longer written.

use mediahooks_media::sample::{SampleInfo, Ticks};

use super::TrackSpan;
use mediahooks_media::varint;

/// Takes a track off the front of `bytes`; `None` when it is damaged.
pub(super) fn take(bytes: &mut &[u8]) -> Option<TrackSpan> {
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

/// An index as it was written.
#[cfg(test)]
pub(super) fn encode(index: &super::SegmentIndex) -> Vec<u8> {
    let mut out = vec![super::FIRST_VERSION];
    varint::put(&mut out, index.tracks.len() as u64);
    for track in &index.tracks {
        encode_track(&mut out, track);
    }
    out
}

#[cfg(test)]
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
