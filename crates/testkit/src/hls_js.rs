//! hls.js in Chromium as a judge of playlists: most pages play HTTP Live Streaming with it.

use serde::Deserialize;
use serde_json::json;

use crate::{browser, tools};

/// What hls.js showed of a playlist.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Played {
    /// Why it gave up; nothing when it did not.
    pub fatal: Vec<String>,
    /// For how many seconds it played before it was sought in.
    pub advanced: f64,
    /// The numbers in the pictures that it showed meanwhile, as they changed.
    pub numbers: Vec<u32>,
    /// Whether more was still to come then.
    pub is_live: bool,
    /// How many parts of segments it had loaded by then.
    pub parts: u32,
    /// Seconds, as the page is told; `None` when it is not.
    pub duration: Option<f64>,
    /// The number in the picture at each time that was sought.
    pub sought: Vec<u32>,
}

const PAGE: &str = r"
async function play({url, seconds, seeks}) {
  const played = {fatal: [], advanced: 0, numbers: [], isLive: false, parts: 0, duration: null, sought: []};
  const video = document.querySelector('video');
  const hls = new Hls();
  const failed = new Promise((done) => hls.on(Hls.Events.ERROR, (_, data) => {
    if (data.fatal) { played.fatal.push(`${data.type} ${data.details} ${data.error}`); done(); }
  }));
  hls.on(Hls.Events.FRAG_LOADED, (_, data) => { if (data.part) played.parts++; });
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  async function go() {
    const ready = new Promise((done) => video.addEventListener('loadeddata', done, {once: true}));
    hls.loadSource(url);
    hls.attachMedia(video);
    await ready;
    await video.play();
    const begin = video.currentTime;
    const look = () => {
      const number = numberIn(video);
      if (number !== played.numbers.at(-1)) played.numbers.push(number);
      played.advanced = video.currentTime - begin;
    };
    while (!video.ended && (seconds === null || played.advanced < seconds)) {
      look();
      await pause(20);
    }
    look();
    played.isLive = hls.latestLevelDetails.live;
    played.duration = video.duration;
    video.pause();
    for (const time of seeks) {
      const sought = new Promise((done) => video.addEventListener('seeked', done, {once: true}));
      // The next frame may still be one of before. One that is held for long is not shown anew, or lies far back.
      const shown = new Promise((done) => {
        const look = (_, frame) => Math.abs(frame.mediaTime - time) < 0.2 ? done() : video.requestVideoFrameCallback(look);
        video.requestVideoFrameCallback(look);
      });
      video.currentTime = time;
      await sought;
      await Promise.race([shown, pause(1500)]);
      played.sought.push(numberIn(video));
    }
  }
  await Promise.race([go(), failed]);
  hls.destroy();
  return played;
}
(async () => {
  let played;
  try { played = await play(await (await fetch('/plan')).json()); } catch (error) { played = {error: String(error)}; }
  await fetch('/seen', {method: 'POST', body: JSON.stringify(played)});
})();
";

/// Has it play `seconds` of the playlist at `url`, or all until it is over, and seek to the times `seeks` then.
pub fn play(url: &str, seconds: Option<f64>, seeks: &[f64]) -> Played {
    let library = tools::judges().join("hls.js/dist/hls.min.js");
    let library = std::fs::read(&library).expect("it was found a moment ago");
    let plan = json!({"url": url, "seconds": seconds, "seeks": seeks}).to_string();
    let number_in = browser::NUMBER_IN;
    let page = format!(
        "<!doctype html><video muted playsinline></video><script src=\"/hls.js\"></script>\
         <script>{number_in}{PAGE}</script>"
    );
    let seen = browser::open(&page, |path| match path {
        "hls.js" => Some(("text/javascript", library.clone())),
        "plan" => Some(("application/json", plan.clone().into_bytes())),
        _ => None,
    });
    serde_json::from_value(seen.clone()).unwrap_or_else(|error| panic!("{error}: {seen}"))
}
