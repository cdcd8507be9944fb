use mediahooks_database::{
    Asset, AssetQuery, AssetSort, Change, Conflict, DatabaseError, OpenClipRequest, RecipePart, TimelineQuery,
};
use mediahooks_model::{
    AssetInput, AssetStatus, AssetType, ClipRequestId, CutMode, GapMode, TargetFormat, TokenId,
};

use crate::support::*;

async fn ids(fresh: &Fresh, query: AssetQuery) -> Vec<u64> {
    let assets = fresh.db.assets(AssetQuery { limit: query.limit.max(1), ..query }).await.unwrap();
    assets.iter().map(|asset| asset.id.0.as_u64_pair().1).collect()
}

/// Four assets that differ in everything a query can name.
async fn four() -> Fresh {
    let fresh = Fresh::open().await;
    let one = Asset {
        name: Some("opening".into()),
        priority: Some(3),
        start_time: at(40),
        stop_time: Some(at(50)),
        ..asset(1, AssetType::Recording, None)
    };
    let two = Asset {
        stream_name: "b".parse().unwrap(),
        source_id: Some("cam".into()),
        start_time: at(30),
        ..asset(2, AssetType::Clip, None)
    };
    let three = Asset {
        simulcast_id: Some(String::new()),
        token: None,
        start_time: at(20),
        stop_time: Some(at(60)),
        ..asset(3, AssetType::Clip, None)
    };
    let four = Asset {
        simulcast_id: Some("hd".into()),
        token: Some(TokenId(3)),
        start_time: at(10),
        ..asset(4, AssetType::Timeline, None)
    };
    let five = Asset { start_time: at(5), ..asset(5, AssetType::Clip, None) };
    let changes = [one, two, three, four, five].map(create).to_vec();
    fresh.db.commit(changes, at(0)).await.unwrap();
    fresh.db.commit(vec![step(1, finish()), step(3, fail())], at(1)).await.unwrap();
    fresh.db.commit(vec![step(5, fail()), step(5, AssetInput::Delete)], at(1)).await.unwrap();
    fresh.db.remove_asset(asset_id(5), at(2)).await.unwrap();
    fresh
}

#[tokio::test]
async fn every_filter_narrows() {
    let fresh = four().await;
    let all = AssetQuery { limit: 10, ..AssetQuery::default() };
    let cases: [(AssetQuery, &[u64]); 12] = [
        (all.clone(), &[4, 3, 2, 1]),
        (AssetQuery { types: vec![AssetType::Clip], ..all.clone() }, &[3, 2]),
        (AssetQuery { types: vec![AssetType::Clip, AssetType::Timeline], ..all.clone() }, &[4, 3, 2]),
        (AssetQuery { statuses: vec![AssetStatus::Complete, AssetStatus::Error], ..all.clone() }, &[3, 1]),
        (AssetQuery { statuses: vec![AssetStatus::Deleted], ..all.clone() }, &[]),
        (AssetQuery { name: Some("opening".into()), ..all.clone() }, &[1]),
        (AssetQuery { stream_name: Some("b".into()), ..all.clone() }, &[2]),
        (AssetQuery { source_id: Some("cam".into()), ..all.clone() }, &[2]),
        (AssetQuery { simulcast_id: Some("".into()), ..all.clone() }, &[3]),
        (AssetQuery { simulcast_id: Some("hd".into()), ..all.clone() }, &[4]),
        (AssetQuery { token: Some(TokenId(7)), ..all.clone() }, &[2, 1]),
        (AssetQuery { priority: Some(3), ..all.clone() }, &[1]),
    ];
    for (query, expected) in cases {
        assert_eq!(ids(&fresh, query.clone()).await, expected, "{query:?}");
    }
}

#[tokio::test]
async fn every_order_has_both_directions_and_pages() {
    let fresh = four().await;
    for (sort, expected) in [
        (AssetSort::StartTime, [4, 3, 2, 1]),
        (AssetSort::StopTime, [1, 3, 2, 4]),
        (AssetSort::StreamName, [2, 1, 3, 4]),
        (AssetSort::TokenId, [4, 1, 2, 3]),
        (AssetSort::Created, [1, 2, 3, 4]),
    ] {
        let query = AssetQuery { sort, limit: 10, ..AssetQuery::default() };
        assert_eq!(ids(&fresh, query.clone()).await, expected, "{sort:?}");
        let page = AssetQuery { desc: true, offset: 1, limit: 2, ..query };
        let reversed: Vec<_> = expected.into_iter().rev().skip(1).take(2).collect();
        assert_eq!(ids(&fresh, page).await, reversed, "{sort:?} descending");
    }
}

#[tokio::test]
async fn a_page_may_begin_behind_an_asset() {
    let fresh = four().await;
    let same_start = Asset { start_time: at(10), ..asset(6, AssetType::Clip, None) };
    fresh.db.commit(vec![create(same_start)], at(3)).await.unwrap();
    for (desc, order) in [(false, [4, 6, 3, 2, 1]), (true, [1, 2, 3, 6, 4])] {
        let (mut seen, mut query) = (Vec::new(), AssetQuery { desc, limit: 1, ..AssetQuery::default() });
        while let [asset] = fresh.db.assets(query.clone()).await.unwrap().as_slice() {
            seen.push(asset.id);
            query.after = Some((asset.start_time, asset.id));
        }
        assert_eq!(seen, order.map(asset_id));
    }
}

