//! `[[providers]]`: upstream accounts. It must not know which dialects there are: their names are passed in.

use crate::config::base_url::{BaseUrl, base_url};
use crate::config::context::Context;
use crate::config::key::key;
use crate::config::limits::{API_KEYS, Bounds, MINUTE, SECOND, TAGS, TIMEOUT};
use crate::config::names::{DIALECT, KnownNames, LOCAL};
use crate::config::notation::{
    Notation, choice, duration, known_name, list, name, number, pem, read_unique_name, secret,
    written,
};
use crate::config::problem::Complaint;
use crate::config::provider_family::{Kind, family};
use crate::config::reader::Section;
use crate::config::references::Pem;
use crate::config::secret::Secret;
use crate::config::sections::auth::{Auth, AuthSection};
use crate::config::settings::{flattened, settings};
use crate::config::suggest::suggest;
use std::time::Duration;

settings! {
    /// `[[providers]]`
    #[derive(Debug, Clone, PartialEq)]
    pub struct Provider checked by check_credentials {
        /// used in targets, headers and metrics
        pub name: String = key("name", provider_name())
            .required("name the provider, e.g. `name = \"openai\"`; targets refer to it");
        /// a compatible provider, see [providers.md](providers.md#compatible-providers): fills in `dialect`, `base_url` and `api_keys` unless they are given
        pub kind: Option<&'static Kind> = key("kind", kind()).optional("–");
        /// wire dialect, see [providers.md](providers.md)
        pub dialect: String = key("dialect", known_name("dialect", known_dialects))
            .otherwise("that of the `kind`, else `\"openai\"`", usual_dialect);
        /// version of the API that paths name; only `azure` has one
        pub api_version: Option<String> = key("api_version", name()).optional("–");
        /// no query, fragment, user or password
        pub base_url: BaseUrl = key("base_url", url()).otherwise("that of the `kind`, else required", usual_base_url);
        /// What its requests are authenticated with.
        pub credentials: Credentials = flattened::<Credentials>();
        /// How its connections are made.
        pub connection: Connection = flattened::<Connection>();
        /// What happens to requests that it does not take as they are.
        pub translation: Translation = flattened::<Translation>();
        /// region tag of your choice
        pub region: Option<String> = key("region", name()).optional("–");
        /// what it promises about data, see [routing.md](routing.md)
        pub tags: Vec<String> = key("tags", list(TAGS, "names", name())).default_shown(Vec::new(), "none");
        /// the prices it charges: a `family` of the price table, see [prices.md](prices.md)
        pub price_family: Option<String> = key("price_family", name()).optional("by host, else none");
    }
}

settings! {
    /// The keys of `[[providers]]` about authentication.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Credentials {
        /// Credentials of another kind; `None` = the API keys.
        pub auth: Option<Auth> = AuthSection;
        /// used in turn; one that is refused or rate-limited gets a cooldown; none for servers that need no key
        pub api_keys: Vec<Secret> = key("api_keys", list(API_KEYS, "references", secret()))
            .otherwise("the usual variable of the `kind`, else none", usual_api_keys);
    }
}

settings! {
    /// The keys of `[[providers]]` about connections.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Connection {
        /// additional trusted roots; without it, those of the system
        pub ca_pem: Option<Vec<u8>> = key("ca", pem(Pem::Certificate)).optional("–");
        /// Time limits.
        pub timeouts: Timeouts = flattened::<Timeouts>();
        // Enough for the bursts that one core can serve.
        /// unused connections stored per core; 0 = none is reused
        pub idle_connections_max: usize = key(
            "idle_connections_max",
            number(Bounds::new("IDLE_CONNECTIONS", 0, 65_536)),
        )
        .default(256);
    }
}

settings! {
    /// Time limits of a provider's connections.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Timeouts {
        // A lost SYN is sent again after 1 s, then after 3 s: one loss is forgiven, not two.
        /// to connect
        pub connect: Duration = key("connect_timeout", duration(TIMEOUT)).default(SECOND.saturating_mul(2));
        // Two exchanges and a signature; three seconds cover one lost packet.
        /// for the TLS handshake
        pub tls: Duration = key("tls_timeout", duration(TIMEOUT)).default(SECOND.saturating_mul(3));
        // Without streaming the whole answer is generated before its first byte.
        /// from the request sent to the first byte of the response
        pub first_byte: Duration = key("first_byte_timeout", duration(TIMEOUT)).default(MINUTE.saturating_mul(2));
        // A started response that is silent for a minute has stalled.
        /// between two reads of a response
        pub read: Duration = key("read_timeout", duration(TIMEOUT)).default(MINUTE);
        // Below the keep-alive of common providers and proxies, so that a connection is seldom closed under a request.
        /// how long an unused connection is stored
        pub idle: Duration = key("idle_timeout", duration(TIMEOUT)).default(SECOND.saturating_mul(20));
    }
}

settings! {
    /// The keys of `[[providers]]` about requests in another wire format.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Translation {
        // Never silently: a field that the provider does not support is refused by name.
        /// fields of a request in another dialect that this one does not support: 400 with the field's name, or left out and named in `x-ringside-dropped`
        pub drops_unsupported_fields: bool = key(
            "unsupported_fields",
            choice(&[("refuse", false), ("drop", true)]),
        )
        .default(false);
        // By the host: OpenAI's own API takes Responses, few of the compatible ones do.
        /// requests in Responses, where the dialect is `openai`: passthrough, or translated into chat completions; `auto` = passthrough to api.openai.com, see [providers.md](providers.md#responses)
        pub responses: Option<bool> = key(
            "responses",
            choice(&[("auto", None), ("pass", Some(true)), ("translate", Some(false))]),
        )
        .default(None);
    }
}

