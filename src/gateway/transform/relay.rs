//! The relay of one stream: bytes from upstream in, bytes for the client out. A pure transformation; it must not know
//! sockets.

use crate::cache::response::from_events::ResponseCollector;
use crate::gateway::transform::json_array::JsonArray;
use crate::gateway::transform::neutral_relay::NeutralRelay;
use crate::gateway::transform::stream_relay::{EventTooLarge, StreamRelay};
use crate::protocols::client_api::ClientApi;
use crate::protocols::json::document::Scratch;
use crate::protocols::openai::vocabulary;
use crate::protocols::provider_api::ProviderApi;
use crate::protocols::registry::native_api;
use crate::protocols::usage::Usage;
use std::cell::RefCell;
use std::ops::Range;

/// One relayed stream, in the client's format.
pub enum Relay {
    /// OpenAI's format: only what must be known is read.
    Chat(StreamRelay),
    /// Any other format.
    Neutral(NeutralRelay),
}

impl Relay {
    /// A relay in OpenAI's format.
    #[must_use]
    pub fn openai(show_usage: bool) -> Self {
        Self::Chat(StreamRelay::new(show_usage))
    }

    /// Forwards a stream in the format of `client_api`. The `collector` is used in every format but OpenAI's.
    #[must_use]
    pub fn forward(client_api: &dyn ClientApi, collector: Option<ResponseCollector>) -> Self {
        let native =
            native_api(client_api.name()).filter(|_| client_api.name() != vocabulary::NAME);
        match native {
            Some(native) => Self::Neutral(NeutralRelay::forward(native, collector)),
            None => Self::openai(true),
        }
    }

    /// Only observes a stream of `provider`: it appends what arrived.
    #[must_use]
    pub fn observe(provider: &dyn ProviderApi) -> Self {
        if provider.native_client_api() == vocabulary::NAME {
            return Self::openai(true);
        }
        Self::Neutral(NeutralRelay::new(provider.decoder(), None, None))
    }

    /// Sends the events as elements of one array. OpenAI's format has no such form.
    pub fn set_array(&mut self) {
        if let Self::Neutral(relay) = self {
            relay.set_array();
        }
    }

    /// How much of the array was written, if the client gets one.
    #[must_use]
    pub fn array(&self) -> Option<JsonArray> {
        match self {
            Self::Chat(_) => None,
            Self::Neutral(relay) => relay.array(),
        }
    }

    /// Appends what follows the last event.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if let Self::Neutral(relay) = self {
            relay.close(out);
        }
    }

    /// Another relay for the same stream, from here on; `None` if the stream is translated.
    #[must_use]
    pub fn fork(&self) -> Option<Self> {
        match self {
            Self::Chat(relay) => Some(Self::Chat(relay.fork())),
            Self::Neutral(relay) => relay.fork().map(Self::Neutral),
        }
    }

    /// Takes in what arrived (emptied) and appends what the client gets; `observe` is called with each event, as
    /// [`StreamRelay::feed`] does.
    ///
    /// # Errors
    /// One event exceeds the limit.
    pub fn feed(
        &mut self,
        arrived: &mut Vec<u8>,
        out: &mut Vec<u8>,
        scratch: &RefCell<Scratch>,
        mut observe: impl FnMut(&[u8], Option<Range<usize>>),
    ) -> Result<(), EventTooLarge> {
        match self {
            Self::Chat(relay) => relay.feed(arrived, out, observe),
            Self::Neutral(relay) => {
                let scratch = &mut scratch.borrow_mut();
                relay.feed_observed(arrived, out, scratch, |event| observe(event, None))
            }
        }
    }

    /// The provider's body ended.
    pub fn end(
        &mut self,
        out: &mut Vec<u8>,
        scratch: &RefCell<Scratch>,
        mut observe: impl FnMut(&[u8], Option<Range<usize>>),
    ) {
        match self {
            Self::Chat(relay) => relay.end(out, observe),
            Self::Neutral(relay) => {
                let scratch = &mut scratch.borrow_mut();
                relay.end_observed(out, scratch, |event| observe(event, None));
            }
        }
    }

    /// Whether the stream came to its end, without an error.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Chat(relay) => relay.is_complete(),
            Self::Neutral(relay) => relay.is_complete(),
        }
    }

    /// Whether the provider reported by an event that it failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        match self {
            Self::Chat(relay) => relay.has_failed(),
            Self::Neutral(relay) => relay.has_failed(),
        }
    }

    /// Whether nothing follows.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match self {
            Self::Chat(relay) => relay.is_done(),
            Self::Neutral(relay) => relay.is_done(),
        }
    }

    /// The usage that the provider has reported.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Self::Chat(relay) => relay.usage(),
            Self::Neutral(relay) => relay.usage(),
        }
    }

    /// Estimated completion tokens until now, for a stream that reports no usage.
    #[must_use]
    pub fn tokens_estimated(&self) -> u64 {
        match self {
            Self::Chat(relay) => relay.tokens_estimated(),
            Self::Neutral(relay) => relay.tokens_estimated(),
        }
    }

    /// Events that have arrived.
    #[must_use]
    pub fn events(&self) -> u64 {
        match self {
            Self::Chat(relay) => relay.events(),
            Self::Neutral(relay) => relay.events(),
        }
    }

    /// The collected response for the cache; `None` where the events are read by `observe`.
    pub fn take_collector(&mut self) -> Option<ResponseCollector> {
        match self {
            Self::Chat(_) => None,
            Self::Neutral(relay) => relay.take_collector(),
        }
    }
}
