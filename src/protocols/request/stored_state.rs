//! The references of a request to responses that a provider stores. It must not know any wire format.

use std::ops::Range;

/// The references of a request to stored responses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The response that the request continues.
    pub previous: Option<Previous>,
    /// The client fetches the response later by its id.
    pub background: bool,
    /// The field that refers to stored data by an id that does not prove ownership: an item of `input`, or
    /// `request_id`.
    pub reference: Option<String>,
}

/// The response that a request continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    /// The id, as the client knows it.
    pub id: String,
    /// The range of the id in the body, without quotes.
    pub range: Range<usize>,
}

impl State {
    /// The field that needs a stored response, if any.
    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self {
                previous: Some(_), ..
            } => Some("previous_response_id"),
            Self {
                background: true, ..
            } => Some("background"),
            _ => None,
        }
    }
}
