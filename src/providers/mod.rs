//! The dialect of each vendor, as pure translation. A provider is one file here and one line in [`PROVIDERS`].
//!
//! No sockets, no clock, no randomness: bytes in, bytes out.

mod openai;

use crate::api::splice::Edit;
use crate::error::Retry;
use std::ops::Range;

/// What is asked of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A chat completion.
    Chat,
    /// Embeddings.
    Embeddings,
}

/// A request to encode.
pub struct Outgoing<'r> {
    /// What is asked.
    pub call: Call,
    /// Body as the client sent it.
    pub body: &'r [u8],
    /// Where the model's name stands in it.
    pub model_range: &'r Range<usize>,
    /// The edit that asks for usage in a stream.
    pub usage_edit: Option<&'r Edit>,
    /// Model name at the provider.
    pub model: &'r str,
    /// Path prefix of the base URL.
    pub base_path: &'r str,
    /// Value of the `host` header.
    pub authority: &'r str,
    /// API key; `None` for providers without.
    pub api_key: Option<&'r str>,
    /// Encoded header lines of the client that may cross (see `journey`).
    pub passed_headers: &'r [u8],
}

/// What a status from the provider means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Outcome in metrics.
    pub outcome: &'static str,
    /// Whether another attempt may help.
    pub retry: Retry,
}

/// A vendor's dialect.
pub trait Provider: Sync {
    /// Name in the configuration's `dialect`.
    fn name(&self) -> &'static str;

    /// Appends a whole HTTP/1.1 request, head and body, to `out`.
    fn encode(&self, request: &Outgoing<'_>, out: &mut Vec<u8>);

    /// What `status` means.
    fn judge(&self, status: u16) -> Verdict;
}

/// Every dialect there is.
pub static PROVIDERS: &[&dyn Provider] = &[&openai::OpenAi];

/// The dialect called `name`.
#[must_use]
pub fn provider(name: &str) -> Option<&'static dyn Provider> {
    PROVIDERS
        .iter()
        .copied()
        .find(|provider| provider.name() == name)
}
