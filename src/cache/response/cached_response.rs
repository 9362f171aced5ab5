//! The stored form of a response. It is read from a whole response or a stream, and written as either.
//!
//! Only responses that this form represents completely are stored: one choice, text only, finished by `stop`.

use crate::cache::response::not_stored::NotStored;
use crate::http::sse::write_event;
use crate::protocols::json::document::{Document, Scratch, write_string, write_u64};
use crate::protocols::usage::Usage;

/// A complete text response. Its texts are in one allocation, the content last, because a store holds very many
/// responses and every allocation costs memory and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedResponse {
    /// The provider's id, the model name that it reported, `system_fingerprint`, and the content.
    pub(crate) texts: String,
    pub(crate) id_end: u32,
    pub(crate) model_end: u32,
    /// The end of the fingerprint; `None` if there is none.
    pub(crate) fingerprint_end: Option<u32>,
    /// The provider's time stamp, in seconds since the Unix epoch.
    pub(crate) created: u64,
    /// Usage of the upstream call that returned it.
    pub usage: Option<Usage>,
}

impl CachedResponse {
    /// Reads a whole `chat.completion` whose usage was already read.
    ///
    /// # Errors
    /// Why it is not stored.
    pub fn from_whole(
        body: &[u8],
        usage: Option<Usage>,
        scratch: &mut Scratch,
    ) -> Result<Self, NotStored> {
        scratch
            .with_document(body, |document| {
                let choices = document
                    .field(0, "choices")
                    .ok_or(NotStored::NotAResponse)?;
                let choice = only(document, choices)?;
                let finish = document.field(choice, "finish_reason");
                finished(finish.and_then(|at| document.text(at)))?;
                if let Some(logprobs) = document.field(choice, "logprobs")
                    && !document.is_null(logprobs)
                {
                    return Err(NotStored::Unrepresentable);
                }
                let message = document
                    .field(choice, "message")
                    .ok_or(NotStored::NotAResponse)?;
                let content = document.text_of(message, "content").unwrap_or_default();
                let mut response = Self::frame(document, content.len());
                response.take_message(document, message)?;
                response.usage = usage;
                response.checked()
            })
            .unwrap_or(Err(NotStored::Unparsable))
    }

    /// A response with the texts around the content, and capacity for this many bytes of content.
    pub(crate) fn frame(document: &Document<'_>, content_bytes: usize) -> Self {
        let text = |name| document.field(0, name).and_then(|at| document.text(at));
        let id = text("id").unwrap_or_default();
        let model = text("model").unwrap_or_default();
        let fingerprint = text("system_fingerprint");
        let created = document
            .field(0, "created")
            .and_then(|at| document.unsigned(at));
        let created = created.unwrap_or_default();
        Self::with_frame(id, model, fingerprint, created, content_bytes)
    }

    pub(crate) fn with_frame(
        id: &str,
        model: &str,
        fingerprint: Option<&str>,
        created: u64,
        content_bytes: usize,
    ) -> Self {
        let framing = id.len() + model.len() + fingerprint.map_or(0, str::len);
        let mut texts = String::with_capacity(framing + content_bytes);
        texts.push_str(id);
        let id_end = offset(&texts);
        texts.push_str(model);
        let model_end = offset(&texts);
        texts.push_str(fingerprint.unwrap_or_default());
        let fingerprint_end = fingerprint.map(|_| offset(&texts));
        Self {
            texts,
            id_end,
            model_end,
            fingerprint_end,
            created,
            usage: None,
        }
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.texts.push_str(text);
    }

    pub(crate) fn id(&self) -> &str {
        self.texts.get(..self.id_end as usize).unwrap_or_default()
    }

    pub(crate) fn model(&self) -> &str {
        let range = self.id_end as usize..self.model_end as usize;
        self.texts.get(range).unwrap_or_default()
    }

    fn system_fingerprint(&self) -> Option<&str> {
        self.texts
            .get(self.model_end as usize..self.fingerprint_end? as usize)
    }

    /// The text.
    #[must_use]
    pub fn content(&self) -> &str {
        let start = self.fingerprint_end.unwrap_or(self.model_end);
        self.texts.get(start as usize..).unwrap_or_default()
    }

    pub(crate) fn take_chunk(
        &mut self,
        document: &Document<'_>,
        finish: &mut Result<(), NotStored>,
    ) -> Result<(), NotStored> {
        if document
            .field(0, "error")
            .is_some_and(|at| !document.is_null(at))
        {
            return Err(NotStored::Error);
        }
        let Some(choices) = document.field(0, "choices") else {
            return Ok(());
        };
        if document
            .elements(choices)
            .is_some_and(|mut all| all.next().is_none())
        {
            return Ok(());
        }
        let choice = only(document, choices)?;
        if document
            .field(choice, "index")
            .is_some_and(|at| document.unsigned(at) != Some(0))
        {
            return Err(NotStored::SeveralChoices);
        }
        if document
            .field(choice, "logprobs")
            .is_some_and(|at| !document.is_null(at))
        {
            return Err(NotStored::Unrepresentable);
        }
        if let Some(delta) = document.field(choice, "delta") {
            self.take_message(document, delta)?;
        }
        let reason = document
            .field(choice, "finish_reason")
            .and_then(|at| document.text(at));
        if reason.is_some() {
            *finish = finished(reason);
        }
        Ok(())
    }

