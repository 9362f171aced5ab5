//! A request asked once more, off the client's path: one attempt at one target, in a task of its own, whose
//! answer is only compared. It must not know what is learned from it.

use super::core::Core;
use super::failure;
use super::quirks;
use super::snapshot::{RemoteSite, Site, TargetRoute};
use super::underway::{self, Turn, Underway};
use super::wording;
use crate::api::face::{self, Face};
use crate::api::neutral::Losses;
use crate::api::splice::Edit;
use crate::api::usage;
use crate::cache::Answer;
use crate::cache::answer::StreamReader;
use crate::http::head::ResponseHead;
use crate::http::sse::SseSplitter;
use crate::providers::{Body, Call, Outgoing, PROVIDERS};
use crate::routing::fleet::Member;
use crate::routing::health::Outcome;
use crate::runtime::io::{Interrupt, Interruption};
use crate::runtime::{buffer, clock};
use crate::telemetry::metrics::count;
use crate::upstream::exchange;
use crate::upstream::exchange::Piece;
use std::ops::Range;
use std::task::{Context, Poll};

/// Largest answer that is read, in bytes; comparing more would say nothing.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The dialect whose answers are read for a comparison.
const READ: &str = "openai";

/// The request, kept for as long as its answer takes.
pub struct Again {
    /// Its body, as providers may see it.
    pub body: Vec<u8>,
    /// Where the model's name stands in it.
    pub model_range: Range<usize>,
    /// The edit that asks for usage.
    pub usage_edit: Option<Edit>,
    /// A stream is asked for.
    pub streams: bool,
}

/// Whether answers of a site to a caller of this dialect can be compared.
#[must_use]
pub fn is_read(face: &dyn Face, site: &RemoteSite) -> bool {
    face.name() == READ && reads(site)
}

/// The dialects of providers whose answers can be compared at all.
#[must_use]
pub fn comparable() -> Vec<&'static str> {
    let reads = PROVIDERS.iter().filter(|one| one.native() == READ);
    reads.map(|one| one.name()).collect()
}

/// Whether answers of a site can be compared at all.
fn reads(site: &RemoteSite) -> bool {
    site.dialect.native() == READ
}

impl Again {
    /// One attempt. `None` when it gave no answer that can be compared.
    pub async fn ask(
        &self,
        core: &Core,
        target: &TargetRoute,
        member: &Member,
        passed_headers: &[u8],
    ) -> Option<Answer> {
        let Site::Remote(site) = &target.site else {
            return None;
        };
        let is_full = underway::is_full(core, member);
        if is_full || !underway::may_try(core, member, Turn::First) {
            return None;
        }
        let mut underway = Underway::begin(core, target.label, member, None);
        let request = self.request(core, target, site, (passed_headers, underway.lane()))?;
        let answered = exchanged(core, site, request).await;
        let outcome = answered
            .as_ref()
            .map_or(Outcome::Abandoned, |(status, ..)| {
                failure::outcome_of(*status, None)
            });
        underway.end(core, outcome);
        let name = if answered.is_some() {
            "shadow"
        } else {
            "shadow_failed"
        };
        count(
            &mut core.metrics.borrow_mut().attempts,
            (target.label, name),
        );
        let (status, is_stream, body) = answered?;
        let answer = (status == 200).then(|| read(core, is_stream, &body))?;
        answer.ok()
    }

    fn request(
        &self,
        core: &Core,
        target: &TargetRoute,
        site: &RemoteSite,
        (passed_headers, lane): (&[u8], usize),
    ) -> Option<Vec<u8>> {
        let mut losses = Losses::new(site.drops_untranslatable);
        let mut scratch = core.scratch.borrow_mut();
        // As the request that was answered would have been asked.
        let fitted = wording::fitted(site, face::DEFAULT, &self.body, &mut losses, &mut scratch);
        let fitted = fitted.ok()?;
        let (bytes, model_range, usage_edit) = match &fitted {
            Some(fitted) => (
                &fitted.bytes,
                &fitted.read.model_range,
                &fitted.read.usage_edit,
            ),
            None => (&self.body, &self.model_range, &self.usage_edit),
        };
        let held = site.held();
        let auth = site.auth(held.as_deref(), lane).ok()?;
        let mut request = buffer::take(self.body.len() + passed_headers.len() + 1024);
        site.dialect.encode(
            &Outgoing {
                call: Call::Chat,
                streams: self.streams,
                body: Body::Spliced {
                    bytes,
                    model_range,
                    usage_edit: (usage_edit.as_ref())
                        .filter(|_| quirks::takes(site.kind, "stream_options")),
                },
                model: &target.model,
                base_path: &site.endpoint.url.path,
                api_version: site.api_version.as_deref(),
                authority: &site.endpoint.url.authority,
                auth,
                passed_headers,
            },
            &mut request,
        );
        Some(request)
    }
}

/// Status, whether it is a stream, and the whole body.
async fn exchanged(
    core: &Core,
    site: &RemoteSite,
    request: Vec<u8>,
) -> Option<(u16, bool, Vec<u8>)> {
    let (endpoint, watch) = (&site.endpoint, &mut Undisturbed);
    let is_stream = |head: &ResponseHead<'_>| {
        let kind = head.headers.get_str("content-type");
        kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
    };
    let until = clock::now() + endpoint.limits.first_byte;
    let (outcome, request, _) = exchange(
        endpoint, &core.pool, request, false, until, watch, is_stream,
    )
    .await;
    buffer::give(request);
    let mut reply = outcome.ok()?;
    let mut body = Vec::new();
    loop {
        let by = clock::now() + endpoint.limits.read;
        match reply.read(&mut body, by, &mut Undisturbed).await.ok()? {
            Piece::Done => break,
            Piece::More if body.len() > BODY_BYTES_MAX => return None,
            Piece::More => {}
        }
    }
    let status = reply.status;
    Some((status, reply.finish(endpoint, &core.pool), body))
}

fn read(core: &Core, is_stream: bool, body: &[u8]) -> Result<Answer, &'static str> {
    let mut scratch = core.scratch.borrow_mut();
    if !is_stream {
        return Answer::from_whole(body, usage::in_answer(body), &mut scratch);
    }
    let (mut splitter, mut reader) = (SseSplitter::new(), StreamReader::new(BODY_BYTES_MAX));
    let mut rest = body;
    while let Ok(Some(end)) = splitter.next_event(rest) {
        let Some((event, after)) = rest.split_at_checked(end) else {
            break;
        };
        reader.event(event, &mut scratch);
        rest = after;
    }
    reader.finish()
}

/// Nobody waits, so nobody cuts it short; its deadlines end it.
struct Undisturbed;

impl Interrupt for Undisturbed {
    fn poll_interrupt(&mut self, _: &mut Context<'_>) -> Poll<Interruption> {
        Poll::Pending
    }
}
