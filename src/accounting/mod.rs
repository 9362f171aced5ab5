//! Usage, prices and cost.

pub(crate) mod billing;
pub(crate) mod cost;
pub(crate) mod prices;