    /// Reads the text of a message or delta; an error if the stored form cannot represent it.
    fn take_message(&mut self, document: &Document<'_>, at: usize) -> Result<(), NotStored> {
        for (key, value) in document.fields(at).ok_or(NotStored::NotAResponse)? {
            let is_empty = document.is_null(value)
                || document.text(value) == Some("")
                || document
                    .elements(value)
                    .is_some_and(|mut all| all.next().is_none());
            match key {
                "content" => match document.text(value) {
                    Some(text) => self.texts.push_str(text),
                    None if is_empty => {}
                    None => return Err(NotStored::Unrepresentable),
                },
                "role" => {
                    if !is_empty && document.text(value) != Some("assistant") {
                        return Err(NotStored::Unrepresentable);
                    }
                }
                _ if is_empty => {}
                "tool_calls" | "function_call" => return Err(NotStored::ToolCalls),
                "refusal" => return Err(NotStored::Refusal),
                _ => return Err(NotStored::Unrepresentable),
            }
        }
        Ok(())
    }

    pub(crate) fn checked(mut self) -> Result<Self, NotStored> {
        if self.content().is_empty() {
            return Err(NotStored::Empty);
        }
        // A replayed stream repeats them in each event.
        if self.texts.len() - self.content().len() > FRAME_BYTES_MAX {
            return Err(NotStored::TooLarge);
        }
        self.texts.shrink_to_fit();
        Ok(self)
    }

    /// The size of its texts, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.texts.len()
    }

    /// The response as a whole `chat.completion`.
    #[must_use]
    pub fn render_whole(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.content().len() + 512);
        self.write_frame(&mut out, "chat.completion");
        out.extend_from_slice(
            b",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":",
        );
        write_string(&mut out, self.content());
        out.extend_from_slice(b",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"stop\"}]");
        if let Some(usage) = self.usage {
            out.extend_from_slice(b",\"usage\":");
            write_usage(&mut out, usage);
        }
        out.push(b'}');
        out
    }

    /// The response as a stream of `chat.completion.chunk` events, including `[DONE]`; with the usage event if
    /// requested.
    #[must_use]
    pub fn render_stream(&self, with_usage: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.content().len() * 8 + 1024);
        let no_usage: &[u8] = if with_usage { b",\"usage\":null" } else { b"" };
        let mut event = |choices: &dyn Fn(&mut Vec<u8>), usage: &dyn Fn(&mut Vec<u8>)| {
            let mut data = Vec::with_capacity(256);
            self.write_frame(&mut data, "chat.completion.chunk");
            data.extend_from_slice(b",\"choices\":[");
            choices(&mut data);
            data.push(b']');
            usage(&mut data);
            data.push(b'}');
            write_event(&mut out, &data);
        };
        let null = |data: &mut Vec<u8>| data.extend_from_slice(no_usage);
        event(
            &|data| {
                data.extend_from_slice(b"{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}");
            },
            &null,
        );
        for piece in pieces(self.content()) {
            event(
                &|data| {
                    data.extend_from_slice(b"{\"index\":0,\"delta\":{\"content\":");
                    write_string(data, piece);
                    data.extend_from_slice(b"},\"logprobs\":null,\"finish_reason\":null}");
                },
                &null,
            );
        }
        event(
            &|data| {
                data.extend_from_slice(
                    b"{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}",
                );
            },
            &null,
        );
        if let (true, Some(usage)) = (with_usage, self.usage) {
            event(&|_| {}, &|data| {
                data.extend_from_slice(b",\"usage\":");
                write_usage(data, usage);
            });
        }
        write_event(&mut out, b"[DONE]");
        out
    }

    fn write_frame(&self, out: &mut Vec<u8>, object: &str) {
        out.extend_from_slice(b"{\"id\":");
        write_string(out, self.id());
        out.extend_from_slice(b",\"object\":");
        write_string(out, object);
        out.extend_from_slice(b",\"created\":");
        write_u64(out, self.created);
        out.extend_from_slice(b",\"model\":");
        write_string(out, self.model());
        if let Some(fingerprint) = self.system_fingerprint() {
            out.extend_from_slice(b",\"system_fingerprint\":");
            write_string(out, fingerprint);
        }
    }
}

/// Longest id, model and fingerprint of a stored response together, in bytes.
const FRAME_BYTES_MAX: usize = 2048;

/// The end of the text so far. Responses are far smaller than 4 GiB; a larger one would lose its content.
fn offset(texts: &str) -> u32 {
    u32::try_from(texts.len()).unwrap_or(u32::MAX)
}

