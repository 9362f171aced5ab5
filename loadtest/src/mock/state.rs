//! What the mock remembers between requests: settings as they are now, counts, quotas used.

use super::behaviour::Behaviour;
use super::script::Script;
use super::settings::{Quota, Settings};
use crate::random::mix;
use ringside::runtime::clock;
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Keys whose use is remembered; with more, all are forgotten and windows begin anew.
const KEYS_MAX: usize = 10_000;

/// Told apart from the draws of latencies.
const GAPS: u64 = 0x6761_7073;

/// Counts for `GET /mock/stats`.
#[derive(Default)]
pub(super) struct Stats {
    /// Requests that came.
    pub requests: u64,
    /// Of these, given up by the caller.
    pub cancelled: u64,
    /// Of these, made to fail by `fail-rate`.
    pub failed: u64,
    /// Of these, over a quota.
    pub limited: u64,
    /// `authorization` of the last.
    pub last_authorization: Option<String>,
    /// Body of the last.
    pub last_body: Vec<u8>,
}

/// One request's part of the state.
pub(super) struct Turn {
    /// Number of the request, from 0.
    pub number: u64,
    /// Time to wait beside the behaviour's own latency.
    pub extra: Duration,
    /// Until when its key's quota is used up.
    pub limited_for: Option<Duration>,
    /// It is one of the share that fails.
    pub fails: bool,
    /// How many times as long it takes because of what else is in flight.
    pub slower: f64,
    /// It is in flight until this is dropped.
    _place: Slot,
}

/// A request in flight.
struct Slot(Rc<Cell<u32>>);

