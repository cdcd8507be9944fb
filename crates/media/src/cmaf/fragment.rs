//! The head of a fragment: the `moof` and the header of the `mdat`.

use shiguredo_mp4::{
    Encode, SampleFlags,
    boxes::{MfhdBox, MoofBox, TfdtBox, TfhdBox, TrafBox, TrunBox, TrunSample},
};

use crate::{
    boxes::overflow,
    error::MuxError,
    sample::{SampleInfo, Ticks},
};

const MDAT_HEADER_LEN: u64 = 8;

/// The samples of one track in a fragment.
#[derive(Debug, Clone, Copy)]
pub struct FragmentTrack<'a> {
    /// Number of the track, as in the initialization segment.
    pub track_id: u32,
    /// Decode time of the first sample. The format has no negative times: the caller shifts its
    /// timeline so that it begins at or after zero.
    pub base_dts: Ticks,
    /// In decode order, at least one.
    pub samples: &'a [SampleInfo],
}

/// What precedes the samples' bytes of a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentHead {
    /// The `moof` and the header of the `mdat`.
    pub bytes: Vec<u8>,
    /// For each track, the offset of its first sample's first byte from the start of the `moof`.
    pub data_offsets: Vec<u64>,
    /// Bytes of the whole fragment: the head and all samples.
    pub total_len: u64,
}

