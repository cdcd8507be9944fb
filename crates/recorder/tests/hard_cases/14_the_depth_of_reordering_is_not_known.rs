//! B-frames: pictures are shown in another order than they come in, by how much is not announced.
//!
//! Kept: every picture, shown in the encoder's order from the first on; clips begin and end on the frame
//! although its neighbours in decode order belong outside.

use mediahooks_testkit::synthetic::Source;

use crate::stage::{Stage, numbers};

#[tokio::test]
async fn pictures_are_shown_in_the_encoders_order() {
    for reordered in [1, 2, 3, 7] {
        let stage = Stage::new().await;
        // Groups that end with a picture that nothing is shown after.
        let mut source = Source { reordered, group: 49, audio: false, ..Source::default() };
        let mut tags = source.headers();
        tags.extend(source.millis(49 * 4 * 40));
        stage.broadcast(&tags).await;
        let recording = stage.recording().await;
        assert_eq!(recording.pictures(), (0..196).collect::<Vec<_>>());
        let shown = recording.shown();
        assert_eq!(shown.len(), 196, "{reordered}");
        let times: Vec<i64> = shown.iter().map(|sample| sample.at_ms).collect();
        assert_eq!(times, (0..196).map(|picture| picture * 40).collect::<Vec<_>>(), "{reordered}");

        let clip = &stage.clips(2_000, 5_000).await[0];
        let at = |ms: i64| shown.iter().find(|sample| sample.at_ms == ms).unwrap().number;
        // A picture cannot arrive before it was captured: the one that is sent longest before it is shown
        // tells what was captured when. The first one is shown a frame after it is sent.
        let wanted: Vec<u32> = (0..75).map(|picture| at(2_000 + reordered * 40 + picture * 40)).collect();
        assert_eq!(numbers(&clip.shown()), wanted, "{reordered}");
    }
}
