//! The aggregate message of RTMP: FLV tags one behind the other, each followed by its size.
//!
//! Spec: Adobe RTMP 1.0 §7.1.6. Old Flash encoders and some relays send several small tags so.

use bytes::{Buf, Bytes};

use super::file::{BACK_POINTER_LENGTH, FlvTag, take_tag};

/// The tags of an aggregate message, in order, on the clock of its stream. They are slices of it, not copies. Ends
/// after the first error.
#[derive(Debug, Clone)]
pub struct Aggregate {
    rest: Bytes,
    timestamp_ms: u32,
    /// What is added to the tags' own times: the first one gets that of the message.
    offset_ms: Option<u32>,
}

/// An aggregate message ends inside a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("aggregate message is cut off inside a tag")]
pub struct CutOff;

impl Aggregate {
    /// Of a message with this time and payload.
    pub fn new(timestamp_ms: u32, payload: Bytes) -> Aggregate {
        Aggregate { rest: payload, timestamp_ms, offset_ms: None }
    }
}

impl Iterator for Aggregate {
    type Item = Result<FlvTag, CutOff>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some(mut tag) = take_tag(&mut self.rest) else {
            self.rest.clear();
            return Some(Err(CutOff));
        };
        // The size behind it is for reading backwards; some leave out the last one.
        self.rest.advance(BACK_POINTER_LENGTH.min(self.rest.len()));
        let offset_ms = *self.offset_ms.get_or_insert(self.timestamp_ms.wrapping_sub(tag.timestamp_ms));
        tag.timestamp_ms = tag.timestamp_ms.wrapping_add(offset_ms);
        Some(Ok(tag))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payload_of(tags: &[FlvTag]) -> Vec<u8> {
        let mut payload = Vec::new();
        for tag in tags {
            let length = u32::try_from(tag.body.len()).unwrap();
            let [t3, t2, t1, t0] = tag.timestamp_ms.to_be_bytes();
            payload.push(tag.tag_type);
            payload.extend(&length.to_be_bytes()[1..]);
            payload.extend([t2, t1, t0, t3, 0, 0, 0]);
            payload.extend(&tag.body);
            payload.extend((length + 11).to_be_bytes());
        }
        payload
    }

    fn tag(timestamp_ms: u32, body: &'static [u8]) -> FlvTag {
        FlvTag { tag_type: 9, timestamp_ms, body: Bytes::from_static(body) }
    }

    #[test]
    fn the_first_tag_has_the_messages_time_and_the_others_keep_their_distance() {
        let payload = payload_of(&[tag(0xFFFF_FFF0, b"a"), tag(0x10, b"b"), tag(0xFFFF_FFEF, b"")]);
        let read: Vec<_> = Aggregate::new(5000, payload.into()).map(Result::unwrap).collect();
        assert_eq!(read, [tag(5000, b"a"), tag(5032, b"b"), tag(4999, b"")]);
    }

    #[test]
    fn whole_tags_come_out_of_a_message_that_is_cut_off() {
        let mut payload = payload_of(&[tag(0, b"one"), tag(1, b"two")]);
        payload.truncate(payload.len() - 4);
        let read: Vec<_> = Aggregate::new(0, payload.clone().into()).collect();
        assert_eq!(read, [Ok(tag(0, b"one")), Ok(tag(1, b"two"))], "only the last size is missing");
        payload.truncate(payload.len() - 1);
        let read: Vec<_> = Aggregate::new(0, payload.into()).collect();
        assert_eq!(read, [Ok(tag(0, b"one")), Err(CutOff)]);
    }

    proptest! {
        #[test]
        fn tags_come_back_as_written(
            tags in prop::collection::vec(
                (8u8..=18, any::<u32>(), prop::collection::vec(any::<u8>(), 0..40))
                    .prop_map(|(tag_type, timestamp_ms, body)| FlvTag { tag_type, timestamp_ms, body: body.into() }),
                1..6,
            )
        ) {
            let aggregate = Aggregate::new(tags[0].timestamp_ms, payload_of(&tags).into());
            prop_assert_eq!(aggregate.collect::<Result<Vec<_>, _>>(), Ok(tags));
        }

        #[test]
        fn no_bytes_panic_nor_come_twice(
            timestamp_ms in any::<u32>(),
            bytes in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            let tags = Aggregate::new(timestamp_ms, bytes.clone().into()).filter_map(Result::ok);
            let read: usize = tags.map(|tag| tag.body.len() + 11).sum();
            prop_assert!(read <= bytes.len());
        }
    }
}
