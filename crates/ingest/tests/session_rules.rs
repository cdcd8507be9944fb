//! The session core: the dialogue of a publish, its bounds before and after it is granted, its
//! deadlines. Time is a number here.

mod common;

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use common::encoder::{self, Peer, command, connect, control, handshake, info, media, opening, publish};
use mediahooks_ingest::rtmp::RtmpSettings;
use mediahooks_ingest::rtmp::chunk::ChunkError;
use mediahooks_ingest::rtmp::message::{self, Command, type_id, user_control};
use mediahooks_ingest::rtmp::session::{SessionError, SessionEvent};
use mediahooks_ingest::target::TargetError;
use mediahooks_media::flv::amf0::Value;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

fn names(commands: &[Command]) -> Vec<&str> {
    commands.iter().map(|command| command.name.as_str()).collect()
}

#[test]
fn a_publish_is_answered_step_by_step() {
    let mut peer = Peer::new(&RtmpSettings::default());
    let events = peer.send(&opening("cam?token=00c0ffee&sourceId=a")).unwrap();
    let [SessionEvent::PublishRequested { target, encoder }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&*target.stream_name, target.token_hex.as_deref()), ("cam", Some("00c0ffee")));
    assert_eq!(encoder.as_deref(), Some("FMLE/3.0 (test)"));

    let answers = peer.answers();
    let controls: Vec<u8> = answers.iter().map(|message| message.type_id).filter(|id| *id < 20).collect();
    assert_eq!(controls, [type_id::WINDOW_ACK_SIZE, type_id::SET_PEER_BANDWIDTH, type_id::SET_CHUNK_SIZE]);
    let commands: Vec<Command> = answers
        .iter()
        .filter(|message| message.type_id == type_id::COMMAND_AMF0)
        .map(|message| Command::decode(&message.payload, false).unwrap())
        .collect();
    assert_eq!(names(&commands), ["_result", "_result", "_result", "onFCPublish", "_result"]);
    assert_eq!(
        commands.iter().map(|command| command.transaction).collect::<Vec<_>>(),
        [1.0, 2.0, 3.0, 0.0, 4.0]
    );
    assert_eq!(info(&commands[0], "code"), "NetConnection.Connect.Success");
    assert_eq!(commands[4].arguments, [Value::Null, Value::Number(1.0)]);

    peer.session.grant();
    assert_eq!(info(&peer.commands()[0], "code"), "NetStream.Publish.Start");

    let events = peer.send(&media(type_id::VIDEO, 40, vec![0x17, 1])).unwrap();
    let tag = SessionEvent::Tag { tag_type: 9, timestamp_ms: 40, body: vec![0x17, 1].into() };
    assert_eq!(events, [tag]);

    let unpublish = command("deleteStream", 6.0, [Value::Null, Value::Number(1.0)], 0);
    assert_eq!(peer.send(&unpublish), Ok(vec![SessionEvent::Unpublished]));
    assert_eq!(info(&peer.commands()[0], "code"), "NetStream.Unpublish.Success");
    assert_eq!(peer.send(&media(type_id::VIDEO, 80, vec![0x17])), Ok(vec![]), "media after the end");
    let again = peer.send(&publish("cam?token=00c0ffee")).unwrap();
    assert!(matches!(again[..], [SessionEvent::PublishRequested { .. }]));
}

#[test]
fn every_byte_may_arrive_alone() {
    let mut peer = Peer::new(&RtmpSettings::default());
    let mut events = Vec::new();
    for byte in opening("cam?token=00c0ffee") {
        events.extend(peer.send(&[byte]).unwrap());
    }
    assert!(matches!(events[..], [SessionEvent::PublishRequested { .. }]));
}

#[test]
fn what_follows_a_publish_request_waits_for_the_decision() {
    let mut peer = Peer::new(&RtmpSettings::default());
    let mut bytes = opening("cam?token=00c0ffee");
    bytes.extend_from_slice(&media(type_id::AUDIO, 0, vec![0xAF, 0]));
    assert_eq!(peer.send(&bytes).unwrap().len(), 1);
    assert_eq!(peer.session.poll(peer.now), Ok(None));
    peer.session.grant();
    assert!(matches!(peer.session.poll(peer.now), Ok(Some(SessionEvent::Tag { tag_type: 8, .. }))));
}

