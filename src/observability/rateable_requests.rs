//! Stores which arm served a recent request, so that an application's rating counts for that arm. All cores share it, because
//! a rating may arrive on another connection. Only requests of experiments are stored.
//!
//! A request is identified by its id and its key together: a key cannot rate the requests of another key.

use crate::base::names::Name;
use crate::base::request_ids;
use crate::base::request_ids::REQUEST_ID_BYTES_MAX;
use crate::observability::metrics::arms::ArmId;
use arrayvec::ArrayVec;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Most requests that are stored; then each new request replaces the oldest.
pub(crate) const RATEABLE_MAX: usize = 65_536;
const SHARDS: usize = 16;

/// What is stored of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rateable {
    /// Its arm.
    pub arm: ArmId,
    /// The arm was drawn by weight, so the rating may count in the comparison of arms.
    pub is_fair: bool,
}

/// Why a rating is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrateable {
    /// This key made no such request, or the request is no longer stored.
    Unknown,
    /// The request was rated before.
    Rated,
}

#[derive(Default)]
struct Shard {
    /// By id; `None` once the request was rated.
    requests: HashMap<u128, Option<Rateable>>,
    oldest_first: VecDeque<u128>,
}

/// The recent requests.
pub struct RateableRequests {
    shards: [Mutex<Shard>; SHARDS],
    seed: u64,
}

impl Default for RateableRequests {
    fn default() -> Self {
        Self {
            shards: Default::default(),
            // Random, so that no client can choose an id that collides with another.
            seed: request_ids::random(),
        }
    }
}

impl RateableRequests {
    /// Stores a request; it replaces a request with the same id and key.
    pub fn remember(&self, key: Option<Name>, request_id: &str, rateable: Rateable) {
        let id = self.id(key, request_id);
        let mut shard = self.shard(id).lock();
        if shard.requests.insert(id, Some(rateable)).is_none() {
            shard.oldest_first.push_back(id);
        }
        if shard.requests.len() > RATEABLE_MAX / SHARDS
            && let Some(oldest) = shard.oldest_first.pop_front()
        {
            shard.requests.remove(&oldest);
        }
    }

    /// The request that `key` made with this id. It counts as rated from now on.
    ///
    /// # Errors
    /// [`Unrateable`].
    pub fn take(&self, key: Option<Name>, request_id: &str) -> Result<Rateable, Unrateable> {
        let id = self.id(key, request_id);
        let mut shard = self.shard(id).lock();
        let request = shard.requests.get_mut(&id).ok_or(Unrateable::Unknown)?;
        request.take().ok_or(Unrateable::Rated)
    }

    /// Number of stored requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().requests.len())
            .sum()
    }

    /// Whether no request is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn id(&self, key: Option<Name>, request_id: &str) -> u128 {
        let mut bytes: ArrayVec<u8, { REQUEST_ID_BYTES_MAX + 5 }> = ArrayVec::new();
        bytes.push(u8::from(key.is_some()));
        bytes.extend(key.map_or(0, Name::number).to_le_bytes());
        bytes.extend(request_id.bytes().take(REQUEST_ID_BYTES_MAX));
        xxh3_128_with_seed(&bytes, self.seed)
    }

    fn shard(&self, id: u128) -> &Mutex<Shard> {
        let [first, ..] = &self.shards;
        self.shards
            .get((id % SHARDS as u128) as usize)
            .unwrap_or(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rateable() -> Rateable {
        let name = Name::new("ratings-test");
        let arm = ArmId {
            model: name,
            experiment: name,
            arm: name,
        };
        Rateable { arm, is_fair: true }
    }

    #[test]
    fn a_request_is_rated_once_and_only_by_its_key() {
        let ratings = RateableRequests::default();
        let (mine, other) = (Name::new("ratings-mine"), Name::new("ratings-other"));
        ratings.remember(Some(mine), "a", rateable());
        assert_eq!(ratings.take(Some(other), "a"), Err(Unrateable::Unknown));
        assert_eq!(ratings.take(None, "a"), Err(Unrateable::Unknown));
        assert_eq!(ratings.take(Some(mine), "a"), Ok(rateable()));
        assert_eq!(ratings.take(Some(mine), "a"), Err(Unrateable::Rated));
        // The same id again is another request.
        ratings.remember(Some(mine), "a", rateable());
        assert_eq!(ratings.take(Some(mine), "a"), Ok(rateable()));
    }

    #[test]
    fn the_oldest_requests_are_replaced() {
        let ratings = RateableRequests::default();
        for number in 0..2 * RATEABLE_MAX {
            ratings.remember(None, &number.to_string(), rateable());
        }
        assert!(ratings.len() <= RATEABLE_MAX);
        assert_eq!(ratings.take(None, "0"), Err(Unrateable::Unknown));
        let last = (2 * RATEABLE_MAX - 1).to_string();
        assert_eq!(ratings.take(None, &last), Ok(rateable()));
    }
}
