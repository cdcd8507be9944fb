use std::sync::Arc;

use mediahooks_database::{
    AssetChange, Change, Conflict, Database, DatabaseError, EventFilter, EventStart, KeptReply, Options,
    Settled,
};
use mediahooks_model::event::StorageRoom;
use mediahooks_model::webhook::StreamFilter;
use mediahooks_model::{
    AssetInput, AssetState, AssetStatus, AssetType, Event, EventId, EventKind, FeedEvent, MediaEvent,
    StorageEvent, Webhook, WebhookId,
};
use uuid::Uuid;

use crate::support::*;

#[tokio::test]
async fn a_state_comes_with_its_event_and_one_delivery_per_webhook_that_wants_it() {
    let (fresh, everything) = Fresh::with_webhook().await;
    let mut other = webhook("https://b.example/");
    other.subscriptions.is_feed_hooks = false;
    other.filter = Some(StreamFilter::new("^stage").unwrap());
    let media_only = fresh.db.create_webhook(other.clone()).await.unwrap().id;
    other.filter = Some(StreamFilter::new("right$").unwrap());
    let elsewhere = fresh.db.create_webhook(other).await.unwrap().id;

    let mut changes = timeline_with(1, 1);
    changes.push(clip(1));
    changes.push(create(asset(2, AssetType::Timeline, None)));
    let created = fresh.db.commit(changes, at(0)).await.unwrap();
    assert_eq!(created.iter().map(|asset| asset.id).collect::<Vec<_>>(), [asset_id(1), asset_id(2)]);
    let stepped = fresh.db.commit(vec![step(1, finish()), step(2, finish())], at(5)).await.unwrap();
    assert!(stepped.iter().all(|asset| asset.state.status() == AssetStatus::Complete));
    assert_eq!(fresh.db.asset(asset_id(1)).await.unwrap().as_ref(), Some(&stepped[0]));

    let kinds = |log: Vec<mediahooks_database::Delivery>| {
        log.into_iter().rev().map(|line| line.kind).collect::<Vec<_>>()
    };
    let log = async |id| kinds(fresh.db.deliveries(id, None, 10).await.unwrap());
    assert_eq!(log(everything).await, ["feeds.started", "media.processing", "media.completed"]);
    assert_eq!(log(media_only).await, ["media.processing", "media.completed"]);
    assert_eq!(log(elsewhere).await, Vec::<String>::new());
}

#[tokio::test]
async fn bodies_are_those_of_the_model() {
    let (fresh, _) = Fresh::with_webhook().await;
    fresh.db.commit(vec![Change::StartFeed(feed(1)), clip(1)], at(3)).await.unwrap();
    let claimed = fresh.claim(at(3)).await;
    let body = |n: usize| serde_json::from_str::<serde_json::Value>(&claimed[n].body).unwrap();
    assert_eq!(body(0)["data"]["streamId"], "dkxfvY/stage/left");
    assert_eq!(body(0)["timestamp"], at(0).as_millis());
    assert_eq!(body(1)["event"], "processing");
    assert_eq!(body(1)["timestamp"], at(3).as_millis());
    assert_eq!(claimed[1].timestamp, at(3));
    assert_eq!(claimed[1].kind, EventKind::Media(MediaEvent::Processing).to_string());
    assert_eq!(claimed[0].kind, EventKind::Feeds(FeedEvent::Started).to_string());
    assert_ne!(claimed[0].event, claimed[1].event);
}

