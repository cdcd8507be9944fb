use proptest::prelude::*;

use super::*;

fn media(body: &str) -> MediaEvent {
    match Event::from_json(body.as_bytes()).unwrap().payload {
        Payload::Media(media) => media,
        other => panic!("{other:?}"),
    }
}

fn feed(body: &str) -> FeedEvent {
    match Event::from_json(body.as_bytes()).unwrap().payload {
        Payload::Feeds(feed) => feed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_clip_in_processing_has_empty_metadata() {
    let body = r#"{"type":"media","event":"processing","timestamp":1721240000110,"data":{
        "mediaAssetId":"0f1e2d3c4b5a69788796a5b4c3d2e1f0","type":"clip","tokenId":42,
        "streamName":"hall","streamId":"ab12Cd/hall","startTime":1721240000000,
        "expiration":1723832000000,"metadata":{}}}"#;
    let event = Event::from_json(body.as_bytes()).unwrap();
    assert_eq!((event.type_name.as_str(), event.timestamp), ("media", Some(Millis(1_721_240_000_110))));
    assert_eq!(event.subject(), Some("0f1e2d3c4b5a69788796a5b4c3d2e1f0"));
    let clip = media(body);
    assert_eq!((clip.kind, clip.asset_type), (MediaEventKind::Processing, AssetType::Clip));
    assert_eq!((clip.token_id, clip.expiration), (Some(42), Some(Millis(1_723_832_000_000))));
    assert_eq!(clip.metadata, Some(Metadata::default()));
}

#[test]
fn a_completed_recording_tells_what_the_file_is() {
    let completed = media(
        r#"{"event":"completed","timestamp":2,"type":"media","data":{"type":"recording",
        "mediaAssetId":"a","tokenId":1,"streamName":"s","streamId":"x/s","startTime":1,"metadata":{
        "format":"MPEG-4","sizes":{"mp4":734003},"duration":12,"fileCount":1,"thumbnails":[],"tracks":[
        {"type":"video","codec":"H264","bitrate":480000,"width":640,"height":360,"framerate":29.97},
        {"type":"audio","codec":"AAC","bitrate":96000,"channels":2,"samplerate":48000,"language":"de"}]}}}"#,
    );
    let metadata = completed.metadata.unwrap();
    assert_eq!(metadata.sizes.unwrap()["mp4"], 734_003);
    let tracks = metadata.tracks.unwrap();
    assert_eq!((tracks[0].framerate, tracks[0].height), (Some(29.97), Some(360)));
    assert_eq!(tracks[1].other["language"], "de");
}

#[test]
fn the_room_on_the_disk_is_one_subject() {
    let body = r#"{"type":"storage","event":"refusing","timestamp":7,"data":{"accountId":"ab12Cd",
        "action":"refusingPublishers","freeBytes":400,"totalBytes":9000,"lowBytes":2000,"reserveBytes":500,"seq":2,
        "more":true}}"#;
    let event = Event::from_json(body.as_bytes()).unwrap();
    assert_eq!((event.subject(), event.seq()), (Some("storage"), Some(2)));
    let again = Event::from_json(event.to_json().unwrap().as_bytes()).unwrap();
    assert_eq!(again, event);
    let Payload::Storage(storage) = event.payload else { panic!("no storage") };
    assert_eq!((storage.kind, storage.free_bytes), (StorageEventKind::Refusing, Some(400)));
    assert_eq!((storage.action.as_deref(), storage.reserve_bytes), (Some("refusingPublishers"), Some(500)));
    assert_eq!(storage.other["more"], true);
}

#[test]
fn absent_and_null_members_are_the_same() {
    let errored = media(
        r#"{"type":"media","event":"errored","timestamp":5,"data":{"mediaAssetId":"a","type":"recording",
        "channelId":"ch1","tokenId":null,"startTime":4}}"#,
    );
    assert_eq!(errored.kind, MediaEventKind::Errored);
    assert_eq!((errored.token_id, errored.expiration, errored.metadata), (None, None, None));
    assert_eq!(errored.channel_id.as_deref(), Some("ch1"));
}

#[test]
fn feeds_start_and_end() {
    let started = feed(
        r#"{"type":"feeds","event":"started","timestamp":9,"data":{"feedId":"f","accountId":"ab12Cd",
        "name":"stage/left","streamId":"ab12Cd/stage/left","active":true,"started":8,"priority":-2,
        "sourceId":"cam1","simulcastId":""}}"#,
    );
    assert_eq!((started.kind, started.active), (FeedEventKind::Started, Some(true)));
    assert_eq!((started.priority, started.simulcast_id.as_deref()), (Some(-2), Some("")));
    let ended = feed(
        r#"{"type":"feeds","event":"ended","timestamp":11,"data":{"feedId":"f","accountId":"ab12Cd",
        "name":"stage/left","streamId":"ab12Cd/stage/left","active":false,"ended":11}}"#,
    );
    assert_eq!((ended.kind, ended.started, ended.ended), (FeedEventKind::Ended, None, Some(Millis(11))));
}

#[test]
fn what_is_not_known_yet_survives() {
    let media = media(
        r#"{"type":"media","event":"archived","timestamp":1,"extra":1,"data":{"mediaAssetId":"a",
        "type":"vod","tier":{"name":"cold"}}}"#,
    );
    assert_eq!(media.kind, MediaEventKind::Other("archived".into()));
    assert_eq!(media.asset_type.as_str(), "vod");
    assert_eq!(media.other["tier"]["name"], "cold");

    let event = Event::from_json(
        br#"{"type":"transcoder","event":"ACTIVE","timestamp":1,"data":{"transcoderId":"t"}}"#,
    );
    let Payload::Unknown(data) = event.unwrap().payload else { panic!("known") };
    assert_eq!(data["transcoderId"], "t");
}

