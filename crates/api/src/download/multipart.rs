//! Frames several ranges as one `multipart/byteranges` body of known length.
//! Spec: RFC 9110 section 14.6.

use std::ops::Range;

/// The frame around the ranges of one reply.
#[derive(Debug)]
pub(crate) struct Frame {
    boundary: String,
    heads: Vec<(String, Range<u64>)>,
    tail: String,
}

impl Frame {
    /// Frames `ranges` of a file. `boundary` must not occur in it: draw it at random.
    pub(crate) fn new(boundary: String, content_type: &str, ranges: Vec<Range<u64>>, file_len: u64) -> Self {
        let head = |range: &Range<u64>| {
            format!(
                "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {}\r\n\r\n",
                content_range(range, file_len)
            )
        };
        let heads = ranges.into_iter().map(|range| (head(&range), range)).collect();
        let tail = format!("\r\n--{boundary}--\r\n");
        Self { boundary, heads, tail }
    }

    /// The value of `Content-Type`.
    pub(crate) fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// Bytes of the whole body.
    pub(crate) fn len(&self) -> u64 {
        let part = |(head, range): &(String, Range<u64>)| head.len() as u64 + (range.end - range.start);
        self.heads.iter().map(part).sum::<u64>() + self.tail.len() as u64
    }

    /// The head of each part with the range that follows it, and what ends the body.
    pub(crate) fn into_parts(self) -> (Vec<(String, Range<u64>)>, String) {
        (self.heads, self.tail)
    }
}

/// The value of `Content-Range`; `range` is not empty.
pub(crate) fn content_range(range: &Range<u64>, file_len: u64) -> String {
    format!("bytes {}-{}/{file_len}", range.start, range.end.saturating_sub(1))
}
