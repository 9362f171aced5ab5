//! A chat request in the neutral form: messages of parts, tools, and parameters of the generation.
//!
//! Texts are decoded. A *raw* value is unparsed JSON, so that schemas, arguments and numbers are forwarded byte for
//! byte.

use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::write_escaped;
use crate::protocols::json::write::{key, text};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;

/// The largest token budgets that count as effort `low` and `medium`; a larger budget is `high`.
const EFFORT_BUDGETS: [(u64, &str); 2] = [(2048, "low"), (8192, "medium")];

/// A chat request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request<'a> {
    /// Messages in order, including system messages.
    pub messages: Vec<Message<'a>>,
    /// Tools the model may call.
    pub tools: Vec<Tool<'a>>,
    /// The tool that the model must call.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// Whether the model may call several tools at once; `None`: the provider's default.
    pub parallel_tools: Option<bool>,
    /// The response format.
    pub format: Format<'a>,
    /// Parameters of the generation.
    pub sampling: Sampling<'a>,
    /// How much the model thinks.
    pub reasoning: Reasoning<'a>,
    /// The id of the end user, for the provider's abuse detection.
    pub user: Option<&'a str>,
    /// Whether to stream the response.
    pub stream: bool,
}

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The operator of the application.
    System,
    /// The name that newer OpenAI models use for the system.
    Developer,
    /// The end user; messages of this role also carry results of tools.
    User,
    /// The model.
    Assistant,
}

/// A message.
#[derive(Debug, Clone, PartialEq)]
pub struct Message<'a> {
    /// The author of a message.
    pub role: Role,
    /// The content.
    pub parts: Vec<Part<'a>>,
    /// The index of the message in the client's request, for error messages.
    pub at: usize,
}

/// A part of a message or of a response.
#[derive(Debug, Clone, PartialEq)]
pub enum Part<'a> {
    /// Text.
    Text {
        /// The text.
        text: &'a str,
        /// Prompt-cache marker, raw.
        cache: Option<&'a str>,
        /// Citations in a response, raw.
        citations: Option<&'a str>,
    },
    /// An image.
    Image {
        /// The location of the image.
        source: Source<'a>,
        /// The resolution at which the model sees it: `low`, `high`, `auto`.
        detail: Option<&'a str>,
        /// Prompt-cache marker, raw.
        cache: Option<&'a str>,
    },
    /// A document.
    Document {
        /// The location of the document.
        source: Source<'a>,
        /// The title.
        title: Option<&'a str>,
        /// Prompt-cache marker, raw.
        cache: Option<&'a str>,
    },
    /// Audio.
    Audio {
        /// The audio, base64.
        data: &'a str,
        /// The encoding: `wav`, `mp3`.
        format: &'a str,
    },
    /// A tool call of the model.
    ToolCall {
        /// The id of the call.
        id: &'a str,
        /// The name of the tool.
        name: &'a str,
        /// The arguments: a JSON object as text, as the model wrote it.
        arguments: &'a str,
        /// Prompt-cache marker, raw.
        cache: Option<&'a str>,
    },
    /// The result of a tool call.
    ToolResult {
        /// The id of the call.
        id: &'a str,
        /// The tool failed.
        is_error: bool,
        /// The content of the result.
        parts: Vec<Self>,
        /// Prompt-cache marker, raw.
        cache: Option<&'a str>,
    },
    /// A thought of the model.
    Thinking {
        /// The thought.
        text: &'a str,
        /// The provider's signature; providers reject the thought without it.
        signature: Option<&'a str>,
    },
    /// A thought that only the provider can decrypt.
    Redacted {
        /// The encrypted thought.
        data: &'a str,
    },
}

/// The location of an image or a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// A URL that the provider fetches.
    Url(&'a str),
    /// Bytes in the request.
    Base64 {
        /// Media type.
        media_type: &'a str,
        /// The bytes, base64.
        data: &'a str,
    },
    /// Plain text in the request.
    Text(&'a str),
    /// The id of a file that was uploaded to the provider.
    File(&'a str),
}

/// A tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool<'a> {
    /// The name.
    pub name: &'a str,
    /// What it does.
    pub description: Option<&'a str>,
    /// JSON schema of its arguments, raw.
    pub parameters: Option<&'a str>,
    /// Whether the arguments must follow the schema.
    pub strict: Option<bool>,
    /// Prompt-cache marker, raw.
    pub cache: Option<&'a str>,
}

/// Which tool the model must call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// The model decides.
    Auto,
    /// At least one tool.
    Any,
    /// No tool.
    None,
    /// The tool with this name.
    Tool(&'a str),
}

/// The response format.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format<'a> {
    /// Text.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that follows a schema.
    JsonSchema {
        /// The name of the schema.
        name: Option<&'a str>,
        /// The purpose of the schema.
        description: Option<&'a str>,
        /// The schema, raw.
        schema: &'a str,
        /// Whether the response must follow the schema.
        strict: Option<bool>,
    },
}

