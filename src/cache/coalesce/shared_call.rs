//! One upstream call that several identical requests share, on whatever core they are.
//!
//! The request that makes the call leads; the others follow. The call buffers what arrives, each follower reads
//! at its own pace, and none waits for another. It must not know sockets or HTTP.

use crate::cache::coalesce::call_end::{End, Head};
use crate::cache::coalesce::readers::Readers;
use crate::cache::coalesce::stream_buffer::{
    ALL_STREAM_BYTES_MAX, STREAM_BYTES_MAX, STREAM_BYTES_TIGHT, StreamBuffer,
};
use crate::cache::key::Key;
use crate::protocols::usage::Usage;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

/// Followers of one call; the next request leads another.
pub(crate) const FOLLOWERS_MAX: usize = 1024;
/// Bytes that a stream without its client's connection may be ahead of its fastest reader. Less than
/// [`STREAM_BYTES_TIGHT`], so that the only reader of a stream never lags, however slowly it reads.
pub(crate) const AHEAD_BYTES_MAX: u64 = 32 * 1024;

/// Counts of all shared calls.
#[derive(Debug, Default)]
pub struct SharedCallCounts {
    /// Calls that exist (gauge).
    pub shared_calls: AtomicUsize,
    /// Bytes of streams that are buffered (gauge).
    pub bytes: AtomicUsize,
    /// Requests that followed.
    pub followers: AtomicU64,
    /// Calls that went on for their followers after the client that caused them had hung up.
    pub handovers: AtomicU64,
    /// Followers that read too slowly and lost their stream.
    pub lagged: AtomicU64,
}

/// How a call begins for a follower.
#[derive(Debug)]
pub enum StreamStart {
    /// A stream has begun.
    Stream(Arc<Head>),
    /// The first attempt failed, and this follower is to make the second, for the others too.
    Lead,
    /// The call has ended without a stream.
    Over(End),
}

/// The next step of a stream for a follower.
#[derive(Debug)]
pub enum FollowerRead {
    /// Bytes were appended.
    More,
    /// The follower has every byte, and the call has ended.
    Over(End),
    /// The follower read so slowly that its next bytes were discarded.
    Lagged,
}

/// Who records the usage of a call, once a follower that is the call's own client has left.
#[derive(Debug, PartialEq, Eq)]
pub enum OwnerUsage {
    /// This client does; `None` when the usage is unknown.
    Record(Option<Usage>),
    /// The call does at its end, or already has.
    RecordedByCall,
}

/// An upstream call, and what its followers have not read yet.
pub struct SharedCall {
    key: Arc<Key>,
    counts: Arc<SharedCallCounts>,
    state: Mutex<State>,
}

struct State {
    intake: Intake,
    progress: Progress,
    owner: Owner,
    billing: Billing,
    stream: StreamBuffer,
    readers: Readers,
    /// The maker of the call, which waits for the first follower or for the last one to leave.
    owner_waker: Option<Waker>,
    /// The maker of the call, which waits for a reader to catch up.
    paused_waker: Option<Waker>,
}

/// Whether new followers may join. A closed call never opens again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Intake {
    Open,
    Closed,
}

enum Progress {
    /// No response has arrived.
    Waiting(Attempt),
    Streaming(Arc<Head>),
    Ended {
        head: Option<Arc<Head>>,
        end: End,
    },
}

/// A call that fails before its response is attempted a second time, by one of its followers; there is no third.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    Second,
}

/// For whom the call is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// The client that caused it, which is still connected.
    Client,
    /// Its followers: the client has hung up.
    Detached,
    /// Nobody: the second attempt waits for a follower to make it.
    Vacant,
}

/// Who records what the call cost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Billing {
    /// The call, when it ends.
    Unbilled,
    /// The client that caused the call, which reads as a follower, unless it leaves before the end.
    OwnerReads,
    Billed,
}

impl SharedCall {
    pub(crate) fn new(key: Arc<Key>, counts: Arc<SharedCallCounts>) -> Self {
        counts.shared_calls.fetch_add(1, Ordering::Relaxed);
        let state = State {
            intake: Intake::Open,
            progress: Progress::Waiting(Attempt::First),
            owner: Owner::Client,
            billing: Billing::Unbilled,
            stream: StreamBuffer::default(),
            readers: Readers::default(),
            owner_waker: None,
            paused_waker: None,
        };
        Self {
            key,
            counts,
            state: Mutex::new(state),
        }
    }

    /// Whether it is the call for exactly this request.
    pub(crate) fn is_for(&self, key: &Key) -> bool {
        self.key.is_same(key)
    }

