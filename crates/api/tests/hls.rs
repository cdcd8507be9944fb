//! HTTP Live Streaming: playlists of finished assets.

mod common;

use axum::body::Body;
use common::{Bench, Reply};
use http::Request;
use serde_json::{Value, json};

/// Path and query of an asset's link.
fn link(asset: &Value) -> String {
    let url = asset["download"]["downloadUrl"].as_str().unwrap_or_else(|| panic!("no link: {asset}"));
    url.strip_prefix("https://media.example.com").unwrap().to_owned()
}

/// Asks for seconds 0.5 to 7.5 of what was published.
async fn clip_body(bench: &Bench, more: Value) -> Value {
    let timeline = bench.get("/api/v3/media/assets?type=timeline").await.data()[0].clone();
    let start: mediahooks_model::Timestamp = timeline["startTime"].as_str().unwrap().parse().unwrap();
    let (start, stop) = (start.plus_micros(500_000), start.plus_micros(7_500_000));
    let mut body = json!({"streamName": "stage/left", "startTime": start, "stopTime": stop});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// Without an API secret, as a player asks.
async fn ask(bench: &Bench, method: &str, link: &str, headers: &[(&str, &str)]) -> Reply {
    let request = Request::builder().method(method).uri(link);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    bench.send(request.body(Body::empty()).unwrap()).await
}

/// What a multivariant playlist beside the one at `link` leads to, after a look at what it tells of that.
async fn variant(bench: &Bench, link: &str) -> String {
    let (path, query) = link.split_once('?').unwrap();
    let asked = format!("{}/master.m3u8?{query}", path.rsplit_once('/').unwrap().0);
    let reply = ask(bench, "GET", &asked, &[]).await;
    assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (200, "*"));
    let (_, parsed) = m3u8_rs::parse_master_playlist(&reply.body).unwrap();
    let [variant] = &parsed.variants[..] else { panic!("{parsed:?}") };
    let size = variant.resolution.map(|size| (size.width, size.height));
    assert_eq!((variant.codecs.as_deref(), size), (Some("avc1.4d400d"), Some((320, 180))));
    assert!((24.0..26.0).contains(&variant.frame_rate.unwrap()), "{variant:?}");
    assert!(variant.bandwidth >= variant.average_bandwidth.unwrap() && variant.bandwidth > 1000);
    beside(&asked, &variant.uri)
}

/// Resolves an address in a playlist that was found at `link`.
fn beside(link: &str, uri: &str) -> String {
    let base = url::Url::parse("https://media.example.com").unwrap().join(link).unwrap();
    base.join(uri).unwrap().as_str().strip_prefix("https://media.example.com").unwrap().to_owned()
}

