//! What playlists of timelines name: stored segments, and what has to be read before them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use mediahooks_database::{RecipePart, Segment};
use mediahooks_media::cmaf::{InitTrack, encode_init};
use mediahooks_media::virtual_file::{Extent, Piece, Pieces};
use mediahooks_model::{MediaAssetId, Metadata, TargetFormat, TimelineId, Timestamp};
use mediahooks_timeline::movie::BuiltMovie;
use sha2::{Digest, Sha256};

use super::{Patience, readable};
use crate::download::Download;
use crate::error::{PreviewError, RecorderError};
use crate::finish::{PreparedFile, SegmentPlace};
use crate::state::{Read, Reading, Shared};

/// Stored segments in one piece of media, at most.
const SEGMENTS_AT_ONCE_MAX: u64 = 1024;

/// A resource that a playlist names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Resource {
    /// What has to be read before the segments of a run: the first so many of its tracks.
    Init { run: u32, tracks: usize },
    /// Stored segments, both included.
    Media { first: u64, last: u64 },
}

impl Resource {
    /// Reads the last part of an address that [`super::view::View::playlist`] made.
    fn parse(name: &str) -> Option<Self> {
        let (stem, extension) = name.rsplit_once('.')?;
        let pair = |text: &str| {
            let (a, b) = text.split_once('-')?;
            Some((a.parse::<u64>().ok()?, b.parse::<u64>().ok()?))
        };
        match extension {
            "mp4" => {
                let (run, tracks) = pair(stem.strip_prefix("init-")?)?;
                Some(Self::Init { run: u32::try_from(run).ok()?, tracks: usize::try_from(tracks).ok()? })
            }
            "m4s" => {
                let (first, last) = pair(stem)?;
                let is_bounded = first <= last && last - first < SEGMENTS_AT_ONCE_MAX;
                is_bounded.then_some(Self::Media { first, last })
            }
            _ => None,
        }
    }
}

/// See [`crate::Recorder::open_preview`].
pub(crate) async fn open(
    shared: &Arc<Shared>,
    id: MediaAssetId,
    name: &str,
) -> Result<Download, PreviewError> {
    // Before the look at its state: what is not removed by then is not freed from then on.
    let mut reading = shared.readers.enter(Read::Asset(id));
    let part = readable(shared, id).await?;
    let resource = Resource::parse(name).ok_or(PreviewError::NotFound)?;
    let (file, places, modified): (Pieces, _, _) = match resource {
        Resource::Init { run, tracks } => (init(shared, part.timeline, run, tracks).await?, Vec::new(), None),
        Resource::Media { first, last } => {
            let (segments, readings) = media(shared, &part, first.max(part.first), last).await?;
            reading.extend(readings);
            let modified = segments.last().map(Segment::wall_end);
            let extents = segments
                .iter()
                .zip(0..)
                .map(|(segment, source)| Piece::Extent(Extent { source, offset: 0, len: segment.len }));
            let places = segments.iter().map(|segment| SegmentPlace {
                timeline: segment.timeline,
                chunk: segment.chunk,
                offset: segment.offset,
            });
            (extents.collect(), places.collect(), modified)
        }
    };
    let named = Sha256::digest(format!("{} {name}", part.timeline));
    let prepared = PreparedFile {
        format: TargetFormat::Fmp4,
        movie: BuiltMovie { file: Arc::new(file), metadata: Metadata::default() },
        guide: None,
        places,
        etag: format!("\"{}\"", hex::encode(&named[..16])),
    };
    let modified = modified.unwrap_or(Timestamp::EPOCH);
    Ok(Download::new(shared, id, Arc::new(prepared), reading, name.to_owned(), modified))
}

/// All stored segments from `first` to `last`, and what keeps their bytes: some may belong to later assets than the
/// one that is shown. Waits for the one that comes next, which playlists hint at.
async fn media(
    shared: &Shared,
    part: &RecipePart,
    first: u64,
    last: u64,
) -> Result<(Vec<Segment>, Vec<Reading>), PreviewError> {
    let mut patience = Patience::new(shared);
    loop {
        // Before the look, so that what is stored during it wakes.
        let mut stored = shared.live.follow(part.timeline);
        // Likewise: whatever is found then is not freed before it is known which files it lies in.
        let any = shared.readers.enter(Read::Timeline(part.timeline));
        let segments = shared.database.segments(part.timeline, first, Some(last)).await?;
        if first <= last && (first..=last).eq(segments.iter().map(|segment| segment.sequence)) {
            let chunks: BTreeSet<u32> = segments.iter().map(|segment| segment.chunk).collect();
            let enter = |chunk| shared.readers.enter(Read::Chunk(part.timeline, chunk));
            return Ok((segments, chunks.into_iter().map(enter).collect()));
        }
        drop(any);
        let newest = shared.database.last_segment(part.timeline).await?;
        let is_next = first == last && newest.is_some_and(|newest| newest.sequence + 1 >= first);
        if !is_next || !patience.wait(stored.as_mut()).await {
            return Err(PreviewError::NotFound);
        }
    }
}

async fn init(
    shared: &Shared,
    timeline: TimelineId,
    run: u32,
    tracks: usize,
) -> Result<Pieces, PreviewError> {
    let run = shared.database.run(timeline, run).await?.ok_or(PreviewError::NotFound)?;
    // A track is never changed, nor removed; later ones come at the end.
    let configs = run.tracks.get(..tracks).ok_or(PreviewError::NotFound)?;
    let tracks: Vec<InitTrack<'_>> =
        (1..).zip(configs).map(|(track_id, config)| InitTrack { track_id, config }).collect();
    let bytes = encode_init(&tracks).map_err(RecorderError::from)?;
    Ok(Pieces::from_iter([Piece::Bytes(Bytes::from(bytes))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        assert_eq!(Resource::parse("init-3-2.mp4"), Some(Resource::Init { run: 3, tracks: 2 }));
        assert_eq!(Resource::parse("7-9.m4s"), Some(Resource::Media { first: 7, last: 9 }));
        for wrong in
            ["", "9-7.m4s", "0-1024.m4s", "init-1.mp4", "a-b.m4s", "1-2.mp4", "init--1-2.mp4", "7-9.M4S"]
        {
            assert_eq!(Resource::parse(wrong), None, "{wrong}");
        }
    }
}
