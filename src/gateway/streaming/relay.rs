//! The answer on its way back, as pure transformation: bytes from upstream in, bytes for the client out.
//!
//! No sockets here; `journey` moves the bytes.

use crate::gateway::streaming::json_array::JsonArray;
use crate::gateway::streaming::neutral_relay::NeutralRelay;
use crate::gateway::streaming::stream_relay::StreamRelay;
use crate::protocols::openai::vocabulary;

use crate::cache::response::from_events::ResponseCollector;
use crate::gateway::streaming::stream_relay::EventTooLarge;
use crate::protocols::client_api::ClientApi;
use crate::protocols::json::document::Scratch;
use crate::protocols::provider_api::ProviderApi;
use crate::protocols::registry::native_api;
use crate::protocols::usage::Usage;
use std::cell::RefCell;
use std::ops::Range;

/// One relayed stream, in the caller's dialect.
pub enum Relay {
    /// OpenAI's dialect: nothing is read but what must be known.
    Chat(StreamRelay),
    /// Any other dialect.
    Neutral(NeutralRelay),
}

impl Relay {
    /// The relay in OpenAI's dialect.
    #[must_use]
    pub fn plain(shows_usage: bool) -> Self {
        Self::Chat(StreamRelay::new(shows_usage))
    }

    /// The relay to a client that speaks `face`, of a stream in that dialect. A `collector` is used in
    /// every dialect but OpenAI's.
    #[must_use]
    pub fn of(client_api: &dyn ClientApi, collector: Option<ResponseCollector>) -> Self {
        let own = native_api(client_api.name()).filter(|_| client_api.name() != vocabulary::NAME);
        match own {
            Some(own) => Self::Neutral(NeutralRelay::of(own, collector)),
            None => Self::plain(true),
        }
    }

    /// The same as elements of one array. OpenAI's dialect has no such form.
    pub fn set_array(&mut self) {
        if let Self::Neutral(relay) = self {
            relay.array = Some(JsonArray::default());
        }
    }

    /// The array that the client gets, as far as it is.
    #[must_use]
    pub fn array(&self) -> Option<JsonArray> {
        match self {
            Self::Chat(_) => None,
            Self::Neutral(relay) => relay.array,
        }
    }

    /// Appends what follows the last event.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if let Self::Neutral(NeutralRelay {
            array: Some(array), ..
        }) = self
        {
            array.end(out);
        }
    }

    /// Another relay for the same stream, from here on; `None` if there can be none.
    #[must_use]
    pub fn twin(&self) -> Option<Self> {
        match self {
            Self::Chat(relay) => Some(Self::Chat(relay.twin())),
            Self::Neutral(relay) => relay.twin().map(Self::Neutral),
        }
    }

    /// A relay that only watches a stream of `provider`: what it appends is what came.
    #[must_use]
    pub fn watching(provider: &dyn ProviderApi) -> Self {
        if provider.native() == vocabulary::NAME {
            return Self::plain(true);
        }
        Self::Neutral(NeutralRelay::new(provider.decoder(), None, None))
    }

    /// Takes in what arrived (emptied) and appends what the client is to get; `watch` is shown each
    /// event, as [`StreamRelay::feed`] does.
    ///
    /// # Errors
    /// One event exceeds the limit.
    pub fn feed(
        &mut self,
        arrived: &mut Vec<u8>,
        out: &mut Vec<u8>,
        scratch: &RefCell<Scratch>,
        mut watch: impl FnMut(&[u8], Option<Range<usize>>),
    ) -> Result<(), EventTooLarge> {
        match self {
            Self::Chat(relay) => relay.feed(arrived, out, watch),
            Self::Neutral(relay) => {
                let scratch = &mut scratch.borrow_mut();
                relay.feed_shown(arrived, out, scratch, |event| watch(event, None))
            }
        }
    }

    /// The provider's body ended.
    pub fn end(
        &mut self,
        out: &mut Vec<u8>,
        scratch: &RefCell<Scratch>,
        mut watch: impl FnMut(&[u8], Option<Range<usize>>),
    ) {
        match self {
            Self::Chat(relay) => relay.end(out, watch),
            Self::Neutral(relay) => {
                relay.end_shown(out, &mut scratch.borrow_mut(), |event| watch(event, None));
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

    /// Whether the provider said itself that it failed.
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

    /// Usage seen so far.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Self::Chat(relay) => relay.usage(),
            Self::Neutral(relay) => relay.usage().map(Usage::from),
        }
    }

    /// Tokens that the stream may have had until now, for when nobody reports them.
    #[must_use]
    pub fn tokens_estimated(&self) -> u64 {
        match self {
            Self::Chat(relay) => relay.tokens_estimated(),
            Self::Neutral(relay) => relay.tokens_estimated(),
        }
    }

    /// Events seen so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        match self {
            Self::Chat(relay) => relay.events(),
            Self::Neutral(relay) => relay.events(),
        }
    }

    /// What collected the answer for the cache, if it was not shown to `watch`.
    pub fn take_collector(&mut self) -> Option<ResponseCollector> {
        match self {
            Self::Chat(_) => None,
            Self::Neutral(relay) => relay.take_collector(),
        }
    }
}
