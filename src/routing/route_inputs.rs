//! What a core's fleet is asked for one request.

use crate::routing::measurements::Series;

/// What a route was chosen by.
#[derive(Debug, Clone, Copy)]
pub struct RouteInputs<'c> {
    /// The number drawn for the request.
    pub random: u64,
    /// Hash of who asks.
    pub affinity_key: Option<u64>,
    /// The series that the request's latency belongs to.
    pub series: Series,
    /// Members that may not be asked, a bit each.
    pub excluded: u32,
    /// What the request is estimated to cost at each member, if the policy reads costs.
    pub costs_nanousd: &'c [Option<u64>],
}

impl RouteInputs<'_> {
    /// Whether the member in place `at` may be asked.
    #[must_use]
    pub fn admits(&self, at: usize) -> bool {
        self.excluded
            & 1_u32
                .checked_shl(u32::try_from(at).unwrap_or(u32::MAX))
                .unwrap_or(0)
            == 0
    }
}
