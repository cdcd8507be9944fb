//! HTTP Live Streaming, end to end: a real encoder publishes, players that know nothing of us follow it live and read
//! what is left, judged by the numbers burnt into the frames.

use std::path::Path;

use mediahooks_testkit::ffmpeg::{self, Broadcast, H264_AAC};
use mediahooks_testkit::hls_js::{self, Played};
use mediahooks_testkit::{Rest, ServerOptions, TestServer, eventually};
use serde_json::{Value, json};

async fn start() -> TestServer {
    ServerOptions::new(env!("CARGO_BIN_EXE_mediahooks")).start().await
}

/// Groups of pictures of two seconds: a segment of a playlist is several stored ones.
fn broadcast(seconds: u32) -> Broadcast {
    let mut codecs: Vec<String> = H264_AAC.iter().map(|word| (*word).to_owned()).collect();
    let group = codecs.iter().position(|word| word == "-g").expect("it is there") + 1;
    codecs[group] = "60".into();
    Broadcast { codecs, ..Broadcast::live(seconds) }
}

/// The numbers of the frames that a player shows of an address; it may have nothing to complain about.
async fn shown(program: std::path::PathBuf, url: String) -> Vec<u32> {
    let numbers = tokio::task::spawn_blocking(move || {
        let numbers = ffmpeg::frame_numbers(&program, Path::new(&url));
        (numbers, program, url)
    });
    numbers.await.expect("the player ran").0
}

async fn complaints(program: std::path::PathBuf, url: String) -> String {
    let judged = tokio::task::spawn_blocking(move || ffmpeg::complaints(&program, Path::new(&url)));
    judged.await.expect("the player ran")
}

fn is_contiguous(numbers: &[u32]) -> bool {
    numbers.windows(2).all(|pair| pair[1] == pair[0] + 1)
}

/// What hls.js shows of an address for some seconds or until it is over; it may not give up.
async fn played(url: &str, seconds: Option<f64>, seeks: &'static [f64]) -> Played {
    let url = url.to_owned();
    let played = tokio::task::spawn_blocking(move || hls_js::play(&url, seconds, seeks));
    let played = played.await.expect("the browser ran");
    assert_eq!(played.fatal, Vec::<String>::new());
    assert!(played.advanced >= seconds.unwrap_or(0.0), "{played:?}");
    // It reads them as fast as it can, which is not every one.
    assert!(played.numbers.len() > 10, "{played:?}");
    played
}

/// Whether these are the numbers of the pictures at `seconds` after the one with the number `first`.
fn shows(numbers: &[u32], first: u32, seconds: &[f64]) -> bool {
    let pairs = numbers.iter().zip(seconds);
    numbers.len() == seconds.len()
        && pairs.into_iter().all(|(number, at)| {
            let late = f64::from(first) + at * 30.0 - f64::from(*number);
            (-1.0..4.0).contains(&late)
        })
}

async fn timeline(rest: &Rest) -> Value {
    eventually("the timeline can be watched", async || {
        let timelines = rest.get("/api/v3/media/assets?type=timeline").await;
        timelines[0]["previewUrl"].is_string().then(|| timelines[0].clone())
    })
    .await
}

async fn text(url: &str) -> String {
    reqwest::get(url).await.expect("the server answers").text().await.expect("text")
}

