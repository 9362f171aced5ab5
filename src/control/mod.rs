//! The control plane: one OS thread with a tokio runtime for everything slow or third-party.

pub(crate) mod canary_monitor;
pub(crate) mod core_message;
pub(crate) mod core_thread;
pub(crate) mod credentials;
pub(crate) mod disk_monitor;
pub(crate) mod dns;
pub(crate) mod gather;
pub(crate) mod http_call;
pub(crate) mod log;
pub(crate) mod plane;
pub(crate) mod records;
pub mod reload;
pub(crate) mod reload_on_signal;
pub(crate) mod shared_health;
pub(crate) mod shutdown;
pub(crate) mod signals;
pub(crate) mod token;
