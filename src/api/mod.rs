//! The public surface: path → operation, JSON → request, and the JSON Ringside writes itself.
//!
//! Pure functions over bytes; it must not know sockets, caches or providers.

pub mod canonical;
pub mod chat;
pub mod embeddings;
pub mod json;
pub mod models;
pub mod refusal;
pub mod shape;
pub mod splice;
pub mod steering;
pub mod usage;

use crate::http::head::Method;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation<'t> {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `GET /v1/models`
    Models,
    /// `GET /v1/models/{id}`
    Model(&'t str),
}

impl Operation<'_> {
    /// Name in metrics and logs (OpenTelemetry's `gen_ai.operation.name` where it has one).
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat",
            Self::Embeddings => "embeddings",
            Self::Models | Self::Model(_) => "models",
        }
    }
}

/// Why a path and method name no operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoOperation {
    /// Unknown path.
    NotFound,
    /// Known path, other method; the methods it takes.
    MethodNotAllowed(&'static str),
}

/// The paths served, for messages.
pub const PATHS: &str =
    "POST /v1/chat/completions, POST /v1/embeddings, GET /v1/models, GET /v1/models/{model}";

/// The operation behind method and target.
///
/// # Errors
/// [`NoOperation`].
pub fn operation(method: Method, target: &str) -> Result<Operation<'_>, NoOperation> {
    let path = target.split('?').next().unwrap_or(target);
    let (operation, allowed) = match path {
        "/v1/chat/completions" => (Operation::ChatCompletions, "POST"),
        "/v1/embeddings" => (Operation::Embeddings, "POST"),
        "/v1/models" => (Operation::Models, "GET, HEAD"),
        _ => match path.strip_prefix("/v1/models/") {
            Some(id) if !id.is_empty() => (Operation::Model(id), "GET, HEAD"),
            _ => return Err(NoOperation::NotFound),
        },
    };
    let right = match method {
        Method::Post => allowed == "POST",
        Method::Get | Method::Head => allowed != "POST",
        _ => false,
    };
    if right {
        Ok(operation)
    } else {
        Err(NoOperation::MethodNotAllowed(allowed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_methods() {
        assert_eq!(
            operation(Method::Post, "/v1/chat/completions?x=1"),
            Ok(Operation::ChatCompletions)
        );
        assert_eq!(operation(Method::Head, "/v1/models"), Ok(Operation::Models));
        assert_eq!(
            operation(Method::Get, "/v1/models/meta/llama"),
            Ok(Operation::Model("meta/llama"))
        );
        assert_eq!(
            operation(Method::Get, "/v1/chat/completions"),
            Err(NoOperation::MethodNotAllowed("POST"))
        );
        assert_eq!(
            operation(Method::Post, "/v1/chat"),
            Err(NoOperation::NotFound)
        );
    }
}