#[test]
fn connect_is_answered_with_four_cc_list_and_info_map_when_offered() {
    let mut peer = Peer::new(&RtmpSettings::default());
    let offer =
        vec![("fourCcList".to_owned(), Value::Array(vec![Value::string("hvc1"), Value::string("av01")]))];
    peer.send(&[&handshake()[..], &encoder::connect_with("v2/pub", offer)].concat()).unwrap();
    let commands = peer.commands();
    let answer = commands[0].arguments.last().unwrap();
    let Some(Value::Array(codecs)) = answer.get("fourCcList") else { panic!("{answer:?}") };
    assert!(codecs.contains(&Value::string("hvc1")));
    for (map, codec) in [("videoFourCcInfoMap", "av01"), ("audioFourCcInfoMap", "Opus")] {
        let flags = answer.get(map).and_then(|map| map.get(codec)).and_then(Value::as_number).unwrap();
        assert_eq!(flags as u8 & 1, 1, "{codec} can be decoded");
    }
    assert!(answer.get("capsEx").is_some());
}

#[test]
fn connect_without_an_offer_is_answered_plainly() {
    let mut peer = Peer::new(&RtmpSettings::default());
    peer.send(&[&handshake()[..], &connect("v2/pub")].concat()).unwrap();
    let commands = peer.commands();
    assert_eq!(commands[0].arguments.last().unwrap().get("fourCcList"), None);
}

#[test]
fn four_cc_tags_are_handled_even_un_negotiated() {
    let mut peer = Peer::publishing();
    let body = [&[0x91][..], b"hvc1", &[0, 0, 0, 1]].concat();
    assert_eq!(peer.send(&media(type_id::VIDEO, 0, body)).unwrap().len(), 1);
}

#[test]
fn at_most_64_kib_are_held_before_publish_is_granted() {
    let mut peer = Peer::connected();
    let mut unfinished = BytesMut::new();
    for chunk_stream in 4..16u8 {
        unfinished.put_slice(&[chunk_stream, 0, 0, 0, 0, 60, 0, type_id::AUDIO, 1, 0, 0, 0]);
        unfinished.put_bytes(0, 128);
    }
    while unfinished.len() < 200 * KIB {
        for chunk_stream in 4..16u8 {
            unfinished.put_u8(0xC0 | chunk_stream);
            unfinished.put_bytes(0, 128);
        }
    }
    let limit = 64 * KIB;
    assert_eq!(peer.send(&unfinished), Err(ChunkError::TooMuchHeld { limit }.into()));
    assert!(peer.held_bytes_max <= limit, "{} bytes were held", peer.held_bytes_max);

    let mut peer = Peer::connected();
    let long = media(type_id::AUDIO, 0, vec![0; limit + 1]);
    assert_eq!(peer.send(&long), Err(ChunkError::MessageTooLong { length: limit + 1, limit }.into()));
}

#[test]
fn who_only_sends_is_cut_off_and_a_publisher_is_not() {
    let mut peer = Peer::connected();
    let (kib, mib) = (media(type_id::AUDIO, 0, vec![0; 1000]), 1 << 20);
    let sent = (0..).find(|_| peer.send(&kib) == Err(SessionError::TooMuchUnpublished)).unwrap() * kib.len();
    assert!((mib - 10 * KIB..mib + KIB).contains(&sent), "{sent}");

    let mut peer = Peer::publishing();
    for _ in 0..2 * KIB {
        assert_eq!(peer.send(&kib).unwrap().len(), 1);
    }
    // What an encoder sends ahead is forgotten when it ends its stream, and publishing begins anew.
    peer.send(&command("FCUnpublish", 6.0, [Value::Null], 1)).unwrap();
    for _ in 0..KIB - 100 {
        assert_eq!(peer.send(&kib), Ok(vec![]));
    }
}

#[test]
fn at_most_16_mib_are_held_after_publish_is_granted() {
    let mut peer = Peer::publishing();
    peer.send(&control(type_id::SET_CHUNK_SIZE, &(64 * KIB as u32).to_be_bytes())).unwrap();
    let key_frame = media_in_chunks_of(64 * KIB, 15 * MIB);
    assert_eq!(peer.send(&key_frame).unwrap().len(), 1);

    // Sixteen chunk streams, each with an unfinished message of 15 MiB.
    let mut failed = None;
    'sending: for _ in 0..240 {
        for chunk_stream in 4..18u8 {
            let chunk = match peer.session.held_bytes() < 14 * 64 * KIB {
                true => [&[chunk_stream, 0, 0, 0, 0xF0, 0, 0, 9, 1, 0, 0, 0][..], &[0; 64 * KIB]].concat(),
                false => [&[0xC0 | chunk_stream][..], &[0; 64 * KIB]].concat(),
            };
            if let Err(error) = peer.send(&chunk) {
                failed = Some(error);
                break 'sending;
            }
        }
    }
    assert_eq!(failed, Some(ChunkError::TooMuchHeld { limit: 16 * MIB }.into()));
    assert!(peer.held_bytes_max <= 16 * MIB + 64 * KIB, "{} bytes were held", peer.held_bytes_max);
}