#[tokio::test]
async fn a_clip_as_a_playlist_over_its_media() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage/left", &[]).await;
    publisher.send(200).await;
    publisher.finish().await;
    let body = clip_body(&bench, json!({"name": "A ü", "targetFormat": "hls"})).await;
    let made = bench.call("POST", "/api/v3/media/assets", body).await.data()[0].clone();
    assert_eq!((&made["status"], &made["targetFormat"]), (&json!("complete"), &json!("hls")));
    assert_eq!(made["metadata"]["format"], "HLS");
    let id = made["id"].as_str().unwrap();
    let asset = bench.get(&format!("/api/v3/media/assets/{id}")).await.data();
    let link = link(&asset);
    assert!(link.contains(".m3u8?"), "{link}");

    let playlist = ask(&bench, "GET", &link, &[]).await;
    assert_eq!(playlist.status, 200);
    assert_eq!(playlist.header("content-type"), "application/vnd.apple.mpegurl");
    assert_eq!(playlist.header("access-control-allow-origin"), "*");
    let text = String::from_utf8(playlist.body.to_vec()).unwrap();
    let (_, parsed) = m3u8_rs::parse_media_playlist(text.as_bytes()).unwrap();
    assert_eq!((parsed.version, parsed.playlist_type), (Some(7), Some(m3u8_rs::MediaPlaylistType::Vod)));
    assert!(parsed.end_list && parsed.independent_segments);
    // Groups of a second, six of them in a segment.
    assert_eq!(parsed.segments.len(), 2, "{text}");
    let seconds: f32 = parsed.segments.iter().map(|segment| segment.duration).sum();
    // From the key frame on.
    assert!((seconds - 7.52).abs() < 0.05, "{text}");
    assert!(text.contains("#EXT-X-START:TIME-OFFSET=0.5"), "{text}");
    assert!(parsed.segments[0].program_date_time.is_some());

    // The segments lie one behind the other, after what they all need.
    let map = parsed.segments[0].map.as_ref().unwrap();
    let mut ranges = vec![(map.uri.clone(), map.byte_range.clone().unwrap())];
    ranges.extend(
        parsed.segments.iter().map(|segment| (segment.uri.clone(), segment.byte_range.clone().unwrap())),
    );
    let mut media = Vec::new();
    for (uri, range) in ranges {
        let from = range.offset.unwrap();
        let header = format!("bytes={from}-{}", from + range.length - 1);
        let part = ask(&bench, "GET", &beside(&link, &uri), &[("range", &header)]).await;
        assert_eq!((part.status.as_u16(), part.header("content-type")), (206, "video/mp4"));
        assert_eq!(part.header("access-control-allow-origin"), "*");
        media.extend(part.body);
    }
    let file = ask(&bench, "GET", &beside(&link, &parsed.segments[0].uri), &[]).await;
    assert_eq!(asset["metadata"]["sizes"]["hls"], file.body.len());
    assert_eq!(&media[4..8], b"ftyp");
    // Who wants a file is given the same by a link of its own, and by an export.
    let media_url = asset["download"]["mediaUrl"].as_str().unwrap();
    let saved = ask(&bench, "GET", media_url.strip_prefix("https://media.example.com").unwrap(), &[]).await;
    assert!(media_url.contains("/A%20%C3%BC.mp4?"), "{media_url}");
    assert!(saved.header("content-disposition").contains("filename*=UTF-8''A%20%C3%BC.mp4"));
    assert_eq!((saved.header("content-type"), &saved.body), ("video/mp4", &file.body));
    let exported = bench.raw("POST", &format!("/api/v3/media/assets/{id}/export"), "").await.data();
    assert_eq!(format!("\"{}\"", exported["etag"].as_str().unwrap()), saved.header("etag"));
    assert!(std::fs::read(exported["path"].as_str().unwrap()).unwrap() == saved.body);
    assert!(file.body.len() >= media.len() && file.body.ends_with(&media[media.len() - 1000..]));

    let led_to = ask(&bench, "GET", &variant(&bench, &link).await, &[]).await;
    assert_eq!(String::from_utf8_lossy(&led_to.body), text);

    let etag = playlist.header("etag");
    assert_eq!(ask(&bench, "GET", &link, &[("if-none-match", etag)]).await.status, 304);
    let head = ask(&bench, "HEAD", &link, &[]).await;
    assert_eq!((head.header("content-length"), head.body.len()), (text.len().to_string().as_str(), 0));
    let preflight = ask(&bench, "OPTIONS", &link, &[("origin", "https://player.example")]).await;
    assert_eq!(preflight.status, 204);
    assert!(preflight.header("access-control-allow-headers").contains("Range"));
    // A page of another origin can read why it got nothing.
    let refused = ask(&bench, "GET", &link.replace("signature=", "signature=0"), &[]).await;
    let unchanged = ask(&bench, "GET", &link, &[("if-none-match", etag)]).await;
    let other = ask(&bench, "GET", &link, &[("if-match", "\"another\"")]).await;
    for (reply, status) in [(refused, 403), (unchanged, 304), (other, 412)] {
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("access-control-allow-origin"), "*", "{status}");
        assert!(reply.header("access-control-expose-headers").contains("ETag"), "{status}");
    }

    // Whoever has a link cannot write the playlist: not its addresses, and not its length.
    let (path, query) = link.split_once('?').unwrap();
    let base = path.rsplit_once('/').unwrap().0;
    for name in ["http:%5C%5Cevil.example%5Ca", "http:evil.example", "x%22,URI=%22y", &"a".repeat(5000)] {
        let asked = format!("{base}/{name}.M3U8?{query}&{}", "b=c&".repeat(500));
        let other = ask(&bench, "GET", &asked, &[]).await;
        assert_eq!(String::from_utf8_lossy(&other.body), text, "{name}");
        assert_eq!(other.header("etag"), etag);
    }

    // A player that begins in the last moment of a link can play it to its end.
    let body = clip_body(&bench, json!({})).await;
    let plain = bench.call("POST", "/api/v3/media/assets", body).await.data()[0].clone();
    let expires = async |id: &Value| -> mediahooks_model::Timestamp {
        let asset = bench.get(&format!("/api/v3/media/assets/{}", id.as_str().unwrap())).await.data();
        asset["download"]["downloadExpiresOn"].as_str().unwrap().parse().unwrap()
    };
    let (of_file, of_playlist) = (expires(&plain["id"]).await, expires(&made["id"]).await);
    let duration = asset["metadata"]["duration"].as_u64().unwrap();
    assert!(duration >= 7 && of_playlist.since(of_file).as_secs() >= duration, "{of_file} {of_playlist}");
}

