//! The shell: whatever happens to a connection, its feed is finished once, with the right reason;
//! peers that misbehave are closed and the others never notice.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::encoder::{chunks, command, handshake, media, opening};
use common::{FeedLog, Server, TOKEN, patiently};
use mediahooks_ingest::gate::{FeedEnded, PublishEnd};
use mediahooks_ingest::rtmp::chunk::Message;
use mediahooks_ingest::rtmp::message::type_id;
use mediahooks_ingest::rtmp::publisher::{PublishError, Publisher};
use mediahooks_ingest::rtmp::{RtmpSettings, Shared, handle};
use mediahooks_media::flv::amf0::Value;
use mediahooks_media::sample::TrackKind;
use mediahooks_testkit::synthetic::{Source, Tag, aggregate};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;

const AAC_CONFIG: [u8; 4] = [0xAF, 0, 0x11, 0x90];
const AAC_FRAME: [u8; 3] = [0xAF, 1, 7];

fn key() -> String {
    format!("cam?token={TOKEN}")
}

/// A raw connection that was granted to publish and has sent one audio frame.
async fn raw_publisher(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&opening(&key())).await.unwrap();
    stream.write_all(&media(type_id::AUDIO, 0, AAC_CONFIG.to_vec())).await.unwrap();
    stream.write_all(&media(type_id::AUDIO, 0, AAC_FRAME.to_vec())).await.unwrap();
    wait_for(&mut stream, b"NetStream.Publish.Start").await;
    stream
}

/// Reads until the server has said `text`, after its notice of FCPublish has said it once already.
async fn wait_for(stream: &mut TcpStream, text: &[u8]) {
    let mut read = Vec::new();
    let says = |read: &[u8]| read.windows(text.len()).filter(|window| *window == text).count();
    while says(&read) < 2 {
        assert!(patiently(stream.read_buf(&mut read)).await.unwrap() > 0, "closed too early");
    }
}

async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    let _ = patiently(stream.read_to_end(&mut read)).await;
    read
}

fn check_one_frame(feed: &FeedLog) {
    assert_eq!(feed.samples(TrackKind::Audio).len(), 1);
    assert_eq!(feed.configs(TrackKind::Audio).len(), 1);
}

#[tokio::test]
async fn our_publisher_delivers_its_tags() {
    let mut server = Server::start().await;
    let mut publisher = Publisher::connect(&server.url("a/b")).await.unwrap();
    publisher.send_tag(8, 0, &AAC_CONFIG).await.unwrap();
    for frame in 0..2000u32 {
        publisher.send_tag(8, 0xFFFF_F000u32.wrapping_add(frame * 21), &AAC_FRAME).await.unwrap();
    }
    publisher.finish().await.unwrap();
    let feed = server.next_feed().await;
    assert_eq!((feed.request.target.stream_name.as_str(), &feed.end), ("a/b", &PublishEnd::Unpublished));
    let samples = feed.samples(TrackKind::Audio);
    assert_eq!(samples.len(), 2000);
    assert!(samples[0].dts.0 > 0xFFFF_0000 && samples.windows(2).all(|pair| pair[0].dts < pair[1].dts));
    server.stop().await;
}

/// Several tags in one message are those tags, whatever clock their own times are on.
#[tokio::test]
async fn aggregate_messages_are_the_tags_in_them() {
    let mut server = Server::start().await;
    let mut source = Source { picture_bytes: 5000, first_stamp_ms: 0xFFFF_FE00, ..Source::default() };
    let mut tags = source.headers();
    tags.extend(source.seconds(2));
    let mut feeds = Vec::new();
    for (together, first_stamp_ms) in [(1, 0), (7, 0), (20, 0xFFFF_FFF0)] {
        let mut publisher = Publisher::connect(&server.url("a/b")).await.unwrap();
        for some in tags.chunks(together) {
            let message = if together == 1 { some[0].clone() } else { aggregate(some, first_stamp_ms) };
            publisher.send_tag(message.tag_type, message.timestamp_ms, &message.body).await.unwrap();
        }
        publisher.finish().await.unwrap();
        feeds.push(server.next_feed().await);
    }
    let (plain, aggregated) = feeds.split_first().unwrap();
    assert!(plain.samples(TrackKind::Video).len() == 50 && plain.samples(TrackKind::Audio).len() == 94);
    for feed in aggregated {
        for kind in [TrackKind::Video, TrackKind::Audio] {
            assert_eq!(feed.samples(kind), plain.samples(kind));
            assert_eq!(feed.configs(kind), plain.configs(kind));
        }
        assert!(feed.ignored().is_empty());
    }
    server.stop().await;
}

