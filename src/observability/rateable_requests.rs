//! Which arm answered which request lately, so that an application's rating finds it. Shared by all cores,
//! since a rating may come by another connection; only requests of experiments are written here.
//!
//! A request is known by its id together with the key that made it: nobody rates another's.

use crate::base::names::Name;
use crate::base::request_ids;
use crate::base::request_ids::REQUEST_ID_BYTES_MAX;
use crate::observability::metrics::arms::ArmId;
use arrayvec::ArrayVec;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// Requests that may be rated; the oldest is forgotten when another comes.
pub(crate) const RATEABLE_MAX: usize = 65_536;
const SHARDS: usize = 16;

/// What is known of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rateable {
    /// Its arm.
    pub arm: ArmId,
    /// The arms may be compared by it.
    pub is_fair: bool,
}

/// Why a rating is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unrateable {
    /// No such request of this key, or it was long ago.
    Unknown,
    /// It was rated before.
    Rated,
}

#[derive(Default)]
struct Shard {
    /// `None` once it was rated.
    known: HashMap<u128, Option<Rateable>>,
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
            // So that nobody can choose an id that meets another's.
            seed: request_ids::random(),
        }
    }
}

impl RateableRequests {
    /// Remembers a request; one with the same id of the same key is forgotten.
    pub fn remember(&self, key: Option<Name>, request_id: &str, rateable: Rateable) {
        let id = self.id(key, request_id);
        let mut shard = self.shard(id).lock();
        if shard.known.insert(id, Some(rateable)).is_none() {
            shard.oldest_first.push_back(id);
        }
        if shard.known.len() > RATEABLE_MAX / SHARDS
            && let Some(oldest) = shard.oldest_first.pop_front()
        {
            shard.known.remove(&oldest);
        }
    }

    /// The request that `key` made with this id; it is rated from now on.
    ///
    /// # Errors
    /// [`Unrateable`].
    pub fn take(&self, key: Option<Name>, request_id: &str) -> Result<Rateable, Unrateable> {
        let id = self.id(key, request_id);
        let mut shard = self.shard(id).lock();
        let known = shard.known.get_mut(&id).ok_or(Unrateable::Unknown)?;
        known.take().ok_or(Unrateable::Rated)
    }

    /// Requests remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().known.len())
            .sum()
    }

    /// True while there is none.
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
    fn a_request_is_rated_once_and_by_its_own_key() {
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
    fn the_oldest_are_forgotten() {
        let ratings = RateableRequests::default();
        for at in 0..2 * RATEABLE_MAX {
            ratings.remember(None, &at.to_string(), rateable());
        }
        assert!(ratings.len() <= RATEABLE_MAX);
        assert_eq!(ratings.take(None, "0"), Err(Unrateable::Unknown));
        let last = (2 * RATEABLE_MAX - 1).to_string();
        assert_eq!(ratings.take(None, &last), Ok(rateable()));
    }
}
