//! What is known of one request, in parts by writer and lifetime.

pub(crate) mod cache;
pub(crate) mod format;
pub(crate) mod identity;
pub(crate) mod outcome;
pub(crate) mod record;
pub(crate) mod request_context;
pub(crate) mod route;
pub(crate) mod timing;
pub(crate) mod usage;
