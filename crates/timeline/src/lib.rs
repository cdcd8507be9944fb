//! Samples to segments, the map between wall clock and media clock, and the planning of assets.
//!
//! Pure. `recorder` feeds a [`segmenter::Segmenter`] per feed and stores what it closes; later it
//! plans clips with [`plan`] over the stored spans and builds files with [`movie`] from the stored
//! indexes.
//!
//! Two clocks are kept apart. The *media clock* of a run counts microseconds and is what the
//! encoder's timestamps say; the *wall clock* is when things happened here. Each segment knows the
//! difference between the two while it was received.

pub mod clock;
pub mod hindsight;
pub mod index;
pub mod movie;
pub mod plan;
pub mod segmenter;