#[tokio::test]
async fn the_times_of_a_subject_strictly_rise_even_when_the_clock_does_not() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1), step(1, fail())], at(10)).await.unwrap();
    fresh.db.commit(vec![step(1, AssetInput::Delete)], at(4)).await.unwrap();
    fresh.db.commit(vec![Change::StartFeed(feed(1))], at(10)).await.unwrap();
    let ended = Change::EndFeed { feed: feed_id(1), at: at(-5) };
    fresh.db.commit(vec![ended.clone(), ended], at(10)).await.unwrap();

    let mut log = fresh.db.deliveries(id, None, 10).await.unwrap();
    log.reverse();
    let of = |subject: String| {
        log.iter().filter(|line| line.subject == subject).map(|line| line.timestamp).collect::<Vec<_>>()
    };
    assert_eq!(of(asset_id(1).to_string()), [at(10), at(11), at(12)]);
    assert_eq!(of(feed_id(1).to_string()), [at(0), at(1)]);
}

#[tokio::test]
async fn the_events_of_a_subject_are_numbered_without_a_hole_also_over_a_restart() {
    let (fresh, _) = Fresh::with_webhook().await;
    let refused = vec![clip(1), step(1, finish()), step(1, finish())];
    assert!(fresh.db.commit(refused, at(1)).await.is_err());
    fresh.db.commit(vec![Change::StartFeed(feed(1)), clip(1), clip(2)], at(1)).await.unwrap();
    fresh.db.commit(vec![step(1, finish()), step(2, fail())], at(2)).await.unwrap();
    let (path, Fresh { db, dir }) = (fresh.path(), fresh);
    db.close().await.unwrap();
    drop(db);
    let fresh = Fresh { db: Database::open(&path, Options::default()).unwrap(), dir };
    let last = Change::EndFeed { feed: feed_id(1), at: at(3) };
    fresh.db.commit(vec![last, step(1, AssetInput::Delete)], at(3)).await.unwrap();

    let mut told = Vec::new();
    for _ in 0..3 {
        for claimed in fresh.claim(at(3)).await {
            let body: serde_json::Value = serde_json::from_str(&claimed.body).unwrap();
            told.push((claimed.kind.clone(), body["data"]["seq"].clone(), body["data"]["error"].clone()));
            fresh.settle(&claimed, Settled::Delivered, at(3)).await;
        }
    }
    let none = serde_json::Value::Null;
    let expected = [
        ("feeds.started", 1, none.clone()),
        ("media.processing", 1, none.clone()),
        ("media.processing", 1, none.clone()),
        ("media.completed", 2, none.clone()),
        ("media.errored", 2, "no media".into()),
        ("feeds.ended", 2, none.clone()),
        ("media.deleted", 3, none),
    ];
    assert_eq!(told, expected.map(|(kind, seq, error)| (kind.to_owned(), seq.into(), error)));
}

#[tokio::test]
async fn a_refused_change_takes_all_others_with_it() {
    let (fresh, id) = Fresh::with_webhook().await;
    fresh.db.commit(vec![clip(1)], at(0)).await.unwrap();
    let refused = fresh.db.commit(vec![clip(2), step(1, finish()), step(1, finish())], at(1)).await;
    let Err(DatabaseError::Refused(refused)) = refused else { panic!("{refused:?}") };
    assert_eq!(refused.from, AssetStatus::Complete);
    assert_eq!(fresh.db.asset(asset_id(1)).await.unwrap().unwrap().state, AssetState::Processing);
    assert_eq!(fresh.db.asset(asset_id(2)).await.unwrap(), None);
    assert_eq!(fresh.db.deliveries(id, None, 10).await.unwrap().len(), 1);

    let unknown = fresh.db.commit(vec![clip(2), step(9, finish())], at(1)).await;
    assert!(matches!(unknown, Err(DatabaseError::NotFound)), "{unknown:?}");
    let twice = fresh.db.commit(vec![clip(2), clip(1)], at(1)).await;
    assert!(matches!(twice, Err(DatabaseError::Conflict(Conflict::Exists))), "{twice:?}");
    assert_eq!(fresh.db.asset(asset_id(2)).await.unwrap(), None);
}

