use mediahooks_database::{Change, ChunkExtent, Conflict, DatabaseError, EarlierTracks, Feed, Run, Segment};

use crate::support::*;

#[tokio::test]
async fn feeds_are_live_until_they_end() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    let backup = Feed {
        source_id: Some("cam".into()),
        simulcast_id: Some(String::new()),
        priority: Some(-1),
        remote: "2001:db8::1".parse().unwrap(),
        ..feed(2)
    };
    db.commit(vec![Change::StartFeed(feed(1)), Change::StartFeed(backup.clone())], at(0)).await.unwrap();
    assert_eq!(db.feed(feed_id(2)).await.unwrap().as_ref(), Some(&backup));
    assert_eq!(db.live_feeds().await.unwrap(), [feed(1), backup]);

    db.commit(vec![Change::EndFeed { feed: feed_id(2), at: at(9) }], at(9)).await.unwrap();
    assert_eq!(db.live_feeds().await.unwrap(), [feed(1)]);
    assert_eq!(db.feed(feed_id(2)).await.unwrap().unwrap().ended, Some(at(9)));
    let unknown = db.commit(vec![Change::EndFeed { feed: feed_id(9), at: at(9) }], at(9)).await;
    assert!(matches!(unknown, Err(DatabaseError::NotFound)), "{unknown:?}");
}

#[tokio::test]
async fn a_run_grows_by_tracks() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    db.commit(timeline_with(1, 0), at(0)).await.unwrap();
    let earlier = vec![EarlierTracks { until: 7, tracks: vec![track()] }];
    let grown = Run { tracks: vec![track(), track()], earlier, ..run(1, 0) };
    assert_eq!((grown.tracks_at(6).len(), grown.tracks_at(7).len()), (1, 2));
    db.commit(vec![Change::PutRun(run(1, 1)), Change::PutRun(grown.clone())], at(0)).await.unwrap();
    assert_eq!(db.runs(timeline_id(1)).await.unwrap(), [grown.clone(), run(1, 1)]);
    assert_eq!(db.run(timeline_id(1), 0).await.unwrap(), Some(grown));
    assert_eq!(db.run(timeline_id(1), 2).await.unwrap(), None);
    assert_eq!(db.timeline(timeline_id(1)).await.unwrap().unwrap().feed, feed_id(1));
    assert_eq!(db.timeline(timeline_id(2)).await.unwrap(), None);
}

#[tokio::test]
async fn segments_belong_to_a_run_and_have_their_place_once() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    db.commit(timeline_with(1, 1), at(0)).await.unwrap();
    let orphan = Segment { run: 1, ..segment(1, 1) };
    let unknown = db.commit(vec![Change::AddSegment(orphan)], at(0)).await;
    assert!(matches!(unknown, Err(DatabaseError::NotFound)), "{unknown:?}");
    let twice = db.commit(vec![Change::AddSegment(segment(1, 0))], at(0)).await;
    assert!(matches!(twice, Err(DatabaseError::Conflict(Conflict::Exists))), "{twice:?}");
}

#[tokio::test]
async fn segments_are_found_by_number_and_by_wall_clock() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    let mut changes = timeline_with(1, 5);
    changes.push(Change::PutRun(run(1, 1)));
    let late = |sequence, starts_with_sync| Segment { run: 1, starts_with_sync, ..segment(1, sequence) };
    changes.extend([late(5, true), late(6, false), late(7, false)].map(Change::AddSegment));
    changes.extend(timeline_with(2, 2));
    db.commit(changes, at(0)).await.unwrap();
    let timeline = timeline_id(1);

    assert_eq!(db.segments(timeline, 1, Some(2)).await.unwrap(), [segment(1, 1), segment(1, 2)]);
    assert_eq!(db.segments(timeline, 4, None).await.unwrap().len(), 4);
    assert_eq!(db.last_segment(timeline).await.unwrap(), Some(late(7, false)));
    assert_eq!(db.last_segment(timeline_id(3)).await.unwrap(), None);

    let spans = async |run, from, to| {
        let spans = db.segments_in(timeline, run, at(from), at(to)).await.unwrap();
        spans.iter().map(|span| span.sequence).collect::<Vec<_>>()
    };
    assert_eq!(spans(None, 2000, 4000).await, [1], "a segment that only touches the span is not in it");
    assert_eq!(spans(None, 1999, 4001).await, [0, 1, 2]);
    assert_eq!(spans(None, 7999, 12_000).await, [3, 4, 5]);
    assert_eq!(spans(Some(1), 7999, 12_000).await, [5]);
    assert_eq!(spans(None, 16_000, 99_000).await, Vec::<u64>::new());
    let span = db.segments_in(timeline, None, at(0), at(1)).await.unwrap()[0];
    assert_eq!((span.wall_start(), span.wall_end()), (at(0), at(2000)));

    assert_eq!(db.segment_spans(timeline, u64::MAX, None).await.unwrap(), [], "behind every number");
    let whole = db.segment_spans(timeline, 1, Some(3)).await.unwrap();
    assert_eq!(whole.iter().map(|span| span.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(whole[0], db.segments_in(timeline, None, at(2000), at(4000)).await.unwrap()[0]);
    assert_eq!(db.segment_spans(timeline, 6, None).await.unwrap().len(), 2);
    assert!(db.chunk_in_use(timeline, 0).await.unwrap());
    assert!(!db.chunk_in_use(timeline, 1).await.unwrap());

    let sync = async |run, sequence| db.sync_segment_at_or_before(timeline, run, sequence).await.unwrap();
    assert_eq!(sync(1, 7).await, Some(5));
    assert_eq!(sync(1, 5).await, Some(5));
    assert_eq!(sync(0, 7).await, Some(4));
    assert_eq!(sync(1, 4).await, None);
}

#[tokio::test]
async fn the_verifier_reads_everything_in_pages() {
    let Fresh { db, dir: _dir } = Fresh::open().await;
    let mut changes = timeline_with(1, 12);
    changes.extend(timeline_with(2, 3));
    changes.extend(
        (0..5).map(|n| create(asset(n, mediahooks_model::AssetType::Clip, Some(recipe(1, n, Some(n + 1)))))),
    );
    db.commit(changes, at(0)).await.unwrap();
    assert_eq!(db.segment_count().await.unwrap(), 15);

    let mut segments = Vec::new();
    loop {
        let after = segments.last().map(|last: &Segment| (last.timeline, last.sequence));
        let page = db.segments_after(after, 4).await.unwrap();
        if page.is_empty() {
            break;
        }
        segments.extend(page);
    }
    let expected: Vec<_> = (0..12)
        .map(|sequence| segment(1, sequence))
        .chain((0..3).map(|sequence| segment(2, sequence)))
        .collect();
    assert_eq!(segments, expected);

    let first = db.recipe_parts_after(None, 3).await.unwrap();
    let rest = db.recipe_parts_after(Some((first[2].0, 0)), 10).await.unwrap();
    let recipes: Vec<_> = first.into_iter().chain(rest).collect();
    assert_eq!(recipes, (0..5).map(|n| (asset_id(n), 0, recipe(1, n, Some(n + 1)))).collect::<Vec<_>>());

    let extent = |timeline, chunk, end| ChunkExtent { timeline: timeline_id(timeline), chunk, end };
    let extents = db.chunk_extents().await.unwrap();
    assert_eq!(extents, [extent(1, 0, 1000), extent(1, 1, 200), extent(2, 0, 300)]);
}
