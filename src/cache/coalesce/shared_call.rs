//! One upstream call that several identical requests wait for, on whatever core they are.
//!
//! The request that makes the call leads; the others follow. What arrives is kept here, each follower
//! reads it at its own pace, and nobody waits for another. It must not know sockets or HTTP.

use crate::base::names::Name;
use crate::cache::key::Key;
use crate::error::class::ErrorSource;
use crate::error::gateway_error::GatewayError;
use crate::protocols::usage::Usage;
use crate::runtime::buffer;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

/// Bytes of one stream that are kept for followers: those to come, and those that read slowly. Over it,
/// no follower is taken any more, and one that is behind by more loses its stream. About 4,000 tokens.
pub(crate) const STREAM_BYTES_MAX: usize = 1024 * 1024;
/// The same, while all flights together have reached [`ALL_STREAM_BYTES_MAX`].
pub(crate) const STREAM_BYTES_TIGHT: usize = 64 * 1024;
/// Bytes kept by all flights together before each is held to [`STREAM_BYTES_TIGHT`].
pub(crate) const ALL_STREAM_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Followers of one flight; the next request leads another.
pub(crate) const FOLLOWERS_MAX: usize = 1024;
/// How far a stream without the connection that began it may be ahead of its quickest reader: whoever is
/// alone with it is not lost, however slow. Less than [`STREAM_BYTES_TIGHT`].
pub(crate) const AHEAD_BYTES_MAX: u64 = 32 * 1024;
/// Bytes a follower takes at once, so that the flight is locked for microseconds only.
const READ_BYTES_MAX: usize = 16 * 1024;

/// Numbers of all flights.
#[derive(Debug, Default)]
pub struct SharedCallCounts {
    /// Flights that exist (gauge).
    pub shared_calls: AtomicUsize,
    /// Bytes kept of streams (gauge).
    pub bytes: AtomicUsize,
    /// Requests that followed.
    pub followers: AtomicU64,
    /// Calls that went on for their followers after the client that caused them had hung up.
    pub handovers: AtomicU64,
    /// Followers that read too slowly and lost their stream.
    pub lagged: AtomicU64,
}

/// What is known of an answer from its head.
#[derive(Debug, Clone)]
pub struct Head {
    /// The target.
    pub target: Name,
    /// Status.
    pub status: u16,
    /// Encoded header lines that cross to the client.
    pub passed: Vec<u8>,
}

