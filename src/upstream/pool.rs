//! The idle connections of a core, used last in, first out. It must not know requests.

use crate::runtime::stream::Stream;
use crate::upstream::endpoint::Endpoint;
use std::collections::HashMap;
use std::time::{Duration, Instant};

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
    /// Takes an idle connection that the peer has not closed and that has no unread bytes.
    pub(crate) fn take(&mut self, endpoint: &Endpoint, now: Instant) -> Option<Stream> {
        let idle = self.idle.get_mut(&endpoint.id)?;
        while let Some(last) = idle.pop() {
            if last.is_usable(now) {
                return Some(last.stream);
            }
        }
        None
    }

    /// Stores a connection. The caller must have consumed the last response completely.
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

    /// Closes the connections that are too old or that the peer closed.
    pub(crate) fn sweep(&mut self, now: Instant) {
        for idle in self.idle.values_mut() {
            idle.retain(|connection| connection.is_usable(now));
        }
        self.idle.retain(|_, idle| !idle.is_empty());
    }

    /// Closes all connections.
    pub(crate) fn clear(&mut self) {
        self.idle.clear();
    }

    /// Number of idle connections.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.idle.values().map(Vec::len).sum()
    }
}

impl Idle {
    fn is_usable(&self, now: Instant) -> bool {
        self.stream.is_quiet() && now.saturating_duration_since(self.since) < self.keep
    }
}
