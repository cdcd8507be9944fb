//! Publishes many streams in real time, for `bench/scale.py`.
//!
//! `publish_many URL COUNT SECONDS KBITS`: `{}` in the URL is the stream's number. Prints one line of JSON: how
//! many were taken to their end, and how late the latest tag went out, which says whether this program or the
//! machine was too slow for the figures to mean anything.

use std::time::Duration;

use mediahooks_ingest::rtmp::publisher::{PublishError, Publisher};
use mediahooks_testkit::synthetic::{Source, Tag};

/// Publishes `tags`; returns the milliseconds by which the latest tag was late.
async fn publish(url: String, tags: std::sync::Arc<Vec<Tag>>, wait: Duration) -> Result<u128, PublishError> {
    // Encoders do not start in one instant.
    tokio::time::sleep(wait).await;
    let mut publisher = Publisher::connect(&url).await?;
    let begun = tokio::time::Instant::now();
    let mut late = 0;
    for tag in tags.iter() {
        let due = begun + Duration::from_micros(tag.sent_us.unsigned_abs());
        tokio::time::sleep_until(due).await;
        late = late.max(due.elapsed().as_millis());
        publisher.send_tag(tag.tag_type, tag.timestamp_ms, &tag.body).await?;
    }
    publisher.finish().await?;
    Ok(late)
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, count, seconds, kbits] = arguments.as_slice() else {
        panic!("usage: publish_many URL COUNT SECONDS KBITS");
    };
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("`{text}` is no number"));
    let (count, seconds, kbits) = (number(count), number(seconds), number(kbits));
    let picture_bytes = usize::try_from(kbits * 1000 / 8 / 25).expect("a sensible rate");
    let mut source = Source { picture_bytes, group: 50, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(seconds.cast_signed()));
    let tags = std::sync::Arc::new(tags);
    let publishers: Vec<_> = (0..count)
        .map(|stream| {
            let url = url.replace("{}", &stream.to_string());
            tokio::spawn(publish(url, tags.clone(), Duration::from_millis(stream * 10)))
        })
        .collect();
    let (mut whole, mut late) = (0, 0);
    for publisher in publishers {
        match publisher.await.expect("no panic") {
            Ok(this) => (whole, late) = (whole + 1, late.max(this)),
            Err(error) => eprintln!("{error}"),
        }
    }
    println!(
        "{{\"publishers\": {count}, \"whole\": {whole}, \"pictures_each\": {}, \"latest_ms\": {late}}}",
        source.pictures()
    );
}