#[tokio::test]
async fn publication_changes_what_is_given() {
    let fresh = four().await;
    let some = |text: &str| Some(text.to_owned());
    let one = fresh.db.update_asset_publication(asset_id(1), some("dist"), some("path")).await.unwrap();
    assert_eq!((one.media_distribution_id, one.custom_path), (some("dist"), some("path")));
    let one = fresh.db.update_asset_publication(asset_id(1), None, some("path")).await.unwrap();
    assert_eq!((one.media_distribution_id, one.custom_path), (some("dist"), some("path")));
    let taken = fresh.db.update_asset_publication(asset_id(2), None, some("path")).await;
    assert!(matches!(taken, Err(DatabaseError::Conflict(Conflict::CustomPath))), "{taken:?}");
    for gone in [5, 99] {
        let gone = fresh.db.update_asset_publication(asset_id(gone), None, some("x")).await;
        assert!(matches!(gone, Err(DatabaseError::NotFound)), "{gone:?}");
    }
    // A removed asset lets go of its path.
    fresh.db.commit(vec![step(1, AssetInput::Delete)], at(3)).await.unwrap();
    fresh.db.remove_asset(asset_id(1), at(4)).await.unwrap();
    fresh.db.update_asset_publication(asset_id(2), None, some("path")).await.unwrap();
}

#[tokio::test]
async fn the_sweeper_sees_what_is_over_and_what_is_marked() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    let expiring = |n, ms| Asset { expiration: Some(at(ms)), ..asset(n, AssetType::Clip, None) };
    let mut changes =
        vec![create(expiring(1, 30)), create(expiring(2, 20)), create(expiring(3, 10)), clip(4)];
    changes.extend([step(1, finish()), step(2, fail()), step(4, finish())]);
    db.commit(changes, at(0)).await.unwrap();
    assert_eq!(
        db.expiring_assets(at(19), None, 10).await.unwrap(),
        [],
        "one that is processing is left alone"
    );
    assert_eq!(db.expiring_assets(at(30), None, 10).await.unwrap(), [asset_id(2), asset_id(1)]);
    assert_eq!(db.expiring_assets(at(30), None, 1).await.unwrap(), [asset_id(2)]);
    assert_eq!(db.expiring_assets(at(30), Some(asset_id(2)), 10).await.unwrap(), [asset_id(1)]);
    let unfinished = db.unfinished_assets().await.unwrap();
    assert_eq!(unfinished.iter().map(|asset| asset.id).collect::<Vec<_>>(), [asset_id(3)]);

    db.commit(vec![step(1, AssetInput::Delete)], at(40)).await.unwrap();
    db.commit(vec![step(2, AssetInput::Delete)], at(41)).await.unwrap();
    assert_eq!(db.expiring_assets(at(99), None, 10).await.unwrap(), []);
    assert_eq!(db.deleting_assets(None, 10).await.unwrap(), [asset_id(1), asset_id(2)]);
    assert_eq!(db.deleting_assets(None, 1).await.unwrap(), [asset_id(1)]);
    assert_eq!(db.deleting_assets(Some(asset_id(1)), 10).await.unwrap(), [asset_id(2)]);
    assert_eq!(db.deleting_assets(Some(asset_id(2)), 10).await.unwrap(), []);
}

#[tokio::test]
async fn clips_find_their_timelines() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    let layers = [(1, None, 5), (2, Some(""), 6), (3, Some("hd"), 7)];
    for (n, layer, priority) in layers {
        let mut changes = timeline_with(n, 1);
        if let Change::StartFeed(feed) = &mut changes[0] {
            feed.simulcast_id = layer.map(str::to_owned);
        }
        changes.push(create(Asset {
            simulcast_id: layer.map(str::to_owned),
            priority: Some(priority),
            token: Some(TokenId(priority.into())),
            source_id: layer.map(|layer| format!("s{layer}")),
            start_time: at(priority.into()),
            stop_time: (n == 1).then_some(at(100)),
            ..asset(n, AssetType::Timeline, Some(recipe(n, 0, None)))
        }));
        changes.push(create(asset(n + 10, AssetType::Recording, Some(recipe(n, 0, None)))));
        db.commit(changes, at(0)).await.unwrap();
    }
    let all = TimelineQuery { stream_name: stream().to_string(), ..TimelineQuery::default() };
    let cases: [(TimelineQuery, &[u64]); 11] = [
        (TimelineQuery { before: Some(at(7)), ..all.clone() }, &[1, 2]),
        (TimelineQuery { after: Some(at(99)), ..all.clone() }, &[1, 2, 3]),
        (TimelineQuery { after: Some(at(100)), ..all.clone() }, &[2, 3]),
        (all.clone(), &[1, 2, 3]),
        (TimelineQuery { simulcast_id: Some(None), ..all.clone() }, &[1]),
        (TimelineQuery { simulcast_id: Some(Some(String::new())), ..all.clone() }, &[2]),
        (TimelineQuery { simulcast_id: Some(Some("hd".into())), ..all.clone() }, &[3]),
        (TimelineQuery { token: Some(TokenId(6)), ..all.clone() }, &[2]),
        (TimelineQuery { priority: Some(7), ..all.clone() }, &[3]),
        (TimelineQuery { source_id: Some("s".into()), ..all.clone() }, &[2]),
        (TimelineQuery { stream_name: "stage".into(), ..all.clone() }, &[]),
    ];
    for (query, expected) in cases {
        let found = db.clippable_timelines(query.clone()).await.unwrap();
        let ids: Vec<_> = found.iter().map(|timeline| timeline.asset.0.as_u64_pair().1).collect();
        assert_eq!(ids, expected, "{query:?}");
        for timeline in found {
            assert_eq!(timeline.feed.id.0.as_u64_pair().1, timeline.asset.0.as_u64_pair().1);
            assert_eq!(timeline.part.last, None);
        }
    }
    db.commit(vec![step(2, fail())], at(1)).await.unwrap();
    assert_eq!(db.clippable_timelines(all).await.unwrap().len(), 2, "a failed timeline has nothing to cut");
}

