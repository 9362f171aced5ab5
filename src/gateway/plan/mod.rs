//! What a request may use: models, targets, rules, arm, constraints, deadline, forwarded headers.

pub(crate) mod affinity_key;
pub(crate) mod arms;
pub(crate) mod candidates;
pub(crate) mod deadline;
pub(crate) mod forward_headers;
pub(crate) mod request_plan;
pub(crate) mod rules;
pub(crate) mod selection;
pub(crate) mod stored_responses;
