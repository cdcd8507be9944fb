//! What file an asset becomes: as asked, or as suits its codecs.

mod common;

use common::{Bench, eventually, pictures_in};
use mediahooks_database::Asset;
use mediahooks_model::{AssetState, AssetType, Metadata, TargetFormat};
use mediahooks_recorder::{ClipError, ClipRequest};

fn metadata(asset: &Asset) -> &Metadata {
    match &asset.state {
        AssetState::Complete { metadata } => metadata,
        state => panic!("{state:?}"),
    }
}

async fn finished(bench: &Bench, asset: &Asset) -> Asset {
    eventually(async || {
        let asset = bench.asset(asset.id).await;
        (asset.state != AssetState::Processing).then_some(asset)
    })
    .await
}

/// The one clip of 2.5 s to 4.5 s.
async fn clip(bench: &Bench, target_format: Option<TargetFormat>) -> Asset {
    let request = ClipRequest { target_format, ..bench.clip_request("stage", 2500, 4500).await };
    let clips = bench.recorder.create_clips(request).await.unwrap();
    let [clip] = clips.as_slice() else { panic!("{clips:?}") };
    finished(bench, clip).await
}

#[tokio::test]
async fn vp9_and_opus_are_webm_unless_mp4_is_asked_for() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config_for_webm().await;
    publisher.send(150).await;
    publisher.finish().await;
    let recording = finished(&bench, &bench.assets(AssetType::Recording).await[0]).await;
    let (suited, webm) = (clip(&bench, None).await, clip(&bench, Some(TargetFormat::Webm)).await);
    let mp4 = clip(&bench, Some(TargetFormat::Mp4)).await;
    let cases = [
        (&recording, "webm", 0, false),
        (&suited, "webm", 50, false),
        (&webm, "webm", 50, false),
        (&mp4, "mp4", 50, true),
    ];
    let mut etags = Vec::new();
    for (asset, format, first, hides) in cases {
        let about = metadata(asset);
        let file = bench.file(asset.id).await;
        assert_eq!(about.sizes, [(format.to_owned(), file.len() as u64)].into());
        assert_eq!(about.format, if format == "webm" { "WebM" } else { "MPEG-4" });
        assert_eq!(pictures_in(&file)[0], first);
        // A WebM shows all it holds, from the key frame before the range on.
        let shown_early = asset.asset_type == AssetType::Clip && about.start_time.unwrap() < asset.start_time;
        assert_eq!(shown_early, format == "webm" && asset.asset_type == AssetType::Clip);
        assert_eq!(about.pre_roll_ms.unwrap() > 0, hides || shown_early, "{about:?}");
        let download = bench.recorder.open_download(asset.id).await.unwrap();
        assert_eq!(download.content_type, format!("video/{format}"));
        assert!(download.file_name.ends_with(&format!(".{format}")), "{}", download.file_name);
        etags.push(download.etag.clone());
    }
    // All of them are still those files when they are built anew.
    let bench = bench.crash_and_restart().await;
    for (asset, etag) in [&recording, &suited, &webm, &mp4].into_iter().zip(&etags) {
        let download = bench.recorder.open_download(asset.id).await.unwrap();
        assert_eq!((&download.etag, Some(&download.len)), (etag, metadata(asset).sizes.values().next()));
    }
    assert_ne!(etags[1], etags[3]);
}

#[tokio::test]
async fn h264_is_no_webm() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(150).await;
    let request = bench.clip_request("stage", 2500, 4500).await;
    let asked = |target_format| ClipRequest { target_format, ..request.clone() };
    let refused = bench.recorder.create_clips(asked(Some(TargetFormat::Webm))).await.unwrap_err();
    assert!(matches!(refused, ClipError::NotInWebm { codec: "H264" }), "{refused:?}");
    assert!(refused.to_string().ends_with("the range has H264: ask for mp4"));
    assert!(bench.assets(AssetType::Clip).await.is_empty());
    let clips = bench.recorder.create_clips(asked(None)).await.unwrap();
    assert_eq!(metadata(&finished(&bench, &clips[0]).await).format, "MPEG-4");
    publisher.finish().await;
}

/// Asked for while VP9 is sent; what comes after a break is another clip, and cannot be what was asked for.
#[tokio::test]
async fn a_codec_that_comes_later_fails_its_clip_with_the_reason() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config_for_webm().await;
    publisher.send(50).await;
    let request = bench.clip_request("stage", 0, 4500).await;
    let target_format = Some(TargetFormat::Webm);
    let clips = bench.recorder.create_clips(ClipRequest { target_format, ..request }).await.unwrap();
    assert_eq!(clips[0].state, AssetState::Processing);
    publisher.finish().await;
    assert_eq!(metadata(&finished(&bench, &clips[0]).await).format, "WebM");
    let mut publisher = bench.publish("stage", &[]).await.unwrap();
    publisher.config().await;
    publisher.send(150).await;
    let second = eventually(async || {
        let clips = bench.assets(AssetType::Clip).await;
        clips.into_iter().find(|clip| matches!(clip.state, AssetState::Error { .. }))
    })
    .await;
    let AssetState::Error { reason } = &second.state else { panic!("{second:?}") };
    publisher.finish().await;
    assert_eq!(reason, "The clip was asked for as WebM. WebM has no H264: ask for MP4.");
}
