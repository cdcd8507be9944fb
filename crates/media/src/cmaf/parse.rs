//! Reads a fragment back, for the offline verifier and the tests.
//!
//! Storage may hand over anything: every read is checked, and no count is believed that the bytes do
//! not bear out. `trun` is read by hand because the typed box of `shiguredo_mp4` makes up to 16 million
//! samples (about a gigabyte) from one that has no bytes per sample.

use shiguredo_mp4::{
    BoxHeader, BoxType, Decode,
    boxes::{MfhdBox, TfdtBox, TfhdBox},
};

use crate::{
    error::ParseError,
    sample::{SampleInfo, Ticks},
};

/// A fragment as read from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedFragment {
    /// Number of the fragment in its file.
    pub sequence_number: u32,
    /// In file order.
    pub tracks: Vec<ParsedTrack>,
    /// Bytes of the fragment; the next one begins here.
    pub len: u64,
}

/// One track of a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedTrack {
    /// Number of the track.
    pub track_id: u32,
    /// Decode time of the first sample.
    pub base_dts: Ticks,
    /// In decode order.
    pub samples: Vec<SampleInfo>,
    /// Offset of the first sample's first byte from the start of the `moof`. The others follow
    /// without gaps.
    pub data_offset: u64,
}

/// Reads the fragment at the start of `bytes`; more may follow it.
///
/// - Errors: [`ParseError::Truncated`] when `bytes` end before the fragment does;
///   [`ParseError::Malformed`] when it is not one that [`crate::cmaf::encode_fragment_head`] writes, or
///   when the samples are not exactly what its `mdat` holds.
pub fn parse_fragment(bytes: &[u8]) -> Result<ParsedFragment, ParseError> {
    let (moof, rest) = split_box(bytes)?;
    if moof.box_type != BoxType::Normal(*b"moof") {
        return Err(ParseError::malformed(format!("it begins with `{}`, not `moof`", moof.box_type)));
    }
    let moof_len = bytes.len() - rest.len();
    // The media may be absent when only the head was asked for, so its header is read on its own.
    let (mdat, mdat_header_len) = BoxHeader::decode(rest)
        .map_err(|_| ParseError::Truncated { needed: moof_len as u64 + 8, available: bytes.len() as u64 })?;
    if mdat.box_type != BoxType::Normal(*b"mdat") || mdat.box_size.get() < mdat_header_len as u64 {
        return Err(ParseError::malformed("the `moof` is not followed by an `mdat`"));
    }
    let media_start = (moof_len + mdat_header_len) as u64;
    let len = (moof_len as u64).saturating_add(mdat.box_size.get());
    if len > bytes.len() as u64 {
        return Err(ParseError::Truncated { needed: len, available: bytes.len() as u64 });
    }
    let (sequence_number, tracks) = parse_moof(moof.payload, len - media_start)?;
    check_media(&tracks, media_start, len)?;
    Ok(ParsedFragment { sequence_number, tracks, len })
}

/// A box whose payload is all there.
struct WholeBox<'a> {
    box_type: BoxType,
    payload: &'a [u8],
    /// Header and payload.
    bytes: &'a [u8],
}

/// Splits the first box off.
fn split_box(bytes: &[u8]) -> Result<(WholeBox<'_>, &[u8]), ParseError> {
    let available = bytes.len() as u64;
    let (header, header_len) = BoxHeader::decode(bytes)
        .map_err(|_| ParseError::Truncated { needed: available.max(8), available })?;
    let size = header.box_size.get();
    if size > available {
        return Err(ParseError::Truncated { needed: size, available });
    }
    let split = usize::try_from(size).ok().and_then(|size| bytes.split_at_checked(size));
    let (whole, rest) = split
        .ok_or_else(|| ParseError::malformed(format!("`{}` has an impossible size", header.box_type)))?;
    let payload = whole
        .get(header_len..)
        .ok_or_else(|| ParseError::malformed(format!("`{}` is smaller than its header", header.box_type)))?;
    Ok((WholeBox { box_type: header.box_type, payload, bytes: whole }, rest))
}

/// All boxes in the payload of another one.
fn children(mut payload: &[u8]) -> Result<Vec<WholeBox<'_>>, ParseError> {
    let mut children = Vec::new();
    while !payload.is_empty() {
        let (child, rest) = split_box(payload).map_err(|error| {
            ParseError::malformed(format!("a box in the `moof` does not end in it ({error})"))
        })?;
        children.push(child);
        payload = rest;
    }
    Ok(children)
}

fn parse_moof(payload: &[u8], media_len: u64) -> Result<(u32, Vec<ParsedTrack>), ParseError> {
    let children = children(payload)?;
    let mfhd: MfhdBox = only(&children, *b"mfhd")?;
    let tracks = children
        .iter()
        .filter(|child| child.box_type == BoxType::Normal(*b"traf"))
        .map(|traf| parse_traf(traf.payload, media_len))
        .collect::<Result<Vec<_>, _>>()?;
    if tracks.is_empty() {
        return Err(ParseError::malformed("the `moof` has no tracks"));
    }
    Ok((mfhd.sequence_number, tracks))
}

