//! Files are fetched by signed link: whole, in ranges and conditionally.

mod common;

use axum::body::Body;
use common::{Bench, Reply};
use http::Request;
use proptest::prelude::*;

struct File {
    bench: Bench,
    /// Path and query of the link.
    link: String,
    id: String,
    bytes: Vec<u8>,
}

impl File {
    async fn new() -> Self {
        let bench = Bench::new().await;
        let recording = bench.recording().await;
        let url = recording["download"]["downloadUrl"].as_str().unwrap();
        let link = url.strip_prefix("https://media.example.com").unwrap().to_owned();
        let id = recording["id"].as_str().unwrap().to_owned();
        let mut file = Self { bench, link, id, bytes: Vec::new() };
        file.bytes = file.get(&[]).await.body.to_vec();
        file
    }

    async fn ask(&self, method: &str, link: &str, headers: &[(&str, &str)]) -> Reply {
        let request = Request::builder().method(method).uri(link);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.bench.send(request.body(Body::empty()).unwrap()).await
    }

    async fn get(&self, headers: &[(&str, &str)]) -> Reply {
        self.ask("GET", &self.link, headers).await
    }
}

#[tokio::test]
async fn the_whole_file_and_its_head() {
    let file = File::new().await;
    let whole = file.get(&[]).await;
    assert_eq!(whole.status, 200);
    assert_eq!(&whole.body[4..8], b"ftyp");
    assert_eq!(whole.header("content-type"), "video/mp4");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("content-length"), whole.body.len().to_string());
    assert!(whole.header("cache-control").contains("private"));
    assert!(whole.header("content-disposition").starts_with("attachment; filename=\"stage-left "));
    let head = file.ask("HEAD", &file.link, &[("range", "bytes=0-1")]).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    for name in ["content-length", "etag", "last-modified", "content-type", "content-disposition"] {
        assert_eq!(head.header(name), whole.header(name), "{name}");
        assert!(!head.header(name).is_empty(), "{name}");
    }
}

