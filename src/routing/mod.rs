//! Which targets, in which order. A policy is one file here and one line in [`POLICIES`].
//!
//! Policies are pure: no sockets, no clock, no randomness.

mod priority;

/// What a policy knows of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Lower is tried first.
    pub priority: u32,
    /// Relative share.
    pub weight: u32,
}

/// Orders the targets of a model.
pub trait RoutingPolicy: Sync {
    /// Name in the configuration.
    fn name(&self) -> &'static str;

    /// Appends indices into `candidates` to `order`, the first to be tried first.
    fn order(&self, candidates: &[Candidate], order: &mut Vec<usize>);
}

/// Every policy there is.
pub static POLICIES: &[&dyn RoutingPolicy] = &[&priority::Priority];

/// The policy called `name`.
#[must_use]
pub fn policy(name: &str) -> Option<&'static dyn RoutingPolicy> {
    POLICIES
        .iter()
        .copied()
        .find(|policy| policy.name() == name)
}
