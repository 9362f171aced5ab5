//! What the mock reads of a request, in each dialect.

use super::answer::Dialect;
use super::messages;
use ringside::protocols::json::document::Document;
use ringside::protocols::request::canonical_request::canonical;

/// What a request asks for, read.
pub(super) struct Read {
    /// The model, from the body or the path.
    pub model: String,
    /// Text of the last user message.
    pub question: String,
    /// A stream is wanted.
    pub stream: bool,
    /// Usage is wanted in a stream.
    pub wants_usage: bool,
    /// The tool to be called, if one is to be.
    pub tool: Option<String>,
    /// The dialect.
    pub dialect: Dialect,
}

/// Model, dialect and stream of a path that holds them: Google's, and Claude's at Google.
#[must_use]
pub(super) fn path_of(path: &str) -> Option<(&str, Dialect, bool)> {
    let (_, rest) = path.split_once("/models/")?;
    let (model, action) = rest.rsplit_once(':')?;
    let (dialect, stream) = match action {
        "generateContent" | "countTokens" => (Dialect::Gemini, false),
        "streamGenerateContent" => (Dialect::Gemini, true),
        "rawPredict" => (Dialect::Messages, false),
        "streamRawPredict" => (Dialect::Messages, true),
        _ => return None,
    };
    Some((model, dialect, stream))
}

/// Reads a request to `target`.
pub(super) fn read(target: &str, document: &Document<'_>) -> Read {
    let path = target.split('?').next().unwrap_or(target);
    let text = |at: Option<usize>| at.and_then(|at| document.text(at)).map(str::to_owned);
    let flag = |at: Option<usize>| at.and_then(|at| document.boolean(at)) == Some(true);
    let of_path = path_of(path);
    let dialect = match of_path {
        Some((_, dialect, _)) => dialect,
        None if path.starts_with(messages::PATH) => Dialect::Messages,
        None => Dialect::Chat,
    };
    let question = match dialect {
        Dialect::Gemini => last_text(document).unwrap_or_default(),
        _ => canonical(document).question().to_owned(),
    };
    let options = document.field(0, "stream_options");
    let tool = first(document, document.field(0, "tools"))
        .map(|tool| match document.field(tool, "functionDeclarations") {
            None => document.field(tool, "function").unwrap_or(tool),
            list => first(document, list).unwrap_or(tool),
        })
        .and_then(|function| document.field(function, "name"));
    Read {
        model: match of_path {
            Some((model, ..)) => model.to_owned(),
            None => text(document.field(0, "model")).unwrap_or_default(),
        },
        stream: of_path.map_or_else(|| flag(document.field(0, "stream")), |(.., stream)| stream),
        wants_usage: flag(options.and_then(|at| document.field(at, "include_usage"))),
        tool: text(tool).filter(|_| question.to_lowercase().contains("call the tool")),
        question,
        dialect,
    }
}

fn first(document: &Document<'_>, list: Option<usize>) -> Option<usize> {
    document.elements(list?)?.next()
}

/// The text of the last content, if that is all of it.
fn last_text(document: &Document<'_>) -> Option<String> {
    let contents = document.field(0, "contents")?;
    let last = document.elements(contents)?.last()?;
    let mut parts = document.elements(document.field(last, "parts")?)?;
    let (part, None) = (parts.next()?, parts.next()) else {
        return None;
    };
    document.text_of(part, "text").map(str::to_owned)
}
