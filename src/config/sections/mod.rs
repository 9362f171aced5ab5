//! The sections of the file, one module each: their keys, and the values that come of them.

pub mod admin;
pub mod admission;
pub mod auth;
pub mod cache;
pub mod embedding;
pub mod experiment;
pub mod failover;
pub mod log;
pub mod mirror;
pub mod model;
pub mod prices;
pub mod provider;
pub mod rules;
pub mod server;
pub mod target;
pub mod virtual_key;
