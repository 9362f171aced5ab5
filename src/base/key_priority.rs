//! The priority of a virtual key: the order of its requests in a queue. It must not know queues.

/// `[[keys]] priority`, the lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyPriority {
    /// Requests that can wait, such as batch jobs.
    Low,
    /// The default.
    Normal,
    /// Requests that a person waits for.
    High,
}

impl KeyPriority {
    /// Number of priorities.
    pub const COUNT: usize = 3;
}
