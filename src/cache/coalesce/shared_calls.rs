//! The table of calls in flight that requests may share, by coalesce key: one table for all cores.
//!
//! A request reads it once, when both cache tiers missed, and once more when its call has ended.

use crate::cache::coalesce::call_end::{End, Head};
use crate::cache::coalesce::shared_call::{Follower, SharedCall, SharedCallCounts};
use crate::cache::key::Key;
use crate::runtime::clock;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Instant;

/// Parts of the table, each with its lock: many more than cores.
const SHARDS: usize = 64;
/// Calls of one shard; a request beyond makes a call that is not shared.
const CALLS_PER_SHARD_MAX: usize = 1024;
/// Calls that the table holds at most.
pub(crate) const SHARED_CALLS_MAX: usize = SHARDS * CALLS_PER_SHARD_MAX;

/// Requests share a call if their coalesce keys and their cache keys are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CoalesceKey {
    /// Hash of the cache key.
    pub exact: u128,
    /// The client wants a stream.
    pub streams: bool,
    /// Hash of the models that may answer, in their order, and of the form that the client wants.
    pub models: u64,
}

/// Calls in flight, sharded by coalesce key.
pub struct SharedCalls {
    shards: Box<[Mutex<Shard>]>,
    counts: Arc<SharedCallCounts>,
}

#[derive(Default)]
struct Shard {
    calls: HashMap<CoalesceKey, Arc<SharedCall>, foldhash::fast::RandomState>,
    /// When a call of this shard last ended.
    ended_at: Option<Instant>,
}

/// What a joining request does.
pub enum JoinResult {
    /// Make the call, for itself and for its followers.
    Lead(Leader),
    /// Follow the call of another request.
    Follow(Follower),
    /// Make a call that is not shared: the table is full, or another request has the same hash.
    Alone,
}

impl Default for SharedCalls {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            counts: Arc::default(),
        }
    }
}

impl SharedCalls {
    /// Joins the call for `key`, or begins one. `since` is a time before the caller's look-up in the store.
    pub fn join(
        self: &Arc<Self>,
        coalesce_key: CoalesceKey,
        key: &Arc<Key>,
        since: Instant,
    ) -> JoinResult {
        let mut shard = self.shard(coalesce_key).lock();
        match shard.calls.get(&coalesce_key) {
            // Another request with the same hash.
            Some(shared_call) if !shared_call.is_for(key) => return JoinResult::Alone,
            Some(shared_call) => {
                if let Some(follower) = shared_call.join() {
                    return JoinResult::Follow(follower);
                }
            }
            None if shard.calls.len() >= CALLS_PER_SHARD_MAX => return JoinResult::Alone,
            None => {}
        }
        let shared_call = Arc::new(SharedCall::new(Arc::clone(key), Arc::clone(&self.counts)));
        // Replaces a call that accepts no more followers.
        shard.calls.insert(coalesce_key, Arc::clone(&shared_call));
        let may_be_stored = shard.ended_at.is_some_and(|ended_at| ended_at >= since);
        drop(shard);
        JoinResult::Lead(self.leader(shared_call, coalesce_key, may_be_stored))
    }

    /// Makes a follower that received `StreamStart::Lead` the leader of the second attempt.
    #[must_use]
    pub fn take_over(self: &Arc<Self>, coalesce_key: CoalesceKey, follower: &Follower) -> Leader {
        self.leader(Arc::clone(follower.shared_call()), coalesce_key, true)
    }

    fn leader(
        self: &Arc<Self>,
        shared_call: Arc<SharedCall>,
        coalesce_key: CoalesceKey,
        may_be_stored: bool,
    ) -> Leader {
        Leader {
            shared_calls: Arc::clone(self),
            shared_call,
            coalesce_key,
            may_be_stored,
            has_finished: Cell::new(false),
        }
    }

    /// Counts of all calls.
    #[must_use]
    pub fn counts(&self) -> &SharedCallCounts {
        &self.counts
    }

