//! What a track is, as WebM tells it.

use super::ebml::{self, id};
use crate::{
    codec::{CodecConfig, SampleForm},
    colour::{ColourInfo, MasteringDisplay},
    error::MuxError,
    sample::{TrackConfig, TrackKind},
};

const TYPE_VIDEO: u64 = 1;
const TYPE_AUDIO: u64 = 2;
/// How much Opus a decoder is given after a seek until its output is right (RFC 7845 §4.6).
const OPUS_PRE_ROLL_NS: u64 = 80_000_000;

/// Whether WebM has a codec: VP8, VP9, AV1 and Opus.
pub fn holds(codec: &CodecConfig) -> bool {
    codec_id(codec).is_some()
}

/// Whether a file of these tracks is a WebM where nobody asks for another format: its pictures are VP8 or VP9,
/// and there is nothing that WebM has not. AV1 is at home in MP4, too, where it is cut to the frame.
pub fn suits<'a>(tracks: impl Iterator<Item = &'a TrackConfig> + Clone) -> bool {
    let is_vpx = |track: &TrackConfig| matches!(track.codec, CodecConfig::Vp8(_) | CodecConfig::Vp9(_));
    tracks.clone().any(is_vpx) && tracks.clone().all(|track| holds(&track.codec))
}

/// How much sound a decoder drops at its start, in microseconds. Blocks are stamped so much later than what
/// is heard of them (RFC 9559 §5.1.4.1.25).
pub fn codec_delay_us(codec: &CodecConfig) -> i64 {
    codec_delay_ns(codec).map_or(0, |ns| i64::try_from(ns / 1000).unwrap_or(0))
}

fn codec_delay_ns(codec: &CodecConfig) -> Option<u64> {
    match codec {
        CodecConfig::Opus(opus) => Some(u64::from(opus.pre_skip()) * 1_000_000 / 48),
        _ => None,
    }
}

fn codec_id(codec: &CodecConfig) -> Option<&'static str> {
    match codec {
        CodecConfig::Vp8(_) => Some("V_VP8"),
        CodecConfig::Vp9(_) => Some("V_VP9"),
        CodecConfig::Av1(_) => Some("V_AV1"),
        CodecConfig::Opus(_) => Some("A_OPUS"),
        _ => None,
    }
}

/// What a decoder has to be told before the first block.
fn codec_private(codec: &CodecConfig) -> Vec<u8> {
    match codec {
        CodecConfig::Av1(config) => config.record().to_vec(),
        CodecConfig::Opus(config) => config.record().to_vec(),
        CodecConfig::Vp9(config) => config.features().to_vec(),
        _ => Vec::new(),
    }
}

/// Appends the entry of a track. Where its configuration changes on the way, the first one tells, but of
/// pictures of several sizes the largest: the key frames tell each its own.
///
/// Errors: [`MuxError::NotInWebm`]; [`MuxError::Empty`] without a configuration; [`MuxError::NoDimensions`].
pub(super) fn append_entry(out: &mut Vec<u8>, number: u8, configs: &[TrackConfig]) -> Result<(), MuxError> {
    let config =
        configs.first().ok_or(MuxError::Empty { what: "a track of a file without a configuration" })?;
    let codec = &config.codec;
    let codec_id = codec_id(codec).ok_or(MuxError::NotInWebm { codec: codec.name() })?;
    let picture = match config.kind {
        TrackKind::Audio => None,
        TrackKind::Video => {
            let sizes = configs.iter().filter_map(|config| config.codec.dimensions());
            let largest = sizes.max_by_key(|(width, height)| u64::from(*width) * u64::from(*height));
            Some(largest.ok_or(MuxError::NoDimensions { codec: codec.name() })?)
        }
    };
    ebml::master(out, id::TRACK_ENTRY, |out| {
        ebml::number(out, id::TRACK_NUMBER, number.into());
        ebml::number(out, id::TRACK_UID, number.into());
        ebml::number(out, id::TRACK_TYPE, if picture.is_some() { TYPE_VIDEO } else { TYPE_AUDIO });
        ebml::number(out, id::FLAG_LACING, 0);
        ebml::bytes(out, id::LANGUAGE, b"und");
        ebml::bytes(out, id::CODEC_ID, codec_id.as_bytes());
        let private = codec_private(codec);
        if !private.is_empty() {
            ebml::bytes(out, id::CODEC_PRIVATE, &private);
        }
        if let Some(delay) = codec_delay_ns(codec) {
            ebml::number(out, id::CODEC_DELAY, delay);
            ebml::number(out, id::SEEK_PRE_ROLL, OPUS_PRE_ROLL_NS);
        }
        match picture {
            Some(size) => append_video(out, config, size),
            None => append_audio(out, codec),
        }
    });
    Ok(())
}

