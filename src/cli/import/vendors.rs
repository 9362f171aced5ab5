//! How LiteLLM's provider prefixes are reached: a line of data each.

/// A vendor by LiteLLM's prefix.
pub(crate) struct Vendor {
    /// What stands before the first `/` of `litellm_params.model`.
    pub prefix: &'static str,
    /// Dialects and base URLs, the best first; an empty URL must be given by `api_base`.
    pub ways: &'static [(&'static str, &'static str)],
    /// The environment variable in which LiteLLM looks for the key; empty = none is needed.
    pub key: &'static str,
}

const fn vendor(
    prefix: &'static str,
    ways: &'static [(&'static str, &'static str)],
    key: &'static str,
) -> Vendor {
    Vendor { prefix, ways, key }
}

/// Sources: each vendor's API reference, and LiteLLM's provider pages (docs.litellm.ai/docs/providers).
pub(crate) static VENDORS: &[Vendor] = &[
    vendor(
        "openai",
        &[("openai", "https://api.openai.com/v1")],
        "OPENAI_API_KEY",
    ),
    vendor(
        "anthropic",
        &[("anthropic", "https://api.anthropic.com/v1")],
        "ANTHROPIC_API_KEY",
    ),
    // Azure's v1 API is OpenAI's, with the deployment's name as the model.
    vendor("azure", &[("azure", ""), ("openai", "")], "AZURE_API_KEY"),
    vendor(
        "gemini",
        &[
            ("gemini", "https://generativelanguage.googleapis.com/v1beta"),
            (
                "openai",
                "https://generativelanguage.googleapis.com/v1beta/openai",
            ),
        ],
        "GEMINI_API_KEY",
    ),
    vendor(
        "mistral",
        &[("openai", "https://api.mistral.ai/v1")],
        "MISTRAL_API_KEY",
    ),
    vendor("bedrock", &[("bedrock", "")], ""),
    // Gemini; Claude's models are told apart by their names.
    vendor("vertex_ai", &[("vertex", "")], ""),
    vendor("vertex_ai_anthropic", &[("vertex-anthropic", "")], ""),
    vendor(
        "cohere",
        &[("cohere", "https://api.cohere.com/v2")],
        "COHERE_API_KEY",
    ),
    vendor(
        "cohere_chat",
        &[("cohere", "https://api.cohere.com/v2")],
        "COHERE_API_KEY",
    ),
    vendor(
        "groq",
        &[("openai", "https://api.groq.com/openai/v1")],
        "GROQ_API_KEY",
    ),
    vendor(
        "together_ai",
        &[("openai", "https://api.together.xyz/v1")],
        "TOGETHERAI_API_KEY",
    ),
    vendor(
        "fireworks_ai",
        &[("openai", "https://api.fireworks.ai/inference/v1")],
        "FIREWORKS_AI_API_KEY",
    ),
    vendor(
        "deepseek",
        &[("openai", "https://api.deepseek.com/v1")],
        "DEEPSEEK_API_KEY",
    ),
    vendor("xai", &[("openai", "https://api.x.ai/v1")], "XAI_API_KEY"),
    vendor(
        "perplexity",
        &[("openai", "https://api.perplexity.ai")],
        "PERPLEXITYAI_API_KEY",
    ),
    vendor(
        "openrouter",
        &[("openai", "https://openrouter.ai/api/v1")],
        "OPENROUTER_API_KEY",
    ),
    vendor(
        "cerebras",
        &[("openai", "https://api.cerebras.ai/v1")],
        "CEREBRAS_API_KEY",
    ),
    vendor(
        "nvidia_nim",
        &[("openai", "https://integrate.api.nvidia.com/v1")],
        "NVIDIA_NIM_API_KEY",
    ),
    vendor(
        "deepinfra",
        &[("openai", "https://api.deepinfra.com/v1/openai")],
        "DEEPINFRA_API_KEY",
    ),
    vendor(
        "sambanova",
        &[("openai", "https://api.sambanova.ai/v1")],
        "SAMBANOVA_API_KEY",
    ),
    vendor(
        "friendliai",
        &[("openai", "https://api.friendli.ai/serverless/v1")],
        "FRIENDLI_TOKEN",
    ),
    vendor(
        "nebius",
        &[("openai", "https://api.studio.nebius.ai/v1")],
        "NEBIUS_API_KEY",
    ),
    vendor("llamafile", &[("openai", "")], ""),
    vendor("hosted_vllm", &[("openai", "")], ""),
    vendor("vllm", &[("openai", "")], ""),
    vendor("lm_studio", &[("openai", "")], ""),
    vendor("custom_openai", &[("openai", "")], ""),
    vendor("ollama", &[("openai", "http://localhost:11434")], ""),
    vendor("ollama_chat", &[("openai", "http://localhost:11434")], ""),
];

/// The vendor of a prefix.
pub(crate) fn find(prefix: &str) -> Option<&'static Vendor> {
    VENDORS.iter().find(|vendor| vendor.prefix == prefix)
}
