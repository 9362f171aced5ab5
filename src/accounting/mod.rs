//! Prices, and what requests cost. It must not know metrics or the gateway.

pub(crate) mod billing;
pub(crate) mod cost;
pub(crate) mod prices;
