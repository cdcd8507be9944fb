//! Clips over reconnects and changes of configuration, by what was asked for.

mod common;

use common::{Bench, eventually, pictures_in, token};
use mediahooks_database::Asset;
use mediahooks_model::{AssetState, AssetType, CutMode, GapMode, GapReason, Limits, Metadata};
use mediahooks_recorder::{ClipError, ClipRequest, RecorderSettings};

fn metadata(asset: &Asset) -> &Metadata {
    match &asset.state {
        AssetState::Complete { metadata } => metadata,
        state => panic!("{state:?}"),
    }
}

/// The clips of the stream, oldest media first, once there are `count` and none is processing.
async fn finished(bench: &Bench, count: usize) -> Vec<Asset> {
    eventually(async || {
        let clips = bench.assets(AssetType::Clip).await;
        let done = clips.iter().all(|clip| clip.state != AssetState::Processing);
        (done && clips.len() >= count).then_some(clips)
    })
    .await
}

async fn nothing_is_waited_for(bench: &Bench) {
    eventually(async || bench.database.open_clip_requests().await.unwrap().is_empty().then_some(())).await;
}

#[tokio::test]
async fn a_request_that_meets_damage_is_over() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(40).await;
    publisher.finish().await;
    let mut live = bench.publish("stage", &[]).await.unwrap();
    live.config().await;
    live.send(10).await;
    let request = bench.clip_request("stage", -1000, 600_000).await;
    bench.recorder.create_clips(request).await.unwrap();
    let database = rusqlite::Connection::open(bench.directory.path().join("mediahooks.db")).unwrap();
    assert!(database.execute("UPDATE segment_page SET fields = x'00'", []).unwrap() > 0);
    assert_eq!(bench.database.open_clip_requests().await.unwrap().len(), 1);
    live.finish().await;
    nothing_is_waited_for(&bench).await;
}

#[tokio::test]
async fn a_range_over_a_reconnect_becomes_what_was_asked_for() {
    let bench = Bench::new().await;
    for _ in 0..2 {
        let mut publisher = bench.publish("stage", &[]).await.unwrap();
        publisher.config().await;
        publisher.send(40).await;
        publisher.finish().await;
        bench.pass_ms(200);
    }
    let request = bench.clip_request("stage", -1000, 60_000).await;
    let request = ClipRequest { stop: Some(bench.now()), ..request };
    let ask = async |gaps| bench.recorder.create_clips(ClipRequest { gaps, ..request.clone() }).await;

    let split = ask(GapMode::Split).await.unwrap();
    let [first, second] = split.as_slice() else { panic!("{split:?}") };
    assert!(first.request.is_some() && first.request == second.request, "one request");
    assert_ne!(first.feed, second.feed);
    for clip in &split {
        assert_eq!(pictures_in(&bench.file(clip.id).await), (0..40).collect::<Vec<_>>());
        assert_eq!(metadata(clip).gaps, []);
    }

    let both: Vec<u32> = (0..40).chain(0..40).collect();
    let collapsed = ask(GapMode::Collapse).await.unwrap();
    let [collapsed] = collapsed.as_slice() else { panic!("{collapsed:?}") };
    assert_eq!(pictures_in(&bench.file(collapsed.id).await), both);
    let [gap] = metadata(collapsed).gaps.as_slice() else { panic!("{collapsed:?}") };
    assert_eq!(gap.reason, GapReason::Reconnect);
    let played = |asset: &Asset| metadata(asset).duration_ms.unwrap();
    // Of the first one's last frame no more is shown than there was time for before the second one came.
    let cut_off = (played(first) + played(second)).cast_signed() - played(collapsed).cast_signed();
    assert!((-1..=42).contains(&cut_off), "{cut_off}");

    let held = ask(GapMode::Hold).await.unwrap();
    let [held] = held.as_slice() else { panic!("{held:?}") };
    assert_eq!(pictures_in(&bench.file(held.id).await), both);
    assert!(played(held).abs_diff(played(collapsed) + gap.duration_ms) <= 1);

    let refused = ask(GapMode::Refuse).await.unwrap_err();
    assert!(refused.to_string().contains("reconnect"), "{refused}");
    assert!(matches!(&refused, ClipError::Gaps { gaps } if gaps.len() == 1));

    // Both feeds' media stays for the clips when the timelines go; a copy of it all is well.
    let timelines: Vec<_> =
        bench.assets(AssetType::Timeline).await.iter().map(|timeline| timeline.id).collect();
    let file = bench.file(held.id).await;
    bench.recorder.delete_assets(&timelines).await.unwrap();
    let held = held.id;
    let bench = bench.crash_and_restart().await;
    assert_eq!(bench.file(held).await, file);
    let report = mediahooks_recorder::check::check(&bench.database, &bench.storage, |_, _| ()).await.unwrap();
    assert_eq!(report.problems, [] as [String; 0]);
}