/// Initial capacity for the text of a stream, in bytes. It grows, and is reduced to the size of the text when the
/// stream ends.
pub(crate) const TEXT_BYTES_EXPECTED: usize = 512;

/// Smallest piece of a replayed stream, in bytes: a few words, so that a client that shows text as it arrives shows
/// it in steps.
const PIECE_BYTES_MIN: usize = 24;

/// `text` in pieces that begin at a word.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let cut = rest
            .char_indices()
            .find(|(at, letter)| *at >= PIECE_BYTES_MIN && letter.is_whitespace())
            .map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at_checked(cut)?;
        rest = after;
        Some(piece)
    })
}

pub(crate) fn only(document: &Document<'_>, choices: usize) -> Result<usize, NotStored> {
    let mut choices = document.elements(choices).ok_or(NotStored::NotAResponse)?;
    match (choices.next(), choices.next()) {
        (Some(choice), None) => Ok(choice),
        (None, _) => Err(NotStored::Empty),
        _ => Err(NotStored::SeveralChoices),
    }
}

fn finished(reason: Option<&str>) -> Result<(), NotStored> {
    match reason {
        Some("stop") => Ok(()),
        Some("length") => Err(NotStored::FinishLength),
        Some("content_filter") => Err(NotStored::FinishContentFilter),
        Some("tool_calls" | "function_call") => Err(NotStored::ToolCalls),
        Some(_) => Err(NotStored::FinishOther),
        None => Err(NotStored::Incomplete),
    }
}

fn write_usage(out: &mut Vec<u8>, usage: Usage) {
    for (name, value) in [
        (&b"{\"prompt_tokens\":"[..], usage.prompt),
        (b",\"completion_tokens\":", usage.completion),
        (b",\"total_tokens\":", usage.total()),
        (
            b",\"prompt_tokens_details\":{\"cached_tokens\":",
            usage.cached,
        ),
    ] {
        out.extend_from_slice(name);
        write_u64(out, value);
    }
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::cache::response::from_stream::tests::from_stream;

    pub(crate) fn response(content: &str) -> CachedResponse {
        let mut response = CachedResponse::with_frame("chatcmpl-1", "m", None, 7, content.len());
        response.texts.push_str(content);
        response.usage = Some(Usage {
            prompt: 5,
            completion: 6,
            ..Usage::default()
        });
        response
    }

    #[test]
    fn both_renderings_read_back_as_the_same_response() {
        let mut scratch = Scratch::default();
        let long = "several words that are long enough to be cut, \"quoted\"\nand é😀 ".repeat(9);
        for content in ["short", long.as_str()] {
            let response = response(content);
            assert_eq!(
                CachedResponse::from_whole(&response.render_whole(), response.usage, &mut scratch),
                Ok(response.clone())
            );
            assert_eq!(
                from_stream(&response.render_stream(true)),
                Ok(response.clone())
            );
            let without = CachedResponse {
                usage: None,
                ..response.clone()
            };
            assert_eq!(from_stream(&response.render_stream(false)), Ok(without));
        }
    }

    #[test]
    fn only_complete_text_responses_are_stored() {
        let mut scratch = Scratch::default();
        let choice = |message: &str, finish: &str| {
            format!(
                r#"{{"choices":[{{"index":0,"message":{message},"finish_reason":"{finish}"}}]}}"#
            )
        };
        let text = r#"{"role":"assistant","content":"hi"}"#;
        for (body, why) in [
            (choice(text, "length"), NotStored::FinishLength),
            (
                choice(text, "content_filter"),
                NotStored::FinishContentFilter,
            ),
            (
                choice(r#"{"content":null,"tool_calls":[{"id":"x"}]}"#, "stop"),
                NotStored::ToolCalls,
            ),
            (
                choice(r#"{"content":"a","refusal":"no"}"#, "stop"),
                NotStored::Refusal,
            ),
            (choice(r#"{"content":""}"#, "stop"), NotStored::Empty),
            (
                choice(r#"{"content":"a","reasoning_content":"r"}"#, "stop"),
                NotStored::Unrepresentable,
            ),
            (r#"{"choices":[]}"#.into(), NotStored::Empty),
            (
                r#"{"error":{"message":"x"}}"#.into(),
                NotStored::NotAResponse,
            ),
            ("<html>".into(), NotStored::Unparsable),
        ] {
            assert_eq!(
                CachedResponse::from_whole(body.as_bytes(), None, &mut scratch),
                Err(why),
                "{body}"
            );
        }
        let stream = String::from_utf8(response("hi there").render_stream(true)).unwrap();
        let cut = stream.replace("\"finish_reason\":\"stop\"", "\"finish_reason\":null");
        assert_eq!(from_stream(cut.as_bytes()), Err(NotStored::Incomplete));
        let long = response(&"word ".repeat(3000)).render_stream(true);
        assert_eq!(from_stream(&long), Err(NotStored::TooLarge));
    }
}
