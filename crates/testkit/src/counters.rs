//! What was counted: a recorder of `metrics` that keeps counters for a test to look at.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, LocalRecorderGuard, Metadata, Recorder, SharedString, Unit,
};

/// Counters by name and labels, such as `dropped_total{kind="video"}`.
#[derive(Debug, Default)]
pub struct Counters {
    counts: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
}

impl Counters {
    /// Counts what this thread does, from now on until the guard goes. For tests on one thread, as those of
    /// `tokio::test` are.
    pub fn listen(&self) -> LocalRecorderGuard<'_> {
        metrics::set_default_local_recorder(self)
    }

    /// The sum of every counter named `name` that carries all of `labels`.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |key: &str| {
            key.split('{').next() == Some(name)
                && labels.iter().all(|(label, value)| key.contains(&format!("{label}=\"{value}\"")))
        };
        counts.iter().filter(|(key, _)| wanted(key)).map(|(_, count)| count.load(Ordering::Relaxed)).sum()
    }
}

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<String> =
            key.labels().map(|label| format!("{}=\"{}\"", label.key(), label.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        Counter::from_arc(Arc::clone(counts.entry(name).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