/// Encodes the head of a fragment. The caller writes it, then the bytes of all samples of the first
/// track, then those of the next.
///
/// - `sequence_number`: of the fragment in its file, from 1, rising.
/// - Errors: [`MuxError::Empty`] without tracks or for a track without samples;
///   [`MuxError::NegativeTime`] for a base before zero; [`MuxError::Overflow`] for more data than the
///   32-bit offsets of `trun` and size of `mdat` hold.
///
/// Spec: ISO/IEC 14496-12 §8.8.4 (`moof`), §8.8.8 (`trun`), §8.8.12 (`tfdt` version 1).
pub fn encode_fragment_head(
    sequence_number: u32,
    tracks: &[FragmentTrack<'_>],
) -> Result<FragmentHead, MuxError> {
    let described: Vec<_> = tracks.iter().map(|track| (*track, None)).collect();
    encode_described(sequence_number, &described)
}

/// As [`encode_fragment_head`], with the number of each track's sample entry where it is not the first.
pub(super) fn encode_described(
    sequence_number: u32,
    tracks: &[(FragmentTrack<'_>, Option<u32>)],
) -> Result<FragmentHead, MuxError> {
    if tracks.is_empty() {
        return Err(MuxError::Empty { what: "a fragment without tracks" });
    }
    let mut moof = MoofBox {
        mfhd_box: MfhdBox { sequence_number },
        traf_boxes: tracks.iter().map(track_fragment).collect::<Result<_, _>>()?,
        unknown_boxes: Vec::new(),
    };
    // The offsets count from the `moof`, whose length does not depend on their values.
    let moof_len = moof.encode_to_vec()?.len() as u64;
    let head_len = moof_len + MDAT_HEADER_LEN;
    let mut data_offsets = Vec::with_capacity(tracks.len());
    let mut end = head_len;
    for (traf, (track, _)) in moof.traf_boxes.iter_mut().zip(tracks) {
        for trun in &mut traf.trun_boxes {
            trun.data_offset = Some(data_offset(end)?);
        }
        data_offsets.push(end);
        end += track.samples.iter().map(|sample| u64::from(sample.size)).sum::<u64>();
    }
    let mdat_len = end - moof_len;
    let mdat_size =
        u32::try_from(mdat_len).map_err(|_| overflow("mdat size", mdat_len, u64::from(u32::MAX)))?;
    let mut bytes = moof.encode_to_vec()?;
    bytes.extend(mdat_size.to_be_bytes());
    bytes.extend(b"mdat");
    Ok(FragmentHead { bytes, data_offsets, total_len: end })
}

/// Flags of a sample that can, or cannot, be decoded alone (§8.8.3.1): `sample_depends_on`, and
/// `sample_is_non_sync_sample`.
pub(super) const fn sample_flags(is_sync: bool) -> SampleFlags {
    SampleFlags::new(if is_sync { 0x0200_0000 } else { 0x0101_0000 })
}

/// What all samples of a track in a fragment have in common; the rest is told of each.
struct Shape {
    same_duration: bool,
    same_size: bool,
    no_offsets: bool,
    /// Of most fragments all samples are alike but the first, which is a sync sample.
    same_flags: bool,
    /// Whether the first one is not like the others then.
    first_differs: bool,
    usual_sync: bool,
}

impl Shape {
    /// `None` without samples.
    fn of(samples: &[SampleInfo]) -> Option<Self> {
        let (first, rest) = samples.split_first()?;
        let all_same =
            |same: fn(&SampleInfo, &SampleInfo) -> bool| rest.iter().all(|sample| same(sample, first));
        let usual_sync = rest.first().unwrap_or(first).is_sync;
        Some(Self {
            same_duration: all_same(|a, b| a.duration == b.duration),
            // A size common to all is only left out when it is not zero: the number of samples of a `trun`
            // without any field is then bounded by the data that it describes.
            same_size: first.size != 0 && all_same(|a, b| a.size == b.size),
            no_offsets: samples.iter().all(|sample| sample.cts_offset == 0),
            same_flags: rest.iter().all(|sample| sample.is_sync == usual_sync),
            first_differs: first.is_sync != usual_sync,
            usual_sync,
        })
    }
}

/// Where the fields lie that a fragment's place in a file decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FragmentLayout {
    /// Bytes of the `moof` and the header of the `mdat`.
    pub head_len: u64,
    /// For each track, the offset of its 64-bit decode time from the start of the `moof`.
    pub decode_times: Vec<u64>,
}

/// Offset of the 32-bit number of a fragment from the start of its `moof`: behind the headers of `moof`
/// and `mfhd`.
pub(super) const SEQUENCE_NUMBER: u64 = 20;

/// Tells how [`encode_fragment_head`] laid out a fragment of these samples, without encoding it again.
/// `None` without tracks or for a track without samples.
pub fn fragment_layout<'a>(tracks: impl IntoIterator<Item = &'a [SampleInfo]>) -> Option<FragmentLayout> {
    const BOX: u64 = 8;
    const FULL_BOX: u64 = 12;
    let mut end = SEQUENCE_NUMBER + 4;
    let mut decode_times = Vec::new();
    for samples in tracks {
        let shape = Shape::of(samples)?;
        let field = |is_there: bool| if is_there { 4 } else { 0 };
        let tfhd =
            FULL_BOX + 4 + field(shape.same_duration) + field(shape.same_size) + field(shape.same_flags);
        let tfdt = end + BOX + tfhd;
        decode_times.push(tfdt + FULL_BOX);
        let of_each = field(!shape.same_duration)
            + field(!shape.same_size)
            + field(!shape.same_flags)
            + field(!shape.no_offsets);
        // `trun` has a number of samples and an offset, and perhaps flags of the first sample.
        let trun = FULL_BOX + 8 + field(shape.same_flags && shape.first_differs);
        end = tfdt + FULL_BOX + 8 + trun + of_each * samples.len() as u64;
    }
    (!decode_times.is_empty()).then_some(FragmentLayout { head_len: end + MDAT_HEADER_LEN, decode_times })
}

fn track_fragment((track, description): &(FragmentTrack<'_>, Option<u32>)) -> Result<TrafBox, MuxError> {
    let (Some(first), Some(shape)) = (track.samples.first(), Shape::of(track.samples)) else {
        return Err(MuxError::Empty { what: "a track of a fragment without samples" });
    };
    let Shape { same_duration, same_size, no_offsets, same_flags, first_differs, usual_sync } = shape;
    let base_media_decode_time = u64::try_from(track.base_dts.0)
        .map_err(|_| MuxError::NegativeTime { field: "baseMediaDecodeTime", value: track.base_dts.0 })?;
    let samples = track.samples.iter().map(|sample| TrunSample {
        duration: (!same_duration).then_some(sample.duration),
        size: (!same_size).then_some(sample.size),
        flags: (!same_flags).then_some(sample_flags(sample.is_sync)),
        composition_time_offset: (!no_offsets).then_some(i64::from(sample.cts_offset)),
    });
    Ok(TrafBox {
        tfhd_box: TfhdBox {
            track_id: track.track_id,
            base_data_offset: None,
            sample_description_index: *description,
            default_sample_duration: same_duration.then_some(first.duration),
            default_sample_size: same_size.then_some(first.size),
            default_sample_flags: same_flags.then_some(sample_flags(usual_sync)),
            duration_is_empty: false,
            default_base_is_moof: true,
        },
        tfdt_box: Some(TfdtBox { version: 1, base_media_decode_time }),
        trun_boxes: vec![TrunBox {
            data_offset: Some(0),
            first_sample_flags: (same_flags && first_differs).then_some(sample_flags(first.is_sync)),
            samples: samples.collect(),
        }],
        unknown_boxes: Vec::new(),
    })
}

fn data_offset(offset: u64) -> Result<i32, MuxError> {
    i32::try_from(offset)
        .map_err(|_| overflow("trun data_offset", offset, u64::from(i32::MAX.unsigned_abs())))
}
