//! Inspects the first bytes of a stream while they are held back: whether it has failed, or come to its end. It
//! changes nothing in them.

use crate::gateway::transform::relay::Relay;
use crate::protocols::json::document::Scratch;
use crate::protocols::provider_api::ProviderApi;
use memchr::memmem;
use std::cell::RefCell;

/// Inspects the bytes held of one stream, as they grow.
pub(crate) struct StreamInspector {
    relay: Relay,
    scratch: RefCell<Scratch>,
    inspected_bytes: usize,
    /// What the relay would send to a client.
    ignored: Vec<u8>,
}

impl StreamInspector {
    #[must_use]
    pub(crate) fn new(provider: &dyn ProviderApi) -> Self {
        Self {
            relay: Relay::observe(provider),
            scratch: RefCell::default(),
            inspected_bytes: 0,
            ignored: Vec::new(),
        }
    }

    /// Inspects what was added to `held`; `is_last` when nothing follows.
    pub(crate) fn inspect(&mut self, held: &[u8], is_last: bool) {
        let mut added = held
            .get(self.inspected_bytes..)
            .unwrap_or_default()
            .to_vec();
        self.inspected_bytes = held.len();
        // An event that is too large fails when it is relayed.
        let (out, scratch) = (&mut self.ignored, &self.scratch);
        let _ = self.relay.feed(&mut added, out, scratch, |_, _| {});
        if is_last {
            self.relay.end(&mut self.ignored, &self.scratch, |_, _| {});
        }
        self.ignored.clear();
    }

    /// Whether the provider reported by an event that it failed.
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

/// Whether the first bytes of a stream hold an event that reports a failure.
#[must_use]
pub(crate) fn begins_with_error(provider: &dyn ProviderApi, first: &[u8]) -> bool {
    if memmem::find(first, provider.error_event_marker()).is_none() {
        return false;
    }
    let mut inspector = StreamInspector::new(provider);
    inspector.inspect(first, false);
    inspector.has_failed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"error\\\"\"}}]}\n\n\
                        data: {\"error\":null,\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    const BAD: &str =
        "data: {\"choices\":[]}\n\ndata: {\"error\":{\"message\":\"overloaded\"}}\n\n";

    #[test]
    fn failure_and_end_are_found_at_any_split() {
        let openai = crate::protocols::registry::provider_api("openai").unwrap();
        for (text, failed, complete) in [(GOOD, false, true), (BAD, true, false)] {
            for split in 0..=text.len() {
                let mut inspector = StreamInspector::new(openai);
                inspector.inspect(&text.as_bytes()[..split], false);
                assert!(!inspector.has_failed() || split == text.len());
                inspector.inspect(text.as_bytes(), true);
                assert_eq!(
                    (inspector.has_failed(), inspector.is_complete()),
                    (failed, complete)
                );
            }
        }
        assert!(begins_with_error(openai, BAD.as_bytes()));
        assert!(!begins_with_error(openai, GOOD.as_bytes()));
        assert!(!begins_with_error(openai, b""));
    }
}