/// Parameters of the generation; numbers are raw.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling<'a> {
    /// Most tokens of the response, including thinking.
    pub max_tokens: Option<u64>,
    /// Temperature.
    pub temperature: Option<&'a str>,
    /// Nucleus sampling.
    pub top_p: Option<&'a str>,
    /// The number of most likely tokens to sample from.
    pub top_k: Option<&'a str>,
    /// Frequency penalty.
    pub frequency_penalty: Option<&'a str>,
    /// Presence penalty.
    pub presence_penalty: Option<&'a str>,
    /// Seed.
    pub seed: Option<&'a str>,
    /// Stop sequences.
    pub stop: Vec<&'a str>,
    /// The number of choices, if not one.
    pub n: Option<u64>,
    /// Whether to return token probabilities.
    pub logprobs: bool,
    /// The number of alternatives for each token, raw.
    pub top_logprobs: Option<&'a str>,
    /// Bias by token, raw.
    pub logit_bias: Option<&'a str>,
}

/// How much the model thinks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reasoning<'a> {
    /// As a level: `none`, `minimal`, `low`, `medium`, `high`, `max`.
    pub effort: Option<&'a str>,
    /// As a number of tokens.
    pub budget_tokens: Option<u64>,
}

impl<'a> Part<'a> {
    /// A plain text part.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Self::Text {
            text,
            cache: None,
            citations: None,
        }
    }
}

impl<'a> Source<'a> {
    /// Reads a URL as OpenAI's API sends images: a `data:` URL holds the bytes.
    #[must_use]
    pub fn from_url(url: &'a str) -> Self {
        let inline = url
            .strip_prefix("data:")
            .and_then(|rest| rest.split_once(";base64,"));
        match inline {
            Some((media_type, data)) => Self::Base64 { media_type, data },
            None => Self::Url(url),
        }
    }

    /// Appends the URL that [`Source::from_url`] reads, as the field `name`.
    pub fn write_url(&self, name: &str, out: &mut Vec<u8>) {
        match self {
            Self::Base64 { media_type, data } => {
                key(out, name);
                out.extend_from_slice(b"\"data:");
                write_escaped(out, media_type);
                out.extend_from_slice(b";base64,");
                write_escaped(out, data);
                out.push(b'"');
            }
            Self::Url(url) | Self::Text(url) | Self::File(url) => text(out, name, url),
        }
    }
}

impl Request<'_> {
    /// Handles the option that limits a response to one tool call, for APIs without it. If only one tool can be
    /// called, the option is dropped and reported, because clients that force a tool always set it.
    ///
    /// # Errors
    /// 400 if several tools can be called, unless unsupported fields are dropped.
    pub fn reject_or_drop_serial_tools(
        &self,
        unsupported: &mut UnsupportedFields,
    ) -> Result<(), GatewayError> {
        if self.parallel_tools != Some(false) {
            return Ok(());
        }
        let is_forced = matches!(self.tool_choice, Some(ToolChoice::Tool(_)));
        if is_forced || self.tools.len() == 1 {
            unsupported.note_dropped("parallel_tool_calls");
            return Ok(());
        }
        unsupported.reject_or_drop("parallel_tool_calls")
    }
}

impl<'a> Reasoning<'a> {
    /// The effort level: the given one, or the nearest to the budget.
    #[must_use]
    pub fn effort_or_nearest(&self) -> Option<&'a str> {
        let by_budget = |budget: u64| {
            let found = EFFORT_BUDGETS.iter().find(|(most, _)| budget <= *most);
            found.map_or("high", |(_, effort)| *effort)
        };
        let budget = self.budget_tokens.filter(|budget| *budget > 0);
        self.effort.or_else(|| budget.map(by_budget))
    }
}
