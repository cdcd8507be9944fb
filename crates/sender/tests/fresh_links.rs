//! Links in `media.completed`: made when it is sent, anew for each attempt, for webhooks that ask for them.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use futures::FutureExt as _;
use mediahooks_database::Change;
use mediahooks_model::event::{MediaEvent, MediaFacts, media_event};
use mediahooks_model::webhook::Subscriptions;
use mediahooks_model::{AssetType, EventId, MediaAssetId, Metadata, Timestamp, Webhook, WebhookId};
use mediahooks_receiver::Verifier;
use mediahooks_sender::{DownloadLink, DownloadLinks, SenderConfig};
use support::{Endpoint, House, SECRET, config, now, status};
use uuid::Uuid;

const ASSET: MediaAssetId = MediaAssetId(Uuid::from_u128(7));

/// Numbers its links; makes none for other assets than [`ASSET`].
fn links() -> DownloadLinks {
    let made = Arc::new(AtomicI64::new(0));
    DownloadLinks::new(move |asset| {
        let number = made.fetch_add(1, Ordering::SeqCst) + 1;
        let url = format!("https://media.example.com/download/{asset}/a.mp4?expires={number}");
        let link = DownloadLink { url, media_url: None, expires: Timestamp::from_millis(number * 1000) };
        async move { (asset == ASSET).then_some(link) }.boxed()
    })
}

async fn webhook(house: &House, url: String, include_download: bool) -> WebhookId {
    let subscriptions = Subscriptions { is_media_hooks: true, ..Subscriptions::default() };
    let webhook = Webhook { include_download, ..Webhook::new(url, SECRET, subscriptions) };
    house.database.create_webhook(webhook).await.unwrap().id
}

async fn emit(house: &House, asset: MediaAssetId, event: MediaEvent) -> String {
    let metadata = Metadata { format: "MPEG-4".into(), duration: 10, ..Metadata::default() };
    let facts = MediaFacts {
        seq: 2,
        account: &"dkxfvY".parse().unwrap(),
        asset,
        asset_type: AssetType::Clip,
        token: None,
        stream_name: &"auction".parse().unwrap(),
        start_time: now(),
        expiration: None,
        metadata: Some(&metadata),
        error: None,
        request: None,
    };
    let event = media_event(EventId(Uuid::now_v7()), event, now(), &facts);
    let body = event.body.clone();
    house.database.commit(vec![Change::Emit(event)], now()).await.unwrap();
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attempt_carries_a_link_of_its_own_under_a_signature_of_its_own() {
    let house = House::new().await;
    let mut endpoint = Endpoint::new(|n, _| status(if n < 2 { 500 } else { 200 })).await;
    webhook(&house, endpoint.url(), true).await;
    let stored = emit(&house, ASSET, MediaEvent::Completed).await;
    let running = house.send(SenderConfig { downloads: Some(links()), ..config("0s,1ms,1ms") });
    let requests = endpoint.take(3).await;
    running.stop().await;

    let verifier = Verifier::new([SECRET]).unwrap().require_standard();
    for (request, number) in requests.iter().zip(1..) {
        assert_eq!(request.id(), requests[0].id());
        verifier.verify(&request.headers, request.body.as_bytes(), SystemTime::now()).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        let download = json["data"].as_object_mut().unwrap().remove("download").unwrap();
        assert_eq!(download["downloadExpiresOn"], format!("1970-01-01T00:00:0{number}Z"));
        assert!(download["downloadUrl"].as_str().unwrap().ends_with(&format!("?expires={number}")));
        assert_eq!(json, serde_json::from_str::<serde_json::Value>(&stored).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_gets_one() {
    let house = House::new().await;
    let mut asking = Endpoint::answering(200).await;
    let mut other = Endpoint::answering(200).await;
    webhook(&house, asking.url(), true).await;
    webhook(&house, other.url(), false).await;
    let running = house.send(SenderConfig { downloads: Some(links()), ..config("0s") });
    // Of another kind; of an asset that is gone meanwhile; and to whom it was not asked for.
    let deleted = emit(&house, ASSET, MediaEvent::Deleted).await;
    assert_eq!(asking.next().await.body, deleted);
    let gone = emit(&house, MediaAssetId(Uuid::from_u128(8)), MediaEvent::Completed).await;
    assert_eq!(asking.next().await.body, gone);
    let completed = emit(&house, ASSET, MediaEvent::Completed).await;
    assert!(asking.next().await.body.contains("downloadUrl"));
    let bodies: Vec<_> = other.take(3).await.into_iter().map(|request| request.body).collect();
    assert_eq!(bodies, [deleted, gone, completed]);
    running.stop().await;
}