#[tokio::test]
async fn a_step_carries_what_changes_beside_the_state() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    let mut changes = timeline_with(1, 3);
    changes.push(create(asset(1, AssetType::Recording, Some(recipe(1, 0, None)))));
    db.commit(changes, at(0)).await.unwrap();
    let change = AssetChange {
        id: asset_id(1),
        input: finish(),
        recipe: Some(vec![recipe(1, 0, Some(2))]),
        stop_time: Some(at(6000)),
        expiration: Some(at(9000)),
    };
    db.commit(vec![Change::StepAsset(Box::new(change))], at(6000)).await.unwrap();
    let stored = db.asset(asset_id(1)).await.unwrap().unwrap();
    assert_eq!(stored.recipe, [recipe(1, 0, Some(2))]);
    assert_eq!((stored.stop_time, stored.expiration), (Some(at(6000)), Some(at(9000))));
}

#[tokio::test]
async fn a_recipe_asks_only_for_segments_that_are_stored() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    db.commit(timeline_with(1, 3), at(0)).await.unwrap();
    let mut n = 0;
    let mut outcome = async |timeline, first, last| {
        n += 1;
        let new = asset(n, AssetType::Clip, Some(recipe(timeline, first, last)));
        db.commit(vec![create(new)], at(1)).await.map(drop)
    };
    assert!(outcome(1, 0, Some(2)).await.is_ok());
    assert!(outcome(1, 2, None).await.is_ok());
    assert!(outcome(1, 3, None).await.is_ok(), "its first segment may still come");
    for (timeline, first, last) in [(1, 0, Some(3)), (1, 2, Some(1)), (2, 0, Some(0))] {
        let refused = outcome(timeline, first, last).await;
        assert!(matches!(refused, Err(DatabaseError::Conflict(Conflict::MediaGone))), "{refused:?}");
    }
    assert!(matches!(outcome(2, 0, None).await, Err(DatabaseError::NotFound)));
}

#[tokio::test]
async fn a_custom_path_belongs_to_one_asset() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    let mut one = asset(1, AssetType::Clip, None);
    one.custom_path = Some("a/b.mp4".into());
    let mut two = one.clone();
    two.id = asset_id(2);
    db.commit(vec![create(one)], at(0)).await.unwrap();
    let taken = db.commit(vec![create(two)], at(0)).await;
    assert!(matches!(taken, Err(DatabaseError::Conflict(Conflict::CustomPath))), "{taken:?}");
}

#[tokio::test]
async fn of_two_requests_with_one_key_only_the_first_makes_anything() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    let db = Arc::new(db);
    let attempts = (1..=16).map(|n| {
        let db = db.clone();
        tokio::spawn(async move {
            let reply = KeptReply {
                key: "party-2025".into(),
                fingerprint: vec![1],
                reply: asset_id(n).to_string(),
                created: at(0),
            };
            (n, db.commit(vec![clip(n), Change::KeepReply(reply)], at(0)).await)
        })
    });
    let mut winners = Vec::new();
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            (n, Ok(_)) => winners.push(n),
            (_, Err(error)) => assert!(matches!(error, DatabaseError::KeyUsed), "{error:?}"),
        }
    }
    assert_eq!(winners.len(), 1);
    let kept = db.kept_reply("party-2025").await.unwrap().unwrap();
    assert_eq!(kept.reply, asset_id(winners[0]).to_string());
    assert_eq!(db.unfinished_assets().await.unwrap().len(), 1);
    assert_eq!(db.kept_reply("party-2026").await.unwrap(), None);
}

