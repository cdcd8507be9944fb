//! A sink in use: carries tags into it and makes sure that it is finished exactly once.

use bytes::Bytes;
use futures::future::BoxFuture;
use mediahooks_media::dropped::DropReason;
use mediahooks_media::flv::{FlvDemuxer, FlvEvent, TAG_VIDEO};
use mediahooks_media::sample::TrackKind;
use tokio_util::task::TaskTracker;

use super::keep::Keep;
use crate::gate::{FeedEnded, FeedInput, FeedSink, PublishEnd, Room};

/// So many inputs are handed over before more are made of what was read: a publisher can say nothing in a byte, and
/// have that take a hundred here.
const TOGETHER_MAX: usize = 256;

/// The sink of the stream that a connection publishes.
///
/// Dropping it unfinished, because its task panicked or was aborted, finishes the sink in a task of
/// its own on `tasks`.
pub(super) struct Feed {
    sink: Option<Box<dyn FeedSink>>,
    stopped: BoxFuture<'static, FeedEnded>,
    demuxer: FlvDemuxer,
    keep: Keep,
    /// Taken apart, and not handed over yet.
    inputs: Vec<FeedInput>,
    tasks: TaskTracker,
}

impl Feed {
    pub(super) fn new(sink: Box<dyn FeedSink>, tasks: TaskTracker) -> Feed {
        let (stopped, demuxer, keep) = (sink.stopped(), FlvDemuxer::new(), Keep::default());
        Feed { stopped, sink: Some(sink), demuxer, keep, inputs: Vec::new(), tasks }
    }

    /// So many bytes arrived, from which tags will come.
    pub(super) fn received(&mut self, bytes: usize) {
        self.keep.received(bytes);
    }

    /// Takes the tag apart and keeps what is in it for [`Feed::deliver`].
    pub(super) fn push_tag(&mut self, tag_type: u8, timestamp_ms: u32, body: Bytes) {
        let events = self.demuxer.push(tag_type, timestamp_ms, body).unwrap_or_else(|error| {
            let kind = if tag_type == TAG_VIDEO { TrackKind::Video } else { TrackKind::Audio };
            tracing::debug!(%error, ?kind, timestamp_ms, "malformed tag");
            vec![FlvEvent::Ignored { kind, reason: DropReason::MalformedTag }]
        });
        for mut event in events {
            if let FlvEvent::Sample(_, sample) = &mut event {
                sample.data = self.keep.keep(std::mem::take(&mut sample.data));
            }
            self.inputs.extend(FeedInput::from_flv(event));
        }
    }

    /// Whether it is time for [`Feed::deliver`].
    pub(super) fn is_full(&self) -> bool {
        self.inputs.len() >= TOGETHER_MAX
    }

    /// Counts something that cannot be kept and may have been of any track.
    pub(super) fn ignore(&mut self, reason: DropReason) {
        self.inputs.push(FeedInput::Ignored { kind: TrackKind::Video, reason });
    }

    /// Hands over everything that was read at once: that costs as much as handing over one sample. Without room,
    /// wait for [`Feed::ready`].
    pub(super) fn deliver(&mut self) -> Result<Room, FeedEnded> {
        match &mut self.sink {
            Some(sink) if !self.inputs.is_empty() => sink.push(&mut self.inputs),
            _ => Ok(Room::Left),
        }
    }

    /// As [`FeedSink::ready`].
    pub(super) async fn ready(&mut self) {
        if let Some(sink) = &mut self.sink {
            sink.ready().await;
        }
    }

    /// As [`FeedSink::stopped`]; not to be awaited again once it has resolved.
    pub(super) fn stopped(&mut self) -> &mut BoxFuture<'static, FeedEnded> {
        &mut self.stopped
    }

    /// Finishes the sink. Runs to its end even when this future is dropped.
    pub(super) async fn finish(mut self, end: PublishEnd) {
        // What came before the end; if the feed takes nothing any more, it is over already.
        let _ = self.deliver();
        if let Some(sink) = self.sink.take() {
            // An error here is a panic of the sink, which the runtime has reported already.
            let _ = self.tasks.spawn(sink.finish(end)).await;
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let Some(sink) = self.sink.take() else { return };
        if tokio::runtime::Handle::try_current().is_err() {
            tracing::error!("a feed was dropped outside of the runtime and could not be finished");
            return;
        }
        let end = if std::thread::panicking() {
            PublishEnd::ProtocolError("the connection failed inside the server".to_owned())
        } else {
            PublishEnd::ShuttingDown
        };
        self.tasks.spawn(sink.finish(end));
    }
}
