//! What a request takes from responses that a provider stores. It must not know how a wire format says it.

use std::ops::Range;

/// What a request takes from kept answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The answer that it goes on from.
    pub previous: Option<Previous>,
    /// The answer is asked for later, by its id.
    pub background: bool,
    /// What names a kept thing by an id that proves nothing: an item of `input`, or [`OWN_ID`].
    pub reference: Option<String>,
}

/// The answer that a request goes on from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Previous {
    /// Its id, as the client has it.
    pub id: String,
    /// Where that stands in the body, without quotes.
    pub range: Range<usize>,
}

impl State {
    /// The field that needs a kept answer, if there is one.
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