#[tokio::test]
async fn a_test_event_goes_to_every_webhook_that_wants_its_type() {
    let (fresh, id) = Fresh::with_webhook().await;
    let mut legacy = webhook("https://b.example/");
    legacy.subscriptions.is_recording_hooks = true;
    let legacy: Webhook = fresh.db.create_webhook(legacy).await.unwrap();
    let event = Event {
        id: EventId(Uuid::from_u128(5)),
        kind: EventKind::Recordings,
        subject: "test".into(),
        stream_name: Some(stream()),
        token: None,
        timestamp: at(1),
        body: "{}".into(),
    };
    fresh.db.commit(vec![Change::Emit(event.clone())], at(1)).await.unwrap();
    assert_eq!(fresh.db.deliveries(id, None, 10).await.unwrap(), []);
    let claimed = fresh.claim(at(1)).await;
    assert_eq!((claimed.len(), claimed[0].webhook.id, claimed[0].event), (1, legacy.id, event.id));
    assert_eq!(claimed[0].body, "{}");
    // Or to one webhook, whatever it wants.
    let second = Event { id: EventId(Uuid::from_u128(6)), subject: "other".into(), ..event };
    let unknown = fresh.db.commit(vec![Change::EmitTo(WebhookId(99), second.clone())], at(1)).await;
    assert!(matches!(unknown, Err(DatabaseError::NotFound)), "{unknown:?}");
    fresh.db.commit(vec![Change::EmitTo(id, second.clone())], at(1)).await.unwrap();
    let alone = fresh.claim(at(1)).await;
    assert_eq!((alone.len(), alone[0].webhook.id, alone[0].event), (1, id, second.id));
    fresh.settle(&claimed[0], Settled::Delivered, at(2)).await;
}

#[tokio::test]
async fn the_room_for_media_is_told_when_it_changes_and_over_a_restart_too() {
    let (fresh, everything) = Fresh::with_webhook().await;
    let mut wanted = webhook("https://b.example/");
    wanted.subscriptions.is_storage_hooks = true;
    // It chooses among streams, and these events are of none.
    wanted.filter = Some(StreamFilter::new("^stage$").unwrap());
    let told = fresh.db.create_webhook(wanted).await.unwrap().id;
    let room = StorageRoom { free_bytes: 5, total_bytes: 1000, low_bytes: 100, reserve_bytes: 50 };
    let tell = |event| vec![Change::TellStorage(event, room)];
    use StorageEvent::{Full, Low, Recovered};
    // The clock stands still.
    for event in [Recovered, Low, Low, Full, Full, Recovered] {
        fresh.db.commit(tell(event), at(5)).await.unwrap();
        assert_eq!(fresh.db.storage_told().await.unwrap(), event);
    }
    let fresh = fresh.reopen();
    assert_eq!(fresh.db.storage_told().await.unwrap(), Recovered);
    fresh.db.commit(tell(Recovered), at(6)).await.unwrap();
    fresh.db.commit(tell(Low), at(6)).await.unwrap();

    let log = fresh.db.deliveries(told, None, 10).await.unwrap();
    let kinds: Vec<String> = log.into_iter().rev().map(|line| line.kind).collect();
    assert_eq!(kinds, ["storage.low", "storage.full", "storage.recovered", "storage.low"]);
    assert!(fresh.db.deliveries(everything, None, 10).await.unwrap().is_empty());
    let page = fresh.db.events(EventStart::Oldest, &EventFilter::default(), 10).await.unwrap().unwrap();
    let bodies: Vec<serde_json::Value> =
        page.events.iter().map(|event| serde_json::from_str(&event.body).unwrap()).collect();
    assert!(page.events.iter().all(|event| event.stream_name.is_none() && event.subject == "storage"));
    assert_eq!(
        bodies.iter().map(|body| body["data"]["seq"].as_u64()).collect::<Vec<_>>(),
        [1, 2, 3, 4].map(Some)
    );
    assert!(page.events.windows(2).all(|pair| pair[0].timestamp < pair[1].timestamp));
    assert_eq!(
        bodies[1]["data"],
        serde_json::json!({
            "accountId": "dkxfvY", "action": "endingPublishers", "freeBytes": 5, "totalBytes": 1000,
            "lowBytes": 100, "reserveBytes": 50, "seq": 2,
        })
    );
}