#[tokio::test]
async fn conditions() {
    let file = File::new().await;
    let (etag, date) = {
        let head = file.ask("HEAD", &file.link, &[]).await;
        (head.header("etag").to_owned(), head.header("last-modified").to_owned())
    };
    assert!(etag.starts_with('"') && etag.ends_with('"'));
    let unchanged = file.get(&[("if-none-match", &etag)]).await;
    assert_eq!((unchanged.status.as_u16(), unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.header("etag"), etag);
    assert_eq!(file.get(&[("if-modified-since", &date)]).await.status, 304);
    file.get(&[("if-match", "\"other\"")]).await.failed(412);
    assert_eq!(file.get(&[("range", "bytes=0-3"), ("if-range", &etag)]).await.status, 206);
    assert_eq!(file.get(&[("range", "bytes=0-3"), ("if-range", "\"other\"")]).await.status, 200);
    let beyond = file.get(&[("range", "bytes=99999999-")]).await;
    beyond.failed(416);
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", file.bytes.len()));
}

#[tokio::test]
async fn a_link_is_good_for_one_file_and_one_hour() {
    let file = File::new().await;
    let link = &file.link;
    let (path, query) = link.split_once('?').unwrap();
    let (_, signature) = query.split_once("&signature=").unwrap();
    let other = link.replace(&file.id, &"0".repeat(32));
    let renamed = format!("{}/x.mp4?{query}", path.rsplit_once('/').unwrap().0);
    let longer = format!("{path}?expires=99999999999&signature={signature}");
    for wrong in [
        &other,
        &longer,
        &path.to_owned(),
        &format!("{path}?{query}0"),
        &format!("{path}?expires=x&signature=y"),
    ] {
        let message = file.ask("GET", wrong, &[]).await.failed(403);
        assert!(message.contains("read the asset again"), "{wrong}: {message}");
    }
    assert_eq!(file.ask("GET", &renamed, &[]).await.status, 200, "the name is decoration");
}

#[tokio::test]
async fn an_expired_link_says_what_to_do() {
    let bench = Bench::with(|config| config.limits.download_ttl = std::time::Duration::ZERO).await;
    let recording = bench.recording().await;
    let url = recording["download"]["downloadUrl"].as_str().unwrap();
    let link = url.strip_prefix("https://media.example.com").unwrap();
    let message = bench.get(link).await.failed(403);
    assert_eq!(message, "This link has expired; read the asset again for a new one");
}

#[tokio::test]
async fn the_link_begins_where_the_client_reached_us() {
    let bench = Bench::with(|config| config.public_url = None).await;
    bench.recording().await;
    for (host, shown) in [
        ("10.0.0.1:8080", "http://10.0.0.1:8080/"),
        ("a@evil", "http://localhost/"),
        ("x y", "http://localhost/"),
    ] {
        let request = common::request("GET", "/api/v3/media/assets").header("host", host);
        let assets = bench.send(request.body(Body::empty()).unwrap()).await.data();
        let url = assets[0]["download"]["downloadUrl"].as_str().unwrap();
        assert!(url.starts_with(&format!("{shown}download/")), "{url}");
    }
}

#[tokio::test]
async fn a_deleted_file_is_gone() {
    let file = File::new().await;
    file.bench.raw("DELETE", &format!("/api/v3/media/assets?id={}", file.id), "").await.data();
    file.get(&[]).await.failed(410);
}

/// What a naive server would send for a header, as (first, end) pairs: `None` when it ignores it.
fn naive(header: &str, len: u64) -> Option<Vec<(u64, u64)>> {
    let specs = header.strip_prefix("bytes=")?;
    let mut ranges = Vec::new();
    for spec in specs.split(',') {
        let (first, last) = spec.trim().split_once('-')?;
        let range = match (first, last) {
            ("", count) => (len.saturating_sub(count.parse().ok()?), len),
            (first, "") => (first.parse().ok()?, len),
            (first, last) => {
                let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
                if first > last {
                    return None;
                }
                (first, last.saturating_add(1).min(len))
            }
        };
        ranges.push(range);
    }
    ranges.retain(|(first, end)| first < end);
    let bytes: u64 = ranges.iter().map(|(first, end)| end - first).sum();
    (ranges.len() < 2 || bytes <= len).then_some(ranges)
}

/// The parts of a multipart body.
fn parts(reply: &Reply) -> Vec<(String, Vec<u8>)> {
    let boundary = reply.header("content-type").split_once("boundary=").unwrap().1;
    let mut rest = &reply.body[..];
    let mut parts = Vec::new();
    let opening = format!("\r\n--{boundary}\r\n");
    let find = |bytes: &[u8], wanted: &[u8]| bytes.windows(wanted.len()).position(|window| window == wanted);
    while let Some(body) = rest.strip_prefix(opening.as_bytes()) {
        let head_end = find(body, b"\r\n\r\n").unwrap();
        let head = String::from_utf8(body[..head_end].to_vec()).unwrap();
        let body = &body[head_end + 4..];
        let end = find(body, format!("\r\n--{boundary}").as_bytes()).unwrap();
        let range = head.lines().find_map(|line| line.strip_prefix("Content-Range: ")).unwrap();
        parts.push((range.to_owned(), body[..end].to_vec()));
        rest = &body[end..];
    }
    assert_eq!(rest, format!("\r\n--{boundary}--\r\n").as_bytes());
    parts
}

fn range_header() -> impl Strategy<Value = String> {
    let number = prop_oneof![0_u64..40, 1000_u64..6000, Just(u64::MAX - 1)];
    let spec = prop_oneof![
        (number.clone(), 0_u64..200)
            .prop_map(|(first, more)| format!("{first}-{}", first.saturating_add(more))),
        number.clone().prop_map(|first| format!("{first}-")),
        number.prop_map(|count| format!("-{count}")),
    ];
    prop_oneof![
        20 => proptest::collection::vec(spec, 1..5).prop_map(|specs| format!("bytes={}", specs.join(", "))),
        1 => "[ -~]{0,20}",
    ]
}

#[test]
fn any_range_header_gives_the_bytes_a_slice_gives() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let file = runtime.block_on(File::new());
    let len = file.bytes.len() as u64;
    proptest!(ProptestConfig::with_cases(300), |(header in range_header())| {
        let reply = runtime.block_on(file.get(&[("range", &header)]));
        prop_assert_eq!(reply.header("content-length"), reply.body.len().to_string());
        let slice = |range: &(u64, u64)| &file.bytes[range.0 as usize..range.1 as usize];
        let shown = |range: &(u64, u64)| format!("bytes {}-{}/{len}", range.0, range.1 - 1);
        match naive(&header, len).as_deref() {
            None => {
                prop_assert_eq!(reply.status.as_u16(), 200);
                prop_assert!(reply.body == file.bytes);
            }
            Some([]) => prop_assert_eq!(reply.status.as_u16(), 416),
            Some([range]) => {
                prop_assert_eq!(reply.status.as_u16(), 206);
                prop_assert_eq!(reply.header("content-range"), shown(range));
                prop_assert!(&reply.body[..] == slice(range));
            }
            Some(ranges) => {
                prop_assert_eq!(reply.status.as_u16(), 206);
                let expected: Vec<_> = ranges.iter().map(|range| (shown(range), slice(range).to_vec())).collect();
                prop_assert!(parts(&reply) == expected);
            }
        }
    });
}
