//! A handler behind the extractor runs for genuine requests only; all others get a reason.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use axum::routing::post;
use mediahooks_delivery::{SigningKey, WebhookSecret, signature_headers};
use mediahooks_receiver::{Payload, VerifiedEvent, Verifier};
use tower::ServiceExt;

const EVENT: &[u8] =
    br#"{"type":"media","event":"completed","timestamp":2,"data":{"mediaAssetId":"a1","type":"clip"}}"#;

/// Tells what it understood.
async fn hook(VerifiedEvent { verified, event, .. }: VerifiedEvent) -> String {
    let what = match event.payload {
        Payload::Media(media) => format!("{} {}", media.media_asset_id, media.kind.as_str()),
        Payload::Thumbnail(thumbnail) => format!("{} bytes of picture", thumbnail.jpeg.len()),
        other => format!("{other:?}"),
    };
    format!("{:?}: {what}", verified.scheme)
}

/// Sends a request with only these headers of the sender's, and returns the status and the response.
async fn send(content_type: &str, body: Vec<u8>, headers: &[&str]) -> (StatusCode, String) {
    let secret = WebhookSecret::generate_from([7; 32]);
    let verifier = Verifier::new([secret.reveal_base64()]).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let signed = signature_headers(&SigningKey::new(&secret), "evt-1", now as i64, &body);
    let mut request = Request::post("/hook").header("content-type", content_type);
    for (name, value) in signed.named().into_iter().filter(|(name, _)| headers.contains(name)) {
        request = request.header(name, value);
    }
    let app = Router::new().route("/hook", post(hook)).with_state(verifier);
    let response = app.oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let status = response.status();
    let text = to_bytes(response.into_body(), 1000).await.unwrap();
    (status, String::from_utf8(text.to_vec()).unwrap())
}

const STANDARD: [&str; 3] = ["webhook-id", "webhook-timestamp", "webhook-signature"];
const MILLICAST: [&str; 1] = ["x-millicast-signature"];

#[tokio::test]
async fn genuine_events_arrive_typed() {
    let (status, text) = send("application/json", EVENT.to_vec(), &STANDARD).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, "Standard: a1 completed"));
    let (status, text) = send("application/json", EVENT.to_vec(), &MILLICAST).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, "Millicast: a1 completed"));
}

#[tokio::test]
async fn pictures_may_be_larger_than_json() {
    let (status, text) = send("image/jpeg", vec![1; 2 << 20], &MILLICAST).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, "Millicast: 2097152 bytes of picture"));
}

#[tokio::test]
async fn what_is_not_genuine_gets_a_reason() {
    let (status, text) = send("application/json", EVENT.to_vec(), &[]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("not signed"), "{text}");
    let (status, text) = send("application/json", EVENT.to_vec(), &STANDARD[..2]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("`webhook-signature` header is missing"), "{text}");
}

#[tokio::test]
async fn what_is_genuine_but_not_understood_gets_the_cause() {
    let body = br#"{"type":"media","event":"completed","data":{}}"#;
    let (status, text) = send("application/json", body.to_vec(), &STANDARD).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("missing field"), "{text}");
}

#[tokio::test]
async fn what_is_too_long_is_not_read() {
    for (content_type, limit) in [("application/json", 1 << 20), ("image/jpeg", 10 << 20)] {
        let (status, text) = send(content_type, vec![b' '; limit + 1], &MILLICAST).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(text.contains(&limit.to_string()), "{text}");
    }
}