#[tokio::test]
async fn a_fragmented_clip_is_one_file() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage/left", &[]).await;
    publisher.send(200).await;
    publisher.finish().await;
    let body = clip_body(&bench, json!({"targetFormat": "fmp4"})).await;
    let made = bench.call("POST", "/api/v3/media/assets", body).await.data()[0].clone();
    let asset = bench.get(&format!("/api/v3/media/assets/{}", made["id"].as_str().unwrap())).await.data();
    let file = ask(&bench, "GET", &link(&asset), &[]).await;
    assert_eq!((file.status.as_u16(), file.header("content-type")), (200, "video/mp4"));
    assert_eq!(asset["metadata"]["sizes"]["fmp4"], file.body.len());
    assert_eq!(asset["metadata"]["format"], "Fragmented MPEG-4");
    assert!(asset["download"].get("mediaUrl").is_none(), "{asset}");
    assert!(file.body.windows(4).any(|window| window == b"moof"));
}

/// Waits until something is there, for as long as a busy machine may need.
async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = std::time::Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed().as_secs() < 60, "it never came");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn text(reply: &Reply) -> String {
    assert_eq!(reply.status, 200);
    String::from_utf8(reply.body.to_vec()).unwrap()
}

/// The link to a timeline's playlist, once that names something.
async fn preview(bench: &Bench, name: &str) -> String {
    eventually(async || {
        let timelines = bench.get("/api/v3/media/assets?type=timeline&status=processing").await.data();
        let link = timelines[0]["previewUrl"].as_str()?.strip_prefix("https://media.example.com")?.to_owned();
        text(&ask(bench, "GET", &link, &[]).await).contains(name).then_some(link)
    })
    .await
}

