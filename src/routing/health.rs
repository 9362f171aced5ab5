//! The health of a target: a deterministic state machine that is driven by the outcomes of attempts.
//!
//! healthy ⇄ degraded → open → half-open → slow start → healthy. A target that fails in half-open or slow start opens again,
//! for longer. It must not know sockets, clocks or keys (`key_cooldowns.rs` has those).

use crate::base::random::{fraction, mix};
use crate::routing::measurements::{Class, Outcomes};

/// Consecutive failures that open a target. With fewer, a coincidence would open it.
pub const FAILURES_IN_A_ROW: u32 = 5;
/// The same during a slow start, when a target has yet to prove that it works.
pub const FAILURES_IN_A_ROW_ON_TRIAL: u32 = 2;
/// Share of bad outcomes in the window (ten seconds) that opens a target.
pub const BAD_SHARE_OPENS: f32 = 0.5;
/// Share of bad outcomes that degrades a target.
pub const BAD_SHARE_DEGRADES: f32 = 0.2;
/// Share of bad outcomes below which a degraded target is healthy again. Lower than [`BAD_SHARE_DEGRADES`], so that the
/// phase does not flap.
pub const BAD_SHARE_HEALS: f32 = 0.1;
/// Outcomes in the window from which on their shares count.
pub const OUTCOMES_TO_JUDGE: u32 = 20;
/// How long a target is open at first, in microseconds. It doubles each time the target fails again.
pub const OPEN_FOR_US: u64 = 1_000_000;
/// Longest time a target is open, in microseconds: with its jitter and the next request, a recovery is noticed within 10 s.
pub const OPEN_FOR_MAX_US: u64 = 8_000_000;
/// Jitter of that time, as a share in both directions, so that the cores do not all probe at once.
pub const OPEN_JITTER: f64 = 0.1;
/// Probes in flight at once in half-open.
pub const PROBES_MAX: u32 = 1;
/// After so many microseconds a probe in flight no longer prevents the next: a request that hangs must not hide a recovery.
pub const PROBE_TIMEOUT_US: u64 = 5_000_000;
/// Good probes after which the slow start begins.
pub const PROBES_GOOD: u32 = 2;
/// Duration of a slow start, in microseconds: caches and autoscalers of a provider need seconds.
pub const SLOW_START_US: u64 = 10_000_000;
/// Share of its usual traffic that a target gets at the beginning of a slow start. It grows linearly to the whole.
pub const SLOW_START_SHARE: f64 = 0.1;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The first bytes of a stream came; `Good` or `StreamBroke` follows when it ends.
    Began,
    /// A good response, or an error that the request caused: the target works.
    Good,
    /// No connection: no address, connect refused or timed out, or the TLS handshake failed.
    NotConnected,
    /// No response in time.
    TimedOut,
    /// A status of 5xx.
    ServerError,
    /// 429, with the wait that it names, in microseconds.
    RateLimited(Option<u64>),
    /// 401 or 403: the key is refused.
    KeyRefused,
    /// A response that is truncated, malformed or empty.
    Unusable,
    /// A stream broke off after it had begun.
    StreamBroke,
    /// The client disconnected, the process stops, or the provider refused what the caller's own headers selected: this says
    /// nothing about the target.
    Abandoned,
}

impl Outcome {
    fn class(self) -> Option<Class> {
        Some(match self {
            Self::Began | Self::Abandoned => return None,
            Self::Good => Class::Good,
            Self::NotConnected => Class::Connect,
            Self::TimedOut => Class::Timeout,
            Self::ServerError => Class::Server,
            Self::RateLimited(_) => Class::RateLimited,
            Self::KeyRefused => Class::Refused,
            Self::Unusable => Class::Unusable,
            Self::StreamBroke => Class::Stream,
        })
    }
}

/// The health of a target in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// It works.
    Healthy,
    /// It returns errors, but more good responses.
    Degraded,
    /// It does not work; requests are sent to it only if there is no other target.
    Open,
    /// It may work again; single requests probe it.
    HalfOpen,
    /// It works again and gets a growing share of its traffic.
    SlowStart,
}

impl Phase {
    /// All phases, in the order of the state machine.
    pub const ALL: [Self; 5] = [
        Self::Healthy,
        Self::Degraded,
        Self::Open,
        Self::HalfOpen,
        Self::SlowStart,
    ];