#[tokio::test]
async fn a_waiting_clip_over_a_change_of_configuration_becomes_two_or_one() {
    for gaps in [GapMode::Split, GapMode::Collapse] {
        let bench = Bench::new().await;
        let mut publisher = bench.publish("stage", &[]).await.unwrap();
        publisher.config().await;
        publisher.send(50).await;
        let request = bench.clip_request("stage", 0, 4500).await;
        let clips = bench.recorder.create_clips(ClipRequest { gaps, ..request }).await.unwrap();
        assert_eq!(clips[0].state, AssetState::Processing);
        publisher.reconfigure().await;
        publisher.send(70).await;
        let clips = finished(&bench, if gaps == GapMode::Split { 2 } else { 1 }).await;
        let mut pictures = Vec::new();
        for clip in &clips {
            pictures.extend(pictures_in(&bench.file(clip.id).await));
        }
        pictures.sort_unstable();
        assert_eq!(&pictures[..52], (0..52).collect::<Vec<_>>());
        assert!(clips.iter().all(|clip| clip.request == clips[0].request));
        let reasons: Vec<_> =
            clips.iter().flat_map(|clip| &metadata(clip).gaps).map(|gap| gap.reason).collect();
        let expected = [GapReason::Configuration];
        assert_eq!(reasons, expected[..usize::from(gaps == GapMode::Collapse)]);
        nothing_is_waited_for(&bench).await;
        publisher.finish().await;
    }
}

#[tokio::test]
async fn a_request_makes_no_more_clips_than_it_may() {
    let settings = RecorderSettings { clips_max: 2, ..Limits::default().into() };
    let bench = Bench::in_its_publishers_time(token(), settings).await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(50).await;
    let request = bench.clip_request("stage", 0, 4_500).await;
    bench.recorder.create_clips(request.clone()).await.unwrap();
    publisher.reconfigure().await;
    publisher.send(50).await;
    publisher.config().await;
    publisher.send(150).await;
    nothing_is_waited_for(&bench).await;
    let clips = finished(&bench, 2).await;
    let mut begin = Vec::new();
    for clip in &clips {
        begin.push(pictures_in(&bench.file(clip.id).await)[0]);
    }
    begin.sort_unstable();
    assert_eq!(begin, [0, 50]);
    // Asked for now it is refused, before any of them is made.
    let refused = bench.recorder.create_clips(request.clone()).await.unwrap_err();
    assert!(matches!(refused, ClipError::TooManyClips { clips: 3, max: 2 }), "{refused:?}");
    assert_eq!(bench.assets(AssetType::Clip).await.len(), 2);
    let joined = ClipRequest { gaps: GapMode::Collapse, ..request };
    assert_eq!(bench.recorder.create_clips(joined).await.unwrap().len(), 1);
    publisher.finish().await;
}

#[tokio::test]
async fn a_waiting_clip_that_must_have_no_gap_fails_with_the_gap() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(50).await;
    let request = bench.clip_request("stage", 0, 4500).await;
    bench.recorder.create_clips(ClipRequest { gaps: GapMode::Refuse, ..request }).await.unwrap();
    publisher.reconfigure().await;
    // The range is not over, but it has its first gap.
    publisher.send(25).await;
    let clips = finished(&bench, 1).await;
    let [AssetState::Error { reason }] = clips.iter().map(|clip| &clip.state).collect::<Vec<_>>()[..] else {
        panic!("{clips:?}")
    };
    assert!(reason.contains("configuration"), "{reason}");
    assert_eq!(clips[0].recipe, [], "it holds no media");
    publisher.finish().await;
}

#[tokio::test]
async fn a_waiting_clip_goes_on_with_who_comes_back() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(50).await;
    let request = bench.clip_request("stage", 0, 4500).await;
    let first = bench.recorder.create_clips(request).await.unwrap().remove(0);
    publisher.finish().await;
    // The part before the break is complete when the feed is.
    let done = finished(&bench, 1).await;
    assert_eq!((done[0].id, metadata(&done[0]).duration_ms.unwrap() / 100), (first.id, 20));
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(70).await;
    let clips = finished(&bench, 2).await;
    assert_eq!(clips[1].request, first.request);
    assert_eq!(pictures_in(&bench.file(clips[1].id).await)[..3], [0, 1, 2]);
    publisher.finish().await;
}

