//! One target: a model at a provider, or the embedding model in this process.

use crate::base::names::Name;
use crate::gateway::snapshot::provider::Provider;
use std::sync::Arc;

pub struct TargetRoute {
    /// `provider/model`.
    pub label: Name,
    /// The model's name at the provider.
    pub model: String,
    pub backend: Backend,
}

/// What serves a target.
pub enum Backend {
    Remote(Arc<Provider>),
    /// The embedding model in this process.
    Local,
}