#[tokio::test]
async fn a_live_timeline_is_followed_part_by_part() {
    let bench = Bench::in_its_publishers_time().await;
    let mut publisher = bench.publish("stage/left", &[]).await;
    publisher.send(80).await;
    // The hint at what comes after all that is whole.
    let link = preview(&bench, "\"6-6.m4s").await;
    let playlist = ask(&bench, "GET", &link, &[]).await;
    assert_eq!(playlist.header("cache-control"), "no-cache");
    assert_eq!(playlist.header("access-control-allow-origin"), "*");
    // A group of a second is stored in two segments. Three are there, and the third may still be followed by more of it.
    let first = text(&playlist);
    for tag in [
        "#EXT-X-MEDIA-SEQUENCE:0\n",
        "#EXT-X-TARGETDURATION:5\n",
        "CAN-BLOCK-RELOAD=YES",
        "#EXT-X-PART-INF:PART-TARGET=1.2",
        "3-3.m4s?",
        "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"6-6.m4s?expires=",
    ] {
        assert!(first.contains(tag), "{tag}: {first}");
    }
    assert!(first.contains("\"init-0-1.mp4?expires=") && !first.contains("ENDLIST"), "{first}");
    assert_eq!(first.matches("#EXTINF:1.000000,").count(), 2, "{first}");

    assert_eq!(variant(&bench, &format!("{link}&dvr=60")).await, format!("{link}&dvr=60"));

    // A request for what comes next is answered when it is stored, be it for the playlist or for the part it hints at.
    let wanted = format!("{link}&_HLS_msn=3&_HLS_part=0");
    let query = link.split_once('?').unwrap().1;
    let hinted = beside(&link, &format!("6-6.m4s?{query}"));
    let (waited, part, ()) =
        tokio::join!(ask(&bench, "GET", &wanted, &[]), ask(&bench, "GET", &hinted, &[]), publisher.send(25));
    assert_eq!((part.status.as_u16(), &part.body[4..8]), (200, &b"moof"[..]));
    let waited = text(&waited);
    assert!(waited.contains("\"6-6.m4s?"), "{waited}");
    assert_eq!(waited.matches("#EXTINF").count(), 3, "{waited}");
    // One for the whole of it when another one begins.
    let wanted = format!("{link}&_HLS_msn=3");
    let (waited, ()) = tokio::join!(ask(&bench, "GET", &wanted, &[]), publisher.send(25));
    assert!(text(&waited).contains("\n6-7.m4s?"));
    ask(&bench, "GET", &format!("{link}&_HLS_msn=99"), &[]).await.failed(400);

    // Media is what was stored, behind what its run begins with.
    let part =
        ask(&bench, "GET", &beside(&link, &format!("2-2.m4s?{}", link.split_once('?').unwrap().1)), &[])
            .await;
    assert_eq!((part.status.as_u16(), part.header("content-type")), (200, "video/mp4"));
    assert_eq!(&part.body[4..8], b"moof");
    assert!(part.body.windows(12).any(|window| window == b"<picture 25>"));
    let init = beside(&link, &format!("init-0-1.mp4?{}", link.split_once('?').unwrap().1));
    assert_eq!(&ask(&bench, "GET", &init, &[]).await.body[4..8], b"ftyp");
    let range = ask(
        &bench,
        "GET",
        &beside(&link, &format!("0-2.m4s?{}", link.split_once('?').unwrap().1)),
        &[("range", "bytes=4-7")],
    )
    .await;
    assert_eq!((range.status.as_u16(), &range.body[..]), (206, &b"moof"[..]));

    // Numbers do not depend on how far back a playlist reaches.
    let window = text(&ask(&bench, "GET", &format!("{link}&dvr=1"), &[]).await);
    assert!(
        !window.contains("#EXT-X-MEDIA-SEQUENCE:0\n") && window.contains("#EXT-X-MEDIA-SEQUENCE:"),
        "{window}"
    );

    // Whoever waits when the publisher leaves is told that it is over.
    let wanted = format!("{link}&_HLS_msn=6");
    let (waited, ()) = tokio::join!(ask(&bench, "GET", &wanted, &[]), publisher.finish());
    assert!(text(&waited).contains("#EXT-X-ENDLIST"));
    let whole = text(&ask(&bench, "GET", &link, &[]).await);
    assert!(whole.contains("#EXT-X-PLAYLIST-TYPE:VOD") && !whole.contains("#EXT-X-PART"), "{whole}");
    assert_eq!(whole.matches("#EXTINF").count(), 6, "{whole}");
}