impl Slot {
    fn take(in_flight: &Rc<Cell<u32>>) -> Self {
        in_flight.set(in_flight.get() + 1);
        Self(Rc::clone(in_flight))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// Settings over time.
pub(super) struct State {
    seed: u64,
    /// What the mock was started with.
    base: Settings,
    now: Settings,
    changed_at: Instant,
    script: Script,
    script_began_at: Instant,
    steps_taken: usize,
    turns: u64,
    failures_due: f64,
    used: HashMap<String, (Instant, u64)>,
    in_flight: Rc<Cell<u32>>,
    /// Counts.
    pub stats: Stats,
}

impl State {
    /// At the beginning of `script`.
    #[must_use]
    pub(super) fn new(seed: u64, settings: Settings, script: Script) -> Self {
        let began_at = clock::now();
        Self {
            seed,
            now: settings.clone(),
            base: settings,
            changed_at: began_at,
            script,
            script_began_at: began_at,
            steps_taken: 0,
            turns: 0,
            failures_due: 0.0,
            used: HashMap::new(),
            in_flight: Rc::default(),
            stats: Stats::default(),
        }
    }

    /// The settings as they are at `now`.
    pub(super) fn settings(&mut self, now: Instant) -> &Settings {
        let elapsed = now.saturating_duration_since(self.script_began_at);
        while let Some((at, step)) = self.script.step(self.steps_taken) {
            if at > elapsed {
                break;
            }
            if step.reset {
                self.now = self.base.clone();
            }
            for (name, value) in &step.changes {
                // The names were checked when the script was read.
                let _ = self.now.set(name, value, true);
            }
            self.changed_at = self.script_began_at + at;
            self.steps_taken += 1;
        }
        &self.now
    }

    /// Changes settings at run time; all of `changes` or none.
    ///
    /// # Errors
    /// A name or a value is unknown.
    pub(super) fn change(
        &mut self,
        reset: bool,
        changes: &BTreeMap<String, String>,
        now: Instant,
    ) -> Result<(), String> {
        let mut changed = if reset {
            self.base.clone()
        } else {
            self.settings(now).clone()
        };
        for (name, value) in changes {
            changed.set(&name.replace('_', "-"), value, false)?;
        }
        self.now = changed;
        self.changed_at = now;
        self.failures_due = 0.0;
        Ok(())
    }

    /// Counts a request of `key` and says what is to become of it.
    pub(super) fn turn(&mut self, key: &str, now: Instant) -> Turn {
        self.settings(now);
        let number = self.turns;
        self.turns += 1;
        let elapsed = now.saturating_duration_since(self.changed_at);
        let limited_for = self.use_quota(key, now);
        let mut extra = Duration::ZERO;
        if let Some((most, over)) = self.now.slow_start {
            let left = over.saturating_sub(elapsed);
            extra += most.mul_f64(left.as_secs_f64() / over.as_secs_f64().max(1e-9));
        }
        if let Some(stall) = &self.now.stall {
            extra += stall.left(elapsed);
        }
        let fails = limited_for.is_none() && self.fails_now(elapsed);
        self.stats.limited += u64::from(limited_for.is_some());
        self.stats.failed += u64::from(fails);
        let position = Slot::take(&self.in_flight);
        let crowd = self.now.crowd.as_ref();
        Turn {
            slower: crowd.map_or(1.0, |crowd| crowd.slower(self.in_flight.get())),
            _place: position,
            number,
            extra,
            limited_for,
            fails,
        }
    }

    /// True when this request is one of the share that fails; the share is spread evenly.
    fn fails_now(&mut self, elapsed: Duration) -> bool {
        self.failures_due += self.now.fail_rate.at(elapsed);
        // Ten times a tenth is a hair less than one.
        let fails = self.failures_due >= 1.0 - 1e-9;
        if fails {
            self.failures_due -= 1.0;
        }
        fails
    }

    /// Counts against the quota of `key`; how long it is used up, if it is.
    fn use_quota(&mut self, key: &str, now: Instant) -> Option<Duration> {
        let quota: Quota = self.now.key_quotas.get(key).copied().or(self.now.quota)?;
        if self.used.len() > KEYS_MAX {
            self.used.clear();
        }
        let (began_at, used) = match self.used.get_mut(key) {
            Some(entry) => entry,
            None => self.used.entry(key.to_owned()).or_insert((now, 0)),
        };
        if now.saturating_duration_since(*began_at) >= quota.window {
            *began_at = now;
            *used = 0;
        }
        if *used < quota.requests {
            *used += 1;
            return None;
        }
        let elapsed = now.saturating_duration_since(*began_at);
        Some(quota.window.saturating_sub(elapsed))
    }

    /// How long the request number `number` waits for its first byte.
    #[must_use]
    pub(super) fn latency(&self, behaviour: &Behaviour, number: u64) -> Duration {
        behaviour.latency.draw(self.seed, number)
    }

    /// How long its event number `event` keeps the next waiting.
    #[must_use]
    pub(super) fn gap(&self, behaviour: &Behaviour, number: u64, event: usize) -> Duration {
        let seed = mix(self.seed ^ GAPS, number);
        behaviour.token_gap.draw(seed, event as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringside::runtime::clock;

    fn state(settings: &[(&str, &str)], seed: u64) -> State {
        let mut read = Settings::default();
        for (name, value) in settings {
            read.set(name, value, true).unwrap();
        }
        State::new(seed, read, Script::default())
    }

    #[test]
    fn quotas_are_per_key_and_come_back() {
        let mut state = state(&[("quota", "2/10s"), ("key-quota", "b:1/10s")], 0);
        let now = clock::now();
        let limited = |state: &mut State, key: &str, after: u64| {
            let turn = state.turn(key, now + Duration::from_secs(after));
            turn.limited_for.map(|left| left.as_secs())
        };
        assert_eq!(limited(&mut state, "a", 0), None);
        assert_eq!(limited(&mut state, "a", 1), None);
        assert_eq!(limited(&mut state, "a", 2), Some(8));
        assert_eq!(limited(&mut state, "b", 2), None);
        assert_eq!(limited(&mut state, "b", 2), Some(10));
        assert_eq!(limited(&mut state, "a", 11), None);
        assert_eq!(state.stats.limited, 2);
    }

    #[test]
    fn a_crowd_is_slower_until_it_has_gone() {
        let mut state = state(&[("crowd", "2/1")], 0);
        let now = clock::now();
        let turns: Vec<Turn> = (0..4).map(|_| state.turn("", now)).collect();
        let slower: Vec<f64> = turns.iter().map(|turn| turn.slower).collect();
        assert_eq!(slower, [1.0, 1.0, 1.5, 2.0]);
        drop(turns);
        assert_eq!(state.turn("", now).slower, 1.0);
    }

    #[test]
    fn failures_are_spread_and_ramped() {
        let mut state = state(&[("fail-rate", "0..1/10s")], 0);
        let now = state.changed_at;
        let fails = (0..100)
            .filter(|at| state.turn("", now + Duration::from_millis(at * 100)).fails)
            .count();
        assert!((48..=52).contains(&fails), "{fails}");
        assert!(state.turn("", now + Duration::from_secs(60)).fails);
    }

    #[test]
    fn a_seed_gives_the_same_times_again() {
        let settings = [
            ("latency", "lognormal:20ms:1"),
            ("token-gap", "exponential:5ms"),
        ];
        let draws = |seed: u64| -> Vec<(Duration, Duration)> {
            let state = state(&settings, seed);
            let behaviour = &state.now.behaviour;
            (0..50)
                .map(|at| (state.latency(behaviour, at), state.gap(behaviour, at, 3)))
                .collect()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
    }

    #[test]
    fn changes_are_whole_and_slow_starts_fade() {
        let mut state = state(&[], 0);
        let now = clock::now();
        let changes = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect::<BTreeMap<_, _>>()
        };
        let bad = changes(&[("latency", "5ms"), ("zzz", "1")]);
        assert!(state.change(false, &bad, now).is_err());
        assert!(state.settings(now).behaviour.latency.is_zero());
        let slow = changes(&[("slow_start", "2s/10s")]);
        state.change(false, &slow, now).unwrap();
        let extra = state.turn("", now + Duration::from_secs(5)).extra;
        assert_eq!(extra, Duration::from_secs(1));
        state.change(true, &changes(&[]), now).unwrap();
        assert_eq!(state.turn("", now).extra, Duration::ZERO);
    }
}
