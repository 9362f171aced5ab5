//! The control plane: one OS thread with a tokio runtime for everything slow or third-party.
//!
//! The data plane never waits for it: configuration goes out by an atomic swap, commands by
//! mailboxes, records come in by bounded queues. If this thread stands still, requests go on.

use crate::control::log;
use crate::runtime::clock;

use crate::control::core_thread::CoreMessage;
use crate::control::reload::Reload;
use crate::gateway::core::Shared;
use crate::gateway::explain::explain;
use crate::observability::log_line::LogLine;
use crate::observability::metrics::core_metrics::CoreMetrics;
use crate::runtime::mailbox::Sender;
use crate::server::acceptor::AcceptorHandle;
use crossbeam_queue::ArrayQueue;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What the control plane holds.
pub(crate) struct Plane {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cores: Vec<CoreHandle>,
    pub(crate) acceptors: Vec<AcceptorHandle>,
    pub(crate) addresses: Vec<String>,
    pub(crate) reload: Mutex<Reload>,
    pub(crate) draining: AtomicBool,
}

/// One core, as seen from here.
pub(crate) struct CoreHandle {
    pub(crate) mailbox: Sender<CoreMessage>,
    pub(crate) records: Arc<ArrayQueue<LogLine>>,
    pub(crate) driver: &'static str,
}

/// How often access records are written out.
pub(crate) const RECORDS_EVERY: Duration = Duration::from_millis(50);
/// How often expired cache entries are removed.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How long a stop waits for the cache's folder.
const FLUSH_WITHIN: Duration = Duration::from_secs(1);
/// How long a core may take to hand over its numbers.
pub(crate) const METRICS_WITHIN: Duration = Duration::from_secs(1);

impl Plane {
    /// The sum over all cores that answer in time, and how many did.
    pub(crate) async fn core_metrics(&self) -> (CoreMetrics, usize) {
        let mut sum = CoreMetrics::default();
        let mut answered = 0;
        let asked: Vec<_> = self
            .cores
            .iter()
            .map(|core| {
                let (upstream_response, response) = futures_channel::oneshot::channel();
                core.mailbox.send(CoreMessage::Metrics(upstream_response));
                response
            })
            .collect();
        let by = tokio::time::Instant::from_std(clock::now() + METRICS_WITHIN);
        for response in asked {
            if let Ok(Ok(metrics)) = tokio::time::timeout_at(by, response).await {
                sum.merge(&metrics);
                answered += 1;
            }
        }
        (sum, answered)
    }

    /// What each core that answers in time would do with a request; found out on this thread, not there.
    pub(crate) async fn explain(&self, input: &[u8]) -> Vec<serde_json::Value> {
        let mut asked = Vec::new();
        for core in &self.cores {
            let (upstream_response, response) = futures_channel::oneshot::channel();
            core.mailbox.send(CoreMessage::Learned(upstream_response));
            asked.push(response);
        }
        let by = tokio::time::Instant::from_std(clock::now() + METRICS_WITHIN);
        let snapshot = self.shared.snapshot.load();
        let mut told = Vec::new();
        for response in asked {
            if let Ok(Ok((target_table, now_us))) = tokio::time::timeout_at(by, response).await {
                told.push(explain(&snapshot, &target_table, now_us, input));
            }
        }
        told
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Writes out the access records that wait.
    pub(crate) fn write_records(&self) {
        let mut lines = String::new();
        for core in &self.cores {
            // At most what waits now: a busy core must not keep this thread here.
            for _ in 0..core.records.len() {
                let Some(record) = core.records.pop() else {
                    break;
                };
                lines.push_str(&record.to_json());
                lines.push('\n');
            }
        }
        log::write(&lines);
    }

    /// Writes out the compared pairs that wait, if a log is configured.
    pub(crate) fn write_observations(&self) {
        let Some(semantic) = &self.shared.semantic else {
            return;
        };
        let snapshot = self.shared.snapshot.load();
        let path = snapshot.config.cache.semantic.log.as_deref();
        if let Err(error) = semantic.observations().write_to(path) {
            let path = path.map(|path| path.display().to_string());
            let told = serde_json::json!({ "path": path, "reason": error.to_string() });
            log::event("observations_not_written", &told);
        }
    }

    /// Graceful stop: announce, stop accepting, let busy connections finish, end.
    pub(crate) async fn drain(&self, announce: Duration, deadline: Duration) {
        self.draining.store(true, Ordering::Release);
        log::event(
            "draining",
            &serde_json::json!({
                "announce_ms": u64::try_from(announce.as_millis()).unwrap_or(u64::MAX),
                "deadline_ms": u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
            }),
        );
        tokio::time::sleep(announce).await;
        for acceptor in &self.acceptors {
            acceptor.stop();
        }
        let by = clock::now() + deadline;
        let ended: Vec<_> = self
            .cores
            .iter()
            .map(|core| {
                let (upstream_response, ended) = futures_channel::oneshot::channel();
                core.mailbox.send(CoreMessage::Drain {
                    by,
                    ended: upstream_response,
                });
                ended
            })
            .collect();
        for one in ended {
            let _ = one.await;
        }
        if let Some(disk) = self.shared.store.disk() {
            let _ = tokio::time::timeout(FLUSH_WITHIN, disk.flush()).await;
        }
        self.write_records();
        self.write_observations();
        log::event("stopped", &serde_json::json!({}));
    }
}
