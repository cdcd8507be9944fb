//! Script data in between, and more than one sound track.
//!
//! Kept: the first track of each kind. Counted: `dropped` by `additional audio track`. Data does no harm.

use bytes::Bytes;
use mediahooks_testkit::synthetic::{Source, Tag, in_order};

use crate::stage::Stage;

#[tokio::test]
async fn the_first_track_of_each_kind_is_kept() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(4));
    let mut more = Vec::new();
    for (place, tag) in tags.iter().enumerate() {
        if place % 10 == 5 {
            more.push(Tag {
                tag_type: 18,
                body: Bytes::from_static(b"\x02\x00\x04KLV!\xff\xff"),
                ..tag.clone()
            });
        }
        if tag.tag_type == 8 && !tag.is_header() {
            // An enhanced tag, multitrack, one track: id 1, AAC.
            let body = [b"\x95\x01mp4a\x01", b"other".as_slice()].concat();
            more.push(Tag { body: body.into(), ..tag.clone() });
        }
    }
    tags.extend(more);
    stage.broadcast(&in_order(tags)).await;
    let recording = stage.recording().await;
    assert_eq!((recording.pictures().len(), recording.sounds().len()), (100, 188));
    assert_eq!(recording.metadata.tracks.len(), 2);
    assert_eq!(stage.count("dropped", &[("reason", "additional audio track")]), 188);
}