    /// Its name in metrics, the log and `explain`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::SlowStart => "slow_start",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Healthy,
    Degraded,
    Open {
        since_us: u64,
        until_us: u64,
        /// Good probes so far.
        good: u32,
    },
    SlowStart {
        since_us: u64,
    },
}

/// The health of one target.
#[derive(Debug, Clone)]
pub struct Health {
    state: State,
    outcomes: Outcomes,
    /// Consecutive failures.
    in_a_row: u32,
    /// Times it opened since it was last healthy.
    openings: u32,
    /// Probes in flight.
    probes: u32,
    /// When the last probe began, in microseconds.
    probed_us: u64,
    score: f32,
    /// It is open because other cores reported it as open.
    is_peer_observation: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            state: State::Healthy,
            outcomes: Outcomes::default(),
            in_a_row: 0,
            openings: 0,
            probes: 0,
            probed_us: 0,
            score: 1.0,
            is_peer_observation: false,
        }
    }
}

impl Health {
    /// Forgets what was observed: the target is healthy, as at the start.
    pub(crate) fn reset(&mut self) {
        // Probes in flight will still end.
        *self = Self {
            probes: self.probes,
            probed_us: self.probed_us,
            ..Self::default()
        };
    }

    /// The phase at `now_us`: an open target becomes half-open, and a slow start ends, by time alone.
    #[must_use]
    pub fn phase(&self, now_us: u64) -> Phase {
        match self.state {
            State::Healthy => Phase::Healthy,
            State::Degraded => Phase::Degraded,
            State::Open { until_us, .. } if now_us < until_us => Phase::Open,
            State::Open { .. } => Phase::HalfOpen,
            State::SlowStart { since_us } if now_us < since_us + SLOW_START_US => Phase::SlowStart,
            State::SlowStart { .. } => Phase::Healthy,
        }
    }

    /// Share of recent outcomes that were good, 0 to 1; 0 while it is open.
    #[must_use]
    pub fn score(&self) -> f32 {
        self.score
    }

    /// For how long it stays open because of this core's own attempts, in microseconds; `None` if it is not open. An
    /// observation of another core is not shared again, or the target would stay open for ever.
    #[must_use]
    pub fn open_for_us(&self, now_us: u64) -> Option<u64> {
        let is_own = self.phase(now_us) == Phase::Open && !self.is_peer_observation;
        is_own.then(|| self.opens_at_us().saturating_sub(now_us))
    }

    /// Takes an observation of other cores that the target is open until `until_us`. It counts only if this core has no recent
    /// outcomes of its own.
    pub fn merge_open(&mut self, now_us: u64, until_us: u64) {
        if self.state == State::Healthy && self.in_a_row == 0 && !self.outcomes.is_recent(now_us) {
            self.state = State::Open {
                since_us: now_us,
                until_us,
                good: 0,
            };
            self.is_peer_observation = true;
            self.score = 0.0;
        }
    }

