//! Writes a stored response in the client API of the request.

use crate::cache::response::cached_response::{CachedResponse, pieces};
use crate::protocols::client_api::{ClientApi, ResponseContext};
use crate::protocols::neutral::event::{Delta, Event, Kind, Start};
use crate::protocols::neutral::request::Part;
use crate::protocols::neutral::response;
use crate::protocols::neutral::response::{Choice, Stop};
use crate::protocols::usage::Usage;

/// The response as one body.
#[must_use]
pub(crate) fn whole(
    response: &CachedResponse,
    client_api: &dyn ClientApi,
    response_ctx: &ResponseContext,
) -> Vec<u8> {
    let neutral = response::Response {
        id: response.id(),
        model: response.model(),
        created: Some(response.created),
        choices: vec![Choice {
            parts: vec![Part::text(response.content())],
            stop: Stop::End,
            stop_sequence: None,
            logprobs: None,
        }],
        usage: usage(response),
    };
    let mut out = Vec::with_capacity(response.content().len() + 512);
    client_api.write_response(&neutral, response_ctx, &mut out);
    out
}

/// The stored usage. A record on disk cannot tell zero reasoning tokens from an unreported number, so zero is left out.
fn usage(response: &CachedResponse) -> Option<Usage> {
    let usage = response.usage?;
    Some(Usage {
        reasoning: usage.reasoning.filter(|tokens| *tokens > 0),
        ..usage
    })
}

/// The response as a stream.
#[must_use]
pub(crate) fn stream(
    response: &CachedResponse,
    client_api: &dyn ClientApi,
    response_ctx: ResponseContext,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(response.content().len() * 8 + 1024);
    let mut encoder = client_api.encoder(response_ctx);
    let usage = usage(response);
    encoder.event(
        &Event::Start(Start {
            id: response.id(),
            model: response.model(),
            created: Some(response.created),
            usage,
        }),
        &mut out,
    );
    let (part, choice) = (0, 0);
    let kind = Kind::Text;
    encoder.event(&Event::PartStart { part, choice, kind }, &mut out);
    for piece in pieces(response.content()) {
        let delta = Delta::Text(piece);
        encoder.event(&Event::Delta { part, delta }, &mut out);
    }
    encoder.event(&Event::PartEnd { part }, &mut out);
    encoder.event(
        &Event::Stop {
            choice,
            reason: Stop::End,
            sequence: None,
        },
        &mut out,
    );
    if let Some(usage) = usage {
        encoder.event(&Event::Usage(usage), &mut out);
    }
    encoder.event(&Event::End, &mut out);
    out
}
