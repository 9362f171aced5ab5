//! Sends one message to every core and collects the replies.

use crate::control::core_message::CoreMessage;
use crate::control::plane::CoreHandle;
use crate::observability::metrics::core_metrics::CoreMetrics;
use crate::runtime::clock;
use futures_channel::oneshot;
use std::time::Duration;

/// How long a core may take to reply with a copy of its numbers.
pub(crate) const REPLY_WITHIN: Duration = Duration::from_secs(1);

/// The replies in the order of the cores; `None` for a core that did not reply within `within`.
pub(crate) async fn gather<T>(
    cores: &[CoreHandle],
    within: Duration,
    message: impl Fn(oneshot::Sender<T>) -> CoreMessage,
) -> Vec<Option<T>> {
    let replies: Vec<_> = cores
        .iter()
        .map(|core| {
            let (sender, reply) = oneshot::channel();
            core.mailbox.send(message(sender));
            reply
        })
        .collect();
    let by = tokio::time::Instant::from_std(clock::now() + within);
    let mut gathered = Vec::with_capacity(replies.len());
    for reply in replies {
        let reply = tokio::time::timeout_at(by, reply).await;
        gathered.push(reply.ok().and_then(Result::ok));
    }
    gathered
}

/// The metrics of the cores that replied in time.
pub(crate) struct GatheredMetrics {
    pub(crate) sum: CoreMetrics,
    pub(crate) cores_reporting: usize,
}

/// Adds up the metrics of all cores.
pub(crate) async fn core_metrics(cores: &[CoreHandle]) -> GatheredMetrics {
    let mut gathered = GatheredMetrics {
        sum: CoreMetrics::default(),
        cores_reporting: 0,
    };
    let replies = gather(cores, REPLY_WITHIN, CoreMessage::Metrics).await;
    for metrics in replies.into_iter().flatten() {
        gathered.sum.merge(&metrics);
        gathered.cores_reporting += 1;
    }
    gathered
}
