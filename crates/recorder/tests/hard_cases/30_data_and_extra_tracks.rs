//! Script data in between, more than one track of a kind, and several tags in one message.
//!
//! Kept: the first track of each kind, and every tag. Counted: `dropped` by `additional_track`. Data does no harm.

use bytes::Bytes;
use mediahooks_testkit::synthetic::{Source, Tag, aggregate, in_order};

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
        if tag.tag_type == 9 && !tag.is_header() {
            // The same of pictures: id 2, H.264, without a composition time (CodedFramesX).
            let body = [b"\x96\x03avc1\x02", b"other".as_slice()].concat();
            more.push(Tag { body: body.into(), ..tag.clone() });
        }
    }
    tags.extend(more);
    stage.broadcast(&in_order(tags)).await;
    let recording = stage.recording().await;
    assert_eq!((recording.pictures().len(), recording.sounds().len()), (100, 188));
    assert_eq!(recording.metadata.tracks.len(), 2);
    assert_eq!(stage.count("dropped", &[("kind", "audio"), ("reason", "additional_track")]), 188);
    assert_eq!(stage.count("dropped", &[("kind", "video"), ("reason", "additional_track")]), 100);
    assert_eq!(stage.count("dropped", &[]), 288);
}

#[tokio::test]
async fn every_tag_of_an_aggregate_is_kept() {
    let stage = Stage::new().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.seconds(4));
    // Their own times count from another origin than the message's.
    let messages: Vec<Tag> = tags.chunks(9).map(|tags| aggregate(tags, 5_000)).collect();
    stage.over_rtmp(&messages).await;
    let recording = stage.recording().await;
    assert_eq!((recording.pictures(), recording.sounds().len()), ((0..100).collect(), 188));
    for sample in recording.shown() {
        assert_eq!(sample.at_ms, i64::from(sample.number) * 40);
    }
    assert_eq!(stage.count("dropped", &[]), 0);
}
