//! The text of a playlist, made once for all who ask for it: only what their addresses end with differs.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mediahooks_media::hls::MediaPlaylist;
use mediahooks_model::Timestamp;
use sha2::{Digest, Sha256};

/// Stands in a template where a viewer's own part of an address goes. Nothing else in a playlist has it.
pub(super) const MARK: &str = "\u{1}";

/// Bytes of a template that are filled in at a time.
const PIECE: usize = 64 << 10;

/// The text without what is each viewer's own.
#[derive(Debug)]
pub(super) struct Template {
    text: Bytes,
    marks: usize,
    digest: [u8; 32],
    /// When the playlist last changed.
    pub(super) last_modified: Timestamp,
}

impl Template {
    /// Of a playlist all of whose addresses end with [`MARK`].
    pub(super) fn of(playlist: &MediaPlaylist, last_modified: Timestamp) -> Self {
        let text = playlist.to_text();
        let marks = text.matches(MARK).count();
        Self { digest: Sha256::digest(&text).into(), text: Bytes::from(text), marks, last_modified }
    }

    /// Bytes of memory that it holds.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + self.text.len()
    }
}

/// The text of a playlist for one viewer.
#[derive(Debug, Clone)]
pub struct PlaylistText {
    template: Arc<Template>,
    suffix: Arc<str>,
}

impl PlaylistText {
    /// `suffix` is what addresses end with.
    pub(super) fn new(template: Arc<Template>, suffix: &str) -> Self {
        Self { template, suffix: suffix.into() }
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.template.text.len() - self.template.marks * MARK.len() + self.template.marks * self.suffix.len()
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What names the text: as long as it is the same, this is.
    pub fn identity(&self) -> [Vec<u8>; 2] {
        [self.template.digest.to_vec(), self.suffix.as_bytes().to_vec()]
    }

    /// The text, some of it at a time: of one that is megabytes long, no viewer has all in memory.
    pub fn pieces(self) -> impl Iterator<Item = Bytes> + Send + 'static {
        let mut rest = self.template.text.clone();
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let piece = rest.split_to(PIECE.min(rest.len()));
            let mut filled = BytesMut::with_capacity(piece.len());
            for (number, part) in piece.split(|byte| MARK.as_bytes().contains(byte)).enumerate() {
                if number > 0 {
                    filled.extend_from_slice(self.suffix.as_bytes());
                }
                filled.extend_from_slice(part);
            }
            Some(filled.freeze())
        })
    }
}

#[cfg(test)]
mod tests {
    use mediahooks_media::hls::{Place, PlaylistSegment};

    use super::*;

    #[test]
    fn every_viewer_gets_their_own_addresses() {
        let segment = |number: u32| PlaylistSegment {
            duration_us: 1_000_000,
            place: Place { uri: format!("{number}.m4s{MARK}"), range: None },
            ..PlaylistSegment::default()
        };
        let of = |suffix: &str| MediaPlaylist {
            segments: (0..10_000)
                .map(segment)
                .map(|segment| PlaylistSegment {
                    place: Place { uri: segment.place.uri.replace(MARK, suffix), range: None },
                    ..segment
                })
                .collect(),
            ..MediaPlaylist::default()
        };
        let template = Arc::new(Template::of(&of(MARK), Timestamp::EPOCH));
        for suffix in ["", "?expires=1&signature=x"] {
            let text = PlaylistText::new(Arc::clone(&template), suffix);
            let (len, expected) = (text.len(), of(suffix).to_text());
            let pieces: Vec<Bytes> = text.pieces().collect();
            assert!(pieces.len() > 1);
            assert!(pieces.concat() == expected.as_bytes() && len == expected.len(), "{suffix}");
        }
    }
}
