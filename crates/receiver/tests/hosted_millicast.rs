//! Webhooks as hosted Millicast (Dolby OptiView) documents them: each published peculiarity, signed by its
//! scheme, is verified and read.

use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use mediahooks_receiver::fake::FakeSender;
use mediahooks_receiver::{
    AssetType, Event, EventKey, FeedEvent, FeedEventKind, MediaEvent, MediaEventKind, Metadata, Millis,
    Order, Payload, Place, Scheme, Verifier,
};

const SECRET: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM=";

/// Receives it as an application does.
fn receive(content_type: &str, body: impl Into<Bytes>) -> (Event, EventKey) {
    let request = FakeSender::new(SECRET).unwrap().like_millicast().raw(content_type, body).request();
    let verifier = Verifier::new([SECRET]).unwrap();
    let verified = verifier.verify(request.headers(), request.body(), SystemTime::now()).unwrap();
    assert_eq!(verified.scheme, Scheme::Millicast);
    let key = EventKey::of(&verified, request.body());
    (Event::read(request.headers(), request.body().clone()).unwrap(), key)
}

fn event(body: &'static str) -> Event {
    receive("application/json", body).0
}

fn media(body: &'static str) -> MediaEvent {
    let Payload::Media(media) = event(body).payload else { panic!("no media: {body}") };
    media
}

fn feed(body: &'static str) -> FeedEvent {
    let Payload::Feeds(feed) = event(body).payload else { panic!("no feed: {body}") };
    feed
}

#[test]
fn the_test_vector_of_the_signature() {
    let mut headers = HeaderMap::new();
    let signature = "sha1=90279978dedb27a0ca3767eac2feb5b7cede2ffc";
    headers.insert("X-Millicast-Signature", signature.parse().unwrap());
    let verifier = Verifier::new([SECRET]).unwrap();
    assert!(verifier.verify(&headers, br#"{"type":"media"}"#, SystemTime::now()).is_ok());
    assert!(verifier.verify(&headers, br#"{"type":"feeds"}"#, SystemTime::now()).is_err());
    let sent =
        FakeSender::new(SECRET).unwrap().like_millicast().raw("application/json", r#"{"type":"media"}"#);
    assert_eq!(sent.request().headers()["x-millicast-signature"], signature);
}

/// `metadata` is empty both while a clip is made and when it is complete, and its start is 110 ms before.
#[test]
fn a_clip_with_empty_metadata_before_and_after() {
    let requested = media(
        r#"{"type":"media","event":"processing","timestamp":1721240000110,"data":{"mediaAssetId":
        "0f1e2d3c4b5a69788796a5b4c3d2e1f0","type":"clip","tokenId":42,"streamName":"hall","streamId":"ab12Cd/hall",
        "startTime":1721240000000,"expiration":1723832000000,"metadata":{}}}"#,
    );
    assert_eq!((requested.kind, requested.asset_type), (MediaEventKind::Processing, AssetType::Clip));
    assert_eq!((requested.token_id, requested.start_time), (Some(42), Some(Millis(1_721_240_000_000))));
    let completed = media(
        r#"{"data":{"metadata":{},"expiration":1723832000000,"startTime":1721240000000,"streamId":"ab12Cd/hall",
        "streamName":"hall","tokenId":42,"type":"clip","mediaAssetId":"0f1e2d3c4b5a69788796a5b4c3d2e1f0"},
        "timestamp":1721240420110,"event":"completed","type":"media"}"#,
    );
    assert_eq!(completed.kind, MediaEventKind::Completed);
    assert_eq!(completed.metadata, Some(Metadata::default()));
    assert_eq!((completed.seq, completed.download), (None, None));
}

#[test]
fn an_errored_recording_names_no_reason() {
    let errored = media(
        r#"{"type":"media","event":"errored","timestamp":1721255120000,"data":{"mediaAssetId":"a","type":
        "recording","tokenId":42,"streamName":"hall","streamId":"ab12Cd/hall","startTime":1721240000000,
        "expiration":1729890440000}}"#,
    );
    assert_eq!((errored.kind, errored.asset_type), (MediaEventKind::Errored, AssetType::Recording));
    assert_eq!((errored.metadata, errored.error), (None, None));
}

