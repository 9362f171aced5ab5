//! Random interleavings of joins, reads, leaves, hand-over and ends, on one thread: futures are polled by hand.
//!
//! What must hold in each: a follower that stays reads exactly the bytes of its call; a closed call is never joined;
//! at most one follower makes a second attempt; the usage of a call is recorded once; all counts return to zero.

use crate::base::names::Name;
use crate::base::random;
use crate::cache::coalesce::call_end::{End, Head};
use crate::cache::coalesce::shared_call::{
    Follower, FollowerRead, OwnerUsage, SharedCall, StreamStart,
};
use crate::cache::coalesce::shared_calls::{CoalesceKey, JoinResult, Leader, SharedCalls};
use crate::cache::coalesce::stream_buffer::STREAM_BYTES_MAX;
use crate::cache::key::Key;
use crate::cache::key::tests::key;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::protocols::usage::Usage;
use crate::runtime::clock;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

const SEEDS: u64 = 100;
const STEPS: usize = 200;
const USAGE: Option<Usage> = Some(Usage {
    prompt: 3,
    completion: 4,
    cached: 0,
    cache_write: 0,
    reasoning: Some(0),
});

/// Seeded random choices.
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        let (state, number) = random::next(self.0);
        self.0 = state;
        usize::try_from(number % count as u64).unwrap()
    }

    fn pick<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        (!from.is_empty()).then(|| from.swap_remove(self.below(from.len())))
    }
}

/// What the test knows of one call.
struct Call {
    shared_call: Arc<SharedCall>,
    /// `None` between two attempts, and once the call has ended.
    leader: Option<Leader>,
    /// All bytes that were appended.
    stream: Vec<u8>,
    has_begun: bool,
    is_closed: bool,
    ends: usize,
    attempts: usize,
    /// How often a reader received the usage to record.
    records: usize,
}

struct Reader {
    follower: Follower,
    /// Index of its call.
    call: usize,
    /// The bytes of the stream before it joined, and those it has read.
    bytes: Vec<u8>,
    is_owner: bool,
    has_started: bool,
}

struct World {
    shared_calls: Arc<SharedCalls>,
    coalesce_key: CoalesceKey,
    key: Arc<Key>,
    calls: Vec<Call>,
    readers: Vec<Reader>,
    random: Random,
    lagged: u64,
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

impl World {
    fn new(seed: u64) -> Self {
        let key = Arc::new(key("t", "q"));
        Self {
            shared_calls: Arc::default(),
            coalesce_key: CoalesceKey {
                exact: key.exact,
                streams: true,
                models: 0,
            },
            key,
            calls: Vec::new(),
            readers: Vec::new(),
            random: Random(seed),
            lagged: 0,
        }
    }

    fn step(&mut self) {
        match self.random.below(16) {
            0..=3 => self.join(),
            4..=8 => self.read(),
            9 => self.leave(),
            10..=13 => self.lead(),
            14 => self.join_as_owner(),
            _ => self.close(),
        }
    }

    fn join(&mut self) {
        let joined = self
            .shared_calls
            .join(self.coalesce_key, &self.key, clock::now());
        match joined {
            JoinResult::Alone => panic!("the table has room"),
            JoinResult::Lead(leader) => self.calls.push(Call {
                shared_call: Arc::clone(leader.shared_call()),
                leader: Some(leader),
                stream: Vec::new(),
                has_begun: false,
                is_closed: false,
                ends: 0,
                attempts: 1,
                records: 0,
            }),
            JoinResult::Follow(follower) => {
                let call = self.call_of(&follower);
                assert!(!self.calls[call].is_closed, "a closed call was joined");
                self.readers.push(Reader {
                    follower,
                    call,
                    bytes: Vec::new(),
                    is_owner: false,
                    has_started: false,
                });
            }
        }
    }

    fn call_of(&self, follower: &Follower) -> usize {
        let mut calls = self.calls.iter();
        let found = calls.position(|call| Arc::ptr_eq(&call.shared_call, follower.shared_call()));
        found.expect("every call has been led")
    }

    /// One reader polls; it leaves when its call is over for it.
    fn read(&mut self) {
        let Some(mut reader) = self.random.pick(&mut self.readers) else {
            return;
        };
        let call = &mut self.calls[reader.call];
        if !reader.has_started && !reader.is_owner {
            match reader.follower.poll_start(&mut cx()) {
                Poll::Pending => assert!(!call.has_begun && call.ends == 0),
                Poll::Ready(StreamStart::Stream(_)) => reader.has_started = true,
                Poll::Ready(StreamStart::Over(_)) => return assert_eq!(call.ends, 1),
                Poll::Ready(StreamStart::Lead) => {
                    call.attempts += 1;
                    assert_eq!(call.attempts, 2, "a third attempt");
                    let leader = self
                        .shared_calls
                        .take_over(self.coalesce_key, &reader.follower);
                    call.leader = Some(leader);
                    return;
                }
            }
            return self.readers.push(reader);
        }
        let had = reader.bytes.len();
        let read = reader.follower.poll_read(&mut reader.bytes, &mut cx());
        let expected = call.stream.get(had..reader.bytes.len());
        assert_eq!(Some(&reader.bytes[had..]), expected, "other bytes");
        match read {
            Poll::Ready(FollowerRead::More) => self.readers.push(reader),
            Poll::Pending => {
                assert_eq!(reader.bytes.len(), call.stream.len());
                assert_eq!(call.ends, 0);
                self.readers.push(reader);
            }
            Poll::Ready(FollowerRead::Over(_)) => {
                assert_eq!(reader.bytes.len(), call.stream.len(), "bytes are missing");
                assert_eq!(call.ends, 1);
                self.finish(reader, USAGE);
            }
            Poll::Ready(FollowerRead::Lagged) => {
                assert!(call.stream.len() - reader.bytes.len() > STREAM_BYTES_MAX / 2);
                self.lagged += 1;
                self.finish(reader, None);
            }
        }
    }

