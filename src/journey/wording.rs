//! A request's body in the words of the provider: as it is, with what is odd about the provider put right,
//! or in another dialect. It must not know how the request is sent (`asking.rs`).

use super::asking::{Asking, Spent};
use super::failure::{self, Failed};
use super::quirks;
use super::snapshot::RemoteSite;
use crate::api::chat::ChatRequest;
use crate::api::face::Face;
use crate::api::json::Scratch;
use crate::api::neutral::Losses;
use crate::api::openai;
use crate::error::Fault;
use crate::providers::Call;
use crate::relay::translate::{self, Said};
use crate::runtime::buffer;

/// A chat request with what is odd about the provider put right.
pub struct Fitted {
    /// Its body.
    pub bytes: Vec<u8>,
    /// The body, read again: places in it are other ones.
    pub read: ChatRequest,
}

/// A request's body in the words of the provider.
pub enum Worded {
    /// As the client sent it.
    AsItIs,
    /// With what is odd about the provider put right, and read again.
    Fitted(Box<Fitted>),
    /// In another dialect.
    Written(Vec<u8>),
}

impl Worded {
    /// Bytes that it holds beside the client's own.
    pub fn own_bytes(&self) -> usize {
        match self {
            Self::AsItIs => 0,
            Self::Fitted(fitted) => fitted.bytes.len(),
            Self::Written(bytes) => bytes.len(),
        }
    }
}

impl Asking<'_> {
    /// The body in the words of the provider.
    ///
    /// # Errors
    /// The failure of a target that has no place for a field.
    pub fn worded(&self, spent: &mut Spent) -> Result<Worded, Box<Failed>> {
        let (plan, site) = (self.plan, self.site);
        let mut losses = Losses::new(site.drops_untranslatable);
        let outcome = self.word(&mut losses);
        spent.dropped = losses.header();
        let worded =
            outcome.map_err(|fault| Box::new(failure::untranslatable(self.target, fault)))?;
        debug_assert!(plan.call == Call::Chat || matches!(worded, Worded::AsItIs));
        Ok(worded)
    }

    fn word(&self, losses: &mut Losses) -> Result<Worded, Fault> {
        let (plan, site) = (self.plan, self.site);
        let mut scratch = self.core.scratch.borrow_mut();
        if plan.call != Call::Chat {
            return Ok(Worded::AsItIs);
        }
        // What is odd about a provider is odd about its chats in OpenAI's dialect, not about Responses.
        let kind = (site.kind).filter(|_| self.dialect().native() == openai::NAME);
        if self.is_native() {
            if kind.is_none() {
                return Ok(Worded::AsItIs);
            }
            let fitted = fitted(site, plan.face, plan.body, losses, &mut scratch)?;
            return Ok(match fitted {
                None => Worded::AsItIs,
                Some(fitted) => Worded::Fitted(Box::new(fitted)),
            });
        }
        let mut written = buffer::take(plan.body.len() + 1024);
        let (dialect, model) = (self.dialect(), &self.target.model);
        let to = &mut written;
        translate::request(
            plan.face,
            dialect,
            &Said {
                body: plan.body,
                streams: plan.streams,
            },
            model,
            losses,
            &mut scratch,
            to,
        )?;
        let fitted = match kind {
            Some(kind) => quirks::fitted(kind, &written, losses, &mut scratch)?,
            None => None,
        };
        Ok(Worded::Written(fitted.unwrap_or(written)))
    }
}

/// A chat request in the provider's own dialect, with what is odd about the provider put right, and read
/// again; `None` if it is right as it is.
///
/// # Errors
/// 400 naming a field that would be lost.
pub fn fitted(
    site: &RemoteSite,
    face: &dyn Face,
    body: &[u8],
    losses: &mut Losses,
    scratch: &mut Scratch,
) -> Result<Option<Fitted>, Fault> {
    let Some(kind) = site.kind else {
        return Ok(None);
    };
    let Some(bytes) = quirks::fitted(kind, body, losses, scratch)? else {
        return Ok(None);
    };
    let read = face.read_head("", &bytes, scratch, false)?;
    Ok(Some(Fitted { bytes, read }))
}