/// A whole answer.
#[derive(Debug)]
pub struct SharedResponse {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Vec<u8>,
    /// What it cost, where known.
    pub usage: Option<Usage>,
    /// Another attempt could have another outcome.
    pub may_retry: bool,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub enum End {
    /// The stream came to its end; what it cost, where known.
    Complete(Option<Usage>),
    /// With a whole answer.
    Whole(Arc<SharedResponse>),
    /// With a fault, before or in the middle of the answer.
    Failed {
        /// What the leader's client is told.
        fault: Arc<GatewayError>,
        /// What its SDK is told about trying again.
        should_retry: Option<bool>,
    },
    /// Without a call: the answer had been stored meanwhile.
    Stored,
    /// Without a word: the leader panicked.
    Lost,
}

impl End {
    /// Whether the same call would end like this again: every follower takes it as it is.
    #[must_use]
    pub fn is_for_all(&self) -> bool {
        match self {
            Self::Complete(_) | Self::Stored => true,
            Self::Whole(whole) => !whole.may_retry,
            Self::Failed { fault, .. } => fault.source == ErrorSource::Client,
            Self::Lost => false,
        }
    }
}

/// What a follower waits for first.
#[derive(Debug)]
pub enum StreamStart {
    /// A stream has begun.
    Stream(Arc<Head>),
    /// The call failed, and this follower is to make the next, for the others too.
    Lead,
    /// The call has ended.
    Over(End),
}

/// What a follower of a stream hears next.
#[derive(Debug)]
pub enum FollowerRead {
    /// Bytes were appended.
    More,
    /// Everything was heard, and the call has ended.
    Over(End),
    /// It read so slowly that what comes next is no longer kept.
    Lagged,
}

/// The call.
pub struct SharedCall {
    key: Arc<Key>,
    counts: Arc<SharedCallCounts>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Followers are taken.
    is_open: bool,
    head: Option<Arc<Head>>,
    end: Option<End>,
    /// What is kept of the stream: complete events, as they came.
    kept: VecDeque<u8>,
    /// Bytes that came before the first kept one.
    gone: u64,
    readers: Vec<Option<Reader>>,
    reading: usize,
    /// The client that caused the call reads too, and will book what it cost.
    payer_reads: bool,
    is_paid: bool,
    /// Who makes the call, waiting for the first follower or for the last one to leave.
    owner: Option<Waker>,
    /// The same, waiting for a reader to catch up.
    paused: Option<Waker>,
    /// Bytes this flight has added to [`FlightCounts::bytes`].
    counted: usize,
    is_handed_over: bool,
    /// The first call failed: what the second ends with is for all.
    is_second: bool,
    /// The second call waits for a follower to make it.
    is_vacant: bool,
}

struct Reader {
    at: u64,
    waker: Option<Waker>,
}

impl SharedCall {
    pub(crate) fn new(key: Arc<Key>, counts: Arc<SharedCallCounts>) -> Self {
        counts.shared_calls.fetch_add(1, Ordering::Relaxed);
        let state = State {
            is_open: true,
            ..State::default()
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

    /// A place among its followers; `None` if it takes none any more.
    pub(crate) fn join(self: &Arc<Self>) -> Option<Follower> {
        let mut state = self.state.lock();
        if !state.is_open || state.reading >= FOLLOWERS_MAX {
            return None;
        }
        let owner = state.owner.take();
        let follower = Follower::new(self, &mut state, 0, false);
        drop(state);
        self.counts.followers.fetch_add(1, Ordering::Relaxed);
        wake(owner);
        Some(follower)
    }

    /// A place for the client that caused the call, behind all that came until now.
    pub(crate) fn leaders_seat(self: &Arc<Self>) -> Follower {
        let mut state = self.state.lock();
        state.payer_reads = true;
        let at = state.end_at();
        Follower::new(self, &mut state, at, true)
    }

    /// Ready when nobody follows: from then on nobody may.
    pub fn poll_alone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.reading == 0 {
            state.is_open = false;
            return Poll::Ready(());
        }
        state.wait_as_owner(cx);
        Poll::Pending
    }

    /// As [`Flight::poll_alone`], when the client that caused the call is gone: if others wait, the call
    /// is theirs now.
    pub fn poll_abandoned(&self, cx: &mut Context<'_>) -> Poll<()> {
        let alone = self.poll_alone(cx);
        if alone.is_pending() {
            self.note_handover(&mut self.state.lock());
        }
        alone
    }

    /// True when nobody follows: from then on nobody may.
    pub(crate) fn close_if_alone(&self) -> bool {
        let mut state = self.state.lock();
        state.is_open &= state.reading > 0;
        state.reading == 0
    }

    fn note_handover(&self, state: &mut State) {
        if !std::mem::replace(&mut state.is_handed_over, true) {
            self.counts.handovers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ready when somebody follows.
    pub(crate) fn poll_company(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.reading > 0 {
            return Poll::Ready(());
        }
        state.wait_as_owner(cx);
        Poll::Pending
    }

    pub(crate) fn begin(&self, head: Head) {
        let mut state = self.state.lock();
        state.head = Some(Arc::new(head));
        state.kept = VecDeque::from(buffer::take(buffer::CLASS_BYTES[0]));
        self.account(&mut state);
        let wakers = state.wakers();
        drop(state);
        wake(wakers);
    }

    /// Keeps what came for those who follow, and for those who may.
    pub(crate) fn append(&self, piece: &[u8]) {
        let mut state = self.state.lock();
        if piece.is_empty() || (!state.is_open && state.reading == 0) {
            return;
        }
        let is_tight = self.counts.bytes.load(Ordering::Relaxed) >= ALL_STREAM_BYTES_MAX;
        let most = if is_tight {
            STREAM_BYTES_TIGHT
        } else {
            STREAM_BYTES_MAX
        };
        state.is_open &= state.kept.len() + piece.len() <= most;
        // Before it is added to: whoever had all until now gets this piece, however large.
        if !state.is_open {
            state.forget(most);
        }
        state.kept.extend(piece);
        self.account(&mut state);
        let wakers = state.wakers();
        drop(state);
        wake(wakers);
    }

    /// Ready when a reader is near enough to what came last, or nobody reads.
    pub fn poll_wanted(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        let quickest = state.readers.iter().flatten().map(|one| one.at).max();
        if quickest.is_none_or(|at| at + AHEAD_BYTES_MAX >= state.end_at()) {
            return Poll::Ready(());
        }
        state.paused = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ends the call, or if it failed without an answer leaves it to one of those who follow to make
    /// another, once. True when nobody else books what it cost.
    pub(crate) fn finish(&self, end: End) -> bool {
        let mut state = self.state.lock();
        if state.end.is_some() {
            return false;
        }
        let is_final = end.is_for_all();
        state.is_open &= is_final;
        if is_final || state.is_second || state.head.is_some() || state.reading == 0 {
            state.end = Some(end);
        } else {
            (state.is_second, state.is_vacant) = (true, true);
        }
        let pays = !state.payer_reads && !std::mem::replace(&mut state.is_paid, true);
        let wakers = state.wakers();
        drop(state);
        wake(wakers);
        pays
    }

    fn account(&self, state: &mut State) {
        let now = state.kept.capacity();
        let before = std::mem::replace(&mut state.counted, now);
        let bytes = &self.counts.bytes;
        if now > before {
            bytes.fetch_add(now - before, Ordering::Relaxed);
        } else if now < before {
            bytes.fetch_sub(before - now, Ordering::Relaxed);
        }
    }
}

impl Drop for SharedCall {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let counted = state.counted;
        buffer::give(std::mem::take(&mut state.kept).into());
        self.counts.bytes.fetch_sub(counted, Ordering::Relaxed);
        self.counts.shared_calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl State {
    fn wait_as_owner(&mut self, cx: &Context<'_>) {
        match &mut self.owner {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }

    fn end_at(&self) -> u64 {
        self.gone + self.kept.len() as u64
    }

    /// Those who wait for what comes next; to be woken once the lock is released.
    fn wakers(&mut self) -> Vec<Waker> {
        let readers = self.readers.iter_mut().flatten();
        readers.filter_map(|one| one.waker.take()).collect()
    }

    /// Forgets what every reader has, and of the rest all but the last `most` bytes.
    fn forget(&mut self, most: usize) {
        let end = self.end_at();
        let slowest = self.readers.iter().flatten().map(|one| one.at).min();
        let least = end.saturating_sub(most as u64);
        let from = slowest.unwrap_or(end).max(least);
        let count = usize::try_from(from.saturating_sub(self.gone)).unwrap_or(usize::MAX);
        self.kept.drain(..count.min(self.kept.len()));
        self.gone = self.gone.max(from);
        if self.kept.capacity() > 4 * self.kept.len() + STREAM_BYTES_TIGHT {
            self.kept.shrink_to_fit();
        }
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// A follower's place. Left when dropped.
pub struct Follower {
    shared_call: Arc<SharedCall>,
    slot: usize,
    pays: bool,
}

impl Follower {
    fn new(shared_call: &Arc<SharedCall>, state: &mut State, at: u64, pays: bool) -> Self {
        let reader = Some(Reader { at, waker: None });
        let free = state.readers.iter().position(Option::is_none);
        let slot = free.unwrap_or(state.readers.len());
        match state.readers.get_mut(slot) {
            Some(place) => *place = reader,
            None => state.readers.push(reader),
        }
        state.reading += 1;
        Self {
            shared_call: Arc::clone(shared_call),
            slot,
            pays,
        }
    }

    pub(crate) fn shared_call(&self) -> &Arc<SharedCall> {
        &self.shared_call
    }

    /// Waits for the head of a stream, or for the end of the call.
    pub fn poll_outset(&self, cx: &mut Context<'_>) -> Poll<StreamStart> {
        let mut state = self.shared_call.state.lock();
        if let Some(head) = &state.head {
            return Poll::Ready(StreamStart::Stream(Arc::clone(head)));
        }
        if let Some(end) = &state.end {
            return Poll::Ready(StreamStart::Over(end.clone()));
        }
        if std::mem::take(&mut state.is_vacant) {
            return Poll::Ready(StreamStart::Lead);
        }
        self.wait(&mut state, cx);
        Poll::Pending
    }

    /// Appends what comes next of a stream to `into`.
    pub fn poll_more(&self, into: &mut Vec<u8>, cx: &mut Context<'_>) -> Poll<FollowerRead> {
        let mut guard = self.shared_call.state.lock();
        let state = &mut *guard;
        let Some(Some(reader)) = state.readers.get_mut(self.slot) else {
            return Poll::Ready(FollowerRead::Lagged);
        };
        let Some(skip) = reader.at.checked_sub(state.gone) else {
            self.shared_call
                .counts
                .lagged
                .fetch_add(1, Ordering::Relaxed);
            return Poll::Ready(FollowerRead::Lagged);
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let count = state.kept.len().saturating_sub(skip).min(READ_BYTES_MAX);
        if count > 0 {
            into.extend(state.kept.range(skip..skip + count));
            reader.at += count as u64;
            let paused = state.paused.take();
            drop(guard);
            wake(paused);
            return Poll::Ready(FollowerRead::More);
        }
        if let Some(end) = &state.end {
            return Poll::Ready(FollowerRead::Over(end.clone()));
        }
        self.wait(state, cx);
        Poll::Pending
    }

    fn wait(&self, state: &mut State, cx: &Context<'_>) {
        if let Some(Some(reader)) = state.readers.get_mut(self.slot) {
            reader.waker = Some(cx.waker().clone());
        }
    }

    /// Leaves, for the client that caused the call, which has `heard` of this usage. It is told what to
    /// book, if that falls to it: it has heard it, or the call has ended and nobody else books it.
    pub fn settle(mut self, heard: Option<Usage>) -> Option<Option<Usage>> {
        let mut state = self.shared_call.state.lock();
        if !std::mem::take(&mut self.pays) {
            return None;
        }
        state.payer_reads = false;
        let usage = match &state.end {
            _ if heard.is_some() => heard,
            Some(End::Complete(usage)) => *usage,
            Some(_) => None,
            None => {
                if state.reading > 1 {
                    self.shared_call.note_handover(&mut state);
                }
                return None;
            }
        };
        (!std::mem::replace(&mut state.is_paid, true)).then_some(usage)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.shared_call.state.lock();
        if let Some(place) = state.readers.get_mut(self.slot) {
            *place = None;
        }
        state.reading -= 1;
        if self.pays {
            state.payer_reads = false;
        }
        let is_alone = state.reading == 0;
        let owner = state.owner.take_if(|_| is_alone);
        let paused = state.paused.take();
        drop(state);
        wake(owner.into_iter().chain(paused));
    }
}
