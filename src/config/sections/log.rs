//! `[log]`: the access log.

use crate::config::key::key;
use crate::config::notation::flag;
use crate::config::settings::settings;

settings! {
    /// `[log]`
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Log {
        // On: a user looks for the line of a request first.
        /// one JSON line per request on standard output
        pub requests: bool = key("requests", flag()).default(true);
    }
}
