//! What is known of one request, gathered on its way.

pub(crate) mod request_context;