#[test]
fn a_channel_has_neither_token_nor_stream() {
    let channel = media(
        r#"{"type":"media","event":"completed","timestamp":1,"data":{"mediaAssetId":"a","type":"recording",
        "channelId":"ch-1","startTime":1}}"#,
    );
    assert_eq!(channel.channel_id.as_deref(), Some("ch-1"));
    assert_eq!((channel.token_id, channel.stream_name, channel.expiration), (None, None, None));
}

#[test]
fn feeds_without_their_beginning_when_they_end() {
    let started = feed(
        r#"{"type":"feeds","event":"started","timestamp":9,"data":{"feedId":"7b7f7a5e-0001-4000-8000-000000000000",
        "accountId":"ab12Cd","name":"hall","streamId":"ab12Cd/hall","active":true,"started":8,"priority":0,
        "sourceId":"cam","simulcastId":"h"}}"#,
    );
    assert_eq!(
        (started.kind, started.active, started.priority),
        (FeedEventKind::Started, Some(true), Some(0))
    );
    let ended = feed(
        r#"{"type":"feeds","event":"ended","timestamp":11,"data":{"feedId":"7b7f7a5e-0001-4000-8000-000000000000",
        "accountId":"ab12Cd","name":"hall","streamId":"ab12Cd/hall","active":false}}"#,
    );
    assert_eq!((ended.kind, ended.active), (FeedEventKind::Ended, Some(false)));
    assert_eq!((ended.started, ended.ended), (None, None));
}

/// The only filled metadata that is published: a frame rate that is no whole number, though the schema says so.
#[test]
fn the_metadata_of_a_legacy_recording() {
    let legacy = event(
        r#"{"type":"recordings","event":"completed","timestamp":1,"data":{"recordFileId":5,"tokenId":42,
        "streamName":"hall","recordedOn":1,"metadata":{"format":"MPEG-4","sizes":{"concat":1,"dash":2,"thumbnails":3},
        "duration":1,"thumbnails":[],"tracks":[{"type":"video","codec":"H264","bitrate":2898391,"width":640,
        "height":360,"framerate":29.97},{"type":"audio","codec":"Opus","bitrate":100575,"channels":2,
        "samplerate":48000}]}}}"#,
    );
    assert_eq!((legacy.type_name.as_str(), legacy.event_name.as_str()), ("recordings", "completed"));
    let Payload::Unknown(data) = legacy.payload else { panic!("in types") };
    let metadata: Metadata = serde_json::from_value(data["metadata"].clone()).unwrap();
    let tracks = metadata.tracks.unwrap();
    assert_eq!((tracks[0].framerate, tracks[1].codec.as_deref()), (Some(29.97), Some("Opus")));
    assert_eq!(metadata.sizes.unwrap()["dash"], 2);
}

#[test]
fn types_that_are_not_about_media_pass_as_json() {
    for (body, member) in [
        (
            r#"{"type":"transcoder","event":"ACTIVE","timestamp":1,"data":{"transcoderId":"t","transcoderName":"n",
            "cluster":"c","createdOn":"2026-01-01T00:00:00Z","status":"Active"}}"#,
            "transcoderName",
        ),
        (
            r#"{"type":"viewerConnection","event":"FirstViewerConnection","timestamp":1,"data":{"name":"hall",
            "accountId":"ab12Cd","streamId":"ab12Cd/hall"}}"#,
            "accountId",
        ),
    ] {
        let Payload::Unknown(data) = event(body).payload else { panic!("in types: {body}") };
        assert!(data[member].is_string(), "{member}");
    }
}

/// No ids and no order are given: equal bodies are repeats, and time tells what is overtaken.
#[test]
fn repeats_and_order_without_ids_and_numbers() {
    let at = |time: i64| {
        receive(
            "application/json",
            format!(
                r#"{{"type":"media","event":"completed","timestamp":{time},"data":{{"mediaAssetId":"a","type":"clip"}}}}"#
            ),
        )
    };
    let ((first, first_key), (second, second_key)) = (at(5), at(6));
    assert_ne!(first_key, second_key);
    assert_eq!(at(5).1, first_key);
    let mut order = Order::new(10);
    order.record(&second);
    assert_eq!(order.place(&first), Place::Overtaken);
    assert_eq!(order.place(&second), Place::Next);
}
