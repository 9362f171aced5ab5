//! The semantic tier: finds a stored response whose question has the same meaning, in the same scope.
//! It must not know HTTP.

pub(crate) mod hit_comparison;
pub mod miss;
pub mod scope;
pub mod tier;
pub(crate) mod wrong_answers;