fn parse_traf(payload: &[u8], media_len: u64) -> Result<ParsedTrack, ParseError> {
    let children = children(payload)?;
    let tfhd: TfhdBox = only(&children, *b"tfhd")?;
    let tfdt: TfdtBox = only(&children, *b"tfdt")?;
    if !tfhd.default_base_is_moof || tfhd.base_data_offset.is_some() {
        return Err(ParseError::malformed("its offsets do not count from the `moof`"));
    }
    let base_dts = i64::try_from(tfdt.base_media_decode_time)
        .map_err(|_| ParseError::malformed("the decode time is past what a track can reach"))?;
    let trun = only_box(&children, *b"trun")?;
    let (data_offset, samples) = parse_trun(trun.payload, &tfhd, media_len)
        .ok_or_else(|| ParseError::malformed("the `trun` does not hold what it announces"))?;
    Ok(ParsedTrack { track_id: tfhd.track_id, base_dts: Ticks(base_dts), samples, data_offset })
}

fn parse_trun(payload: &[u8], tfhd: &TfhdBox, media_len: u64) -> Option<(u64, Vec<SampleInfo>)> {
    let mut fields = Fields(payload);
    let version_and_flags = fields.u32()?;
    let version = version_and_flags >> 24;
    let has = |flag: u32| version_and_flags & flag != 0;
    let count = u64::from(fields.u32()?);
    let data_offset = if has(0x1) { u64::from(fields.u32()?) } else { return None };
    let first_flags = if has(0x4) { Some(fields.u32()?) } else { None };
    let field_len = [0x100, 0x200, 0x400, 0x800].into_iter().filter(|flag| has(*flag)).count() as u64 * 4;
    let size_len = if has(0x200) { 0 } else { u64::from(tfhd.default_sample_size?) };
    // Each sample takes bytes here or in the media, so their number is bounded by both.
    if field_len + size_len == 0
        || count.checked_mul(field_len)? > fields.0.len() as u64
        || count.checked_mul(size_len)? > media_len
    {
        return None;
    }
    let mut samples = Vec::with_capacity(usize::try_from(count).ok()?);
    for index in 0..count {
        let duration = if has(0x100) { fields.u32()? } else { tfhd.default_sample_duration? };
        let size = if has(0x200) { fields.u32()? } else { tfhd.default_sample_size? };
        let flags = if has(0x400) { Some(fields.u32()?) } else { None };
        let flags =
            first_flags.filter(|_| index == 0).or(flags).or(tfhd.default_sample_flags.map(|f| f.get()))?;
        let cts_offset = match (has(0x800), version) {
            (false, _) => 0,
            (true, 0) => i32::try_from(fields.u32()?).ok()?,
            (true, _) => i32::from_be_bytes(fields.u32()?.to_be_bytes()),
        };
        samples.push(SampleInfo { duration, size, cts_offset, is_sync: flags & 0x1_0000 == 0 });
    }
    (fields.0.is_empty() && !samples.is_empty()).then_some((data_offset, samples))
}

/// The samples of all tracks must fill the media from its first byte to its last, without gaps.
fn check_media(tracks: &[ParsedTrack], media_start: u64, media_end: u64) -> Result<(), ParseError> {
    let mut end = media_start;
    for track in tracks {
        if track.data_offset != end {
            return Err(ParseError::malformed(format!(
                "track {} begins at byte {} instead of {end}",
                track.track_id, track.data_offset
            )));
        }
        end += track.samples.iter().map(|sample| u64::from(sample.size)).sum::<u64>();
    }
    if end != media_end {
        return Err(ParseError::malformed(format!(
            "the samples end at byte {end}, the `mdat` at {media_end}"
        )));
    }
    Ok(())
}

/// Decodes the only child of a type.
fn only<B: Decode>(children: &[WholeBox<'_>], box_type: [u8; 4]) -> Result<B, ParseError> {
    let (decoded, _) = B::decode(only_box(children, box_type)?.bytes)
        .map_err(|error| ParseError::malformed(error.to_string()))?;
    Ok(decoded)
}

fn only_box<'c, 'a>(children: &'c [WholeBox<'a>], box_type: [u8; 4]) -> Result<&'c WholeBox<'a>, ParseError> {
    let box_type = BoxType::Normal(box_type);
    let mut found = children.iter().filter(|child| child.box_type == box_type);
    match (found.next(), found.next()) {
        (Some(child), None) => Ok(child),
        (None, _) => Err(ParseError::malformed(format!("`{box_type}` is missing"))),
        (Some(_), Some(_)) => Err(ParseError::malformed(format!("there are two `{box_type}`"))),
    }
}

/// Big-endian fields, read from the front.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (field, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*field))
    }
}
