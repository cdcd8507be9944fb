//! A real encoder describes its colours: full range, BT.709, or HDR in BT.2020 with PQ.
//!
//! Kept: the description, in the bitstream as it was sent and in the file's own boxes.

use mediahooks_testkit::ffmpeg::{Broadcast, ffmpeg9, probe};
use mediahooks_testkit::synthetic::recorded;
use serde_json::Value;

use crate::stage::Stage;

async fn probed(name: &str, codecs: &[&str]) -> Value {
    let stage = Stage::new().await;
    let codecs = codecs.iter().map(|word| (*word).to_owned()).collect();
    let tags = recorded(name, &ffmpeg9(), &Broadcast { codecs, ..Broadcast::fast(2) });
    stage.broadcast(&tags).await;
    let path = stage.bench.directory.path().join("got.mp4");
    std::fs::write(&path, stage.recording().await.file).unwrap();
    probe(&path)["streams"][0].clone()
}

#[tokio::test]
async fn full_range_stays_full_range() {
    let tags =
        ["-color_range", "pc", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"];
    let codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "30"];
    let stream = probed("full-range", &[&codecs[..], &tags].concat()).await;
    assert_eq!((&stream["color_range"], &stream["color_space"]), (&"pc".into(), &"bt709".into()));
}

#[tokio::test]
async fn hdr_stays_hdr() {
    let params = "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:hdr10=1:\
                  master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,1):max-cll=1000,400";
    let codecs = [
        "-c:v",
        "libx265",
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv420p10le",
        "-g",
        "30",
        "-x265-params",
        params,
    ];
    let stream = probed("hdr", &codecs).await;
    assert_eq!(
        (&stream["color_transfer"], &stream["color_primaries"], &stream["pix_fmt"]),
        (&"smpte2084".into(), &"bt2020".into(), &"yuv420p10le".into())
    );
}
