//! A recording of 4.5 GB.
//!
//! On disk no file is larger than some 64 MiB and a segment; the downloaded file has 64-bit offsets, and a
//! parser that is not ours finds every picture, also behind 4 GiB. The media is holes in sparse files, so that the test writes
//! little.

use bytes::Bytes;
use futures::TryStreamExt;
use mediahooks_database::{Asset, Change, Feed, NewAsset, RecipePart, Run, Segment, Timeline};
use mediahooks_media::sample::{SampleInfo, Ticks, TrackConfig, TrackKind};
use mediahooks_model::{AssetState, AssetType, FeedId, MediaAssetId, Metadata, TimelineId, TokenId};
use mediahooks_testkit::player;
use mediahooks_timeline::index::{SegmentIndex, TrackSpan};

use crate::common::{Bench, now};

const SEGMENTS: u64 = 75;
const SAMPLE: u32 = 60 << 20;

fn timeline() -> TimelineId {
    "0123456789abcdef0123456789abcdef".parse().unwrap()
}

/// One segment of one picture, in a chunk file of its own.
async fn segment(bench: &Bench, sequence: u64) -> Segment {
    let chunk = u32::try_from(sequence).unwrap();
    let mut writer = bench.storage.create_chunk(timeline(), chunk, vec![0; 100]).await.unwrap();
    writer.append(vec![Bytes::from_static(&[7; 16])]).await.unwrap();
    let path = bench.storage.chunk_path(timeline(), chunk);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(100 + 16 + u64::from(SAMPLE)).unwrap();
    // The last bytes of the picture are its number.
    std::os::unix::fs::FileExt::write_all_at(
        &file,
        &sequence.to_be_bytes(),
        100 + 16 + u64::from(SAMPLE) - 8,
    )
    .unwrap();
    let sample = SampleInfo { duration: 90_000, size: SAMPLE, cts_offset: 0, is_sync: true };
    let base = 900_000 + i64::try_from(sequence).unwrap() * 90_000;
    let span = TrackSpan { track: 0, base_dts: Ticks(base), data_offset: 16, samples: vec![sample] };
    Segment {
        timeline: timeline(),
        sequence,
        run: 0,
        chunk,
        offset: 100,
        len: 16 + u64::from(SAMPLE),
        media_start_us: base * 100 / 9,
        media_end_us: (base + 90_000) * 100 / 9,
        wall_offset_us: 0,
        starts_with_sync: true,
        index: SegmentIndex { tracks: vec![span] }.encode().into(),
    }
}

#[tokio::test]
async fn its_end_is_read_by_range() {
    let bench = Bench::new().await;
    let feed = Feed {
        id: FeedId(timeline().0),
        token: TokenId(1),
        stream_name: "large".parse().unwrap(),
        source_id: None,
        simulcast_id: None,
        priority: None,
        remote: "127.0.0.1".parse().unwrap(),
        started: now(),
        ended: None,
        target_kbps: None,
    };
    let track = r#"{"kind":"video","timescale":90000,"codec":{"codec":"H264","avcc":"014d400dffe10019674d400deca0a0cfcf8088000003000800000301e078a14cb001000568ebe3cb20"}}"#;
    let track: TrackConfig = serde_json::from_str(track).unwrap();
    assert_eq!(track.kind, TrackKind::Video);
    let id = MediaAssetId(timeline().0);
    let recipe = RecipePart {
        timeline: timeline(),
        run: 0,
        first: 0,
        last: None,
        start_us: None,
        stop_us: None,
        late_us: 0,
    };
    let asset = Asset {
        token: Some(feed.token),
        recipe: vec![recipe],
        ..Asset::new(id, AssetType::Recording, feed.id, feed.stream_name.clone(), now())
    };
    let mut changes = vec![
        Change::StartFeed(feed.clone()),
        Change::OpenTimeline(Timeline { id: timeline(), feed: feed.id, created: now() }),
        Change::PutRun(Run { timeline: timeline(), number: 0, tracks: vec![track], earlier: Vec::new() }),
    ];
    for sequence in 0..SEGMENTS {
        changes.push(Change::AddSegment(segment(&bench, sequence).await));
    }
    changes.push(Change::CreateAsset(Box::new(NewAsset { asset })));
    bench.database.commit(changes, now()).await.unwrap();
    // The next start finds a feed that was live and finishes it.
    let recorder = mediahooks_recorder::Recorder::open(
        bench.database.clone(),
        bench.storage.clone(),
        bench.settings.clone(),
    );
    let recorder = recorder.await.unwrap();

    let finished = bench.asset(id).await;
    let AssetState::Complete { metadata } = finished.state else { panic!("{finished:?}") };
    let Metadata { sizes, duration, .. } = metadata.as_ref();
    assert!(sizes["mp4"] > u64::from(SAMPLE) * SEGMENTS);
    assert_eq!(*duration, SEGMENTS);
    let download = recorder.open_download(id).await.unwrap();
    assert!(download.len > 1 << 32);
    let read = async |range: std::ops::Range<u64>| -> Vec<u8> {
        let pieces: Vec<Bytes> = download.read(range).try_collect().await.unwrap();
        pieces.concat()
    };
    // Where another parser finds each picture, there it is.
    let head = read(0..download.len.min(64 << 10)).await;
    let table = player::moov(&head).trak.remove(0).mdia.minf.stbl;
    assert!(table.stco.is_none() && table.co64.is_some(), "the offsets have 64 bits");
    let places = player::places(&table, &vec![SAMPLE; SEGMENTS as usize]);
    assert_eq!(places.len() as u64, SEGMENTS);
    for (number, place) in (0..SEGMENTS).zip(places) {
        let end = place.end as u64;
        assert_eq!(read(end - 8..end).await, number.to_be_bytes(), "picture {number} at {place:?}");
    }
    assert!(recorder.live_feeds().is_empty());
}
