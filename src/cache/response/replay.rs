//! A stored answer, written in the dialect of the caller.

use crate::cache::response::cached_response::{CachedResponse, pieces};
use crate::protocols::client_api::{ClientApi, ResponseContext};
use crate::protocols::neutral::answer;
use crate::protocols::neutral::answer::{Choice, Stop};
use crate::protocols::neutral::event::{Delta, Event, Kind, Start};
use crate::protocols::neutral::request::Part;

/// As a whole answer.
#[must_use]
pub(crate) fn whole(
    answer: &CachedResponse,
    face: &dyn ClientApi,
    about: &ResponseContext,
) -> Vec<u8> {
    let neutral = answer::Response {
        id: answer.id(),
        model: answer.model(),
        created: Some(answer.created),
        choices: vec![Choice {
            parts: vec![Part::text(answer.content())],
            stop: Stop::End,
            stop_sequence: None,
            logprobs: None,
        }],
        usage: answer.usage.map(Into::into),
    };
    let mut out = Vec::with_capacity(answer.content().len() + 512);
    face.write_answer(&neutral, about, &mut out);
    out
}

/// As a stream.
#[must_use]
pub(crate) fn stream(
    answer: &CachedResponse,
    face: &dyn ClientApi,
    about: ResponseContext,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(answer.content().len() * 8 + 1024);
    let mut encoder = face.encoder(about);
    let usage = answer.usage.map(answer::Usage::from);
    encoder.event(
        &Event::Start(Start {
            id: answer.id(),
            model: answer.model(),
            created: Some(answer.created),
            usage,
        }),
        &mut out,
    );
    let (part, choice) = (0, 0);
    let kind = Kind::Text;
    encoder.event(&Event::PartStart { part, choice, kind }, &mut out);
    for piece in pieces(answer.content()) {
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