#[tokio::test]
async fn a_growing_asset_remembers_how_long_its_last_picture_was_on_screen() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    let mut changes = timeline_with(1, 2);
    changes.push(create(asset(1, AssetType::Timeline, Some(recipe(1, 0, None)))));
    changes.push(create(asset(2, AssetType::Recording, Some(recipe(1, 0, None)))));
    let ending = RecipePart { stop_us: Some(99), ..recipe(1, 0, Some(1)) };
    changes.push(create(asset(3, AssetType::Clip, Some(ending))));
    db.commit(changes, at(0)).await.unwrap();
    let shown_until = async || db.shown_until_us(recipe(1, 0, None).timeline, 0).await.unwrap();
    assert_eq!(shown_until().await, None, "a clip tells nothing of it");
    let hold = |n, until_us| Change::HoldAsset { id: asset_id(n), until_us };
    db.commit(vec![hold(1, 7), hold(2, 8), hold(3, 100)], at(1)).await.unwrap();
    assert_eq!(shown_until().await, Some(8));
    assert_eq!(db.asset(asset_id(1)).await.unwrap().unwrap().recipe[0].stop_us, Some(7));
    assert_eq!(db.asset(asset_id(3)).await.unwrap().unwrap().recipe[0].stop_us, Some(99), "it does not grow");
    assert_eq!(db.shown_until_us(recipe(1, 0, None).timeline, 1).await.unwrap(), None);
}

#[tokio::test]
async fn the_clips_of_one_request_are_found_by_it() {
    let fresh = Fresh::open().await;
    let request = ClipRequestId(uuid::Uuid::from_u128(9));
    let of_request = |n| {
        let clip = asset(n, AssetType::Clip, None);
        create(Asset {
            request: Some(request),
            gaps: GapMode::Hold,
            cut: CutMode::Keyframe,
            target_format: Some(TargetFormat::Hls),
            ..clip
        })
    };
    fresh.db.commit(vec![of_request(1), clip(2), of_request(3)], at(0)).await.unwrap();
    let query = AssetQuery { request: Some(request), limit: 9, ..AssetQuery::default() };
    let found = fresh.db.assets(query).await.unwrap();
    assert_eq!(found.iter().map(|asset| asset.id).collect::<Vec<_>>(), [asset_id(1), asset_id(3)]);
    assert_eq!((found[0].gaps, found[0].cut), (GapMode::Hold, CutMode::Keyframe));
    assert_eq!(found[0].target_format, Some(TargetFormat::Hls));
}

#[tokio::test]
async fn an_open_request_is_kept_until_it_is_closed() {
    let fresh = Fresh::open().await;
    let open = OpenClipRequest { id: ClipRequestId(uuid::Uuid::from_u128(9)), request: "{}".into() };
    fresh.db.commit(vec![Change::OpenClipRequest(open.clone())], at(0)).await.unwrap();
    assert_eq!(fresh.db.open_clip_requests().await.unwrap(), std::slice::from_ref(&open));
    let changed = OpenClipRequest { request: "{\"more\":1}".into(), ..open };
    fresh.db.commit(vec![Change::ChangeClipRequest(changed.clone())], at(0)).await.unwrap();
    assert_eq!(fresh.db.open_clip_request(changed.id).await.unwrap().as_ref(), Some(&changed));
    for _ in 0..2 {
        fresh.db.commit(vec![Change::CloseClipRequest(changed.id)], at(0)).await.unwrap();
        // Who comes too late opens it no more.
        fresh.db.commit(vec![Change::ChangeClipRequest(changed.clone())], at(0)).await.unwrap();
        assert_eq!(fresh.db.open_clip_request(changed.id).await.unwrap(), None);
        assert_eq!(fresh.db.open_clip_requests().await.unwrap(), []);
    }
}
