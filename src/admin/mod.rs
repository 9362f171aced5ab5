//! The admin API: its route table, its pages and the metrics page. It is for operators and must not be reachable from the open
//! network.

mod cache_page;
mod connections;
mod experiments_page;
mod explain_page;
#[cfg(test)]
mod generated_docs;
mod health;
mod metrics_page;
mod openapi;
mod query;
mod response;
mod route;
pub(crate) mod routes;
pub(crate) mod server;
mod targets_page;
