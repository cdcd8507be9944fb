//! What the answer to `connect` says of this server, Enhanced RTMP included.

use mediahooks_media::flv::amf0::Value;

/// `FourCcInfoMask`: can decode (0x01) and can forward (0x04). Encoders differ in which of the
/// two they look for; both mean that the codec may be sent here.
const ACCEPTED: f64 = 5.0;
/// `CapsExMask`: ModEx (0x04) and nanosecond timestamp offsets (0x08). Multitrack is not announced:
/// of several tracks of one kind only track 0 is kept.
const CAPS_EX: f64 = 12.0;

const VIDEO_FOUR_CCS: [&str; 5] = ["avc1", "hvc1", "av01", "vp08", "vp09"];
const AUDIO_FOUR_CCS: [&str; 3] = ["mp4a", "Opus", ".mp3"];

/// The command object of the answer: what kind of server this is.
pub fn server_properties() -> Value {
    Value::object([
        // Some encoders parse this as the version of an Adobe server and want to see one.
        ("fmsVer", Value::string("FMS/3,5,7,7009")),
        ("capabilities", Value::Number(31.0)),
        ("mode", Value::Number(1.0)),
    ])
}

/// Members to add to the information object of the answer when the encoder's `connect` object
/// offers Enhanced RTMP (E-RTMP v2, "Enhancing NetConnection connect Command").
pub fn enhanced_members(offer: &Value) -> Vec<(String, Value)> {
    let names = ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"];
    if names.iter().all(|name| offer.get(name).is_none()) {
        return Vec::new();
    }
    let all = VIDEO_FOUR_CCS.iter().chain(&AUDIO_FOUR_CCS).map(|code| Value::string(*code)).collect();
    vec![
        ("fourCcList".to_owned(), Value::Array(all)),
        ("videoFourCcInfoMap".to_owned(), info_map(&VIDEO_FOUR_CCS)),
        ("audioFourCcInfoMap".to_owned(), info_map(&AUDIO_FOUR_CCS)),
        ("capsEx".to_owned(), Value::Number(CAPS_EX)),
    ]
}

fn info_map(codes: &[&str]) -> Value {
    Value::Object(codes.iter().map(|code| ((*code).to_owned(), Value::Number(ACCEPTED))).collect())
}
