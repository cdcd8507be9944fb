//! `colorInfo`: what a publisher tells of its colours beside the codec's record.
//!
//! Spec: Enhanced RTMP v2, "Metadata Frame" (`VideoPacketType.Metadata`). Some encoders put the same object
//! into `onMetaData`.

use super::amf0::{self, AmfError, Value};
use crate::colour::{Chromaticity, Colour, ColourInfo, ContentLight, MasteringDisplay, UNSPECIFIED};

const NAME: &str = "colorInfo";

/// Reads a metadata packet: names and values in turn. `None` when none of the names is `colorInfo`; an
/// empty or undefined one takes back what was told before.
///
/// # Errors
/// [`AmfError`] when the packet is not AMF0.
pub(super) fn read_packet(body: &[u8]) -> Result<Option<ColourInfo>, AmfError> {
    let values = amf0::decode_all(body)?;
    let named = values.chunks(2).find(|pair| pair.first().and_then(Value::as_str) == Some(NAME));
    Ok(named.map(|pair| read(pair.get(1).unwrap_or(&Value::Null))))
}

/// Reads a script tag: the first object in it that has a `colorInfo`. `None` also when it is not AMF0.
pub(super) fn read_script(body: &[u8]) -> Option<ColourInfo> {
    amf0::decode_all(body).ok()?.iter().find_map(|value| value.get(NAME)).map(read)
}

fn read(info: &Value) -> ColourInfo {
    ColourInfo {
        colour: info.get("colorConfig").and_then(colour),
        mastering: info.get("hdrMdcv").and_then(mastering),
        light: info.get("hdrCll").and_then(light),
    }
}

fn colour(config: &Value) -> Option<Colour> {
    // Code points are bytes (ITU-T H.273); 0 is reserved for all but the matrix.
    let code_point = |name, least: f64| {
        let number = config.get(name).and_then(Value::as_number);
        number.filter(|number| (least..=255.0).contains(number)).map_or(UNSPECIFIED, |number| number as u16)
    };
    let colour = Colour {
        primaries: code_point("colorPrimaries", 1.0),
        transfer: code_point("transferCharacteristics", 1.0),
        matrix: code_point("matrixCoefficients", 0.0),
        // The object has no member for it. Pictures of full range say so in the bitstream.
        full_range: false,
    };
    colour.is_told().then_some(colour)
}

fn mastering(display: &Value) -> Option<MasteringDisplay> {
    let number = |name| display.get(name).and_then(Value::as_number);
    let point = |x, y| -> Option<Chromaticity> {
        Some((
            scaled(number(x)?, 50_000.0, u16::MAX.into())? as u16,
            scaled(number(y)?, 50_000.0, u16::MAX.into())? as u16,
        ))
    };
    Some(MasteringDisplay {
        red: point("redX", "redY")?,
        green: point("greenX", "greenY")?,
        blue: point("blueX", "blueY")?,
        white: point("whitePointX", "whitePointY")?,
        luminance_max: scaled(number("maxLuminance")?, 10_000.0, u32::MAX)?,
        luminance_min: scaled(number("minLuminance")?, 10_000.0, u32::MAX)?,
    })
}

fn light(light: &Value) -> Option<ContentLight> {
    // Zero says that it is not known (CTA-861.3), as does a missing member.
    let candela = |names: [&str; 2]| {
        let number = names.iter().find_map(|name| light.get(name)).and_then(Value::as_number);
        number.and_then(|number| scaled(number, 1.0, u16::MAX.into())).map_or(0, |number| number as u16)
    };
    // The specification spells the one in lower and the other in upper case; encoders vary.
    let light = ContentLight {
        pixel_max: candela(["maxCLL", "maxCll"]),
        picture_max: candela(["maxFall", "maxFALL"]),
    };
    (light != ContentLight { pixel_max: 0, picture_max: 0 }).then_some(light)
}

/// A number in units of `1 / units`, rounded; `None` unless it is one from 0 to `most` of them.
fn scaled(number: f64, units: f64, most: u32) -> Option<u32> {
    let scaled = (number * units).round();
    // Also false for what is not a number.
    (0.0..=f64::from(most)).contains(&scaled).then_some(scaled as u32)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;

    fn encoded(values: &[Value]) -> BytesMut {
        let mut out = BytesMut::new();
        amf0::encode_all(values, &mut out);
        out
    }

    fn packet(info: Value) -> ColourInfo {
        read_packet(&encoded(&[Value::string("colorInfo"), info])).unwrap().unwrap()
    }

    fn numbers<const N: usize>(members: [(&str, f64); N]) -> Value {
        Value::object(members.map(|(name, number)| (name, Value::Number(number))))
    }

    fn hdr10() -> Value {
        Value::object([
            (
                "colorConfig",
                numbers([
                    ("bitDepth", 10.0),
                    ("colorPrimaries", 9.0),
                    ("transferCharacteristics", 16.0),
                    ("matrixCoefficients", 9.0),
                ]),
            ),
            ("hdrCll", numbers([("maxFall", 400.0), ("maxCLL", 1000.0)])),
            (
                "hdrMdcv",
                numbers([
                    ("redX", 0.68),
                    ("redY", 0.32),
                    ("greenX", 0.265),
                    ("greenY", 0.69),
                    ("blueX", 0.15),
                    ("blueY", 0.06),
                    ("whitePointX", 0.3127),
                    ("whitePointY", 0.329),
                    ("maxLuminance", 1000.0),
                    ("minLuminance", 0.0001),
                ]),
            ),
        ])
    }

    #[test]
    fn hdr10_is_read_in_the_units_of_its_boxes() {
        let expected = ColourInfo {
            colour: Some(Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false }),
            mastering: Some(MasteringDisplay {
                red: (34_000, 16_000),
                green: (13_250, 34_500),
                blue: (7_500, 3_000),
                white: (15_635, 16_450),
                luminance_max: 10_000_000,
                luminance_min: 1,
            }),
            light: Some(ContentLight { pixel_max: 1000, picture_max: 400 }),
        };
        assert_eq!(packet(hdr10()), expected);
        let script = [Value::string("onMetaData"), Value::object([("colorInfo", hdr10())])];
        assert_eq!(read_script(&encoded(&script)), Some(expected));
    }

    #[test]
    fn what_makes_no_sense_is_not_told() {
        let odd = Value::object([
            (
                "colorConfig",
                numbers([
                    ("colorPrimaries", f64::NAN),
                    ("transferCharacteristics", -1.0),
                    ("matrixCoefficients", 256.0),
                ]),
            ),
            ("hdrCll", numbers([("maxFall", 1e9), ("maxCLL", f64::NEG_INFINITY)])),
            ("hdrMdcv", numbers([("redX", 0.68)])),
        ]);
        assert_eq!(packet(odd), ColourInfo::default());
        assert_eq!(packet(Value::Null), ColourInfo::default());
        assert_eq!(read_packet(&encoded(&[Value::string("other"), hdr10()])), Ok(None));
        assert_eq!(read_packet(&encoded(&[Value::string("colorInfo")])), Ok(Some(ColourInfo::default())));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_packet(&bytes);
            read_script(&bytes);
        }

        #[test]
        fn no_numbers_panic(number in any::<f64>(), other in any::<f64>()) {
            let both = |a, b| numbers([(a, number), (b, other)]);
            packet(Value::object([
                ("colorConfig", both("colorPrimaries", "matrixCoefficients")),
                ("hdrCll", both("maxFall", "maxCLL")),
            ]));
            prop_assert!(scaled(number, 50_000.0, 65_535).is_none_or(|scaled| scaled <= 65_535));
        }
    }
}