#[test]
fn a_thumbnail_is_a_picture_with_headers() {
    let headers: HeaderMap = [
        ("content-type", "Image/JPEG"),
        ("x-millicast-timestamp", "1721240000000"),
        ("x-millicast-feed-id", "f"),
        ("x-millicast-stream-id", "ab12Cd/hall"),
        ("x-millicast-token-id", "42"),
    ]
    .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
    .into_iter()
    .collect();
    let event = Event::read(&headers, Bytes::from_static(b"\xff\xd8\xff")).unwrap();
    assert_eq!(event.timestamp, Some(Millis(1_721_240_000_000)));
    let Payload::Thumbnail(thumbnail) = event.payload else { panic!("no picture") };
    assert_eq!((thumbnail.jpeg.len(), thumbnail.token_id), (3, Some(42)));
    assert_eq!(thumbnail.stream_id.as_deref(), Some("ab12Cd/hall"));
}

#[test]
fn what_contradicts_the_documented_shape_is_an_error_with_the_member() {
    let refused = |body: &str| Event::from_json(body.as_bytes()).unwrap_err();
    assert!(matches!(refused(""), EventError::NotAnEvent(_)));
    assert!(matches!(refused("[]"), EventError::NotAnEvent(_)));
    assert!(matches!(refused(r#"{"type":"media"}"#), EventError::NotAnEvent(_)));
    assert!(matches!(refused(&"[".repeat(100_000)), EventError::NotAnEvent(_)));
    let EventError::Data { type_name, source } = refused(r#"{"type":"media","event":"deleted","data":{}}"#)
    else {
        panic!("another error")
    };
    assert_eq!(type_name, "media");
    assert!(source.to_string().contains("mediaAssetId"));
}

#[test]
fn what_media_hooks_adds_is_read() {
    let errored = media(
        r#"{"type":"media","event":"errored","timestamp":5,"data":{"mediaAssetId":"a","type":"clip","seq":2,
        "error":"the disk is full"}}"#,
    );
    assert_eq!((errored.seq, errored.error.as_deref()), (Some(2), Some("the disk is full")));
    let completed = media(
        r#"{"type":"media","event":"completed","timestamp":5,"data":{"mediaAssetId":"a","type":"clip","seq":3,
        "download":{"downloadUrl":"https://x/?sig=1","downloadExpiresOn":"2026-01-01T01:00:00Z"}}}"#,
    );
    let link = completed.download.as_ref().unwrap();
    assert_eq!(link.download_url.as_deref(), Some("https://x/?sig=1"));
    assert!(completed.other.is_empty() && !format!("{completed:?}").contains("sig=1"));
    let ended = feed(r#"{"type":"feeds","event":"ended","data":{"feedId":"f","seq":2}}"#);
    assert_eq!(ended.seq, Some(2));
}

#[test]
fn members_of_another_shape_than_media_hooks_gives_them_are_no_error() {
    let media = media(
        r#"{"type":"media","event":"errored","data":{"mediaAssetId":"a","type":"clip","seq":"second",
        "error":{"code":5},"download":null}}"#,
    );
    assert_eq!((media.seq, &media.error, &media.download), (None, &None, &None));
    assert_eq!((&media.other["seq"], &media.other["error"]["code"]), (&"second".into(), &5.into()));
}

#[test]
fn an_event_is_written_as_it_was_read() {
    let bodies = [
        r#"{"type":"media","event":"archived","timestamp":1,"trace":"t","data":{"mediaAssetId":"a","type":"vod",
        "tokenId":7,"streamName":"s","streamId":"x/s","startTime":1,"expiration":2,"seq":4,"tier":{"name":"cold"},
        "error":"e","download":{"downloadUrl":"u","downloadExpiresOn":"o"},"metadata":{"format":"MPEG-4",
        "sizes":{"mp4":1},"duration":1.5,"durationMs":1500,"tracks":[{"type":"audio","channels":2,"x":[1]}]}}}"#,
        r#"{"type":"feeds","event":"ended","timestamp":2,"data":{"feedId":"f","accountId":"x","active":false,
        "priority":-1,"sourceId":"","seq":2,"ended":2,"kbps":12.5}}"#,
        r#"{"type":"transcoder","event":"ACTIVE","timestamp":1,"data":{"transcoderId":"t"}}"#,
    ];
    for body in bodies {
        let event = Event::from_json(body.as_bytes()).unwrap();
        let written: Value = serde_json::from_str(&event.to_json().unwrap()).unwrap();
        assert_eq!(written, serde_json::from_str::<Value>(body).unwrap());
    }
    let picture =
        Thumbnail { jpeg: Bytes::from_static(b"\xff"), feed_id: None, stream_id: None, token_id: None };
    assert_eq!(Event::from(picture).to_json(), None);
}

#[test]
fn moments_reach_the_standard_library() {
    assert_eq!(Millis(1500).system_time(), Some(UNIX_EPOCH + Duration::from_millis(1500)));
    assert_eq!(Millis(-1).system_time(), Some(UNIX_EPOCH - Duration::from_millis(1)));
    let _ = (Millis(i64::MIN).system_time(), Millis(i64::MAX).system_time());
}

proptest! {
    #[test]
    fn no_bytes_panic(body in any::<Vec<u8>>(), data in "\\PC{0,80}") {
        let _ = Event::from_json(&body);
        let _ = Event::from_json(format!("{{\"type\":\"media\",\"event\":\"x\",\"data\":{data}}}").as_bytes());
    }
}
