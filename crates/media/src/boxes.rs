//! What both forms of MP4 share: nesting boxes, and all of a track up to its sample tables.
//!
//! Leaf boxes come from `shiguredo_mp4`. The nesting is done here because its containers hold every
//! sample table in typed form and encode by growing and retrying, which for hours of samples takes
//! several times the memory of the bytes themselves.

use std::num::NonZeroU32;

use shiguredo_mp4::{
    Encode, FixedPointNumber, LanguageCode, Mp4FileTime,
    boxes::{
        Brand, DinfBox, EdtsBox, ElstBox, ElstEntry, FtypBox, HdlrBox, MdhdBox, MvhdBox, SmhdBox, StsdBox,
        TkhdBox, VmhdBox,
    },
};

use crate::{
    error::MuxError,
    mp4::{Edit, MOVIE_TIMESCALE},
    sample::{TrackConfig, TrackKind},
};

/// A track up to its sample tables.
pub(crate) struct TrackHeader<'a> {
    pub(crate) track_id: u32,
    /// Never empty; the first one stands for what all have in common.
    pub(crate) configs: &'a [TrackConfig],
    pub(crate) created: Mp4FileTime,
    /// In ticks of [`MOVIE_TIMESCALE`], after edits.
    pub(crate) movie_duration: u64,
    /// In ticks of the track, before edits.
    pub(crate) media_duration: u64,
    /// Empty: the whole media is shown from the start.
    pub(crate) edits: Vec<ElstEntry>,
}

/// Where boxes are written to: bytes, or bytes of which some are left out.
pub(crate) trait Output {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);

    /// Bytes so far, with those that are left out.
    fn total_len(&self) -> u64;

    /// The bytes that are there.
    fn written(&mut self) -> &mut Vec<u8>;
}

impl Output for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }

    fn total_len(&self) -> u64 {
        self.len() as u64
    }

    fn written(&mut self) -> &mut Vec<u8> {
        self
    }
}

/// Appends an encoded box.
pub(crate) fn append(out: &mut impl Output, leaf: &impl Encode) -> Result<(), MuxError> {
    out.put(&leaf.encode_to_vec()?);
    Ok(())
}

/// Appends a box whose payload `body` writes.
pub(crate) fn container<O: Output>(
    out: &mut O,
    box_type: [u8; 4],
    body: impl FnOnce(&mut O) -> Result<(), MuxError>,
) -> Result<(), MuxError> {
    let (start, place) = (out.total_len(), out.written().len());
    out.put(&[0; 4]);
    out.put(&box_type);
    body(out)?;
    let len = out.total_len() - start;
    let size = u32::try_from(len).map_err(|_| overflow("box size", len, u64::from(u32::MAX)))?;
    if let Some(field) = out.written().get_mut(place..place + 4) {
        field.copy_from_slice(&size.to_be_bytes());
    }
    Ok(())
}

/// Appends a box with a version and no flags (ISO/IEC 14496-12 §4.2.2) whose payload `body` writes.
pub(crate) fn full_box<O: Output>(
    out: &mut O,
    box_type: [u8; 4],
    version: u8,
    body: impl FnOnce(&mut O) -> Result<(), MuxError>,
) -> Result<(), MuxError> {
    container(out, box_type, |out| {
        out.put(&[version, 0, 0, 0]);
        body(out)
    })
}

/// Appends the `ftyp` box.
pub(crate) fn append_file_type(
    out: &mut impl Output,
    major: Brand,
    compatible: &[Brand],
) -> Result<(), MuxError> {
    let minor_version = 0x200;
    append(out, &FtypBox { major_brand: major, minor_version, compatible_brands: compatible.to_vec() })
}

/// Appends the `mvhd` box; `duration` in ticks of [`MOVIE_TIMESCALE`].
pub(crate) fn append_movie_header(
    out: &mut impl Output,
    created: Mp4FileTime,
    duration: u64,
    next_track_id: u32,
) -> Result<(), MuxError> {
    append(
        out,
        &MvhdBox {
            creation_time: created,
            modification_time: created,
            timescale: timescale(MOVIE_TIMESCALE)?,
            duration,
            rate: MvhdBox::DEFAULT_RATE,
            volume: MvhdBox::DEFAULT_VOLUME,
            matrix: MvhdBox::DEFAULT_MATRIX,
            next_track_id,
        },
    )
}

/// Appends the `trak` box; `tables` writes what follows `stsd` in its `stbl`.
pub(crate) fn append_track<O: Output>(
    out: &mut O,
    header: TrackHeader<'_>,
    tables: impl FnOnce(&mut O) -> Result<(), MuxError>,
) -> Result<(), MuxError> {
    let first = header.configs.first().ok_or(MuxError::Empty { what: "a track without a configuration" })?;
    let kind = first.kind;
    container(out, *b"trak", |out| {
        append(out, &track_header(&header, kind)?)?;
        if !header.edits.is_empty() {
            append(
                out,
                &EdtsBox { elst_box: Some(ElstBox { entries: header.edits }), unknown_boxes: Vec::new() },
            )?;
        }
        container(out, *b"mdia", |out| {
            append(
                out,
                &MdhdBox {
                    creation_time: header.created,
                    modification_time: header.created,
                    timescale: timescale(first.timescale)?,
                    duration: header.media_duration,
                    language: LanguageCode::UNDEFINED,
                },
            )?;
            append(out, &handler(kind))?;
            container(out, *b"minf", |out| {
                append_media_header(out, kind)?;
                append(out, &DinfBox::LOCAL_FILE)?;
                container(out, *b"stbl", |out| {
                    let entries = header.configs.iter().map(TrackConfig::sample_entry);
                    append(out, &StsdBox { entries: entries.collect::<Result<_, _>>()? })?;
                    tables(out)
                })
            })
        })
    })
}