fn media_in_chunks_of(chunk_size: usize, length: usize) -> BytesMut {
    let mut bytes = BytesMut::new();
    let mut writer = mediahooks_ingest::rtmp::chunk::ChunkWriter::default();
    writer.set_chunk_size(chunk_size);
    let payload = vec![0; length].into();
    let message = mediahooks_ingest::rtmp::chunk::Message {
        chunk_stream: 4,
        type_id: type_id::VIDEO,
        stream_id: 1,
        timestamp: 0,
        payload,
    };
    writer.write(&message, &mut bytes);
    bytes
}

#[test]
fn the_limit_falls_back_when_the_stream_ends() {
    let mut peer = Peer::publishing();
    peer.send(&command("closeStream", 0.0, [Value::Null], 1)).unwrap();
    let long = media(type_id::AUDIO, 0, vec![0; 64 * KIB + 1]);
    assert!(matches!(peer.send(&long), Err(SessionError::Chunk(ChunkError::MessageTooLong { .. }))));
}

#[test]
fn absurd_chunk_sizes_refused() {
    for size in [0, 0x8000_0000, u32::MAX] {
        let mut peer = Peer::connected();
        let refused = peer.send(&control(type_id::SET_CHUNK_SIZE, &size.to_be_bytes()));
        assert_eq!(refused, Err(ChunkError::BadChunkSize(size).into()));
    }
    let mut peer = Peer::connected();
    assert_eq!(peer.send(&control(type_id::SET_CHUNK_SIZE, &[0, 1])), Err(SessionError::ShortControl(1)));
}

#[test]
fn slow_loris_handshake_is_cut_off_by_its_timeout() {
    let mut peer = Peer::new(&RtmpSettings::default());
    for (second, byte) in handshake().iter().take(9).enumerate() {
        peer.now = Duration::from_secs(second as u64 + 1);
        assert_eq!(peer.session.check_deadline(peer.now), Ok(()));
        peer.send(&[*byte]).unwrap();
    }
    assert_eq!(peer.session.deadline(), Duration::from_secs(10), "bytes do not buy time");
    assert_eq!(peer.session.check_deadline(Duration::from_secs(10)), Err(SessionError::HandshakeTimeout));
}

#[test]
fn a_peer_that_never_publishes_is_cut_off() {
    let mut peer = Peer::connected();
    peer.now = Duration::from_secs(19);
    peer.send(&control(type_id::USER_CONTROL, &[0, 6, 0, 0, 0, 1])).unwrap();
    assert_eq!(peer.session.check_deadline(peer.now), Ok(()));
    assert_eq!(peer.session.check_deadline(Duration::from_secs(20)), Err(SessionError::PublishTimeout));
}

#[test]
fn a_silent_publisher_is_cut_off_by_the_idle_timeout_and_a_sending_one_is_not() {
    let mut peer = Peer::publishing();
    for second in (25..500).step_by(25) {
        peer.now = Duration::from_secs(second);
        assert_eq!(peer.session.check_deadline(peer.now), Ok(()));
        peer.send(&media(type_id::AUDIO, 0, vec![0xAF, 1, 0])).unwrap();
    }
    assert_eq!(peer.session.deadline(), peer.now + Duration::from_secs(30));
    let late = peer.session.deadline();
    assert_eq!(peer.session.check_deadline(late), Err(SessionError::IdleTimeout));
}

#[test]
fn received_bytes_are_acknowledged_by_the_window_of_the_peer() {
    let mut peer = Peer::publishing();
    peer.send(&control(type_id::WINDOW_ACK_SIZE, &100_000u32.to_be_bytes())).unwrap();
    let mut acknowledged = Vec::new();
    for _ in 0..30 {
        peer.send(&media(type_id::AUDIO, 0, vec![0; 10_000])).unwrap();
        acknowledged.extend(peer.answers().iter().map(|message| {
            assert_eq!(message.type_id, type_id::ACKNOWLEDGEMENT);
            u32::from_be_bytes(*message.payload.first_chunk().unwrap())
        }));
    }
    assert!(acknowledged.len() >= 5, "300 kB are six halves of the window: {acknowledged:?}");
    assert!(acknowledged.windows(2).all(|pair| (50_000..65_000).contains(&(pair[1] - pair[0]))));
}