    /// Outcomes of recent attempts.
    #[must_use]
    pub fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }

    /// Whether it is half-open and a probe may be sent.
    #[must_use]
    pub fn may_probe(&self, now_us: u64) -> bool {
        self.phase(now_us) == Phase::HalfOpen
            && (self.probes < PROBES_MAX || now_us >= self.probed_us + PROBE_TIMEOUT_US)
    }

    /// When it may be probed, in microseconds; 0 if it is not open.
    #[must_use]
    pub fn opens_at_us(&self) -> u64 {
        match self.state {
            State::Open { until_us, .. } => until_us,
            _ => 0,
        }
    }

    /// In a slow start: whether a request with this random number belongs to the share that the target gets. True in all other
    /// phases.
    #[must_use]
    pub fn admits(&self, now_us: u64, random: u64) -> bool {
        let State::SlowStart { since_us } = self.state else {
            return true;
        };
        let part = now_us.saturating_sub(since_us) as f64 / SLOW_START_US as f64;
        fraction(random) <= SLOW_START_SHARE + (1.0 - SLOW_START_SHARE) * part
    }

    /// Records the begin of an attempt. Returns whether it is a probe; the caller calls [`Health::release`] at the end of a
    /// probe.
    pub fn begin(&mut self, now_us: u64) -> bool {
        let is_probe = matches!(self.phase(now_us), Phase::HalfOpen | Phase::Open);
        if is_probe {
            self.probes += 1;
            self.probed_us = now_us;
        }
        is_probe
    }

    /// Records the end of a probe, so that the next may be sent.
    pub fn release(&mut self) {
        self.probes = self.probes.saturating_sub(1);
    }

    /// Records the outcome of an attempt that began at `begun_us`. `random` is for the jitter. Returns the new phase if it
    /// changed.
    pub fn record(
        &mut self,
        outcome: Outcome,
        begun_us: u64,
        now_us: u64,
        random: u64,
    ) -> Option<Phase> {
        let before = self.phase(now_us);
        self.is_peer_observation &= outcome.class().is_none();
        if let State::Open { since_us, .. } = self.state
            && begun_us < since_us
        {
            // Sent before the target opened: the outcome is out of date.
            return None;
        }
        if before == Phase::Healthy && matches!(self.state, State::SlowStart { .. }) {
            self.state = State::Healthy;
            self.openings = 0;
        }
        if let Some(class) = outcome.class() {
            self.outcomes.record(class, now_us);
        }
        match outcome {
            Outcome::Abandoned | Outcome::RateLimited(_) | Outcome::KeyRefused => return None,
            Outcome::Good | Outcome::Began => self.record_good(outcome, now_us),
            _ => self.record_bad(now_us, random),
        }
        let after = self.phase(now_us);
        (after != before).then_some(after)
    }

    fn record_good(&mut self, outcome: Outcome, now_us: u64) {
        if let State::Open { good, .. } = &mut self.state {
            *good += 1;
            if *good < PROBES_GOOD {
                return;
            }
            self.state = State::SlowStart { since_us: now_us };
            self.outcomes.clear();
            self.score = 1.0;
            self.in_a_row = 0;
            return;
        }
        // A stream that began may still break: only its good end resets the count of failures.
        if outcome == Outcome::Good {
            self.in_a_row = 0;
            self.update_score();
        }
    }

    fn record_bad(&mut self, now_us: u64, random: u64) {
        self.in_a_row += 1;
        let row_max = match self.state {
            State::Open { .. } => 1,
            State::SlowStart { .. } => FAILURES_IN_A_ROW_ON_TRIAL,
            _ => FAILURES_IN_A_ROW,
        };
        if self.in_a_row >= row_max || self.bad_share() >= Some(BAD_SHARE_OPENS) {
            self.open(now_us, random);
        } else {
            self.update_score();
        }
    }

    fn open(&mut self, now_us: u64, random: u64) {
        let doubled = OPEN_FOR_US << self.openings.min(8);
        let jitter = 1.0 + OPEN_JITTER * (2.0 * fraction(mix(random, 11)) - 1.0);
        let open_for_us = (doubled.min(OPEN_FOR_MAX_US) as f64 * jitter) as u64;
        self.state = State::Open {
            since_us: now_us,
            until_us: now_us + open_for_us,
            good: 0,
        };
        self.openings += 1;
        self.in_a_row = 0;
        self.probes = 0;
        self.outcomes.clear();
        self.score = 0.0;
    }

    /// Share of bad outcomes in the window; `None` while there are too few outcomes.
    fn bad_share(&self) -> Option<f32> {
        let (good, bad) = self.outcomes.good_and_bad();
        (good + bad >= OUTCOMES_TO_JUDGE).then(|| bad as f32 / (good + bad) as f32)
    }

    fn update_score(&mut self) {
        let share = self.bad_share().unwrap_or(0.0);
        self.score = 1.0 - share;
        match self.state {
            State::Healthy if share >= BAD_SHARE_DEGRADES => self.state = State::Degraded,
            State::Degraded if share < BAD_SHARE_HEALS => self.state = State::Healthy,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn feed(health: &mut Health, outcome: Outcome, times: u32, now_us: u64) {
        for random in 0..times {
            let is_probe = health.begin(now_us);
            health.record(outcome, now_us, now_us, u64::from(random));
            if is_probe {
                health.release();
            }
        }
    }

    fn opened(now_us: u64) -> Health {
        let mut health = Health::default();
        feed(
            &mut health,
            Outcome::NotConnected,
            FAILURES_IN_A_ROW,
            now_us,
        );
        assert_eq!(health.phase(now_us), Phase::Open);
        health
    }

    #[test]
    fn consecutive_failures_open_and_a_good_response_resets_their_count() {
        let mut health = Health::default();
        feed(&mut health, Outcome::TimedOut, FAILURES_IN_A_ROW - 1, 0);
        feed(&mut health, Outcome::Good, 1, 0);
        feed(&mut health, Outcome::ServerError, FAILURES_IN_A_ROW - 1, 0);
        assert_eq!(health.phase(0), Phase::Healthy);
        feed(&mut health, Outcome::StreamBroke, 1, 0);
        assert_eq!(health.phase(0), Phase::Open);
    }

    #[test]
    fn failures_of_key_rate_or_client_do_not_open_a_target() {
        let mut health = Health::default();
        for outcome in [
            Outcome::RateLimited(None),
            Outcome::KeyRefused,
            Outcome::Abandoned,
        ] {
            feed(&mut health, outcome, 100, 0);
        }
        assert_eq!((health.phase(0), health.score()), (Phase::Healthy, 1.0));
    }

    #[test]
    fn shares_of_bad_outcomes_degrade_heal_and_open() {
        let mut health = Health::default();
        for _ in 0..10 {
            feed(&mut health, Outcome::Good, 3, 0);
            feed(&mut health, Outcome::Unusable, 1, 0);
        }
        assert_eq!(health.phase(0), Phase::Degraded);
        assert!((health.score() - 0.75).abs() < 0.01);
        feed(&mut health, Outcome::Good, 70, 0);
        assert_eq!(health.phase(0), Phase::Healthy);
        let mut streams = Health::default();
        for _ in 0..10 {
            feed(&mut streams, Outcome::Good, 1, 0);
            feed(&mut streams, Outcome::Began, 1, 0);
            feed(&mut streams, Outcome::StreamBroke, 1, 0);
        }
        assert_eq!(streams.phase(0), Phase::Open);
    }

    #[test]
    fn single_probes_then_a_slow_start_then_healthy() {
        let mut health = opened(0);
        assert!(!health.may_probe(SECOND / 2));
        let now = 2 * SECOND;
        assert_eq!(health.phase(now), Phase::HalfOpen);
        assert!(health.may_probe(now) && health.begin(now));
        assert!(!health.may_probe(now) && health.may_probe(now + PROBE_TIMEOUT_US));
        assert_eq!(health.record(Outcome::Good, now, now, 0), None);
        health.release();
        assert!(health.begin(now));
        assert_eq!(
            health.record(Outcome::Began, now, now, 0),
            Some(Phase::SlowStart)
        );
        let share = |health: &Health, now_us: u64| {
            (0..10_000)
                .filter(|seed| health.admits(now_us, mix(*seed, 5)))
                .count()
        };
        assert!(share(&health, now).abs_diff(1000) < 150);
        assert!(share(&health, now + 5 * SECOND).abs_diff(5500) < 250);
        assert_eq!(share(&health, now + 10 * SECOND), 10_000);
        assert_eq!(health.phase(now + SLOW_START_US), Phase::Healthy);
    }

    #[test]
    fn a_failed_probe_opens_for_longer_up_to_a_bound() {
        let mut health = opened(0);
        let mut now = 0;
        for expected in [1, 2, 4, 8, 8, 8] {
            let open_for = health.opens_at_us() - now;
            assert!(
                open_for.abs_diff(expected * SECOND) <= expected * SECOND / 10,
                "{open_for}"
            );
            now = health.opens_at_us();
            feed(&mut health, Outcome::TimedOut, 1, now);
            assert_eq!(health.phase(now), Phase::Open);
        }
    }

    #[test]
    fn outcomes_of_attempts_from_before_it_opened_are_ignored() {
        let mut health = opened(SECOND);
        for outcome in [Outcome::Good, Outcome::ServerError] {
            assert_eq!(health.record(outcome, 0, 9 * SECOND, 0), None);
        }
        assert_eq!(health.phase(9 * SECOND), Phase::HalfOpen);
    }

    #[test]
    fn two_failures_end_a_slow_start() {
        let mut health = opened(0);
        feed(&mut health, Outcome::Good, PROBES_GOOD, 2 * SECOND);
        assert_eq!(health.phase(3 * SECOND), Phase::SlowStart);
        feed(&mut health, Outcome::ServerError, 2, 3 * SECOND);
        assert_eq!(health.phase(3 * SECOND), Phase::Open);
        assert!(health.opens_at_us() > 4 * SECOND);
    }
}
