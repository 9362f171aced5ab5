//! The APIs behind LiteLLM's provider prefixes: a line of data each.

/// A vendor by LiteLLM's prefix.
pub(crate) struct Vendor {
    /// The part before the first `/` of `litellm_params.model`.
    pub prefix: &'static str,
    /// Its APIs, the best first.
    pub apis: &'static [Api],
    /// The environment variable in which LiteLLM looks for the key; empty = none is needed.
    pub key: &'static str,
}

/// An API of a vendor.
#[derive(Clone, Copy)]
pub(crate) struct Api {
    pub dialect: &'static str,
    /// Empty when `api_base` must say it.
    pub base_url: &'static str,
}

const fn api(dialect: &'static str, base_url: &'static str) -> Api {
    Api { dialect, base_url }
}

const fn vendor(prefix: &'static str, apis: &'static [Api], key: &'static str) -> Vendor {
    Vendor { prefix, apis, key }
}

/// Sources: each vendor's API reference, and LiteLLM's provider pages (docs.litellm.ai/docs/providers).
pub(crate) static VENDORS: &[Vendor] = &[
    vendor(
        "openai",
        &[api("openai", "https://api.openai.com/v1")],
        "OPENAI_API_KEY",
    ),
    vendor(
        "anthropic",
        &[api("anthropic", "https://api.anthropic.com/v1")],
        "ANTHROPIC_API_KEY",
    ),
    // Azure's v1 API is OpenAI's, with the deployment's name as the model.
    vendor(
        "azure",
        &[api("azure", ""), api("openai", "")],
        "AZURE_API_KEY",
    ),
    vendor(
        "gemini",
        &[
            api("gemini", "https://generativelanguage.googleapis.com/v1beta"),
            api(
                "openai",
                "https://generativelanguage.googleapis.com/v1beta/openai",
            ),
        ],
        "GEMINI_API_KEY",
    ),
    vendor(
        "mistral",
        &[api("openai", "https://api.mistral.ai/v1")],
        "MISTRAL_API_KEY",
    ),
    vendor("bedrock", &[api("bedrock", "")], ""),
    // Gemini; Claude's models are recognised by their names.
    vendor("vertex_ai", &[api("vertex", "")], ""),
    vendor("vertex_ai_anthropic", &[api("vertex-anthropic", "")], ""),
    vendor(
        "cohere",
        &[api("cohere", "https://api.cohere.com/v2")],
        "COHERE_API_KEY",
    ),
    vendor(
        "cohere_chat",
        &[api("cohere", "https://api.cohere.com/v2")],
        "COHERE_API_KEY",
    ),
    vendor(
        "groq",
        &[api("openai", "https://api.groq.com/openai/v1")],
        "GROQ_API_KEY",
    ),
    vendor(
        "together_ai",
        &[api("openai", "https://api.together.xyz/v1")],
        "TOGETHERAI_API_KEY",
    ),
    vendor(
        "fireworks_ai",
        &[api("openai", "https://api.fireworks.ai/inference/v1")],
        "FIREWORKS_AI_API_KEY",
    ),
    vendor(
        "deepseek",
        &[api("openai", "https://api.deepseek.com/v1")],
        "DEEPSEEK_API_KEY",
    ),
    vendor(
        "xai",
        &[api("openai", "https://api.x.ai/v1")],
        "XAI_API_KEY",
    ),
    vendor(
        "perplexity",
        &[api("openai", "https://api.perplexity.ai")],
        "PERPLEXITYAI_API_KEY",
    ),
    vendor(
        "openrouter",
        &[api("openai", "https://openrouter.ai/api/v1")],
        "OPENROUTER_API_KEY",
    ),
    vendor(
        "cerebras",
        &[api("openai", "https://api.cerebras.ai/v1")],
        "CEREBRAS_API_KEY",
    ),
    vendor(
        "nvidia_nim",
        &[api("openai", "https://integrate.api.nvidia.com/v1")],
        "NVIDIA_NIM_API_KEY",
    ),
    vendor(
        "deepinfra",
        &[api("openai", "https://api.deepinfra.com/v1/openai")],
        "DEEPINFRA_API_KEY",
    ),
    vendor(
        "sambanova",
        &[api("openai", "https://api.sambanova.ai/v1")],
        "SAMBANOVA_API_KEY",
    ),
    vendor(
        "friendliai",
        &[api("openai", "https://api.friendli.ai/serverless/v1")],
        "FRIENDLI_TOKEN",
    ),
    vendor(
        "nebius",
        &[api("openai", "https://api.studio.nebius.ai/v1")],
        "NEBIUS_API_KEY",
    ),
    vendor("llamafile", &[api("openai", "")], ""),
    vendor("hosted_vllm", &[api("openai", "")], ""),
    vendor("vllm", &[api("openai", "")], ""),
    vendor("lm_studio", &[api("openai", "")], ""),
    vendor("custom_openai", &[api("openai", "")], ""),
    vendor("ollama", &[api("openai", "http://localhost:11434")], ""),
    vendor(
        "ollama_chat",
        &[api("openai", "http://localhost:11434")],
        "",
    ),
];

/// The vendor of a prefix.
pub(crate) fn find(prefix: &str) -> Option<&'static Vendor> {
    VENDORS.iter().find(|vendor| vendor.prefix == prefix)
}
