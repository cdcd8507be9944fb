//! Regular pictures and sound whose bytes are their numbers: no decoder takes them, but a test can tell
//! from a file what of them is in it.

use bytes::Bytes;
use mediahooks_media::flv::{TAG_AUDIO, TAG_VIDEO};

use super::{Tag, in_order};

/// 320x180, Main profile, with reordering.
const AVCC: &str = "014d400dffe10019674d400deca0a0cfcf8088000003000800000301e078a14cb001000568ebe3cb20";

/// The same at 176x144, Baseline profile.
const AVCC_SMALL: &str = "0142c00bffe100166742c00bd902c4ec0440000003004000000c83c50a9201000568cb83cb20";

/// Samples of one AAC frame.
const FRAME: i64 = 1024;

/// An encoder of 25 pictures a second, one key frame a second, and AAC in stereo.
#[derive(Debug, Clone)]
pub struct Source {
    /// Between two pictures.
    pub picture_us: i64,
    /// Pictures from one key frame to the next.
    pub group: i64,
    /// Pictures that are shown before the one they follow in decode order: with 2, every third picture is
    /// sent before the two that precede it.
    pub reordered: i64,
    /// Bytes of a picture, at least.
    pub picture_bytes: usize,
    /// Whether there are pictures.
    pub video: bool,
    /// Whether there is sound.
    pub audio: bool,
    /// Channels of the sound: 1, 2 or 6.
    pub channels: u8,
    /// Samples per second of the sound: 48,000 or 44,100.
    pub sample_rate: i64,
    /// The stamp of the first picture.
    pub first_stamp_ms: i64,
    /// How far it has come.
    pub sent: Sent,
}

/// What a [`Source`] has sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sent {
    pictures: i64,
    sounds: i64,
    /// Media time of the next picture since the start.
    at_us: i64,
}

impl Default for Source {
    fn default() -> Self {
        Self {
            picture_us: 40_000,
            group: 25,
            reordered: 0,
            picture_bytes: 0,
            video: true,
            audio: true,
            channels: 2,
            sample_rate: 48_000,
            first_stamp_ms: 0,
            sent: Sent::default(),
        }
    }
}

impl Source {
    /// The decoder configurations of both tracks, sent at this point.
    pub fn headers(&self) -> Vec<Tag> {
        let video = self.video.then(|| self.video_header());
        let audio = self.audio.then(|| self.audio_header());
        video.into_iter().chain(audio).collect()
    }

    /// The configuration of the pictures: 320x180.
    pub fn video_header(&self) -> Tag {
        self.tag(
            TAG_VIDEO,
            self.sent.at_us,
            self.sent.at_us,
            [&[0x17, 0, 0, 0, 0], hex(AVCC).as_slice()].concat(),
        )
    }

    /// The configuration of smaller pictures: 176x144.
    pub fn small_video_header(&self) -> Tag {
        let body = [&[0x17, 0, 0, 0, 0], hex(AVCC_SMALL).as_slice()].concat();
        self.tag(TAG_VIDEO, self.sent.at_us, self.sent.at_us, body)
    }

    /// The configuration of the sound.
    pub fn audio_header(&self) -> Tag {
        // AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1): AAC-LC, rate by its index, channels.
        let [high, low] = if self.sample_rate == 44_100 { [0x12, 0x00] } else { [0x11, 0x80] };
        let body = vec![0xAF, 0, high, low | (self.channels << 3)];
        self.tag(TAG_AUDIO, self.sent.at_us, self.sent.at_us, body)
    }

    /// The next `seconds` of the broadcast, in the order of sending.
    pub fn seconds(&mut self, seconds: i64) -> Vec<Tag> {
        self.millis(seconds * 1000)
    }

    /// The next `ms` of the broadcast, in the order of sending.
    pub fn millis(&mut self, ms: i64) -> Vec<Tag> {
        let end_us = self.sent.at_us + ms * 1000;
        let mut tags = Vec::new();
        while self.sent.at_us < end_us {
            if self.video {
                tags.push(self.picture());
            }
            self.sent.at_us += self.picture_us;
            while self.audio && self.sent.sounds * FRAME * 1_000_000 < self.sent.at_us * self.sample_rate {
                tags.push(self.sound());
            }
        }
        in_order(tags)
    }