/// What is whole in a message that is not, is kept; commands and aggregates inside one are nothing.
#[tokio::test]
async fn an_aggregate_message_that_is_cut_off_costs_only_its_end() {
    let mut server = Server::start().await;
    let mut source = Source::default();
    let mut tags = source.headers();
    tags.extend(source.millis(400));
    let odd = |tag_type| Tag { tag_type, ..tags[2].clone() };
    let strange = aggregate(&[odd(type_id::COMMAND_AMF0), aggregate(&tags, 0), tags[3].clone()], 0);
    let whole = aggregate(&tags, 0);
    let mut publisher = Publisher::connect(&server.url("a/b")).await.unwrap();
    publisher.send_tag(22, 0, &whole.body[..whole.body.len() - 10]).await.unwrap();
    publisher.send_tag(22, 0, &strange.body).await.unwrap();
    publisher.send_tag(22, 0, &[]).await.unwrap();
    publisher.finish().await.unwrap();
    let feed = server.next_feed().await;
    let samples = feed.samples(TrackKind::Video).len() + feed.samples(TrackKind::Audio).len();
    assert_eq!(samples, tags.len() - 2 - 1 + 1);
    assert_eq!(feed.ignored(), ["aggregate_cut_off"]);
    server.stop().await;
}

#[tokio::test]
async fn our_publisher_tells_what_the_server_said() {
    let server = Server::start().await;
    let url = format!("rtmp://{}/v2/pub/cam?token=00", server.address);
    let Err(PublishError::Refused { code, description }) = Publisher::connect(&url).await else {
        panic!("this token is unknown")
    };
    assert_eq!(code, "NetStream.Publish.BadName");
    assert_eq!(description, "the publish token is unknown; copy it again");
    let error = Publisher::connect("http://localhost/v2/pub/cam?token=secret").await.unwrap_err();
    assert!(!error.to_string().contains("secret"));
    server.stop().await;
}

#[tokio::test]
async fn a_lost_connection_finishes_its_feed() {
    let mut server = Server::start().await;
    let stream = raw_publisher(&server).await;
    drop(stream);
    let feed = server.next_feed().await;
    assert_eq!(feed.end, PublishEnd::Disconnected);
    check_one_frame(&feed);
    server.stop().await;
}

#[tokio::test]
async fn a_protocol_error_finishes_its_feed() {
    let mut server = Server::start().await;
    let mut stream = raw_publisher(&server).await;
    stream.write_all(&[0xC0 | 33]).await.unwrap();
    let feed = server.next_feed().await;
    assert!(matches!(feed.end, PublishEnd::ProtocolError(_)));
    check_one_frame(&feed);
    server.stop().await;
}

#[tokio::test]
async fn a_feed_ended_from_our_side_tells_the_encoder_why() {
    let mut server = Server::start().await;
    let mut publisher = Publisher::connect(&server.url("cam")).await.unwrap();
    let ended = FeedEnded { code: "replaced", message: "another encoder took over".to_owned() };
    server.stop_feeds.send(Some(ended.clone())).unwrap();
    let feed = server.next_feed().await;
    assert_eq!(feed.end, PublishEnd::Stopped(ended));
    let refused = loop {
        if let Err(error) = publisher.send_tag(8, 0, &AAC_FRAME).await {
            break error;
        }
        tokio::task::yield_now().await;
    };
    assert!(
        matches!(refused, PublishError::Refused { description, .. } if description == "another encoder took over")
    );
    server.stop().await;
}

#[tokio::test]
async fn shutdown_finishes_every_feed_before_serve_returns() {
    let mut server = Server::start().await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(raw_publisher(&server).await);
    }
    server.shutdown.cancel();
    for stream in &mut streams {
        let farewell = read_to_end(stream).await;
        assert!(farewell.windows(15).any(|window| window == b"server_stopping"));
    }
    for _ in 0..5 {
        let feed = server.next_feed().await;
        assert_eq!(feed.end, PublishEnd::ShuttingDown);
        check_one_frame(&feed);
    }
    drop(streams);
    server.stop().await;
}

#[tokio::test]
async fn a_panic_in_the_connection_still_finishes_the_feed() {
    let mut server = Server::start_with(RtmpSettings::default(), true).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(&opening(&key())).await.unwrap();
    stream.write_all(&media(type_id::AUDIO, 0, AAC_CONFIG.to_vec())).await.unwrap();
    let feed = server.next_feed().await;
    assert!(matches!(feed.end, PublishEnd::ProtocolError(_)));
    server.stop().await;
}

#[tokio::test]
async fn an_aborted_connection_still_finishes_the_feed() {
    let server = Server::start().await;
    let (mut encoder, stream) = tokio::io::duplex(1 << 20);
    let (shared, mut finished) = shared(RtmpSettings::default());
    let connection = tokio::spawn(handle(stream, server.address, shared.clone()));
    publish_over(&mut encoder).await;
    connection.abort();
    let feed = patiently(finished.recv()).await.unwrap();
    assert_eq!(feed.end, PublishEnd::ShuttingDown);
    shared.tasks.close();
    patiently(shared.tasks.wait()).await;
    server.stop().await;
}