    /// Calls that exist: those of the table, and those that followers still read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.shared_calls.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, coalesce_key: CoalesceKey) -> &Mutex<Shard> {
        // The exact key is a keyed hash already.
        let index = (coalesce_key.exact as usize) % SHARDS;
        &self.shards[index]
    }

    fn remove(&self, coalesce_key: CoalesceKey, shared_call: &Arc<SharedCall>) {
        let mut shard = self.shard(coalesce_key).lock();
        shard.ended_at = Some(clock::now());
        let current = shard.calls.get(&coalesce_key);
        if current.is_some_and(|current| Arc::ptr_eq(current, shared_call)) {
            shard.calls.remove(&coalesce_key);
        }
    }
}

/// The right and the duty to make a call. Dropped without an end, it releases the followers.
pub struct Leader {
    shared_calls: Arc<SharedCalls>,
    shared_call: Arc<SharedCall>,
    coalesce_key: CoalesceKey,
    may_be_stored: bool,
    has_finished: Cell<bool>,
}

impl Leader {
    /// Whether the same call may have ended, and its response been stored, since the look-up in the store.
    #[must_use]
    pub fn may_be_stored(&self) -> bool {
        self.may_be_stored
    }

    #[must_use]
    pub fn shared_call(&self) -> &Arc<SharedCall> {
        &self.shared_call
    }

    /// True when there are no followers; the call is closed to new ones in the same step.
    #[must_use]
    pub fn close_if_no_followers(&self) -> bool {
        self.shared_call.close_if_no_followers()
    }

    /// Resolves once there is a follower.
    pub fn poll_has_followers(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared_call.poll_has_followers(cx)
    }

    /// Begins a stream.
    pub fn begin(&self, head: Head) {
        self.shared_call.begin(head);
    }

    /// Appends complete events of the stream.
    pub fn append(&self, events: &[u8]) {
        self.shared_call.append(events);
    }

    /// Lets the client that caused the call read the bytes that arrive from now on, like the followers. It records
    /// the usage of the call if it stays to the end.
    #[must_use]
    pub fn join_as_owner(&self) -> Follower {
        self.shared_call.join_as_owner()
    }