fn check_credentials(provider: &mut Provider, section: &Section<'_>, _: &Context<'_>) {
    let credentials = &provider.credentials;
    if credentials.auth.is_some() && !credentials.api_keys.is_empty() {
        let remedy = "keep one of the two; for both, configure two providers";
        let message = "both `auth` and `api_keys` are given";
        section.complain("auth", Complaint::new(message, remedy));
    }
}

fn provider_name() -> Notation<String> {
    written(
        "name without `/`, unique, not `local`",
        |item, context| match item.text()? {
            LOCAL => Err(Complaint::new(
                "the name `local` is reserved for the embedding model in this process",
                "choose another name, e.g. `local-vllm`",
            )),
            text if text.contains('/') => Err(Complaint::new(
                "'/' cannot stand in a provider's name: `x-ringside-target` is `provider/model`",
                "use letters, digits and `-`, `_`, `.`",
            )),
            _ => read_unique_name(item, context),
        },
    )
}

fn kind() -> Notation<&'static Kind> {
    written("a name in `models/providers/family.toml`", |item, _| {
        let text = item.text()?;
        let known = family().iter().find(|kind| kind.name == text);
        known.ok_or_else(|| {
            let names = || family().iter().map(|kind| kind.name.as_str());
            Complaint::new(
                format!("there is no kind of provider `{text}`"),
                suggest(text, names),
            )
        })
    })
}

/// The kind that the section names, if it is a known one.
fn kind_of(section: &Section<'_>) -> Option<&'static Kind> {
    let item = section.peek("kind")?;
    let text = item.text().ok()?;
    family().iter().find(|kind| kind.name == text)
}

fn known_dialects(known: &KnownNames<'_>) -> Vec<String> {
    known
        .dialects
        .iter()
        .map(|name| (*name).to_owned())
        .collect()
}

fn usual_dialect(section: &Section<'_>, _: &Context<'_>) -> Option<String> {
    Some(
        kind_of(section)
            .map_or(DIALECT, |kind| kind.dialect.as_str())
            .to_owned(),
    )
}

fn url() -> Notation<BaseUrl> {
    written(
        "`http` or `https`, host, optional port and path prefix",
        |item, _| base_url(item.text()?),
    )
}

fn usual_base_url(section: &Section<'_>, _: &Context<'_>) -> Option<BaseUrl> {
    if let Some(usual) = kind_of(section).and_then(|kind| kind.base_url.as_deref()) {
        return base_url(usual).ok();
    }
    let remedy = "add the provider's URL, e.g. `base_url = \"https://api.openai.com/v1\"`";
    section.complain("base_url", Complaint::new("missing", remedy));
    None
}

/// The key in the usual variable of the kind.
fn usual_api_keys(section: &Section<'_>, context: &Context<'_>) -> Option<Vec<Secret>> {
    let variable = kind_of(section).and_then(|kind| kind.key.as_deref());
    let (Some(variable), None) = (variable, section.peek("auth")) else {
        return Some(Vec::new());
    };
    match context.references.secret(&format!("env:{variable}")) {
        Ok(secret) => Some(vec![secret]),
        Err(complaint) => {
            section.complain("api_keys", complaint);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::parse;
    use std::path::Path;

    #[test]
    fn a_kind_fills_in_keys_that_the_file_does_not_have() {
        let known = KnownNames {
            dialects: &["openai"],
            comparable: &["openai"],
            policies: &["priority"],
            wrong_hit_rate_least: 0.005,
        };
        let read = |keys: &str| {
            let text = format!(
                "[[providers]]\nname = \"p\"\n{keys}\n[[models]]\nname = \"m\"\ntargets = [{{ provider = \"p\" }}]\n"
            );
            let env = |name: &str| (name == "GROQ_API_KEY").then(|| "gsk-1".to_owned());
            parse(&text, "x", Path::new(""), &known, &env)
        };
        let config = read("kind = \"groq\"").unwrap();
        let groq = config.providers.first().unwrap();
        assert_eq!(
            (groq.base_url.host.as_str(), groq.base_url.path.as_str()),
            ("api.groq.com", "/openai/v1")
        );
        assert_eq!(groq.credentials.api_keys, [Secret("gsk-1".into())]);
        let own =
            read("kind = \"groq\"\nbase_url = \"http://127.0.0.1:1\"\napi_keys = []").unwrap();
        let own = own.providers.first().unwrap();
        assert_eq!((own.base_url.port, own.credentials.api_keys.len()), (1, 0));
        assert!(
            read("kind = \"ollama\"").unwrap().providers[0]
                .credentials
                .api_keys
                .is_empty()
        );
        assert!(
            read("kind = \"xai\"")
                .unwrap_err()
                .to_string()
                .contains("XAI_API_KEY")
        );
        assert!(
            read("kind = \"vllm\"")
                .unwrap_err()
                .to_string()
                .contains("base_url")
        );
    }
}
