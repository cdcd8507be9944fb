//! Reads the tags of an FLV file that is in memory (FLV 10.1 annex E.2 and E.3).
//!
//! Used to publish a recorded broadcast again. Every tag is a slice of the file, not a copy.

use bytes::{Buf, Bytes};

const SIGNATURE: &[u8] = b"FLV\x01";
/// Signature, version, flags and the length of the header itself.
const HEADER_LENGTH_MIN: usize = 9;
const TAG_HEADER_LENGTH: usize = 11;
/// The size of the previous tag, before each tag.
pub(super) const BACK_POINTER_LENGTH: usize = 4;

/// One tag of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlvTag {
    /// 8 audio, 9 video, 18 script data.
    pub tag_type: u8,
    /// Milliseconds.
    pub timestamp_ms: u32,
    /// What [`super::FlvDemuxer::push`] takes and what an RTMP message carries.
    pub body: Bytes,
}

/// Why the bytes are not an FLV file, or not a whole one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FlvFileError {
    /// No FLV header.
    #[error("not an FLV file: it does not begin with `FLV` and version 1")]
    NotFlv,
    /// The file ends inside a tag.
    #[error("FLV file is cut off at byte {0}")]
    Truncated(usize),
}

/// The tags of a file, in file order. Ends after the first error.
#[derive(Debug, Clone)]
pub struct FlvFile {
    rest: Bytes,
    length: usize,
}

impl FlvFile {
    /// Reads the header.
    ///
    /// # Errors
    /// [`FlvFileError::NotFlv`].
    pub fn new(file: Bytes) -> Result<FlvFile, FlvFileError> {
        let header = file.first_chunk::<HEADER_LENGTH_MIN>().ok_or(FlvFileError::NotFlv)?;
        let [.., a, b, c, d] = *header;
        let header_length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if !header.starts_with(SIGNATURE) || header_length < HEADER_LENGTH_MIN || header_length > file.len() {
            return Err(FlvFileError::NotFlv);
        }
        Ok(FlvFile { length: file.len(), rest: file.slice(header_length..) })
    }

    fn read_tag(&mut self) -> Option<FlvTag> {
        let mut rest = self.rest.slice(BACK_POINTER_LENGTH.min(self.rest.len())..);
        let tag = take_tag(&mut rest)?;
        self.rest = rest;
        Some(tag)
    }
}

/// Takes a tag, header and body, off the front; nothing when it is not all there.
pub(super) fn take_tag(rest: &mut Bytes) -> Option<FlvTag> {
    let [tag_type, s2, s1, s0, t2, t1, t0, t3, ..] = *rest.first_chunk::<TAG_HEADER_LENGTH>()?;
    let size = usize::try_from(u32::from_be_bytes([0, s2, s1, s0])).ok()?;
    if rest.len() < TAG_HEADER_LENGTH + size {
        return None;
    }
    rest.advance(TAG_HEADER_LENGTH);
    Some(FlvTag {
        tag_type: tag_type & 0x1F,
        timestamp_ms: u32::from_be_bytes([t3, t2, t1, t0]),
        body: rest.split_to(size),
    })
}

impl Iterator for FlvFile {
    type Item = Result<FlvTag, FlvFileError>;

    fn next(&mut self) -> Option<Self::Item> {
        // The file ends with the size of the last tag, which writers that were cut off leave out.
        if self.rest.len() <= BACK_POINTER_LENGTH {
            return None;
        }
        let position = self.length - self.rest.len();
        let tag = self.read_tag().ok_or(FlvFileError::Truncated(position));
        if tag.is_err() {
            self.rest.clear();
        }
        Some(tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: &[u8] = b"FLV\x01\x05\x00\x00\x00\x09";

    fn file_of(tags: &[FlvTag]) -> Vec<u8> {
        let mut file = [HEADER, &[0; 4]].concat();
        for tag in tags {
            let length = u32::try_from(tag.body.len()).unwrap().to_be_bytes();
            let [t3, t2, t1, t0] = tag.timestamp_ms.to_be_bytes();
            file.push(tag.tag_type);
            file.extend([length[1], length[2], length[3], t2, t1, t0, t3, 0, 0, 0]);
            file.extend(&tag.body);
            file.extend((u32::try_from(tag.body.len()).unwrap() + 11).to_be_bytes());
        }
        file
    }

    #[test]
    fn a_cut_off_file_gives_its_whole_tags_and_then_says_where_it_ends() {
        let tags =
            [1u8, 2].map(|n| FlvTag { tag_type: 9, timestamp_ms: 0xFF00_0000, body: vec![n; 9].into() });
        let mut file = file_of(&tags);
        file.truncate(file.len() - 5);
        let read: Vec<_> = FlvFile::new(file.into()).unwrap().collect();
        assert_eq!(read, [Ok(tags[0].clone()), Err(FlvFileError::Truncated(33))]);
    }

    #[test]
    fn another_kind_of_file_is_refused() {
        assert_eq!(FlvFile::new(Bytes::from_static(b"RIFF....WAVEfmt ")).unwrap_err(), FlvFileError::NotFlv);
        assert_eq!(FlvFile::new(Bytes::from_static(b"FLV\x01")).unwrap_err(), FlvFileError::NotFlv);
    }

    proptest! {
        #[test]
        fn tags_come_back_as_written(
            tags in prop::collection::vec(
                (8u8..=18, any::<u32>(), prop::collection::vec(any::<u8>(), 0..40))
                    .prop_map(|(tag_type, timestamp_ms, body)| FlvTag { tag_type, timestamp_ms, body: body.into() }),
                0..6,
            )
        ) {
            let read: Result<Vec<_>, _> = FlvFile::new(file_of(&tags).into()).unwrap().collect();
            prop_assert_eq!(read, Ok(tags));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let file = [HEADER, &bytes].concat();
            FlvFile::new(file.into()).unwrap().for_each(drop);
        }
    }
}
