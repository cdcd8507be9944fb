//! What a multivariant playlist tells of a timeline. Pure.

use mediahooks_database::{Run, Segment};
use mediahooks_media::hls::MultivariantPlaylist;
use mediahooks_media::sample::TrackKind;
use mediahooks_timeline::index::{IndexError, StoredIndex};

/// What leads to the playlist at `uri` of a timeline that has these runs, and newest these segments.
///
/// Errors: [`IndexError`] where an index cannot be read.
pub(super) fn multivariant(
    runs: &[Run],
    newest: &[Segment],
    uri: &str,
) -> Result<MultivariantPlaylist, IndexError> {
    let mut codecs: Vec<String> = Vec::new();
    for config in runs.iter().flat_map(|run| &run.tracks) {
        let codec = config.codec.codec_string();
        if !codecs.contains(&codec) {
            codecs.push(codec);
        }
    }
    let sizes = runs.iter().flat_map(|run| &run.tracks).filter_map(|config| config.codec.dimensions());
    let (mut peak, mut bytes, mut all_us, mut pictures) = (0, 0u64, 0u64, 0u64);
    for segment in newest {
        let us = u64::try_from(segment.media_end_us - segment.media_start_us).unwrap_or(0).max(1);
        peak = peak.max(rate(segment.len, us));
        (bytes, all_us) = (bytes + segment.len, all_us + us);
        let tracks = runs.iter().find(|run| run.number == segment.run).map_or(&[][..], |run| &run.tracks);
        StoredIndex(segment.index.clone()).summaries(|summary| {
            let config = tracks.get(summary.track as usize);
            if config.is_some_and(|config| config.kind == TrackKind::Video) {
                pictures += u64::from(summary.samples);
            }
        })?;
    }
    Ok(MultivariantPlaylist {
        uri: uri.to_owned(),
        bandwidth: peak,
        average_bandwidth: rate(bytes, all_us.max(1)),
        codecs,
        resolution: sizes.max_by_key(|(width, height)| u64::from(*width) * u64::from(*height)),
        frame_rate: (pictures > 0).then(|| pictures as f64 * 1e6 / all_us.max(1) as f64),
    })
}

/// Bits per second.
fn rate(bytes: u64, us: u64) -> u64 {
    u64::try_from(u128::from(bytes) * 8_000_000 / u128::from(us)).unwrap_or(u64::MAX)
}