    /// Lets media time pass without sending: the encoder pauses.
    pub fn pause_ms(&mut self, ms: i64) {
        self.sent.at_us += ms * 1000;
        self.sent.sounds = self.sent.at_us * self.sample_rate / 1_000_000 / FRAME;
    }

    /// Number of pictures so far; the next one's number.
    pub fn pictures(&self) -> i64 {
        self.sent.pictures
    }

    fn picture(&mut self) -> Tag {
        let place = self.sent.pictures % self.group;
        let is_key = place == 0;
        // Decode order is the order of numbers; with reordering each mini group of 1 + n is shown
        // rotated by one.
        let cycle = self.reordered + 1;
        let delay = match (self.reordered, (place + cycle - 1) % cycle) {
            (0, _) => 0,
            (_, _) if is_key => 1,
            (reordered, 0) => reordered + 1,
            _ => 0,
        };
        let composition_ms = delay * self.picture_us / 1000;
        let [_, c2, c1, c0] = (composition_ms as u32).to_be_bytes();
        let mut body = vec![if is_key { 0x17 } else { 0x27 }, 1, c2, c1, c0];
        body.extend(format!("<picture {}>", self.sent.pictures).into_bytes());
        body.resize(body.len().max(self.picture_bytes), b'.');
        self.sent.pictures += 1;
        self.tag(TAG_VIDEO, self.sent.at_us, self.sent.at_us, body)
    }

    fn sound(&mut self) -> Tag {
        let at_us = self.sent.sounds * FRAME * 1_000_000 / self.sample_rate;
        let body = [&[0xAF, 1], format!("<sound {}>", self.sent.sounds).as_bytes()].concat();
        self.sent.sounds += 1;
        self.tag(TAG_AUDIO, at_us, at_us, body)
    }

    fn tag(&self, tag_type: u8, stamp_us: i64, sent_us: i64, body: Vec<u8>) -> Tag {
        let stamp_ms = self.first_stamp_ms + stamp_us / 1000;
        Tag { sent_us, tag_type, timestamp_ms: stamp_ms as u32, body: Bytes::from(body) }
    }
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// Numbers behind `word` in bytes that came from a [`Source`], in the order in which they lie there.
pub(super) fn numbers(bytes: &[u8], word: &str) -> Vec<u32> {
    let text = String::from_utf8_lossy(bytes);
    let opening = format!("<{word} ");
    let digits = |part: &str| part.split('>').next().and_then(|digits| digits.parse().ok());
    text.split(opening.as_str()).skip(1).filter_map(digits).collect()
}

#[cfg(test)]
mod tests {
    use mediahooks_media::flv::{FlvDemuxer, FlvEvent};
    use mediahooks_media::sample::TrackKind;

    use super::*;

    #[test]
    fn what_is_sent_is_what_the_demuxer_reads() {
        let mut source = Source { reordered: 2, first_stamp_ms: -20, ..Source::default() };
        let mut tags = source.headers();
        tags.extend(source.seconds(2));
        let mut demuxer = FlvDemuxer::new();
        let (mut shown, mut sounds) = (Vec::new(), 0);
        for tag in &tags {
            for event in demuxer.push(tag.tag_type, tag.timestamp_ms, tag.body.clone()).unwrap() {
                match event {
                    FlvEvent::Sample(TrackKind::Video, sample) => shown.push(sample.pts().0),
                    FlvEvent::Sample(TrackKind::Audio, _) => sounds += 1,
                    FlvEvent::Config(_) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!((shown.len(), sounds), (50, 94));
        let mut in_order = shown.clone();
        in_order.sort_unstable();
        in_order.dedup();
        assert_eq!(in_order.len(), 50, "no two pictures are shown at one time: {shown:?}");
        assert!(!shown.is_sorted());
        assert_eq!(numbers(&tags[2].body, "picture"), [0]);
    }
}
