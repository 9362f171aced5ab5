//! Where the time of a request went.

use crate::runtime::clock;
use std::time::{Duration, Instant};

pub(crate) struct RequestTiming {
    /// When the request was complete.
    pub started_at: Instant,
    /// Time spent waiting for upstream, for the client's body or in a queue: no overhead of the gateway.
    pub waited: Duration,
    /// Share of `waited` that was spent in the queue of a model.
    queued: Duration,
    /// From the request sent upstream to the first byte of its response.
    pub first_byte: Option<Duration>,
    stage_began_at: Instant,
    overhead: Option<Duration>,
}

impl RequestTiming {
    #[must_use]
    pub(crate) fn new(started_at: Instant) -> Self {
        Self {
            started_at,
            waited: Duration::ZERO,
            queued: Duration::ZERO,
            first_byte: None,
            stage_began_at: started_at,
            overhead: None,
        }
    }

    /// Ends a stage: its time is counted from the end of the stage before.
    pub(crate) fn end_stage(&mut self) -> Duration {
        let now = clock::now();
        let time = now.saturating_duration_since(self.stage_began_at);
        self.stage_began_at = now;
        time
    }

    /// The time from `began_at` until now was spent waiting.
    pub(crate) fn waited_since(&mut self, began_at: Instant) {
        self.waited += clock::now().saturating_duration_since(began_at);
    }

    /// `time` was spent in a queue; it belongs to no stage.
    pub(crate) fn add_queued(&mut self, time: Duration) {
        self.waited += time;
        self.queued += time;
        self.stage_began_at += time;
    }

    #[must_use]
    pub(crate) fn queued(&self) -> Duration {
        self.queued
    }

    /// Time since the request was complete.
    #[must_use]
    pub(crate) fn duration(&self) -> Duration {
        clock::now().saturating_duration_since(self.started_at)
    }

    /// Total time less the time spent waiting. The first call fixes it, when the head of the response is
    /// written.
    pub(crate) fn overhead(&mut self) -> Duration {
        *self.overhead.get_or_insert_with(|| {
            clock::now()
                .saturating_duration_since(self.started_at)
                .saturating_sub(self.waited)
        })
    }
}
