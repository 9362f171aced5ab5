//! The kinds of operation that requests are counted and logged by.

/// The kind of a request's operation, without its details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum OperationKind {
    /// The request names no served operation.
    None,
    Chat,
    CountTokens,
    Embeddings,
    Feedback,
    Rerank,
    TextCompletion,
    Moderation,
    Image,
    Speech,
    Transcription,
    Files,
    Batches,
    /// A path below `/providers/{name}/`.
    ProviderProxy,
    /// A request about a response that a provider stores.
    StoredResponse,
    Models,
}

impl OperationKind {
    /// Name in metrics and logs (OpenTelemetry's `gen_ai.operation.name` where it has one).
    #[must_use]
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Chat => "chat",
            Self::CountTokens => "count_tokens",
            Self::Embeddings => "embeddings",
            Self::Feedback => "feedback",
            Self::Rerank => "rerank",
            Self::TextCompletion => "text_completion",
            Self::Moderation => "moderation",
            Self::Image => "image",
            Self::Speech => "speech",
            Self::Transcription => "transcription",
            Self::Files => "files",
            Self::Batches => "batches",
            Self::ProviderProxy => "provider_proxy",
            Self::StoredResponse => "responses",
            Self::Models => "models",
        }
    }
}