#[tokio::test]
async fn connections_beyond_the_maximum_are_closed_and_make_room_again() {
    let settings = RtmpSettings { connections_max: 2, ..RtmpSettings::default() };
    let mut server = Server::start_with(settings, false).await;
    let first = raw_publisher(&server).await;
    let _second = raw_publisher(&server).await;
    let mut third = TcpStream::connect(server.address).await.unwrap();
    assert!(read_to_end(&mut third).await.is_empty());
    drop(first);
    server.next_feed().await;
    let mut publisher = loop {
        match Publisher::connect(&server.url("cam")).await {
            Ok(publisher) => break publisher,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    publisher.send_tag(8, 0, &AAC_CONFIG).await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn connections_that_do_not_publish_keep_no_encoder_out() {
    let settings = RtmpSettings { connections_max: 4, ..RtmpSettings::default() };
    let mut server = Server::start_with(settings, false).await;
    let publisher = raw_publisher(&server).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut other = raw_publisher(&server).await;
    // Of the silent ones, two are left. Those that had to leave were told by the end of their connections.
    for gone in &mut silent[..18] {
        assert!(read_to_end(gone).await.is_empty());
    }
    other.write_all(&media(type_id::AUDIO, 0, AAC_CONFIG.to_vec())).await.unwrap();
    drop((publisher, other));
    for _ in 0..2 {
        assert_eq!(server.next_feed().await.end, PublishEnd::Disconnected);
    }
    drop(silent);
    server.stop().await;
}

#[tokio::test]
async fn garbage_closes_its_own_connection_and_no_other() {
    let mut server = Server::start().await;
    let mut publisher = Publisher::connect(&server.url("cam")).await.unwrap();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xFF; 5000], &[3; 20_000]] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let _ = stream.write_all(garbage).await;
        read_to_end(&mut stream).await;
    }
    publisher.send_tag(8, 0, &AAC_CONFIG).await.unwrap();
    publisher.send_tag(8, 0, &AAC_FRAME).await.unwrap();
    publisher.finish().await.unwrap();
    check_one_frame(&server.next_feed().await);
    server.stop().await;
}

#[tokio::test]
async fn a_second_publish_on_the_same_connection_is_a_feed_of_its_own() {
    let mut server = Server::start().await;
    let mut stream = raw_publisher(&server).await;
    stream.write_all(&command("FCUnpublish", 6.0, [Value::Null, Value::string("cam")], 0)).await.unwrap();
    let first = server.next_feed().await;
    assert_eq!(first.end, PublishEnd::Unpublished);
    let again = Message { timestamp: 0, ..publish_message("other") };
    stream.write_all(&chunks(&again)).await.unwrap();
    drop(stream);
    let second = server.next_feed().await;
    assert_eq!((&*second.request.target.stream_name, &second.end), ("other", &PublishEnd::Disconnected));
    server.stop().await;
}

fn publish_message(stream: &str) -> Message {
    let key = Value::String(format!("{stream}?token={TOKEN}"));
    mediahooks_ingest::rtmp::message::Command::new("publish", 7.0, [Value::Null, key]).to_message(1)
}

/// A gate and its log without a listener.
fn shared(settings: RtmpSettings) -> (Shared, tokio::sync::mpsc::UnboundedReceiver<FeedLog>) {
    let (gate, finished) = common::CollectingGate::detached();
    let shared = Shared {
        gate: Arc::new(gate),
        settings,
        tasks: tokio_util::task::TaskTracker::new(),
        shutdown: tokio_util::sync::CancellationToken::new(),
    };
    (shared, finished)
}

async fn publish_over(encoder: &mut DuplexStream) {
    encoder.write_all(&opening(&key())).await.unwrap();
    encoder.write_all(&media(type_id::AUDIO, 0, AAC_CONFIG.to_vec())).await.unwrap();
    let mut read = Vec::new();
    while !read.windows(10).any(|window| window == b"publishing") {
        assert!(encoder.read_buf(&mut read).await.unwrap() > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_half_open_publisher_ends_by_the_idle_timeout() {
    let (mut encoder, stream) = tokio::io::duplex(1 << 20);
    let (shared, mut finished) = shared(RtmpSettings::default());
    let connection = tokio::spawn(handle(stream, ([127, 0, 0, 1], 1).into(), shared));
    publish_over(&mut encoder).await;
    let start = tokio::time::Instant::now();
    assert_eq!(finished.recv().await.unwrap().end, PublishEnd::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 30, "of simulated time");
    connection.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_handshake_is_closed_by_its_timeout() {
    let (mut encoder, stream) = tokio::io::duplex(1 << 20);
    let (shared, _finished) = shared(RtmpSettings::default());
    let start = tokio::time::Instant::now();
    let connection = tokio::spawn(handle(stream, ([127, 0, 0, 1], 1).into(), shared));
    for byte in handshake() {
        if encoder.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    connection.await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(14), "of simulated time");
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_does_not_read_its_answers_is_closed() {
    let (mut encoder, stream) = tokio::io::duplex(4096);
    let (shared, mut finished) = shared(RtmpSettings::default());
    let connection = tokio::spawn(handle(stream, ([127, 0, 0, 1], 1).into(), shared));
    publish_over(&mut encoder).await;
    let ping = common::encoder::control(type_id::USER_CONTROL, &[0, 6, 0, 0, 0, 1]);
    for _ in 0..1000 {
        encoder.write_all(&ping).await.unwrap();
    }
    assert_eq!(finished.recv().await.unwrap().end, PublishEnd::TimedOut);
    connection.await.unwrap();
}
