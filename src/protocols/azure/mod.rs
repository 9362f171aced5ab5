//! Azure OpenAI: OpenAI's wire format under other paths.

pub(crate) mod provider;
