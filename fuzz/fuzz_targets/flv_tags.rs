//! What a publisher sends after it was let in: tags, and aggregate messages of them, of any bytes.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mediahooks_media::flv::{Aggregate, FlvDemuxer, FlvEvent, TAG_SCRIPT, TAG_VIDEO};

fuzz_target!(|input: &[u8]| {
    let mut demuxer = FlvDemuxer::new();
    let mut bodies = 0;
    // The input is one aggregate message; its tags change the demuxer's state in turn, and a metadata packet of
    // video and a script tag are made of each.
    for tag in Aggregate::new(0, Bytes::copy_from_slice(input)).flatten() {
        bodies += tag.body.len();
        let metadata = [&b"\xD4av01"[..], &tag.body].concat();
        for (tag_type, body) in [(tag.tag_type, tag.body.clone()), (TAG_VIDEO, metadata.into()), (TAG_SCRIPT, tag.body)] {
            for event in demuxer.push(tag_type, tag.timestamp_ms, body).unwrap_or_default() {
                if let FlvEvent::Config(config) = event {
                    let _ = (config.sample_entry(), config.codec.codec_string());
                }
            }
        }
    }
    assert!(bodies <= input.len());
});
