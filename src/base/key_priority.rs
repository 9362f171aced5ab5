//! The priority of a virtual key, which decides whose requests go first when not all can.

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