#[test]
fn ping_is_answered_with_its_timestamp() {
    let mut peer = Peer::connected();
    peer.answers();
    peer.send(&control(type_id::USER_CONTROL, &[0, 6, 1, 2, 3, 4])).unwrap();
    let answers = peer.answers();
    assert_eq!(answers, [message::user_control(user_control::PING_RESPONSE, 0x0102_0304)]);
}

#[test]
fn a_wrong_app_is_rejected_at_connect() {
    let mut peer = Peer::new(&RtmpSettings::default());
    let refused = peer.send(&[&handshake()[..], &connect("live")].concat());
    assert_eq!(refused, Err(TargetError::WrongApp.into()));
    let commands = peer.commands();
    assert_eq!(
        (names(&commands), info(&commands[0], "code")),
        (vec!["_error"], "NetConnection.Connect.Rejected")
    );
    assert!(info(&commands[0], "description").contains("rtmp://HOST/v2/pub"));
}

#[test]
fn a_refused_publish_says_why() {
    let mut peer = Peer::connected();
    peer.answers();
    assert_eq!(peer.send(&publish("cam?token=xyz")), Err(TargetError::MalformedToken.into()));
    let commands = peer.commands();
    assert_eq!(info(&commands[0], "code"), "NetStream.Publish.BadName");
    assert_eq!(info(&commands[0], "level"), "error");
    assert!(!info(&commands[0], "description").contains("xyz"));

    let mut peer = Peer::connected();
    peer.send(&publish("cam?token=00")).unwrap();
    peer.answers();
    peer.session.refuse("token_expired", "the publish token has expired");
    let commands = peer.commands();
    assert_eq!(info(&commands[0], "description"), "the publish token has expired");
    assert_eq!(info(&commands[0], "details"), "token_expired");
    assert_eq!(peer.send(&publish("cam?token=00")), Ok(vec![]), "a refused peer is not heard again");
}

#[test]
fn commands_out_of_order_are_refused() {
    let mut peer = Peer::new(&RtmpSettings::default());
    let early = peer.send(&[&handshake()[..], &publish("cam")].concat());
    assert_eq!(early, Err(SessionError::OutOfOrder("publish")));
    let mut peer = Peer::connected();
    assert_eq!(peer.send(&connect("v2/pub")), Err(SessionError::OutOfOrder("connect")));
    let mut peer = Peer::publishing();
    assert_eq!(peer.send(&publish("other")), Err(SessionError::OutOfOrder("publish")));
}

#[test]
fn playing_is_refused_with_a_reason() {
    let mut peer = Peer::connected();
    peer.answers();
    let play = command("play", 5.0, [Value::Null, Value::string("cam")], 1);
    assert_eq!(peer.send(&play), Err(SessionError::PlayRequested));
    assert_eq!(info(&peer.commands()[0], "code"), "NetStream.Play.Failed");
}

#[test]
fn commands_wrapped_as_amf3_are_understood() {
    let mut peer = Peer::connected();
    let plain = Command::new("publish", 5.0, [Value::Null, Value::string("cam?token=00")]).to_message(1);
    let payload = [&[0], &plain.payload[..]].concat().into();
    let wrapped = encoder::chunks(&mediahooks_ingest::rtmp::chunk::Message {
        type_id: type_id::COMMAND_AMF3,
        payload,
        ..plain
    });
    assert_eq!(peer.send(&wrapped).unwrap().len(), 1);
}

#[test]
fn malformed_amf0_ends_the_session() {
    for payload in [&b"\x0A\xFF\xFF\xFF\xFF\x05"[..], &[0x0A, 0, 0, 0, 1].repeat(100), b"\x02\xFF"] {
        let mut peer = Peer::connected();
        assert!(matches!(peer.send(&control(type_id::COMMAND_AMF0, payload)), Err(SessionError::Amf(_))));
    }
}

#[test]
fn unknown_messages_and_commands_are_passed_over() {
    let mut peer = Peer::connected();
    for type_id in [0, 7, 15, 16, 19, 21, 22, 255] {
        assert_eq!(peer.send(&control(type_id, &[1, 2, 3])), Ok(vec![]));
    }
    assert_eq!(peer.send(&command("_checkbw", 9.0, [Value::Null], 0)), Ok(vec![]));
    assert_eq!(peer.send(&media(type_id::VIDEO, 0, vec![0x17])), Ok(vec![]), "media before a publish");
}
