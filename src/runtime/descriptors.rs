//! Who may use the last file descriptors of the process. Connections of clients and to providers leave some, so that the
//! admin API, log, cache and look-ups work when clients hold all they can get.

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsRawFd, RawFd};
use rustix::process::{Resource, getrlimit};

/// Descriptors that connections to providers leave free, or an eighth of the limit if that is less.
pub(crate) const DESCRIPTORS_RESERVED: u64 = 96;
/// The part of the descriptors that connections of clients leave free, for those to providers and for the rest: a quarter.
const CLIENTS_LEAVE: u64 = 4;

/// The kernel gives the lowest free number, so a number tells how many are in use at least.
fn is_below(descriptor: RawFd, left_free: impl Fn(u64) -> u64) -> bool {
    match getrlimit(Resource::Nofile).current {
        None => true,
        Some(limit) => u64::try_from(descriptor)
            .is_ok_and(|number| number < limit.saturating_sub(left_free(limit))),
    }
}

/// Whether an accepted connection with this descriptor may stay.
pub(crate) fn leaves_enough(client: RawFd) -> bool {
    is_below(client, |limit| limit / CLIENTS_LEAVE)
}

/// Whether a connection to a provider may be opened.
pub(crate) fn has_one_for_upstream() -> bool {
    let next = eventfd(0, EventfdFlags::CLOEXEC);
    next.is_ok_and(|next| {
        is_below(next.as_raw_fd(), |limit| {
            DESCRIPTORS_RESERVED.min(limit / 8)
        })
    })
}