    /// Joins as a follower; `None` if the call accepts no more.
    pub(crate) fn join(self: &Arc<Self>) -> Option<Follower> {
        let mut state = self.state.lock();
        if state.intake == Intake::Closed || state.readers.count() >= FOLLOWERS_MAX {
            return None;
        }
        let owner = state.owner_waker.take();
        let slot = state.readers.add(0);
        drop(state);
        self.counts.followers.fetch_add(1, Ordering::Relaxed);
        wake(owner);
        Some(self.follower(slot, Role::Follower))
    }

    /// Joins as the client that caused the call: it reads the bytes that arrive from now on.
    pub(crate) fn join_as_owner(self: &Arc<Self>) -> Follower {
        let mut state = self.state.lock();
        if state.billing == Billing::Unbilled {
            state.billing = Billing::OwnerReads;
        }
        let offset = state.stream.end_offset();
        let slot = state.readers.add(offset);
        drop(state);
        self.follower(slot, Role::Owner)
    }

    fn follower(self: &Arc<Self>, slot: usize, role: Role) -> Follower {
        Follower {
            shared_call: Arc::clone(self),
            slot,
            role,
        }
    }

    /// Resolves once there are no followers, and closes the call to new ones in the same step.
    pub fn poll_no_followers(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.close_if_no_followers() {
            return Poll::Ready(());
        }
        state.wait_as_owner(cx);
        Poll::Pending
    }

    /// The same, when the client that caused the call has hung up: followers that wait own the call now.
    pub fn poll_abandoned(&self, cx: &mut Context<'_>) -> Poll<()> {
        let no_followers = self.poll_no_followers(cx);
        if no_followers.is_pending() {
            self.hand_over(&mut self.state.lock());
        }
        no_followers
    }

    /// True when there are no followers; the call is closed to new ones in the same step.
    pub(crate) fn close_if_no_followers(&self) -> bool {
        self.state.lock().close_if_no_followers()
    }

    /// Resolves once there is a follower.
    pub(crate) fn poll_has_followers(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if !state.readers.is_empty() {
            return Poll::Ready(());
        }
        state.wait_as_owner(cx);
        Poll::Pending
    }

