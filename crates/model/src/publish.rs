//! Publishing parameters: what an encoder asks for in its address beside name and token.

/// The parameters that concern recording. Others are accepted and ignored, as the hosted service
/// has many that only concern viewers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PublishParams {
    /// `record`: `false` suppresses the recording that the token would make.
    pub record: Option<bool>,
    /// `noRecord`: suppresses the recording, whatever else is asked.
    pub no_record: bool,
    /// `sourceId`: which source of the stream; absent is the main source.
    pub source_id: Option<String>,
    /// `simulcastId`: which quality layer; the empty string differs from absent.
    pub simulcast_id: Option<String>,
    /// `priority`: rank among feeds of one source; beats the token's.
    pub priority: Option<i32>,
    /// `videoOnly`: keep no audio.
    pub video_only: bool,
    /// `audioOnly`: keep no video.
    pub audio_only: bool,
    /// `videoTargetBitrate` in kbit/s: ranks quality layers.
    pub video_target_bitrate_kbps: Option<u32>,
}

/// A publishing parameter that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParam {
    /// The value does not fit the parameter.
    #[error("publishing parameter `{name}` must be {expected}")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// Two parameters that leave nothing to keep.
    #[error("publishing parameters `videoOnly` and `audioOnly` exclude each other")]
    NothingLeft,
}

impl PublishParams {
    /// Longest source or simulcast id, in characters.
    pub const MAX_ID_CHARS: usize = 128;

    /// Reads decoded `name=value` pairs; a bare boolean parameter counts as true. Names are matched
    /// without regard to case.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, InvalidParam> {
        let mut params = Self::default();
        for (name, value) in pairs {
            match name.to_ascii_lowercase().as_str() {
                "record" => params.record = Some(flag("record", value)?),
                "norecord" => params.no_record = flag("noRecord", value)?,
                "sourceid" => params.source_id = Some(id("sourceId", value)?).filter(|id| !id.is_empty()),
                "simulcastid" => params.simulcast_id = Some(id("simulcastId", value)?),
                "priority" => params.priority = Some(number("priority", value, "a whole number")?),
                "videoonly" => params.video_only = flag("videoOnly", value)?,
                "audioonly" => params.audio_only = flag("audioOnly", value)?,
                "noaudio" => params.video_only |= flag("noAudio", value)?,
                "videotargetbitrate" => {
                    let rate = number("videoTargetBitrate", value, "a number of kbit/s")?;
                    params.video_target_bitrate_kbps = Some(rate);
                }
                _ => {}
            }
        }
        if params.video_only && params.audio_only {
            return Err(InvalidParam::NothingLeft);
        }
        Ok(params)
    }

    /// Whether a feed with these parameters is recorded on a token that permits recording or not.
    pub fn records(&self, token_records: bool) -> bool {
        token_records && !self.no_record && self.record != Some(false)
    }
}

fn flag(name: &'static str, value: &str) -> Result<bool, InvalidParam> {
    match value.to_ascii_lowercase().as_str() {
        "" | "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(InvalidParam::Value { name, expected: "true or false" }),
    }
}

fn number<T: std::str::FromStr>(
    name: &'static str,
    value: &str,
    expected: &'static str,
) -> Result<T, InvalidParam> {
    value.parse().map_err(|_| InvalidParam::Value { name, expected })
}

fn id(name: &'static str, value: &str) -> Result<String, InvalidParam> {
    let fits = value.chars().count() <= PublishParams::MAX_ID_CHARS && !value.chars().any(char::is_control);
    if fits {
        Ok(value.to_owned())
    } else {
        Err(InvalidParam::Value { name, expected: "at most 128 characters without control characters" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_flag_is_true_and_a_bare_simulcast_id_is_the_empty_one() {
        let params = PublishParams::parse([("noRecord", ""), ("simulcastId", ""), ("sourceId", "")]).unwrap();
        assert!(params.no_record);
        assert_eq!(params.simulcast_id.as_deref(), Some(""));
        assert_eq!(params.source_id, None);
    }

    #[test]
    fn recording_needs_the_token_and_no_objection() {
        let records = |pairs: &[(&str, &str)], token| {
            PublishParams::parse(pairs.iter().copied()).unwrap().records(token)
        };
        assert!(records(&[], true));
        assert!(!records(&[], false));
        assert!(!records(&[("record", "true")], false));
        assert!(!records(&[("record", "false")], true));
        assert!(!records(&[("record", "true"), ("noRecord", "")], true));
    }

    #[test]
    fn nonsense_is_named() {
        let error = PublishParams::parse([("priority", "high")]).unwrap_err();
        assert_eq!(error.to_string(), "publishing parameter `priority` must be a whole number");
        assert_eq!(
            PublishParams::parse([("videoOnly", ""), ("audioOnly", "1")]),
            Err(InvalidParam::NothingLeft)
        );
        assert!(PublishParams::parse([("extraLatency", "what")]).is_ok());
    }
}