    /// Ends the call, which stays in the table until the leader is dropped. True when the caller is to record the
    /// usage.
    pub fn finish(&self, end: End) -> bool {
        !self.has_finished.replace(true) && self.shared_call.finish(end)
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.finish(End::Lost);
        self.shared_calls
            .remove(self.coalesce_key, &self.shared_call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::names::Name;
    use crate::cache::coalesce::shared_call::{
        FOLLOWERS_MAX, FollowerRead, OwnerUsage, StreamStart,
    };
    use crate::cache::coalesce::stream_buffer::{
        ALL_STREAM_BYTES_MAX, STREAM_BYTES_MAX, STREAM_BYTES_TIGHT,
    };
    use crate::cache::key::tests::key;
    use crate::error::code::ErrorCode;
    use crate::error::gateway_error::GatewayError;
    use crate::protocols::usage::Usage;
    use crate::runtime::clock;
    use std::task::Waker;

    const USAGE: Option<Usage> = Some(Usage {
        prompt: 3,
        completion: 4,
        cached: 0,
        cache_write: 0,
        reasoning: Some(0),
    });

    fn join(shared_calls: &Arc<SharedCalls>, tenant: &str, question: &str) -> JoinResult {
        let key = Arc::new(key(tenant, question));
        let coalesce_key = CoalesceKey {
            exact: key.exact,
            streams: true,
            models: 0,
        };
        shared_calls.join(coalesce_key, &key, clock::now())
    }

    fn leader(shared_calls: &Arc<SharedCalls>) -> Leader {
        match join(shared_calls, "t", "q") {
            JoinResult::Lead(leader) => leader,
            _ => panic!("somebody leads"),
        }
    }

    fn follow(shared_calls: &Arc<SharedCalls>) -> Follower {
        match join(shared_calls, "t", "q") {
            JoinResult::Follow(follower) => follower,
            _ => panic!("nobody leads"),
        }
    }

    fn begin(leader: &Leader) {
        leader.begin(Head {
            target: Name::new("p/m"),
            status: 200,
            forwarded: Vec::new(),
        });
    }

    fn start(follower: &Follower) -> Poll<StreamStart> {
        follower.poll_start(&mut Context::from_waker(Waker::noop()))
    }

    /// The bytes that it can read at once, and what ended the stream.
    fn read(follower: &Follower) -> (Vec<u8>, Option<FollowerRead>) {
        let mut into = Vec::new();
        loop {
            match follower.poll_read(&mut into, &mut Context::from_waker(Waker::noop())) {
                Poll::Ready(FollowerRead::More) => {}
                Poll::Ready(last) => return (into, Some(last)),
                Poll::Pending => return (into, None),
            }
        }
    }

    fn failed() -> End {
        End::Failed {
            error: Arc::new(GatewayError::new(ErrorCode::UpstreamError, "it failed")),
            should_retry: None,
        }
    }

    #[test]
    fn other_requests_do_not_join_and_the_next_one_leads_again() {
        let shared_calls = Arc::<SharedCalls>::default();
        let first = leader(&shared_calls);
        assert!(!first.may_be_stored());
        assert!(matches!(join(&shared_calls, "u", "q"), JoinResult::Lead(_)));
        assert!(matches!(join(&shared_calls, "t", "r"), JoinResult::Lead(_)));
        drop(follow(&shared_calls));
        drop(first);
        assert!(shared_calls.is_empty());
        // A hash that collides is another request.
        let (ours, other) = (Arc::new(key("t", "q")), Arc::new(key("t", "other")));
        let coalesce_key = CoalesceKey {
            exact: 1,
            streams: false,
            models: 0,
        };
        let since = clock::now();
        let first = shared_calls.join(coalesce_key, &ours, since);
        assert!(matches!(
            shared_calls.join(coalesce_key, &other, since),
            JoinResult::Alone
        ));
        drop(first);
        // The response may have been stored since.
        let JoinResult::Lead(leader) = shared_calls.join(coalesce_key, &ours, since) else {
            panic!("nobody leads");
        };
        assert!(leader.may_be_stored());
    }

    #[test]
    fn when_the_leader_panics_one_follower_leads_the_second_attempt() {
        let shared_calls = Arc::<SharedCalls>::default();
        let first = leader(&shared_calls);
        let (a, b) = (follow(&shared_calls), follow(&shared_calls));
        assert!(start(&a).is_pending() && start(&b).is_pending());
        let panics = std::panic::AssertUnwindSafe(move || {
            let _first = first;
            panic!("as a connection may");
        });
        assert!(std::panic::catch_unwind(panics).is_err());
        assert!(matches!(start(&b), Poll::Ready(StreamStart::Lead)));
        assert!(start(&a).is_pending());
        let coalesce_key = CoalesceKey {
            exact: 0,
            streams: true,
            models: 0,
        };
        let second = shared_calls.take_over(coalesce_key, &b);
        drop(b);
        // There is no third.
        drop(second);
        assert!(matches!(
            start(&a),
            Poll::Ready(StreamStart::Over(End::Lost))
        ));
        drop(a);
        assert!(shared_calls.is_empty());
    }

    #[test]
    fn a_failure_in_the_middle_of_a_stream_reaches_every_follower() {
        let shared_calls = Arc::<SharedCalls>::default();
        let (first, follower) = (leader(&shared_calls), follow(&shared_calls));
        begin(&first);
        first.append(b"one");
        first.finish(failed());
        assert!(matches!(
            start(&follower),
            Poll::Ready(StreamStart::Stream(_))
        ));
        let (bytes, last) = read(&follower);
        assert_eq!(bytes, b"one");
        assert!(matches!(last, Some(FollowerRead::Over(End::Failed { .. }))));
        // No request joins a call that failed.
        assert!(matches!(join(&shared_calls, "t", "q"), JoinResult::Lead(_)));
    }

    #[test]
    fn the_buffer_is_bounded_and_a_follower_that_keeps_up_loses_nothing() {
        let shared_calls = Arc::<SharedCalls>::default();
        let first = leader(&shared_calls);
        let (quick, slow) = (follow(&shared_calls), follow(&shared_calls));
        begin(&first);
        let piece = [7; 10_000];
        let bytes = &shared_calls.counts().bytes;
        let mut bytes_read = 0;
        for _ in 0..500 {
            first.append(&piece);
            bytes_read += read(&quick).0.len();
            assert!(bytes.load(Ordering::Relaxed) <= 2 * (STREAM_BYTES_MAX + piece.len()));
        }
        assert_eq!(bytes_read, 500 * piece.len());
        // Closed: the next request leads.
        assert!(matches!(join(&shared_calls, "t", "q"), JoinResult::Lead(_)));
        assert!(matches!(read(&slow).1, Some(FollowerRead::Lagged)));
        drop(slow);
        // A follower does not lag by one piece, however large.
        first.append(&vec![7; 2 * STREAM_BYTES_MAX]);
        assert_eq!(read(&quick).0.len(), 2 * STREAM_BYTES_MAX);
        // All calls together buffer too much: another one buffers little, and a follower that keeps up still loses nothing.
        bytes.fetch_add(ALL_STREAM_BYTES_MAX, Ordering::Relaxed);
        let second = leader(&shared_calls);
        let (quick_too, slow) = (follow(&shared_calls), follow(&shared_calls));
        begin(&second);
        for _ in 0..50 {
            second.append(&piece);
            assert_eq!(read(&quick_too).0.len(), piece.len());
        }
        assert!(matches!(read(&slow).1, Some(FollowerRead::Lagged)));
        let own = bytes.load(Ordering::Relaxed) - ALL_STREAM_BYTES_MAX;
        assert!(own < 5 * STREAM_BYTES_MAX + 4 * STREAM_BYTES_TIGHT, "{own}");
        bytes.fetch_sub(ALL_STREAM_BYTES_MAX, Ordering::Relaxed);
        drop((first, second, quick, quick_too, slow));
        assert!(shared_calls.is_empty());
        assert_eq!(bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_full_call_takes_no_followers_and_the_next_request_leads_another() {
        let shared_calls = Arc::<SharedCalls>::default();
        let _first = leader(&shared_calls);
        let followers: Vec<Follower> = (0..FOLLOWERS_MAX).map(|_| follow(&shared_calls)).collect();
        let _second = leader(&shared_calls);
        drop(follow(&shared_calls));
        assert_eq!(shared_calls.len(), 2);
        drop(followers);
    }

    #[test]
    fn the_usage_of_a_call_is_recorded_once() {
        let shared_calls = Arc::<SharedCalls>::default();
        // The usage that was reported to the leader's client when it left, and whether the call had ended then.
        for (reported, ended_first) in [(USAGE, false), (USAGE, true), (None, false), (None, true)]
        {
            let first = leader(&shared_calls);
            let client = first.join_as_owner();
            begin(&first);
            let (call_records, client_records) = if ended_first {
                let call_records = first.finish(End::Complete(USAGE));
                (call_records, client.leave_as_owner(reported))
            } else {
                let client_records = client.leave_as_owner(reported);
                (first.finish(End::Complete(USAGE)), client_records)
            };
            // A client that leaves before it knows the usage leaves the record to the call.
            if reported.is_none() && !ended_first {
                assert!(call_records);
                assert_eq!(client_records, OwnerUsage::RecordedByCall);
            } else {
                assert!(!call_records);
                assert_eq!(client_records, OwnerUsage::Record(USAGE));
            }
        }
    }

    #[test]
    fn the_usage_of_a_second_attempt_is_recorded_once() {
        let shared_calls = Arc::<SharedCalls>::default();
        let (first, follower) = (leader(&shared_calls), follow(&shared_calls));
        first.finish(failed());
        assert!(matches!(start(&follower), Poll::Ready(StreamStart::Lead)));
        let second = shared_calls.take_over(first.coalesce_key, &follower);
        drop((first, follower));
        begin(&second);
        let client = second.join_as_owner();
        assert!(!second.finish(End::Complete(USAGE)));
        assert_eq!(client.leave_as_owner(None), OwnerUsage::Record(USAGE));
    }

    #[test]
    fn a_stream_without_its_client_waits_for_its_fastest_reader() {
        let shared_calls = Arc::<SharedCalls>::default();
        let first = leader(&shared_calls);
        let (quick, _slow) = (follow(&shared_calls), follow(&shared_calls));
        let may_read_on = || {
            let cx = &mut Context::from_waker(Waker::noop());
            first.shared_call().poll_reader_near(cx).is_ready()
        };
        begin(&first);
        assert!(may_read_on());
        first.append(&[7; 100_000]);
        assert!(!may_read_on());
        read(&quick);
        assert!(may_read_on());
    }
}
