//! What happens in the demo, in order, and what has to come of it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use mediahooks_receiver::{Download, Metadata, safe_file_name};
use serde_json::json;
use tokio::time::Instant;

use super::broadcast;
use super::receiver::{Hook, Receiver};
use crate::cli::print;
use crate::cli::rest::{Rest, read};
use crate::output::failure::Failure;
use crate::output::media::{played, track_words};
use crate::output::style::{Style, Tone};
use crate::output::{hook, human, table};

/// The stream of the broadcast.
const STREAM: &str = "demo";

/// When the clip is cut, counted from the first hook of the broadcast.
const CLIP_AFTER: Duration = Duration::from_secs(8);

/// How long the clip is.
const CLIP_LENGTH: Duration = Duration::from_secs(5);

/// How long a hook may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Everybody in it.
pub struct Story<'a> {
    /// The server, as applications see it.
    pub rest: &'a Rest,
    /// The application.
    pub receiver: &'a Receiver,
    /// The server, as encoders see it.
    pub rtmp: SocketAddr,
    /// Where files go.
    pub files: &'a Path,
    /// How it is printed.
    pub style: Style,
}

impl Story<'_> {
    /// From the broadcast to the last hook.
    pub async fn tell(&self) -> anyhow::Result<()> {
        let token = self.create_token(STREAM).await?;
        self.chapter("Publishing a 12 s broadcast over RTMP")?;
        print(&format!("{}\n", hook::titles(self.style)))?;
        let (published, clip) =
            tokio::join!(broadcast::publish(self.rtmp, STREAM, &token), self.cut_while_live());
        published?;
        let clip = clip?;
        let hooks = self.receiver.wait_for(PATIENCE, |hooks| {
            has(hooks, "feed", "ended")
                && has(hooks, "recording", "completed")
                && has(hooks, "clip", "completed")
        });
        let hooks = hooks.await?.hooks;
        let recording = subject(&hooks, "recording")?;

        self.chapter("Downloading")?;
        for id in [&recording, &clip] {
            self.fetch(id).await?;
        }

        self.chapter("Deleting")?;
        let ids = [("id", recording.clone()), ("id", clip.clone())];
        self.rest.delete("/api/v3/media/assets", &ids).await?;
        let gone = |hooks: &[Hook]| has(hooks, "recording", "deleted") && has(hooks, "clip", "deleted");
        let seen = self.receiver.wait_for(PATIENCE, gone).await?;

        self.judge(&seen.hooks, &[&recording, &clip])?;
        if let Some(refused) = seen.refused.first() {
            return Err(Failure::new("not every request was verified").because(refused.clone()).into());
        }
        let verdict = format!("All {} webhooks came, in order and verified.", seen.hooks.len());
        print(&format!(
            "\n{} The files stay in {}\n",
            self.style.paint(Tone::Good, &verdict),
            self.files.display()
        ))
    }

    /// A token that may publish one stream, recorded and clipped.
    pub async fn create_token(&self, stream: &str) -> anyhow::Result<String> {
        let body = json!({
            "label": stream, "streams": [{"streamName": stream}], "record": true, "clip": true,
        });
        let token = self.rest.post("/api/publish_token", &body).await.context("cannot create a token")?;
        Ok(token["token"].as_str().context("the server made a token without a secret")?.to_owned())
    }

    fn chapter(&self, title: &str) -> anyhow::Result<()> {
        print(&format!("\n{}\n", self.style.paint(Tone::Strong, title)))
    }

    /// Waits until the broadcast has run for a while and cuts its last seconds; returns the clip's id.
    async fn cut_while_live(&self) -> anyhow::Result<String> {
        self.receiver.wait_for(PATIENCE, |hooks| has(hooks, "feed", "started")).await?;
        tokio::time::sleep(CLIP_AFTER).await;
        let asked = Instant::now();
        let start = human::now().minus(CLIP_LENGTH);
        let body = json!({"streamName": STREAM, "startTime": start, "name": "The last seconds"});
        let clips = self.rest.post("/api/v3/media/assets", &body).await.context("cannot cut a clip")?;
        let id = clips[0]["id"].as_str().context("the server made no clip")?.to_owned();
        let complete = |hooks: &[Hook]| has(hooks, "clip", "completed");
        self.receiver.wait_for(PATIENCE, complete).await?;
        let note = format!(
            "{:>12}  cut while live; its hook came {} after the request",
            "",
            human::duration(asked.elapsed())
        );
        print(&format!("{}\n", self.style.paint(Tone::Quiet, &note)))?;
        Ok(id)
    }

    async fn fetch(&self, id: &str) -> anyhow::Result<()> {
        let asset = self.rest.get(&format!("/api/v3/media/assets/{id}"), &[]).await?;
        let link =
            asset["download"]["downloadUrl"].as_str().context("a complete asset has no download link")?;
        let target = self.files.join(safe_file_name(asset["name"].as_str(), id, "mp4"));
        let begun = Instant::now();
        let file = Download::new(reqwest::Client::new(), link).to(&target).run().await?;
        let metadata: Metadata = read(&asset["metadata"])?;
        let tracks = metadata.tracks.as_deref().unwrap_or_default();
        let facts = table::facts([
            ("  File", file.path.display().to_string()),
            ("  Plays", played(&metadata).map(human::duration).unwrap_or_default()),
            (
                "  Size",
                format!("{}, fetched in {}", human::size(file.size_bytes), human::duration(begun.elapsed())),
            ),
            ("  Tracks", tracks.iter().map(track_words).collect::<Vec<_>>().join("; ")),
        ]);
        print(&table::text(&facts))
    }

    /// Each asset's hooks came once each and in the order of its life; so did the feed's.
    fn judge(&self, hooks: &[Hook], assets: &[&String]) -> anyhow::Result<()> {
        let lives = assets.iter().map(|id| (id.as_str(), &["processing", "completed", "deleted"][..]));
        let feed = subject(hooks, "feed")?;
        for (id, life) in lives.chain([(feed.as_str(), &["started", "ended"][..])]) {
            let came: Vec<&str> =
                hooks.iter().filter(|hook| hook.subject == id).map(|hook| hook.event.as_str()).collect();
            if came != life {
                return Err(Failure::new(format!("the hooks of {id} are not what they should be"))
                    .because(format!("{} came instead of {}", came.join(", "), life.join(", ")))
                    .into());
            }
        }
        Ok(())
    }
}

fn has(hooks: &[Hook], of: &str, event: &str) -> bool {
    hooks.iter().any(|hook| hook.of == of && hook.event == event)
}

/// Whom the first hook about such a thing is about.
fn subject(hooks: &[Hook], of: &str) -> anyhow::Result<String> {
    let hook = hooks.iter().find(|hook| hook.of == of);
    hook.map(|hook| hook.subject.clone()).with_context(|| format!("no {of} came"))
}