#[tokio::test]
async fn a_group_without_an_end_is_played_in_segments() {
    let bench = Bench::new().await;
    let mut publisher = bench.publish("stage/left", &[]).await;
    publisher.group = i64::MAX;
    // Who asks too early waits until it is known how long segments are.
    publisher.send(50).await;
    let early = eventually(async || {
        let timelines = bench.get("/api/v3/media/assets?type=timeline&status=processing").await.data();
        Some(timelines[0]["previewUrl"].as_str()?.strip_prefix("https://media.example.com")?.to_owned())
    })
    .await;
    let (first, ()) = tokio::join!(ask(&bench, "GET", &early, &[]), publisher.send(25 * 28));
    let mut target = text(&first);
    // Ten minutes: more than any window looks at as one.
    for _ in 0..19 {
        let playlist = text(&ask(&bench, "GET", &early, &[]).await);
        let line = |text: &str| text.lines().nth(2).unwrap().to_owned();
        assert_eq!((line(&playlist), line(&target)), (line(&target), "#EXT-X-TARGETDURATION:11".to_owned()));
        target = playlist;
        publisher.send(25 * 30).await;
    }
    let link = preview(&bench, "#EXTINF").await;
    let playlist = text(&ask(&bench, "GET", &link, &[]).await);
    let (_, parsed) = m3u8_rs::parse_media_playlist(playlist.as_bytes()).unwrap();
    let seconds: f32 = parsed.segments.iter().map(|segment| segment.duration).sum();
    assert!((100.0..140.0).contains(&seconds), "{playlist}");
    assert!(parsed.segments.iter().all(|segment| segment.duration <= 11.4), "{playlist}");
    assert!(parsed.media_sequence > 40, "{playlist}");
    // Numbers do not depend on how far back a playlist reaches.
    let longer = text(&ask(&bench, "GET", &format!("{link}&dvr=600"), &[]).await);
    let (_, longer) = m3u8_rs::parse_media_playlist(longer.as_bytes()).unwrap();
    let skipped = usize::try_from(parsed.media_sequence - longer.media_sequence).unwrap();
    assert_eq!(longer.segments[skipped].uri, parsed.segments[0].uri);
    publisher.finish().await;
}

#[tokio::test]
async fn a_preview_needs_its_link_or_a_secret() {
    let bench = Bench::new().await;
    let recording = bench.recording().await;
    let timelines = bench.get("/api/v3/media/assets?type=timeline").await.data();
    let url = timelines[0]["previewUrl"].as_str().unwrap().strip_prefix("https://media.example.com").unwrap();
    let (path, query) = url.split_once('?').unwrap();
    ask(&bench, "GET", path, &[]).await.failed(403);
    ask(&bench, "GET", &format!("{path}?{query}0"), &[]).await.failed(403);
    ask(&bench, "GET", &format!("{path}?{}", query.replace("expires=", "expires=9")), &[]).await.failed(403);
    // With a secret, addresses carry nothing.
    let playlist = text(&bench.get(path).await);
    assert!(playlist.contains("\n0-1.m4s\n"), "{playlist}");
    let base = path.rsplit_once('/').unwrap().0;
    assert_eq!(bench.get(&format!("{base}/0-0.m4s")).await.status, 200);
    let beyond = format!("{0}-{0}.m4s", u64::MAX);
    for name in ["0-9999.m4s", "77-78.m4s", &beyond, "init-9-1.mp4", "init-0-9.mp4", "other.m3u8", "0-0.ts"] {
        bench.get(&format!("{base}/{name}")).await.failed(404);
    }
    let recording = recording["id"].as_str().unwrap();
    bench.get(&format!("/hls/{recording}/live.m3u8")).await.failed(404);
    let id = timelines[0]["id"].as_str().unwrap();
    bench.raw("DELETE", &format!("/api/v3/media/assets?id={id}"), Body::empty()).await.data();
    ask(&bench, "GET", url, &[]).await.failed(410);
}
