//! The calls in flight that may be shared, by exact request: one table for all cores.
//!
//! It is asked once per request that both tiers missed, and once more when such a request has ended.

use crate::cache::coalesce::shared_call::{End, Follower, Head, SharedCall, SharedCallCounts};
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
/// Flights of one shard; a request beyond makes its call alone.
const FLIGHTS_PER_SHARD_MAX: usize = 1024;
/// Flights that may be in the table.
pub(crate) const FLIGHTS_MAX: usize = SHARDS * FLIGHTS_PER_SHARD_MAX;

/// Which call: requests share one if all of this is equal, and their forms are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CoalesceKey {
    /// Hash of scope and question.
    pub exact: u128,
    /// A stream was asked for.
    pub streams: bool,
    /// Hash of the models that may be asked, in their order.
    pub models: u64,
}

/// The table.
pub struct SharedCalls {
    shards: Box<[Mutex<Shard>]>,
    counts: Arc<SharedCallCounts>,
}

#[derive(Default)]
struct Shard {
    calls: HashMap<CoalesceKey, Arc<SharedCall>, foldhash::fast::RandomState>,
    /// When one last ended.
    ended_at: Option<Instant>,
}

/// What a request is to do.
pub enum JoinResult {
    /// Make the call, for itself and those who follow.
    Lead(Leader),
    /// Wait for the one who makes it.
    Follow(Follower),
    /// Make a call that is not shared: the table is full.
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
    /// Joins the call for `key`, or begins one. `since` is before the caller looked into the store.
    pub fn board(
        self: &Arc<Self>,
        call: CoalesceKey,
        key: &Arc<Key>,
        since: Instant,
    ) -> JoinResult {
        let mut shard = self.shard(call).lock();
        match shard.calls.get(&call) {
            // Another request with the same hash.
            Some(shared_call) if !shared_call.is_for(key) => return JoinResult::Alone,
            Some(shared_call) => {
                if let Some(follower) = shared_call.join() {
                    return JoinResult::Follow(follower);
                }
            }
            None if shard.calls.len() >= FLIGHTS_PER_SHARD_MAX => return JoinResult::Alone,
            None => {}
        }
        let shared_call = Arc::new(SharedCall::new(Arc::clone(key), Arc::clone(&self.counts)));
        // In the place of one that takes no followers any more.
        shard.calls.insert(call, Arc::clone(&shared_call));
        let may_be_stored = shard.ended_at.is_some_and(|at| at >= since);
        drop(shard);
        JoinResult::Lead(self.leader(shared_call, call, may_be_stored))
    }

    /// The right to make the second call, for the follower that was told to.
    #[must_use]
    pub fn succeed(self: &Arc<Self>, call: CoalesceKey, follower: &Follower) -> Leader {
        self.leader(Arc::clone(follower.shared_call()), call, true)
    }

    fn leader(
        self: &Arc<Self>,
        shared_call: Arc<SharedCall>,
        call: CoalesceKey,
        may_be_stored: bool,
    ) -> Leader {
        Leader {
            shared_calls: Arc::clone(self),
            shared_call,
            call,
            may_be_stored,
            has_finished: Cell::new(false),
        }
    }

    /// Numbers of all flights.
    #[must_use]
    pub fn counts(&self) -> &SharedCallCounts {
        &self.counts
    }

    /// Flights that exist.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counts.shared_calls.load(Ordering::Relaxed)
    }

    /// True when nothing is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, call: CoalesceKey) -> &Mutex<Shard> {
        // The exact key is a keyed hash already.
        let at = (call.exact as usize) % SHARDS;
        &self.shards[at]
    }

    fn remove(&self, call: CoalesceKey, shared_call: &Arc<SharedCall>) {
        let mut shard = self.shard(call).lock();
        shard.ended_at = Some(clock::now());
        let held = shard.calls.get(&call);
        if held.is_some_and(|held| Arc::ptr_eq(held, shared_call)) {
            shard.calls.remove(&call);
        }
    }
}

/// The right and the duty to make a call. Dropped without an end, it releases those who follow.
pub struct Leader {
    shared_calls: Arc<SharedCalls>,
    shared_call: Arc<SharedCall>,
    call: CoalesceKey,
    may_be_stored: bool,
    has_finished: Cell<bool>,
}

impl Leader {
    /// Whether the same call may have ended, and its answer been stored, since the store was asked.
    #[must_use]
    pub fn may_be_stored(&self) -> bool {
        self.may_be_stored
    }

    /// The flight, to be asked whether anybody follows.
    #[must_use]
    pub fn shared_call(&self) -> &Arc<SharedCall> {
        &self.shared_call
    }

