//! One target: a model at a provider, or the embedding model in this process.

use crate::base::names::Name;
use crate::gateway::snapshot::provider::Provider;
use std::sync::Arc;

/// One target.
pub struct TargetRoute {
    /// `provider/model`.
    pub label: Name,
    /// Model name at the target.
    pub model: String,
    /// Where it is.
    pub backend: Backend,
}

/// Where a target is.
pub enum Backend {
    /// At a provider.
    Remote(Arc<Provider>),
    /// The embedding model in this process.
    Local,
}
