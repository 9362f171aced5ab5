//! The admin API: its route table, its pages and the metrics page. For operators, never for the open network.

pub(crate) mod cache_page;
pub(crate) mod experiments_page;
#[cfg(test)]
mod generated_docs;
pub(crate) mod metrics_page;
pub(crate) mod routes;
