//! What a request takes from responses that a provider stores. It must not know how a wire format says it.

use std::ops::Range;

/// What a request takes from stored responses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The response that it continues.
    pub previous: Option<Previous>,
    /// The client fetches the response later, by its id.
    pub background: bool,
    /// The field that refers to stored data by an id that proves no ownership: an item of `input`, or `request_id`.
    pub reference: Option<String>,
}

/// The response that a request continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    /// Its id, as the client has it.
    pub id: String,
    /// Where that stands in the body, without quotes.
    pub range: Range<usize>,
}

impl State {
    /// The field that needs a stored response, if there is one.
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
