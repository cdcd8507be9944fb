//! A sink in use: carries tags into it and makes sure that it is finished exactly once.

use bytes::Bytes;
use mediahooks_media::flv::{FlvDemuxer, FlvEvent, TAG_VIDEO};
use mediahooks_media::sample::TrackKind;
use tokio_util::task::TaskTracker;

use crate::gate::{FeedEnded, FeedInput, FeedSink, PublishEnd};

/// The sink of the stream that a connection publishes.
///
/// Dropping it unfinished, because its task panicked or was aborted, finishes the sink in a task of
/// its own on `tasks`.
pub(super) struct Feed {
    sink: Option<Box<dyn FeedSink>>,
    demuxer: FlvDemuxer,
    tasks: TaskTracker,
}

impl Feed {
    pub(super) fn new(sink: Box<dyn FeedSink>, tasks: TaskTracker) -> Feed {
        Feed { sink: Some(sink), demuxer: FlvDemuxer::new(), tasks }
    }

    /// Takes the tag apart and hands everything in it to the sink.
    pub(super) async fn push_tag(
        &mut self,
        tag_type: u8,
        timestamp_ms: u32,
        body: Bytes,
    ) -> Result<(), FeedEnded> {
        let Some(sink) = &mut self.sink else { return Ok(()) };
        let events = self.demuxer.push(tag_type, timestamp_ms, body).unwrap_or_else(|error| {
            let kind = if tag_type == TAG_VIDEO { TrackKind::Video } else { TrackKind::Audio };
            tracing::debug!(%error, ?kind, timestamp_ms, "malformed tag");
            vec![FlvEvent::Ignored { kind, reason: "malformed tag" }]
        });
        for event in events {
            let input = match event {
                FlvEvent::Config(config) => FeedInput::Config(config),
                FlvEvent::Sample(kind, sample) => FeedInput::Sample { kind, sample },
                FlvEvent::Ignored { kind, reason } => FeedInput::Ignored { kind, reason },
                // The end of a track is the end of its samples; the other track may go on.
                FlvEvent::EndOfSequence(_) => continue,
            };
            sink.push(input).await?;
        }
        Ok(())
    }

    /// As [`FeedSink::stopped`].
    pub(super) async fn stopped(&mut self) -> FeedEnded {
        match &mut self.sink {
            Some(sink) => sink.stopped().await,
            None => std::future::pending().await,
        }
    }

    /// Finishes the sink. Runs to its end even when this future is dropped.
    pub(super) async fn finish(mut self, end: PublishEnd) {
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