    /// One reader hangs up.
    fn leave(&mut self) {
        if let Some(reader) = self.random.pick(&mut self.readers) {
            self.finish(reader, None);
        }
    }

    fn finish(&mut self, reader: Reader, reported: Option<Usage>) {
        let is_owner = reader.is_owner;
        let usage = reader.follower.leave_as_owner(reported);
        assert!(is_owner || usage == OwnerUsage::RecordedByCall);
        self.calls[reader.call].records += usize::from(usage != OwnerUsage::RecordedByCall);
    }

    /// A random call makes a step: it begins, streams, fails, completes, or its leader is lost.
    fn lead(&mut self) {
        let Some(index) = self.random_led_call() else {
            return;
        };
        let size = match self.random.below(6) {
            0 => STREAM_BYTES_MAX / 2,
            _ => 1 + self.random.below(40),
        };
        let (action, byte) = (self.random.below(40), self.random.below(256) as u8);
        let has_followers = self.readers.iter().any(|reader| reader.call == index);
        let call = &mut self.calls[index];
        let Some(leader) = call.leader.take() else {
            return;
        };
        match action {
            0 => {
                // Lost, as by a panic.
                drop(leader);
                call.end(has_followers);
            }
            1 => {
                let error = Arc::new(GatewayError::new(ErrorCode::UpstreamError, "it failed"));
                let end = End::Failed {
                    error,
                    should_retry: None,
                };
                let (records, ends) = (leader.finish(end), call.end(has_followers));
                call.records += usize::from(records && ends);
            }
            2 if call.has_begun => {
                call.records += usize::from(leader.finish(End::Complete(USAGE)));
                assert!(!leader.finish(End::Lost), "ended twice");
                call.ends += 1;
                call.is_closed = call.leader.is_none();
            }
            _ if call.has_begun => {
                let is_read = !call.is_closed || has_followers;
                let events = vec![byte; size];
                leader.append(&events);
                if is_read {
                    call.stream.extend(&events);
                }
                call.leader = Some(leader);
            }
            _ => {
                call.has_begun = true;
                leader.begin(Head {
                    target: Name::new("p/m"),
                    status: 200,
                    forwarded: Vec::new(),
                });
                call.leader = Some(leader);
            }
        }
    }

    fn random_led_call(&mut self) -> Option<usize> {
        let calls = self.calls.iter().enumerate();
        let led = calls.filter(|(_, call)| call.leader.is_some());
        let mut led: Vec<usize> = led.map(|(index, _)| index).collect();
        self.random.pick(&mut led)
    }

    /// The client of a stream is slow: it continues as a follower.
    fn join_as_owner(&mut self) {
        let Some(index) = self.random_led_call() else {
            return;
        };
        let mut readers = self.readers.iter();
        let has_owner = readers.any(|reader| reader.call == index && reader.is_owner);
        let call = &mut self.calls[index];
        if let Some(leader) = call
            .leader
            .as_ref()
            .filter(|_| call.has_begun && !has_owner)
        {
            self.readers.push(Reader {
                follower: leader.join_as_owner(),
                call: index,
                bytes: call.stream.clone(),
                is_owner: true,
                has_started: true,
            });
        }
    }

    /// The client of a call hangs up, which ends the call if it has no followers.
    fn close(&mut self) {
        let Some(index) = self.random_led_call() else {
            return;
        };
        let has_followers = self.readers.iter().any(|reader| reader.call == index);
        let call = &mut self.calls[index];
        let is_abandoned = call.shared_call.poll_abandoned(&mut cx()).is_ready();
        assert_eq!(is_abandoned, !has_followers);
        call.is_closed |= is_abandoned;
    }

    /// All remaining readers lead or read to the end.
    fn drain(mut self) {
        while !self.readers.is_empty() {
            self.read();
            for index in 0..self.calls.len() {
                let has_followers = self.readers.iter().any(|reader| reader.call == index);
                let call = &mut self.calls[index];
                if let Some(leader) = call.leader.take() {
                    drop(leader);
                    call.end(has_followers);
                }
            }
        }
        let counts = self.shared_calls.counts();
        assert_eq!(counts.lagged.load(Ordering::Relaxed), self.lagged);
        for call in self.calls.drain(..) {
            assert!(
                call.records <= 1,
                "the usage was recorded {} times",
                call.records
            );
        }
        assert!(self.shared_calls.is_empty());
        assert_eq!(counts.bytes.load(Ordering::Relaxed), 0);
    }
}

impl Call {
    /// The leader failed; true if that ended the call, false if a follower is to make the second attempt.
    fn end(&mut self, has_followers: bool) -> bool {
        self.is_closed = true;
        let ends = self.has_begun || self.attempts == 2 || !has_followers;
        self.ends += usize::from(ends);
        ends
    }
}

#[test]
fn followers_read_exactly_the_call_under_any_interleaving() {
    let mut lagged = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step();
        }
        lagged += world.lagged;
        world.drain();
    }
    assert!(lagged > 0, "no follower lagged");
}