#[tokio::test]
async fn a_deleted_clip_is_not_made_again() {
    let bench = Bench::new().await;
    let publish = async |bench: &Bench| {
        let mut publisher = bench.publish("stage", &[]).await.unwrap();
        publisher.config().await;
        publisher.send(30).await;
        publisher
    };
    let delete = async |bench: &Bench, clip: &Asset| {
        assert_eq!(bench.recorder.delete_assets(&[clip.id]).await.unwrap()[0].1, Ok(()));
        bench.database.remove_asset(clip.id, bench.now()).await.unwrap();
    };
    let publisher = publish(&bench).await;
    let request = bench.clip_request("stage", -1000, 0).await;
    let request = ClipRequest { stop: Some(bench.now().plus_micros(600_000_000)), ..request };
    let waiting = bench.recorder.create_clips(request).await.unwrap().remove(0);
    // One that waits, and one that is complete.
    delete(&bench, &waiting).await;
    publisher.finish().await;
    let mut made = Vec::new();
    for _ in 0..2 {
        publish(&bench).await.finish().await;
        made = finished(&bench, made.len() + 1).await;
    }
    assert_eq!(made.len(), 2);
    delete(&bench, &made[0]).await;
    let bench = bench.crash_and_restart().await;
    publish(&bench).await.finish().await;
    let clips = finished(&bench, 2).await;
    assert_eq!(clips.len(), 2);
    assert!(clips.iter().any(|clip| clip.id == made[1].id));
}

#[tokio::test]
async fn a_restart_goes_on_with_a_request_of_which_all_clips_were_deleted() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(30).await;
    let request = bench.clip_request("stage", -1000, 0).await;
    let request = ClipRequest { stop: Some(bench.now().plus_micros(600_000_000)), ..request };
    let waiting = bench.recorder.create_clips(request).await.unwrap().remove(0);
    assert_eq!(bench.recorder.delete_assets(&[waiting.id]).await.unwrap()[0].1, Ok(()));
    bench.database.remove_asset(waiting.id, bench.now()).await.unwrap();
    publisher.finish().await;
    let bench = bench.crash_and_restart().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(30).await;
    publisher.finish().await;
    assert_eq!(finished(&bench, 1).await.len(), 1);
}

#[tokio::test]
async fn a_clip_of_which_nothing_had_come_is_not_made_once_deleted() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    let (start, asked) = (bench.now().plus_micros(-1_000_000), bench.now());
    let stop = Some(asked.plus_micros(600_000_000));
    let request = ClipRequest { stop, ..ClipRequest::new("stage".parse().unwrap(), start, asked) };
    let waiting = bench.recorder.create_clips(request).await.unwrap().remove(0);
    assert_eq!(waiting.recipe, []);
    bench.recorder.delete_assets(&[waiting.id]).await.unwrap();
    bench.database.remove_asset(waiting.id, bench.now()).await.unwrap();
    publisher.send(30).await;
    publisher.finish().await;
    // The next stretches are other clips.
    for (count, pictures) in [(1, 10), (2, 20)] {
        let mut publisher = bench.publish("stage", &[]).await.unwrap();
        publisher.config().await;
        publisher.send(pictures).await;
        publisher.finish().await;
        assert_eq!(finished(&bench, count).await.len(), count);
    }
}

#[tokio::test]
async fn a_restart_goes_on_with_a_clip_over_the_break_it_makes() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(30).await;
    let request = bench.clip_request("stage", 0, 0).await;
    let stop = bench.now().plus_micros(3_000_000);
    let request = ClipRequest { gaps: GapMode::Collapse, stop: Some(stop), ..request };
    let clip = bench.recorder.create_clips(request).await.unwrap().remove(0);
    let bench = bench.crash_and_restart().await;
    assert_eq!(bench.asset(clip.id).await.state, AssetState::Processing);
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    // Further than the range in any case.
    publisher.send(90).await;
    let done = finished(&bench, 1).await.remove(0);
    assert_eq!((done.id, metadata(&done).gaps.len()), (clip.id, 1));
    nothing_is_waited_for(&bench).await;
    publisher.finish().await;
}

#[tokio::test]
async fn a_clip_that_is_cut_on_key_frames_hides_nothing() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(150).await;
    publisher.finish().await;
    let request = bench.clip_request("stage", 2500, 4000).await;
    let request = ClipRequest { cut: CutMode::Keyframe, ..request };
    let clip = bench.recorder.create_clips(request).await.unwrap().remove(0);
    let file = bench.file(clip.id).await;
    assert_eq!(pictures_in(&file)[0] % 25, 0);
    assert_eq!(metadata(&clip).pre_roll_ms, Some(0));
    assert!(!file.windows(4).any(|window| window == b"elst"));
}