    fn hand_over(&self, state: &mut State) {
        if state.owner == Owner::Client {
            state.owner = Owner::Detached;
            self.counts.handovers.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn begin(&self, head: Head) {
        let mut state = self.state.lock();
        debug_assert!(matches!(state.progress, Progress::Waiting(_)));
        state.progress = Progress::Streaming(Arc::new(head));
        state.stream.reserve(&self.counts.bytes);
        wake_readers(state);
    }

    /// Buffers complete events for followers, and for requests that may still join.
    pub(crate) fn append(&self, events: &[u8]) {
        let mut state = self.state.lock();
        let has_reader = state.intake == Intake::Open || !state.readers.is_empty();
        if events.is_empty() || !has_reader {
            return;
        }
        let is_tight = self.counts.bytes.load(Ordering::Relaxed) >= ALL_STREAM_BYTES_MAX;
        let bytes_max = if is_tight {
            STREAM_BYTES_TIGHT
        } else {
            STREAM_BYTES_MAX
        };
        if state.stream.len() + events.len() > bytes_max {
            state.intake = Intake::Closed;
        }
        // Discards before it appends, so that a reader without unread bytes receives these events, however large.
        if state.intake == Intake::Closed {
            let slowest = state.readers.slowest();
            state.stream.discard(slowest, bytes_max);
        }
        state.stream.append(events, &self.counts.bytes);
        wake_readers(state);
    }

    /// Resolves while the fastest reader is less than [`AHEAD_BYTES_MAX`] behind, or nobody reads.
    pub fn poll_reader_near(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        let end = state.stream.end_offset();
        let fastest = state.readers.fastest();
        if fastest.is_none_or(|offset| offset + AHEAD_BYTES_MAX >= end) {
            return Poll::Ready(());
        }
        state.paused_waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ends the call. If the first attempt failed before its response, the call goes on instead: one of its
    /// followers makes the second attempt. True when the caller is to record the usage.
    pub(crate) fn finish(&self, end: End) -> bool {
        let mut state = self.state.lock();
        let head = match &state.progress {
            Progress::Ended { .. } => return false,
            Progress::Waiting(_) => None,
            Progress::Streaming(head) => Some(Arc::clone(head)),
        };
        let is_for_all = end.is_for_all();
        let is_first_attempt = matches!(state.progress, Progress::Waiting(Attempt::First));
        if !is_for_all {
            state.intake = Intake::Closed;
        }
        let records_usage = state.billing == Billing::Unbilled;
        if is_first_attempt && !is_for_all && !state.readers.is_empty() {
            state.progress = Progress::Waiting(Attempt::Second);
            state.owner = Owner::Vacant;
        } else {
            state.progress = Progress::Ended { head, end };
            if records_usage {
                state.billing = Billing::Billed;
            }
        }
        wake_readers(state);
        records_usage
    }
}

impl Drop for SharedCall {
    fn drop(&mut self) {
        self.state.get_mut().stream.release(&self.counts.bytes);
        self.counts.shared_calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl State {
    fn close_if_no_followers(&mut self) -> bool {
        if self.readers.is_empty() {
            self.intake = Intake::Closed;
        }
        self.readers.is_empty()
    }

    fn wait_as_owner(&mut self, cx: &Context<'_>) {
        match &mut self.owner_waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

/// Wakes the readers that wait, once the lock is released.
fn wake_readers(mut state: MutexGuard<'_, State>) {
    let wakers = state.readers.take_wakers();
    drop(state);
    wake(wakers);
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// A reader of a shared call, which it leaves when dropped.
pub struct Follower {
    shared_call: Arc<SharedCall>,
    slot: usize,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A request that joined.
    Follower,
    /// The client that caused the call.
    Owner,
}

impl Follower {
    pub(crate) fn shared_call(&self) -> &Arc<SharedCall> {
        &self.shared_call
    }

    /// Waits for the head of a stream, or for the end of the call.
    pub fn poll_start(&self, cx: &mut Context<'_>) -> Poll<StreamStart> {
        let mut state = self.shared_call.state.lock();
        match &state.progress {
            Progress::Streaming(head)
            | Progress::Ended {
                head: Some(head), ..
            } => Poll::Ready(StreamStart::Stream(Arc::clone(head))),
            Progress::Ended { head: None, end } => Poll::Ready(StreamStart::Over(end.clone())),
            Progress::Waiting(_) if state.owner == Owner::Vacant => {
                state.owner = Owner::Client;
                Poll::Ready(StreamStart::Lead)
            }
            Progress::Waiting(_) => {
                state.readers.wait(self.slot, cx);
                Poll::Pending
            }
        }
    }

    /// Appends the next bytes of a stream to `into`.
    pub fn poll_read(&self, into: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<FollowerRead> {
        let mut guard = self.shared_call.state.lock();
        let state = &mut *guard;
        let Some(offset) = state.readers.offset_mut(self.slot) else {
            debug_assert!(false, "a follower has its slot until it is dropped");
            return Poll::Ready(FollowerRead::Lagged);
        };
        let Some(count) = state.stream.read(*offset, into) else {
            let lagged = &self.shared_call.counts.lagged;
            lagged.fetch_add(1, Ordering::Relaxed);
            return Poll::Ready(FollowerRead::Lagged);
        };
        if count > 0 {
            *offset += count as u64;
            let paused = state.paused_waker.take();
            drop(guard);
            wake(paused);
            return Poll::Ready(FollowerRead::More);
        }
        if let Progress::Ended { end, .. } = &state.progress {
            return Poll::Ready(FollowerRead::Over(end.clone()));
        }
        state.readers.wait(self.slot, cx);
        Poll::Pending
    }

    /// Leaves, as the client that caused the call. `reported` is the usage that the stream has reported to it. The
    /// client records the usage if it knows it, or if the call has ended and nobody else has.
    pub fn leave_as_owner(mut self, reported: Option<Usage>) -> OwnerUsage {
        let role = std::mem::replace(&mut self.role, Role::Follower);
        let mut state = self.shared_call.state.lock();
        if role == Role::Follower || state.billing != Billing::OwnerReads {
            return OwnerUsage::RecordedByCall;
        }
        let usage = match &state.progress {
            _ if reported.is_some() => reported,
            Progress::Ended {
                end: End::Complete(usage),
                ..
            } => *usage,
            Progress::Ended { .. } => None,
            Progress::Waiting(_) | Progress::Streaming(_) => {
                state.billing = Billing::Unbilled;
                if state.readers.count() > 1 {
                    self.shared_call.hand_over(&mut state);
                }
                return OwnerUsage::RecordedByCall;
            }
        };
        state.billing = Billing::Billed;
        OwnerUsage::Record(usage)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.shared_call.state.lock();
        state.readers.remove(self.slot);
        if self.role == Role::Owner && state.billing == Billing::OwnerReads {
            state.billing = Billing::Unbilled;
        }
        let was_last = state.readers.is_empty();
        let owner = state.owner_waker.take_if(|_| was_last);
        let paused = state.paused_waker.take();
        drop(state);
        wake(owner.into_iter().chain(paused));
    }
}
