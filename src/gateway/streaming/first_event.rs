//! What can be told of a stream whose bytes are still held: whether it failed, whether it came to its
//! end. It changes nothing in them.

use crate::gateway::streaming::relay::Relay;
use crate::protocols::json::document::Scratch;
use crate::protocols::provider_api::ProviderApi;
use memchr::memmem;
use std::cell::RefCell;

/// Looks at the bytes held of one stream, as they grow.
pub(crate) struct Probe {
    relay: Relay,
    scratch: RefCell<Scratch>,
    looked_at: usize,
    ignored: Vec<u8>,
}

impl Probe {
    /// Looks at a stream of `provider`.
    #[must_use]
    pub(crate) fn new(provider: &dyn ProviderApi) -> Self {
        Self {
            relay: Relay::watching(provider),
            scratch: RefCell::default(),
            looked_at: 0,
            ignored: Vec::new(),
        }
    }

    /// Looks at what was added to `held`; `is_last` when nothing will follow.
    pub(crate) fn look(&mut self, held: &[u8], is_last: bool) {
        let mut added = held.get(self.looked_at..).unwrap_or_default().to_vec();
        self.looked_at = held.len();
        // An event that is too large fails when it is relayed.
        let (out, scratch) = (&mut self.ignored, &self.scratch);
        let _ = self.relay.feed(&mut added, out, scratch, |_, _| {});
        if is_last {
            self.relay.end(&mut self.ignored, &self.scratch, |_, _| {});
        }
        self.ignored.clear();
    }

    /// Whether the provider said by an event that it failed.
    #[must_use]
    pub(crate) fn has_failed(&self) -> bool {
        self.relay.has_failed()
    }

    /// Whether the stream came to its end without an error.
    #[must_use]
    pub(crate) fn is_complete(&self) -> bool {
        self.relay.is_complete()
    }
}

/// Whether the first bytes of a stream hold an event that says it failed.
#[must_use]
pub(crate) fn begins_with_an_error(provider: &dyn ProviderApi, first: &[u8]) -> bool {
    if memmem::find(first, provider.failure_mark()).is_none() {
        return false;
    }
    let mut probe = Probe::new(provider);
    probe.look(first, false);
    probe.has_failed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"error\\\"\"}}]}\n\n\
                        data: {\"error\":null,\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    const BAD: &str =
        "data: {\"choices\":[]}\n\ndata: {\"error\":{\"message\":\"overloaded\"}}\n\n";

    #[test]
    fn failure_and_end_are_seen_however_the_bytes_arrive() {
        let openai = crate::protocols::registry::provider("openai").unwrap();
        for (text, failed, complete) in [(GOOD, false, true), (BAD, true, false)] {
            for split in 0..=text.len() {
                let mut probe = Probe::new(openai);
                probe.look(&text.as_bytes()[..split], false);
                assert!(!probe.has_failed() || split == text.len());
                probe.look(text.as_bytes(), true);
                assert_eq!(
                    (probe.has_failed(), probe.is_complete()),
                    (failed, complete)
                );
            }
        }
        assert!(begins_with_an_error(openai, BAD.as_bytes()));
        assert!(!begins_with_an_error(openai, GOOD.as_bytes()));
        assert!(!begins_with_an_error(openai, b""));
    }
}
