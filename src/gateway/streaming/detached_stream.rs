//! A shared stream that goes on in a task of its own, without the connection of the client that caused it: that client
//! reads too slowly, or has left, and followers do not wait for it.

use crate::accounting::billing::Charge;
use crate::base::names::Name;
use crate::cache::coalesce::shared_call::{Follower, SharedCall};
use crate::gateway::context::request_context::RequestContext;
use crate::gateway::core::Core;
use crate::gateway::streaming::event_writer::Framing;
use crate::gateway::streaming::upstream_stream::UpstreamStream;
use crate::gateway::transform::relay::Relay;
use crate::gateway::usage_metrics::record_usage;
use crate::observability::output;
use crate::runtime::io::{Interrupt, Interruption};
use crate::runtime::spawn;
use crate::server::drain::ConnectionGuard;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What the client that caused a stream goes on with: it follows like the others.
pub(crate) struct DetachedClient {
    pub follower: Follower,
    pub relay: Relay,
}

/// Lets a stream go on without its client.
///
/// # Errors
/// The stream itself, when the call is not shared.
#[allow(
    clippy::result_large_err,
    reason = "a stream is moved twice at most in its life"
)]
pub(crate) fn detach(
    stream: UpstreamStream,
    ctx: &RequestContext,
) -> Result<DetachedClient, UpstreamStream> {
    let (Some(leader), Some(relay)) = (&stream.leader, stream.relay.fork()) else {
        return Err(stream);
    };
    let client = DetachedClient {
        follower: leader.join_as_owner(),
        relay,
    };
    let core = Rc::clone(&stream.core);
    core.unattended.set(core.unattended.get() + 1);
    let guard = DetachedGuard {
        shared_call: Arc::clone(leader.shared_call()),
        connection: core.drain.enter(),
        core: Rc::clone(&core),
    };
    let task = run(stream, guard, ctx.identity.key, ctx.route.model);
    spawn::spawn(task, move |message| {
        core.metrics.borrow_mut().process.panics.increment();
        output::notice(&format!(
            "ringside: a shared stream ended by a panic: {message}"
        ));
    });
    Ok(client)
}

/// Moves a stream on for its followers, as long as there are any.
async fn run(
    mut stream: UpstreamStream,
    mut guard: DetachedGuard,
    key: Option<Name>,
    model: Option<Name>,
) {
    let mut unused = Vec::new();
    let end = loop {
        if let Some(end) = stream.ended() {
            break end;
        }
        poll_fn(|cx| guard.shared_call.poll_reader_near(cx)).await;
        if let Err(end) = stream.read(&mut guard).await {
            break end;
        }
        stream.take_in(Framing::UntilClose, &mut unused);
        unused.clear();
    };
    let (core, billed_usage) = (Rc::clone(&guard.core), stream.billed_usage());
    let charge = Charge::of(billed_usage, Some(stream.target()), &core.snapshot().prices);
    let records_usage = stream.finish(&end, &mut guard.connection).await;
    if let Some(model) = model.filter(|_| records_usage) {
        let metrics = &mut core.metrics.borrow_mut();
        record_usage(metrics, key, model, billed_usage, &charge);
    }
}

/// Interrupts a detached stream once nobody reads it, or the process stops.
struct DetachedGuard {
    shared_call: Arc<SharedCall>,
    /// Counts as a connection, so that a drain waits for it.
    connection: ConnectionGuard,
    core: Rc<Core>,
}

impl Interrupt for DetachedGuard {
    fn poll_interrupt(&mut self, cx: &mut Context<'_>) -> Poll<Interruption> {
        if self.shared_call.poll_no_followers(cx).is_ready() {
            return Poll::Ready(Interruption::ClientGone);
        }
        self.connection.poll_interrupt(cx)
    }
}

impl Drop for DetachedGuard {
    fn drop(&mut self) {
        let unattended = &self.core.unattended;
        unattended.set(unattended.get().saturating_sub(1));
    }
}
