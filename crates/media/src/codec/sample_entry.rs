//! Builds sample entries around a record that must not change by a single byte.
//!
//! The typed boxes of `shiguredo_mp4` parse a record and write it anew, which drops what they do not
//! model (SPS extensions, reserved bits, trailing bytes), so the record goes in as an opaque box.

use shiguredo_mp4::{
    BoxSize, BoxType, Encode, FixedPointNumber,
    boxes::{AudioSampleEntryFields, EsdsBox, Mp4aBox, SampleEntry, UnknownBox, VisualSampleEntryFields},
    descriptors::{DecoderConfigDescriptor, DecoderSpecificInfo, EsDescriptor, SlConfigDescriptor},
};

use crate::error::MuxError;

/// A box of any type with a payload that is already encoded.
pub(super) fn opaque(box_type: [u8; 4], payload: Vec<u8>) -> UnknownBox {
    let box_type = BoxType::Normal(box_type);
    let box_size = BoxSize::with_payload_size(box_type, payload.len() as u64);
    UnknownBox { box_type, box_size, payload }
}

/// A visual sample entry (ISO/IEC 14496-12 §12.1.3) with `children` inside.
///
/// Errors: [`MuxError::Overflow`] for a picture larger than 65 535 pixels on a side.
pub(super) fn visual(
    box_type: [u8; 4],
    (width, height): (u32, u32),
    children: &[UnknownBox],
) -> Result<SampleEntry, MuxError> {
    let fields = visual_fields(side("width", width)?, side("height", height)?);
    entry(box_type, fields.encode_to_vec()?, children)
}

/// What every visual sample entry begins with.
pub(super) fn visual_fields(width: u16, height: u16) -> VisualSampleEntryFields {
    VisualSampleEntryFields {
        data_reference_index: VisualSampleEntryFields::DEFAULT_DATA_REFERENCE_INDEX,
        width,
        height,
        horizresolution: VisualSampleEntryFields::DEFAULT_HORIZRESOLUTION,
        vertresolution: VisualSampleEntryFields::DEFAULT_VERTRESOLUTION,
        frame_count: VisualSampleEntryFields::DEFAULT_FRAME_COUNT,
        compressorname: VisualSampleEntryFields::NULL_COMPRESSORNAME,
        depth: VisualSampleEntryFields::DEFAULT_DEPTH,
    }
}

/// An audio sample entry (ISO/IEC 14496-12 §12.2.3) with `children` inside.
pub(super) fn audio(
    box_type: [u8; 4],
    channels: u32,
    sample_rate: u32,
    children: &[UnknownBox],
) -> Result<SampleEntry, MuxError> {
    entry(box_type, audio_fields(channels, sample_rate).encode_to_vec()?, children)
}

/// An `mp4a` sample entry (ISO/IEC 14496-14 §6.7) for the given object type and decoder record.
pub(super) fn mp4a(object_type: u8, record: Option<&[u8]>, channels: u32, sample_rate: u32) -> SampleEntry {
    SampleEntry::Mp4a(Mp4aBox {
        audio: audio_fields(channels, sample_rate),
        esds_box: EsdsBox {
            es: EsDescriptor {
                es_id: EsDescriptor::MIN_ES_ID,
                stream_priority: EsDescriptor::LOWEST_STREAM_PRIORITY,
                depends_on_es_id: None,
                url_string: None,
                ocr_es_id: None,
                dec_config_descr: DecoderConfigDescriptor {
                    object_type_indication: object_type,
                    stream_type: DecoderConfigDescriptor::STREAM_TYPE_AUDIO,
                    up_stream: DecoderConfigDescriptor::UP_STREAM_FALSE,
                    // Zero: not known. A live stream has no figure that would stay true.
                    buffer_size_db: shiguredo_mp4::Uint::new(0),
                    max_bitrate: 0,
                    avg_bitrate: 0,
                    dec_specific_info: record.map(|record| DecoderSpecificInfo { payload: record.to_vec() }),
                },
                sl_config_descr: SlConfigDescriptor,
            },
        },
        unknown_boxes: Vec::new(),
    })
}

fn audio_fields(channels: u32, sample_rate: u32) -> AudioSampleEntryFields {
    AudioSampleEntryFields {
        data_reference_index: AudioSampleEntryFields::DEFAULT_DATA_REFERENCE_INDEX,
        channelcount: u16::try_from(channels).unwrap_or(u16::MAX),
        samplesize: AudioSampleEntryFields::DEFAULT_SAMPLESIZE,
        // A 16-bit field: rates above 65 535 are written as 0 and read from the record, as FFmpeg does.
        samplerate: FixedPointNumber::new(u16::try_from(sample_rate).unwrap_or(0), 0),
    }
}

fn entry(box_type: [u8; 4], mut payload: Vec<u8>, children: &[UnknownBox]) -> Result<SampleEntry, MuxError> {
    for child in children {
        payload.extend(child.encode_to_vec()?);
    }
    Ok(SampleEntry::Unknown(opaque(box_type, payload)))
}

fn side(field: &'static str, pixels: u32) -> Result<u16, MuxError> {
    u16::try_from(pixels).map_err(|_| MuxError::Overflow {
        field,
        value: u64::from(pixels),
        max: u64::from(u16::MAX),
    })
}