#[tokio::test]
async fn a_broadcast_is_followed_live_and_read_later() {
    let mut server = start().await;
    let rest = server.rest();
    let token = rest.create_token("stage").await;
    let live = broadcast(14).publish(&ffmpeg::ffmpeg(), &server.publish_url("stage", &token));
    let timeline = timeline(&rest).await;
    let preview = timeline["previewUrl"].as_str().expect("a link").to_owned();
    // Players give up on a playlist without a whole segment.
    eventually("there is a whole segment", async || text(&preview).await.contains("#EXTINF").then_some(()))
        .await;
    let playlist = text(&preview).await;
    for tag in [
        "#EXT-X-PART-INF:",
        "CAN-BLOCK-RELOAD=YES",
        "#EXT-X-PART:",
        "#EXT-X-MAP:",
        "#EXT-X-PROGRAM-DATE-TIME:",
    ] {
        assert!(playlist.contains(tag), "{tag} is missing in {playlist}");
    }
    assert!(!playlist.contains("#EXT-X-ENDLIST"), "{playlist}");
    let followers =
        [ffmpeg::ffmpeg(), ffmpeg::ffmpeg9()].map(|program| tokio::spawn(shown(program, preview.clone())));
    let page = {
        let preview = preview.clone();
        tokio::spawn(async move { played(&preview, None, &[]).await })
    };
    live.finish().await;
    let page = page.await.expect("hls.js follows");
    assert!(page.numbers.is_sorted() && !page.is_live, "{page:?}");
    assert!(page.numbers.last().is_some_and(|last| (415..420).contains(last)), "to the end: {page:?}");
    for follower in followers {
        let numbers = follower.await.expect("it ran");
        assert!(is_contiguous(&numbers), "{numbers:?}");
        assert_eq!(numbers.last(), Some(&(14 * 30 - 1)), "followed to the end");
        assert!(numbers.len() > 200, "from near the beginning: {numbers:?}");
    }

    // What is left is a whole playlist.
    let playlist = text(&preview).await;
    assert!(playlist.contains("#EXT-X-ENDLIST") && playlist.contains("PLAYLIST-TYPE:VOD"), "{playlist}");
    assert!(!playlist.contains("#EXT-X-PART"), "{playlist}");
    for program in [ffmpeg::ffmpeg(), ffmpeg::ffmpeg9()] {
        assert_eq!(shown(program.clone(), preview.clone()).await, (0..420).collect::<Vec<_>>());
        assert_eq!(complaints(program, preview.clone()).await, "");
    }

    // In a page it can be sought in. A picture is shown as much later as the encoder delays it for reordering.
    let whole = played(&preview, Some(2.0), &[0.5, 7.5, 3.2, 13.0]).await;
    assert!(whole.numbers.is_sorted(), "{whole:?}");
    let duration = whole.duration.expect("it is over");
    assert!((duration - 14.0).abs() < 0.2, "{whole:?}");
    assert!(shows(&whole.sought, 0, &[0.5, 7.5, 3.2, 13.0]), "{whole:?}");

    // A clip as a playlist: from the key frame before its start on.
    let start: mediahooks_model::Timestamp =
        timeline["startTime"].as_str().expect("a time").parse().expect("a time");
    let (start, stop) = (start.plus_micros(5_000_000), start.plus_micros(11_000_000));
    let link = async |format: &str| {
        let body = json!({
            "streamName": "stage", "targetFormat": format, "cut": "keyframe", "startTime": start, "stopTime": stop,
        });
        let clip = rest.post("/api/v3/media/assets", body).await[0].clone();
        let clip = rest.get(&format!("/api/v3/media/assets/{}", clip["id"].as_str().expect("an id"))).await;
        clip["download"]["downloadUrl"].as_str().expect("a link").to_owned()
    };
    let (link, plain) = (link("hls").await, link("mp4").await);
    assert!(link.contains(".m3u8?") && plain.contains(".mp4?"), "{link} {plain}");
    for program in [ffmpeg::ffmpeg(), ffmpeg::ffmpeg9()] {
        let numbers = shown(program.clone(), link.clone()).await;
        assert!(is_contiguous(&numbers) && numbers[0] == 120, "{numbers:?}");
        assert!((205..=216).contains(&numbers.len()), "{numbers:?}");
        assert_eq!(numbers, shown(program.clone(), plain.clone()).await, "as the file of the same range");
        assert_eq!(complaints(program, link.clone()).await, "");
    }
    let clip = played(&link, Some(2.0), &[0.5, 6.0, 2.4]).await;
    assert!(clip.numbers.is_sorted(), "{clip:?}");
    let duration = clip.duration.expect("it is whole");
    assert!((6.8..7.4).contains(&duration), "{clip:?}");
    assert!(shows(&clip.sought, 120, &[0.5, 6.0, 2.4]), "{clip:?}");
    assert!(clip.numbers[0] >= 145, "from the first frame asked for: {clip:?}");
    let stopped = server.stop().await;
    assert!(stopped.success(), "{stopped}");
}

#[tokio::test]
async fn a_page_follows_a_broadcast_live_and_looks_back() {
    let mut server = start().await;
    let rest = server.rest();
    let token = rest.create_token("stage").await;
    // For longer than a page needs.
    let live = broadcast(80).publish(&ffmpeg::ffmpeg(), &server.publish_url("stage", &token));
    let preview = timeline(&rest).await["previewUrl"].as_str().expect("a link").to_owned();
    eventually("there is a whole segment", async || text(&preview).await.contains("#EXTINF").then_some(()))
        .await;
    // As pages do that want to know codecs beforehand.
    let variants = preview.replace("/live.m3u8", "/master.m3u8");
    let page = played(&variants, Some(4.0), &[0.5, 2.3]).await;
    assert!(page.numbers.is_sorted() && page.is_live && page.parts > 0, "{page:?}");
    assert!(shows(&page.sought, 0, &[0.5, 2.3]), "{page:?}");
    live.kill().await;
    let stopped = server.stop().await;
    assert!(stopped.success(), "{stopped}");
}

#[tokio::test]
async fn a_page_plays_a_clip_over_a_break() {
    let mut server = start().await;
    let rest = server.rest();
    let token = rest.create_token("stage").await;
    for _ in 0..2 {
        let live = broadcast(4).publish(&ffmpeg::ffmpeg(), &server.publish_url("stage", &token));
        live.finish().await;
    }
    let timelines = eventually("both are over", async || {
        let timelines = rest.get("/api/v3/media/assets?type=timeline&status=complete").await;
        timelines.as_array().filter(|all| all.len() == 2).cloned()
    })
    .await;
    let start = timelines.iter().filter_map(|one| one["startTime"].as_str()).min();
    let stop = timelines.iter().filter_map(|one| one["stopTime"].as_str()).max().expect("they ended");
    // With media up to its end a clip has not to be waited for.
    let stop = stop.parse::<mediahooks_model::Timestamp>().expect("a time").plus_micros(-500_000);
    let body = json!({
        "streamName": "stage", "targetFormat": "hls", "cut": "keyframe", "gaps": "collapse", "startTime": start, "stopTime": stop,
    });
    let clip = rest.post("/api/v3/media/assets", body).await[0].clone();
    let clip = rest.get(&format!("/api/v3/media/assets/{}", clip["id"].as_str().expect("an id"))).await;
    let link = clip["download"]["downloadUrl"].as_str().unwrap_or_else(|| panic!("no link: {clip}"));
    assert!(text(link).await.contains("#EXT-X-DISCONTINUITY\n"));
    let page = played(link, Some(5.0), &[1.5, 6.5, 0.5]).await;
    let shown: Vec<_> = page.numbers.chunk_by(|one, next| one < next).collect();
    let [before, after] = shown[..] else { panic!("{page:?}") };
    assert!(before[0] < 10 && after[0] < 30, "{page:?}");
    // The last picture of the first one stays until sound and pictures of both fit.
    assert!(shows(&page.sought[..1], 0, &[1.5]) && shows(&page.sought[2..], 0, &[0.5]), "{page:?}");
    assert!((66..75).contains(&page.sought[1]), "{page:?}");
    let stopped = server.stop().await;
    assert!(stopped.success(), "{stopped}");
}
