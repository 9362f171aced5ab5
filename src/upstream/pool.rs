//! Idle connections of one core, last in first out.

use crate::runtime::stream::Stream;
use crate::upstream::endpoint::Endpoint;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The pool.
#[derive(Default)]
pub(crate) struct ConnectionPool {
    idle: HashMap<u32, Vec<Idle>, foldhash::fast::RandomState>,
}

struct Idle {
    stream: Stream,
    since: Instant,
    keep: Duration,
}

impl ConnectionPool {
    /// An idle connection that nobody closed and that holds no unread byte.
    pub(crate) fn take(&mut self, endpoint: &Endpoint, now: Instant) -> Option<Stream> {
        let idle = self.idle.get_mut(&endpoint.id)?;
        while let Some(last) = idle.pop() {
            if last.is_fit(now) {
                return Some(last.stream);
            }
        }
        None
    }

    /// Keeps a connection whose answer was wholly consumed. The caller vouches for that.
    pub(crate) fn give(&mut self, endpoint: &Endpoint, mut stream: Stream, now: Instant) {
        let idle = self.idle.entry(endpoint.id).or_default();
        if idle.len() < endpoint.idle_connections_max && stream.is_quiet() {
            stream.release_memory();
            idle.push(Idle {
                stream,
                since: now,
                keep: endpoint.timeouts.idle,
            });
        }
    }

    /// Closes what is too old or was closed by the peer.
    pub(crate) fn sweep(&mut self, now: Instant) {
        for idle in self.idle.values_mut() {
            idle.retain(|one| one.is_fit(now));
        }
        self.idle.retain(|_, idle| !idle.is_empty());
    }

    /// Closes all.
    pub(crate) fn clear(&mut self) {
        self.idle.clear();
    }

    /// Idle connections.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.idle.values().map(Vec::len).sum()
    }
}

impl Idle {
    fn is_fit(&self, now: Instant) -> bool {
        self.stream.is_quiet() && now.saturating_duration_since(self.since) < self.keep
    }
}
