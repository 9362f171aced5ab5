//! The headers of a client that are sent to providers as the client sent them: one table. What is sent, what belongs to
//! the scope of the cache, and what a provider's refusal says about the gateway's key all follow from it.
//!
//! A new header needs one line here and nothing else. It must not know which provider a request goes to.

use crate::headers;
use crate::protocols::anthropic;
use crate::protocols::gemini;
use crate::protocols::openai;
use crate::protocols::responses;

/// A header of a client that is sent to providers.
#[derive(Debug)]
pub(crate) struct ForwardedHeader {
    /// The name, in lower case.
    pub name: &'static str,
    recipients: Recipients,
    /// The response may depend on it, so requests that differ in it share neither an entry of the cache nor a call.
    pub in_cache_scope: bool,
    selects: Selects,
    /// The value that the gateway sends by itself: it selects nothing.
    default: Option<&'static str>,
}

/// Which providers a header is sent to.
#[derive(Debug, Clone, Copy)]
enum Recipients {
    All,
    /// Those that have the client's API, if the client uses one of these.
    WithClientApi(&'static [&'static str]),
}

/// What a caller's header selects at the provider. A refusal of what the caller selected says nothing about the gateway's
/// key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Selects {
    /// Nothing: the header identifies the request.
    Nothing,
    /// A version or a feature of the API, which the account may not have.
    Feature,
    /// The organisation or the project, which may not exist and has its own rate limits.
    Account,
}

impl Selects {
    #[cfg(test)]
    fn as_str(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Feature => "a feature",
            Self::Account => "an account",
        }
    }
}

const OPENAI_APIS: Recipients =
    Recipients::WithClientApi(&[openai::vocabulary::NAME, responses::vocabulary::NAME]);
const ANTHROPIC_API: Recipients = Recipients::WithClientApi(&[anthropic::vocabulary::NAME]);
const GEMINI_API: Recipients = Recipients::WithClientApi(&[gemini::vocabulary::NAME]);

const fn row(
    name: &'static str,
    recipients: Recipients,
    in_cache_scope: bool,
    selects: Selects,
) -> ForwardedHeader {
    ForwardedHeader {
        name,
        recipients,
        in_cache_scope,
        selects,
        default: None,
    }
}

// Columns: name, recipients, whether it is in the scope of the cache, what it selects.
static FORWARDED: [ForwardedHeader; 9] = [
    // These are new in each request, and no response depends on them.
    row(
        headers::IDEMPOTENCY_KEY.name(),
        Recipients::All,
        false,
        Selects::Nothing,
    ),
    row(
        headers::TRACEPARENT.name(),
        Recipients::All,
        false,
        Selects::Nothing,
    ),
    row(
        headers::TRACESTATE.name(),
        Recipients::All,
        false,
        Selects::Nothing,
    ),
    row("openai-beta", OPENAI_APIS, true, Selects::Feature),
    row("openai-organization", OPENAI_APIS, true, Selects::Account),
    row("openai-project", OPENAI_APIS, true, Selects::Account),
    ForwardedHeader {
        default: Some(anthropic::vocabulary::VERSION),
        ..row(
            anthropic::vocabulary::VERSION_HEADER,
            ANTHROPIC_API,
            true,
            Selects::Feature,
        )
    },
    row("anthropic-beta", ANTHROPIC_API, true, Selects::Feature),
    row("x-goog-api-client", GEMINI_API, true, Selects::Nothing),
];

impl ForwardedHeader {
    /// The line of the table for the header `name` of a client that uses the API `client_api`.
    #[must_use]
    pub(crate) fn find(name: &str, client_api: &str) -> Option<&'static Self> {
        let found = FORWARDED
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        let is_sent = match found.recipients {
            Recipients::All => true,
            Recipients::WithClientApi(apis) => apis.contains(&client_api),
        };
        is_sent.then_some(found)
    }

    /// Whether it is sent to every provider, whatever API it has.
    #[must_use]
    pub(crate) fn goes_to_all(&self) -> bool {
        matches!(self.recipients, Recipients::All)
    }

    /// What the header selects with this value.
    #[must_use]
    pub(crate) fn selects(&self, value: &[u8]) -> Selects {
        match self.default {
            Some(default) if default.as_bytes() == value => Selects::Nothing,
            _ => self.selects,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::generated_docs;
    use crate::protocols::registry::CLIENT_APIS;
    use std::fmt::Write;

    const INTRODUCTION: &str = "# Forwarded headers

These headers of a client are sent to providers as the client sent them; no other header is. Paths below
[`/providers`](providers.md#pass-through), files and batches forward more.

- *Sent to*: every provider, or the providers that have the API that the client uses.
- *In the scope of the cache*: requests that differ in the header share neither a cached response nor a call in flight.
- *Selects*: what a caller chooses with it. If a provider refuses a request that selects a feature or an account (401, 403),
  this says nothing about the gateway's key: [no key is put in cooldown](routing.md#rate-limits-and-keys).

This file is written by `RINGSIDE_BLESS=1 cargo test --lib forwarded_headers` from the table in
`src/protocols/forwarded_headers.rs`.

| header | sent to | in the scope of the cache | selects |
|---|---|---|---|
";

    fn recipients(header: &ForwardedHeader) -> String {
        match header.recipients {
            Recipients::All => "all".to_owned(),
            Recipients::WithClientApi(apis) => format!("`{}`", apis.join("`, `")),
        }
    }

    #[test]
    fn the_documentation_lists_every_forwarded_header() {
        let mut text = INTRODUCTION.to_owned();
        for header in &FORWARDED {
            let in_scope = if header.in_cache_scope { "yes" } else { "no" };
            let selects = header.selects.as_str();
            let except = header.default.map(|value| format!(", except `{value}`"));
            let _ = writeln!(
                text,
                "| `{}` | {} | {in_scope} | {selects}{} |",
                header.name,
                recipients(header),
                except.unwrap_or_default()
            );
        }
        generated_docs::compare("docs/forwarded-headers.md", &text);
    }

    #[test]
    fn a_header_is_known_by_its_name_and_the_clients_api() {
        for (at, header) in FORWARDED.iter().enumerate() {
            assert_eq!(header.name, header.name.to_ascii_lowercase());
            let mut before = FORWARDED.iter().take(at);
            assert!(
                before.all(|other| other.name != header.name),
                "{}",
                header.name
            );
            let upper = header.name.to_ascii_uppercase();
            let finders = CLIENT_APIS
                .iter()
                .filter(|api| ForwardedHeader::find(&upper, api.name()).is_some());
            let expected = match header.recipients {
                Recipients::All => CLIENT_APIS.len(),
                Recipients::WithClientApi(apis) => apis.len(),
            };
            assert_eq!(finders.count(), expected, "{}", header.name);
        }
        assert!(ForwardedHeader::find("cookie", "openai").is_none());
    }

    #[test]
    fn the_default_version_selects_nothing() {
        let version = ForwardedHeader::find("anthropic-version", "anthropic").unwrap();
        assert_eq!(version.selects(b"2023-06-01"), Selects::Nothing);
        assert_eq!(version.selects(b"2030-01-01"), Selects::Feature);
    }

    /// What a caller selects changes the response, so it is in the scope.
    #[test]
    fn what_selects_something_is_in_the_scope() {
        for header in &FORWARDED {
            assert!(
                header.in_cache_scope || header.selects == Selects::Nothing,
                "{}",
                header.name
            );
        }
    }
}