fn append_video(out: &mut Vec<u8>, config: &TrackConfig, (width, height): (u32, u32)) {
    ebml::master(out, id::VIDEO, |out| {
        ebml::number(out, id::PIXEL_WIDTH, width.into());
        ebml::number(out, id::PIXEL_HEIGHT, height.into());
        ebml::number(out, id::DISPLAY_WIDTH, width.into());
        ebml::number(out, id::DISPLAY_HEIGHT, height.into());
        let mut colour = Vec::new();
        append_colour(&mut colour, config.codec.sample_form(), &config.colour_info());
        if !colour.is_empty() {
            ebml::bytes(out, id::COLOUR, &colour);
        }
    });
}

/// What there is to say in a `Colour` element (RFC 9559 §5.1.4.1.28.16).
fn append_colour(out: &mut Vec<u8>, form: Option<SampleForm>, info: &ColourInfo) {
    if let Some(SampleForm { bit_depth, subsampled: (horizontal, vertical) }) = form {
        ebml::number(out, id::BITS_PER_CHANNEL, bit_depth.into());
        ebml::number(out, id::CHROMA_SUBSAMPLING_HORZ, horizontal.into());
        ebml::number(out, id::CHROMA_SUBSAMPLING_VERT, vertical.into());
    }
    if let Some(colour) = info.colour {
        ebml::number(out, id::MATRIX_COEFFICIENTS, colour.matrix.into());
        ebml::number(out, id::RANGE, if colour.full_range { 2 } else { 1 });
        ebml::number(out, id::TRANSFER_CHARACTERISTICS, colour.transfer.into());
        ebml::number(out, id::PRIMARIES, colour.primaries.into());
    }
    if let Some(light) = info.light {
        ebml::number(out, id::MAX_CLL, light.pixel_max.into());
        ebml::number(out, id::MAX_FALL, light.picture_max.into());
    }
    if let Some(display) = info.mastering {
        let MasteringDisplay { red, green, blue, white, luminance_max, luminance_min } = display;
        ebml::master(out, id::MASTERING_METADATA, |out| {
            let points = [red, green, blue, white].into_iter().flat_map(|(x, y)| [x, y]);
            for (id, coordinate) in (id::PRIMARY_R_CHROMATICITY_X..).zip(points) {
                ebml::float(out, id, f64::from(coordinate) / 50_000.0);
            }
            ebml::float(out, id::LUMINANCE_MAX, f64::from(luminance_max) / 10_000.0);
            ebml::float(out, id::LUMINANCE_MIN, f64::from(luminance_min) / 10_000.0);
        });
    }
}

fn append_audio(out: &mut Vec<u8>, codec: &CodecConfig) {
    ebml::master(out, id::AUDIO, |out| {
        ebml::float(out, id::SAMPLING_FREQUENCY, codec.audio_sample_rate().unwrap_or(48_000).into());
        ebml::number(out, id::CHANNELS, codec.channels().unwrap_or(2).into());
    });
}