    /// True when nobody follows: from then on nobody may.
    #[must_use]
    pub fn close_if_alone(&self) -> bool {
        self.shared_call.close_if_alone()
    }

    /// Ready when somebody follows.
    pub fn poll_company(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared_call.poll_company(cx)
    }

    /// A stream begins.
    pub fn begin(&self, head: Head) {
        self.shared_call.begin(head);
    }

    /// Complete events of the stream came.
    pub fn append(&self, events: &[u8]) {
        self.shared_call.append(events);
    }

    /// A place for the client that caused the call, behind what came until now: it follows like the
    /// others, and books what the call cost if it stays to the end.
    #[must_use]
    pub fn leaders_seat(&self) -> Follower {
        self.shared_call.leaders_seat()
    }

    /// Tells how the call ended; the table has it until this is dropped. True when nobody else books
    /// what it cost.
    pub fn finish(&self, end: End) -> bool {
        !self.has_finished.replace(true) && self.shared_call.finish(end)
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.finish(End::Lost);
        self.shared_calls.remove(self.call, &self.shared_call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::names::Name;
    use crate::cache::coalesce::shared_call::{
        ALL_STREAM_BYTES_MAX, FOLLOWERS_MAX, FollowerRead, STREAM_BYTES_MAX, STREAM_BYTES_TIGHT,
        StreamStart,
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
        reasoning: 0,
    });

    fn board(shared_calls: &Arc<SharedCalls>, tenant: &str, question: &str) -> JoinResult {
        let key = Arc::new(key(tenant, question));
        let call = CoalesceKey {
            exact: key.exact,
            streams: true,
            models: 0,
        };
        shared_calls.board(call, &key, clock::now())
    }

    fn leader(shared_calls: &Arc<SharedCalls>) -> Leader {
        match board(shared_calls, "t", "q") {
            JoinResult::Lead(leader) => leader,
            _ => panic!("somebody leads"),
        }
    }

    fn follow(shared_calls: &Arc<SharedCalls>) -> Follower {
        match board(shared_calls, "t", "q") {
            JoinResult::Follow(follower) => follower,
            _ => panic!("nobody leads"),
        }
    }

    fn begin(leader: &Leader) {
        leader.begin(Head {
            target: Name::new("p/m"),
            status: 200,
            passed: Vec::new(),
        });
    }

    fn outset(follower: &Follower) -> Poll<StreamStart> {
        follower.poll_outset(&mut Context::from_waker(Waker::noop()))
    }

    /// All that is there for it, and what ends it.
    fn read(follower: &Follower) -> (Vec<u8>, Option<FollowerRead>) {
        let mut into = Vec::new();
        loop {
            match follower.poll_more(&mut into, &mut Context::from_waker(Waker::noop())) {
                Poll::Ready(FollowerRead::More) => {}
                Poll::Ready(heard) => return (into, Some(heard)),
                Poll::Pending => return (into, None),
            }
        }
    }

    fn failed() -> End {
        End::Failed {
            fault: Arc::new(GatewayError::new(ErrorCode::UpstreamError, "it failed")),
            should_retry: None,
        }
    }

    #[test]
    fn others_do_not_join_and_the_next_leads_again() {
        let shared_calls = Arc::<SharedCalls>::default();
        let first = leader(&shared_calls);
        assert!(!first.may_be_stored());
        assert!(matches!(
            board(&shared_calls, "u", "q"),
            JoinResult::Lead(_)
        ));
        assert!(matches!(
            board(&shared_calls, "t", "r"),
            JoinResult::Lead(_)
        ));
        drop(follow(&shared_calls));
        drop(first);
        assert!(shared_calls.is_empty());
        // A hash that collides is another request.
        let (ours, other) = (Arc::new(key("t", "q")), Arc::new(key("t", "other")));
        let call = CoalesceKey {
            exact: 1,
            streams: false,
            models: 0,
        };
        let since = clock::now();
        let first = shared_calls.board(call, &ours, since);
        assert!(matches!(
            shared_calls.board(call, &other, since),
            JoinResult::Alone
        ));
        drop(first);
        // The answer may have been stored since.
        let JoinResult::Lead(leader) = shared_calls.board(call, &ours, since) else {
            panic!("nobody leads");
        };
        assert!(leader.may_be_stored());
    }

    #[test]
    fn a_panic_of_the_leader_leaves_the_call_to_one_of_those_who_follow() {
        let shared_calls = Arc::<SharedCalls>::default();
        let first = leader(&shared_calls);
        let (a, b) = (follow(&shared_calls), follow(&shared_calls));
        assert!(outset(&a).is_pending() && outset(&b).is_pending());
        let panics = std::panic::AssertUnwindSafe(move || {
            let _first = first;
            panic!("as a connection may");
        });
        assert!(std::panic::catch_unwind(panics).is_err());
        assert!(matches!(outset(&b), Poll::Ready(StreamStart::Lead)));
        assert!(outset(&a).is_pending());
        let call = CoalesceKey {
            exact: 0,
            streams: true,
            models: 0,
        };
        let second = shared_calls.succeed(call, &b);
        drop(b);
        // There is no third.
        drop(second);
        assert!(matches!(
            outset(&a),
            Poll::Ready(StreamStart::Over(End::Lost))
        ));
        drop(a);
        assert!(shared_calls.is_empty());
    }

    #[test]
    fn a_failure_in_the_middle_is_for_all() {
        let shared_calls = Arc::<SharedCalls>::default();
        let (first, follower) = (leader(&shared_calls), follow(&shared_calls));
        begin(&first);
        first.append(b"one");
        first.finish(failed());
        assert!(matches!(
            outset(&follower),
            Poll::Ready(StreamStart::Stream(_))
        ));
        let (bytes, heard) = read(&follower);
        assert_eq!(bytes, b"one");
        assert!(matches!(
            heard,
            Some(FollowerRead::Over(End::Failed { .. }))
        ));
        // Nobody joins what failed.
        assert!(matches!(
            board(&shared_calls, "t", "q"),
            JoinResult::Lead(_)
        ));
    }

    #[test]
    fn what_is_kept_is_bounded_and_who_keeps_up_loses_nothing() {
        let shared_calls = Arc::<SharedCalls>::default();
        let first = leader(&shared_calls);
        let (quick, slow) = (follow(&shared_calls), follow(&shared_calls));
        begin(&first);
        let piece = [7; 10_000];
        let bytes = &shared_calls.counts().bytes;
        let mut heard = 0;
        for _ in 0..500 {
            first.append(&piece);
            heard += read(&quick).0.len();
            assert!(bytes.load(Ordering::Relaxed) <= 2 * (STREAM_BYTES_MAX + piece.len()));
        }
        assert_eq!(heard, 500 * piece.len());
        // Closed: who comes now leads.
        assert!(matches!(
            board(&shared_calls, "t", "q"),
            JoinResult::Lead(_)
        ));
        assert!(matches!(read(&slow).1, Some(FollowerRead::Lagged)));
        drop(slow);
        // One piece, however large, is no lag.
        first.append(&vec![7; 2 * STREAM_BYTES_MAX]);
        assert_eq!(read(&quick).0.len(), 2 * STREAM_BYTES_MAX);
        // All flights together: another one keeps little, and still nobody who keeps up loses.
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
    fn a_flight_takes_so_many_followers_and_the_next_leads_another() {
        let shared_calls = Arc::<SharedCalls>::default();
        let _first = leader(&shared_calls);
        let seats: Vec<Follower> = (0..FOLLOWERS_MAX).map(|_| follow(&shared_calls)).collect();
        let _second = leader(&shared_calls);
        drop(follow(&shared_calls));
        assert_eq!(shared_calls.len(), 2);
        drop(seats);
    }

    #[test]
    fn what_a_call_cost_is_booked_once() {
        let shared_calls = Arc::<SharedCalls>::default();
        // How the leader's client left, and whether the call had ended then.
        for (heard, ended_first) in [(USAGE, false), (USAGE, true), (None, false), (None, true)] {
            let first = leader(&shared_calls);
            let follower = first.leaders_seat();
            begin(&first);
            let (mut by_call, mut by_client) = (None, None);
            if ended_first {
                by_call = Some(first.finish(End::Complete(USAGE)));
                by_client = follower.settle(heard);
            } else {
                by_client = by_client.or(follower.settle(heard));
                by_call = by_call.or(Some(first.finish(End::Complete(USAGE))));
            }
            // If it left before it knew, the call books it.
            let call_books = heard.is_none() && !ended_first;
            assert_eq!(by_call, Some(call_books));
            assert_eq!(by_client, (!call_books).then_some(USAGE));
        }
    }

    #[test]
    fn a_stream_without_its_client_waits_for_its_quickest_reader() {
        let shared_calls = Arc::<SharedCalls>::default();
        let first = leader(&shared_calls);
        let (quick, _slow) = (follow(&shared_calls), follow(&shared_calls));
        let wanted = || {
            let cx = &mut Context::from_waker(Waker::noop());
            first.shared_call().poll_wanted(cx).is_ready()
        };
        begin(&first);
        assert!(wanted());
        first.append(&[7; 100_000]);
        assert!(!wanted());
        read(&quick);
        assert!(wanted());
    }
}
