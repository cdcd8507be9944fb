//! A page for Chromium that plays files, seeks to given times and reads the number in the picture.

use std::collections::BTreeMap;
use std::path::PathBuf;

use mediahooks_testkit::browser;
use serde_json::{Value, json};

/// What Chromium shows of one file.
#[derive(Debug)]
pub struct Seen {
    /// In seconds.
    pub duration: f64,
    /// The number in the picture at each time asked for.
    pub numbers: Vec<u32>,
    /// What it complained about.
    pub error: Option<String>,
}

/// A file and the times to look at, in seconds.
pub struct Watched {
    pub path: PathBuf,
    pub at: Vec<f64>,
}

const PAGE: &str = r#"
const video = document.querySelector('video');
const once = (name) => new Promise((done, fail) => {
  video.addEventListener(name, done, {once: true});
  video.addEventListener('error', () => fail(new Error(video.error.message)), {once: true});
});
async function watch(name, times) {
  const blob = await (await fetch('/' + name)).blob();
  const ready = once('loadeddata');
  video.src = URL.createObjectURL(blob);
  await ready;
  const seen = {duration: video.duration, numbers: []};
  for (const time of times) {
    const sought = once('seeked');
    const shown = new Promise((done) => video.requestVideoFrameCallback(done));
    video.currentTime = time;
    await sought;
    await Promise.race([shown, new Promise((done) => setTimeout(done, 1500))]);
    seen.numbers.push(numberIn(video));
  }
  return seen;
}
(async () => {
  const all = {};
  for (const [name, times] of Object.entries(await (await fetch('/plan')).json())) {
    try { all[name] = await watch(name, times); } catch (error) { all[name] = {error: String(error)}; }
  }
  await fetch('/seen', {method: 'POST', body: JSON.stringify(all)});
})();
"#;

/// Plays every file and tells what is seen, by its name.
pub fn watch(files: &BTreeMap<String, Watched>) -> BTreeMap<String, Seen> {
    let plan: Value = files.iter().map(|(name, file)| (name.clone(), json!(file.at))).collect();
    let number_in = browser::NUMBER_IN;
    let page = format!("<!doctype html><video muted playsinline></video><script>{number_in}{PAGE}</script>");
    let seen = browser::open(&page, |path| match path {
        "plan" => Some(("application/json", plan.to_string().into_bytes())),
        name => files.get(name).map(|file| ("video/mp4", std::fs::read(&file.path).unwrap())),
    });
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let read = |value: &Value| Seen {
        duration: value["duration"].as_f64().unwrap_or(0.0),
        numbers: list(&value["numbers"])
            .iter()
            .filter_map(Value::as_u64)
            .map(|number| number as u32)
            .collect(),
        error: value["error"].as_str().map(str::to_owned),
    };
    seen.as_object().unwrap().iter().map(|(name, value)| (name.clone(), read(value))).collect()
}
