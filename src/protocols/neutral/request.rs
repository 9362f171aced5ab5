//! A chat request: messages of parts, tools, and parameters of the generation.
//!
//! Texts are decoded; whatever is called *raw* is JSON as it was written, so that schemas, arguments
//! and numbers cross byte for byte.

use crate::error::gateway_error::GatewayError;
use crate::protocols::json::document::write_escaped;
use crate::protocols::json::write::{key, text};
use crate::protocols::neutral::unsupported_fields::UnsupportedFields;

/// Budgets in tokens up to which an effort is `low` or `medium`; beyond, it is `high`.
const EFFORT_BUDGETS: [(u64, &str); 2] = [(2048, "low"), (8192, "medium")];

/// A chat request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request<'a> {
    /// Messages in order, those of the system included.
    pub messages: Vec<Message<'a>>,
    /// Tools the model may call.
    pub tools: Vec<Tool<'a>>,
    /// Which tool it is to call.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// Whether it may call several tools at once; `None` = as the provider does by default.
    pub parallel_tools: Option<bool>,
    /// Form of the answer.
    pub format: Format<'a>,
    /// Parameters of the generation.
    pub sampling: Sampling<'a>,
    /// How much the model is to think.
    pub reasoning: Reasoning<'a>,
    /// Who the end user is, for the provider's abuse detection.
    pub user: Option<&'a str>,
    /// The answer is to be streamed.
    pub stream: bool,
}

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The operator of the application.
    System,
    /// The same, as newer OpenAI models call it.
    Developer,
    /// The person; also where results of tools stand.
    User,
    /// The model.
    Assistant,
}

/// One turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Message<'a> {
    /// The author of a message.
    pub role: Role,
    /// What is said.
    pub parts: Vec<Part<'a>>,
    /// Where it stands in the request as it was sent, for messages to the caller.
    pub at: usize,
}

/// One part of a message or of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Part<'a> {
    /// Text.
    Text {
        /// The text.
        text: &'a str,
        /// Prompt-cache marker, raw.
        cache: Option<&'a str>,
        /// Citations in an answer, raw.
        citations: Option<&'a str>,
    },
    /// An image.
    Image {
        /// Where it is.
        source: Source<'a>,
        /// How closely it is to be looked at: `low`, `high`, `auto`.
        detail: Option<&'a str>,
        /// Prompt-cache marker, raw.
        cache: Option<&'a str>,
    },
    /// A document.
    Document {
        /// Where it is.
        source: Source<'a>,
        /// Its name.
        title: Option<&'a str>,
        /// Prompt-cache marker, raw.
        cache: Option<&'a str>,
    },
    /// Sound.
    Audio {
        /// The sound, base64.
        data: &'a str,
        /// Its encoding: `wav`, `mp3`.
        format: &'a str,
    },
    /// The model calls a tool.
    ToolCall {
        /// Identity of the call.
        id: &'a str,
        /// The tool.
        name: &'a str,
        /// Its arguments: the text of a JSON object, as the model wrote it.
        arguments: &'a str,
        /// Prompt-cache marker, raw.
        cache: Option<&'a str>,
    },
    /// What a tool gave.
    ToolResult {
        /// Identity of the call.
        id: &'a str,
        /// The tool failed.
        is_error: bool,
        /// What it gave.
        parts: Vec<Part<'a>>,
        /// Prompt-cache marker, raw.
        cache: Option<&'a str>,
    },
    /// What the model thought.
    Thinking {
        /// The thought.
        text: &'a str,
        /// The provider's seal on it; without it no provider takes the thought back.
        signature: Option<&'a str>,
    },
    /// A thought that only the provider can read.
    Redacted {
        /// The sealed thought.
        data: &'a str,
    },
}

/// Where an image or document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    /// To be fetched by the provider.
    Url(&'a str),
    /// In the request.
    Base64 {
        /// Media type.
        media_type: &'a str,
        /// The bytes, base64.
        data: &'a str,
    },
    /// Plain text, in the request.
    Text(&'a str),
    /// Uploaded to the provider before.
    File(&'a str),
}

/// A tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it does.
    pub description: Option<&'a str>,
    /// JSON schema of its arguments, raw.
    pub parameters: Option<&'a str>,
    /// Arguments must follow the schema.
    pub strict: Option<bool>,
    /// Prompt-cache marker, raw.
    pub cache: Option<&'a str>,
}

/// Which tool is to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    /// As the model decides.
    Auto,
    /// At least one.
    Any,
    /// None.
    None,
    /// This one.
    Tool(&'a str),
}

/// Form of the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format<'a> {
    /// Text.
    #[default]
    Text,
    /// Some JSON object.
    JsonObject,
    /// JSON that follows a schema.
    JsonSchema {
        /// The schema's name.
        name: Option<&'a str>,
        /// What it is for.
        description: Option<&'a str>,
        /// The schema, raw.
        schema: &'a str,
        /// The answer must follow it.
        strict: Option<bool>,
    },
}

/// Parameters of the generation; numbers are raw.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sampling<'a> {
    /// Most tokens of the answer, thinking included.
    pub max_tokens: Option<u64>,
    /// Temperature.
    pub temperature: Option<&'a str>,
    /// Nucleus.
    pub top_p: Option<&'a str>,
    /// Most likely tokens considered.
    pub top_k: Option<&'a str>,
    /// Frequency penalty.
    pub frequency_penalty: Option<&'a str>,
    /// Presence penalty.
    pub presence_penalty: Option<&'a str>,
    /// Seed.
    pub seed: Option<&'a str>,
    /// Texts that end the answer.
    pub stop: Vec<&'a str>,
    /// Answers wanted, if not one.
    pub n: Option<u64>,
    /// Token probabilities wanted.
    pub logprobs: bool,
    /// How many alternatives with each, raw.
    pub top_logprobs: Option<&'a str>,
    /// Bias by token, raw.
    pub logit_bias: Option<&'a str>,
}

/// How much the model is to think.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reasoning<'a> {
    /// In a word: `none`, `minimal`, `low`, `medium`, `high`, `max`.
    pub effort: Option<&'a str>,
    /// In tokens.
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
    /// A URL as OpenAI's dialect carries images: the bytes themselves if it is a `data:` URL.
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
    /// For APIs that cannot limit a response to one tool call. If only one tool can be called, the option is
    /// dropped and reported: clients that force a tool always set it, to prevent a repeated call.
    ///
    /// # Errors
    /// 400 where several tools can be called, unless it is to be dropped.
    pub fn lose_serial_tools(
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
    /// The effort in a word: the one that was given, or the nearest to a budget.
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
