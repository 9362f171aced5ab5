//! Every header that Ringside reads or writes by name, beside the framing of HTTP itself: one line each.
//!
//! `docs/headers.md` is written from this table. A header of one provider's wire format is named in the folder
//! of its protocol.

use crate::http::encode;
use crate::http::head::Headers;
use std::fmt;

/// A header's name, in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header(&'static str);

impl Header {
    /// The name, in lower case.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        self.0
    }

    /// The value of the first header of this name.
    #[must_use]
    pub(crate) fn read<'b>(self, headers: &Headers<'b>) -> Option<&'b [u8]> {
        headers.get(self.0)
    }

    /// The same, if it is UTF-8.
    #[must_use]
    pub(crate) fn read_str<'b>(self, headers: &Headers<'b>) -> Option<&'b str> {
        headers.get_str(self.0)
    }

    /// Appends the header line.
    pub(crate) fn write(self, out: &mut Vec<u8>, value: impl AsRef<[u8]>) {
        encode::header(out, self.0, value.as_ref());
    }

    /// Appends the header line of a number.
    pub(crate) fn write_u64(self, out: &mut Vec<u8>, value: u64) {
        encode::header_u64(out, self.0, value);
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What a header carries in one direction.
#[cfg(test)]
struct Use {
    value: &'static str,
    meaning: &'static str,
}

/// One line of the table.
#[cfg(test)]
struct Row {
    header: Header,
    request: &'static [Use],
    response: &'static [Use],
}

macro_rules! headers {
    ($($header:ident $name:literal
        $(request $request_value:literal $request_meaning:literal)?
        $(response $response_value:literal $response_meaning:literal)?;)+) => {
        $(pub(crate) const $header: Header = Header($name);)+

        #[cfg(test)]
        const ROWS: &[Row] = &[$(Row {
            header: $header,
            request: &[$(Use { value: $request_value, meaning: $request_meaning })?],
            response: &[$(Use { value: $response_value, meaning: $response_meaning })?],
        },)+];
    };
}

// Columns: constant, name; then, for a request of a client and for a response to it, the value and the meaning.
headers! {
    AUTHORIZATION "authorization" request "`Bearer KEY`" "A Ringside key. Never forwarded.";
    X_API_KEY "x-api-key" request "a key" "The same, as Anthropic's SDKs send it.";
    API_KEY "api-key" request "a key" "The same, as Azure's SDKs send it.";
    X_GOOG_API_KEY "x-goog-api-key" request "a key" "The same, as Google's SDKs send it.";
    CONTENT_TYPE "content-type" request "a media type" "Type of the body." response "a media type" "Type of the body.";
    X_REQUEST_ID "x-request-id" request "1 to 128 visible ASCII characters" "Id of the request, in place of a new one." response "an id" "The client's id or a new one; also sent to the provider and logged.";
    IDEMPOTENCY_KEY "idempotency-key" request "any" "Forwarded. A request with one is sent once: it is not hedged, mirrored or sampled.";
    TRACEPARENT "traceparent" request "W3C Trace Context" "Forwarded.";
    TRACESTATE "tracestate" request "W3C Trace Context" "Forwarded.";
    CACHE_CONTROL "cache-control" request "`no-cache`, `no-store`, `only-if-cached`" "`no-cache` does not serve from the cache; `no-store` does not store either; `only-if-cached` gives 504 `not_cached` instead of calling a provider." response "`no-cache`" "On streams.";
    CACHE_TTL "x-ringside-cache-ttl" request "`30s`, `5m`, `1h`, `1d`, or seconds" "A shorter time to live of the response in the cache.";
    SIMILARITY_MIN "x-ringside-similarity-min" request "0 to 1" "A higher similarity for semantic hits than configured.";
    COALESCE "x-ringside-coalesce" request "`on`, `off`" "`off` makes an upstream call of its own, even while the same request is in flight.";
    MODELS "x-ringside-models" request "names, with commas" "Models to fall back to, in order.";
    ROUTE "x-ringside-route" request "a policy, targets, `*`, with commas" "The policy, and the targets in the order to try them; `*` stands for all others." response "`rule=…; arm=…`" "The rule of the model that applied, and the arm of an experiment.";
    REGION "x-ringside-region" request "names, with commas" "Regions that the request may be sent to.";
    SESSION "x-ringside-session" request "any" "Affinity key of the policy `sticky` and of experiments.";
    DEADLINE_MS "x-ringside-deadline-ms" request "milliseconds" "A deadline that is shorter than the model's.";
    PROVIDER "x-ringside-provider" request "a provider's name" "The provider of a request for files or batches, where the key may reach several.";
    CACHE "x-ringside-cache" response "`exact`, `semantic`, `coalesced`, `stale`, `miss`, `bypass`" "Where the response came from: `coalesced` shared the call of the same request in flight, `stale` was served because every target failed. Chat only.";
    CACHE_REASON "x-ringside-cache-reason" response "words" "For a hit, `same request` or similarity and confidence; otherwise the rule that refused.";
    CACHE_ENTRY "x-ringside-cache-entry" response "32 hexadecimal digits" "The entry that was served.";
    AGE "age" response "seconds" "Age of the entry that was served.";
    TARGET "x-ringside-target" response "`provider/model`" "The target that responded, or was tried last; for a hit, the one that created the entry.";
    ATTEMPTS "x-ringside-attempts" response "a number" "Attempts sent to targets; 0 for a hit.";
    HEDGED "x-ringside-hedged" response "`won`, `lost`" "A second target was tried because the first was late: whether the second was faster.";
    OVERHEAD_US "x-ringside-overhead-us" response "microseconds" "What Ringside added until the head was written: total time less the time spent waiting for upstream.";
    COST_NANOUSD "x-ringside-cost-nanousd" response "billionths of a dollar" "Cost of the request, 0 for a hit. Absent when unknown, and on streams: the log has it.";
    DROPPED "x-ringside-dropped" response "names of fields" "Fields that the target's API cannot express and that were left out.";
    UPSTREAM_REQUEST_ID "x-ringside-upstream-request-id" response "an id" "The provider's own request id.";
    REQUEST_ID "request-id" response "an id" "As `x-request-id`, where another API than OpenAI's was called.";
    SHOULD_RETRY "x-should-retry" response "`true`, `false`" "On errors, for SDKs. `false` after several attempts, which an SDK's own retries would multiply; `true` when every target is busy, or rate-limited for less than a minute.";
    RETRY_AFTER "retry-after" response "seconds" "How long to wait before the next request.";
    ALLOW "allow" response "methods" "On 405, the methods of the path.";
    CONNECTION "connection" response "`keep-alive`, `close`" "Whether the connection takes another request.";
}

/// Beginning of the names that are Ringside's own, which never cross from a client to a provider or back.
pub(crate) const OWN_PREFIX: &str = "x-ringside-";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::generated_docs;
    use std::collections::HashSet;
    use std::fmt::Write;

    const INTRODUCTION: &str = "# Headers

What Ringside reads of a client's request, and what it writes into a response. A client may tighten a limit or a threshold,
never loosen it. Other headers of a client are forwarded only where the API that is called needs them; a
[path below `/providers`](providers.md) forwards most.

This file is written by `RINGSIDE_BLESS=1 cargo test --lib headers` from the table in `src/headers.rs`.
";

    fn table(title: &str, pick: impl Fn(&Row) -> &'static [Use]) -> String {
        let mut text = format!("\n## {title}\n\n| header | value | meaning |\n|---|---|---|\n");
        for row in ROWS {
            for Use { value, meaning } in pick(row) {
                let _ = writeln!(text, "| `{}` | {value} | {meaning} |", row.header);
            }
        }
        text
    }

    #[test]
    fn the_documentation_lists_every_header() {
        let requests = table("Requests", |row| row.request);
        let responses = table("Responses", |row| row.response);
        let text = format!("{INTRODUCTION}{requests}{responses}");
        generated_docs::compare("docs/headers.md", &text);
    }

    #[test]
    fn names_are_unique_and_in_lower_case() {
        let mut seen = HashSet::new();
        for row in ROWS {
            let name = row.header.name();
            assert!(seen.insert(name), "{name} is declared twice");
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
            );
            assert!(
                !(row.request.is_empty() && row.response.is_empty()),
                "{name}"
            );
        }
    }
}