/// The entries of the `elst` of an edit.
pub(crate) fn edit_list(edit: &Edit) -> Result<Vec<ElstEntry>, MuxError> {
    const NORMAL_RATE: FixedPointNumber<i16, i16> = FixedPointNumber::new(1, 0);
    const NOTHING: i64 = -1;
    if edit.media_time < 0 {
        return Err(MuxError::NegativeTime { field: "elst media_time", value: edit.media_time });
    }
    let entry = |edit_duration, media_time| ElstEntry { edit_duration, media_time, media_rate: NORMAL_RATE };
    let empty = (edit.empty > 0).then(|| entry(edit.empty, NOTHING));
    Ok(empty.into_iter().chain([entry(edit.duration, edit.media_time)]).collect())
}

pub(crate) fn overflow(field: &'static str, value: u64, max: u64) -> MuxError {
    MuxError::Overflow { field, value, max }
}

fn track_header(header: &TrackHeader<'_>, kind: TrackKind) -> Result<TkhdBox, MuxError> {
    // Pictures of another size are scaled to it (§8.3.2): the largest loses none.
    let largest = header.configs.iter().max_by_key(|config| {
        config.codec.dimensions().map_or(0, |(width, height)| u64::from(width) * u64::from(height))
    });
    let (width, height) = match largest {
        Some(config) => display_size(config),
        None => (Fixed::new(0, 0), Fixed::new(0, 0)),
    };
    Ok(TkhdBox {
        flag_track_enabled: true,
        flag_track_in_movie: true,
        flag_track_in_preview: false,
        flag_track_size_is_aspect_ratio: false,
        creation_time: header.created,
        modification_time: header.created,
        track_id: header.track_id,
        duration: header.movie_duration,
        layer: TkhdBox::DEFAULT_LAYER,
        alternate_group: TkhdBox::DEFAULT_ALTERNATE_GROUP,
        volume: match kind {
            TrackKind::Video => TkhdBox::DEFAULT_VIDEO_VOLUME,
            TrackKind::Audio => TkhdBox::DEFAULT_AUDIO_VOLUME,
        },
        matrix: TkhdBox::DEFAULT_MATRIX,
        width,
        height,
    })
}

/// An unsigned number in 16.16 fixed point, in the type that the box has for it.
type Fixed = FixedPointNumber<i16, u16>;

/// Width and height on a screen with square pixels; zero for audio. Encoders may tell any shape of pixels: what is wider
/// than the field can say is as wide as it can, for that is no reason not to keep the pictures.
fn display_size(config: &TrackConfig) -> (Fixed, Fixed) {
    let (width, height) = config.codec.dimensions().unwrap_or((0, 0));
    let (shape_width, shape_height) = config.codec.pixel_aspect_ratio().unwrap_or((1, 1));
    let width = (u64::from(width) << 16) * u64::from(shape_width) / u64::from(shape_height.max(1));
    (fixed_point(width), fixed_point(u64::from(height) << 16))
}

fn fixed_point(value: u64) -> Fixed {
    let bits = u32::try_from(value).unwrap_or(u32::MAX);
    // The field is unsigned (§8.3.2) although the box type has a signed integer part: same bits.
    let [i0, i1, f0, f1] = bits.to_be_bytes();
    FixedPointNumber::new(i16::from_be_bytes([i0, i1]), u16::from_be_bytes([f0, f1]))
}

fn handler(kind: TrackKind) -> HdlrBox {
    let (handler_type, name): (_, &[u8]) = match kind {
        TrackKind::Video => (HdlrBox::HANDLER_TYPE_VIDE, b"VideoHandler\0"),
        TrackKind::Audio => (HdlrBox::HANDLER_TYPE_SOUN, b"SoundHandler\0"),
    };
    HdlrBox { handler_type, name: name.to_vec() }
}

fn append_media_header(out: &mut impl Output, kind: TrackKind) -> Result<(), MuxError> {
    match kind {
        TrackKind::Video => append(
            out,
            &VmhdBox { graphicsmode: VmhdBox::DEFAULT_GRAPHICSMODE, opcolor: VmhdBox::DEFAULT_OPCOLOR },
        ),
        TrackKind::Audio => append(out, &SmhdBox { balance: SmhdBox::DEFAULT_BALANCE }),
    }
}

fn timescale(ticks_per_second: u32) -> Result<NonZeroU32, MuxError> {
    NonZeroU32::new(ticks_per_second).ok_or(MuxError::NoTimescale)
}
