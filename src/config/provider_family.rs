//! `kind` of a provider: what the table `models/providers/family.toml` says of one that is compatible with
//! OpenAI's API. One line of data each.
//!
//! It must not know how a quirk is put right (`journey/quirks.rs`).

use crate::config::limits;
use crate::config::model::auth::Auth;
use crate::config::model::config::{BaseUrl, Secret};
use crate::config::problem::Complaint;
use crate::config::reader::{Item, Section, suggest};
use crate::config::references::References;
use crate::config::values;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

const SHIPPED_TEXT: &str = include_str!("../../models/providers/family.toml");

static SHIPPED: LazyLock<Vec<Kind>> =
    LazyLock::new(|| read_table(SHIPPED_TEXT).unwrap_or_default());

/// One line of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kind {
    /// Its name in the configuration's `kind`.
    #[serde(skip)]
    pub name: String,
    /// Wire dialect.
    #[serde(default = "openai")]
    pub dialect: String,
    /// Where its API is; `None` = the configuration must say.
    pub base_url: Option<String>,
    /// Environment variable that usually holds its key; `None` = none is needed.
    pub key: Option<String>,
    /// Fields of a chat request that it calls by another name.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// Fields of a chat request that it refuses.
    #[serde(default)]
    pub refuses: Vec<String>,
    /// The role that messages of the role `developer` get.
    pub developer: Option<String>,
    /// Its errors have an envelope of their own.
    #[serde(default)]
    pub own_errors: bool,
    /// LiteLLM's prefixes for it.
    #[serde(default)]
    pub litellm: Vec<String>,
    /// Where all this is from, and when.
    pub from: String,
}

fn openai() -> String {
    crate::config::defaults::DIALECT.to_owned()
}

/// The table that is shipped, by name.
#[must_use]
pub fn family() -> &'static [Kind] {
    &SHIPPED
}

/// Reads a table.
///
/// # Errors
/// What is wrong with it.
pub fn read_table(text: &str) -> Result<Vec<Kind>, String> {
    let table: BTreeMap<String, Kind> = toml::from_str(text).map_err(|bad| bad.to_string())?;
    let named = table.into_iter().map(|(name, kind)| Kind { name, ..kind });
    Ok(named.collect())
}

/// The kind that `item` names.
pub(crate) fn kind(item: &Item<'_>) -> Result<&'static Kind, Complaint> {
    let text = item.text()?;
    let known = family().iter().find(|kind| kind.name == text);
    known.ok_or_else(|| {
        let names = || family().iter().map(|kind| kind.name.as_str());
        Complaint::new(
            format!("there is no kind of provider `{text}`"),
            suggest(text, names),
        )
    })
}

/// `base_url`, or that of the kind.
pub(crate) fn base_url(section: &mut Section<'_>, kind: Option<&Kind>) -> Option<BaseUrl> {
    let usual = kind.and_then(|kind| kind.base_url.as_deref());
    if let (Some(url), None) = (usual, section.item("base_url")) {
        return values::base_url(url).ok();
    }
    section.require(
        "base_url",
        "add the provider's URL, e.g. `base_url = \"https://api.openai.com/v1\"`",
        |item| values::base_url(item.text()?),
    )
}

/// `api_keys`, or the key in the kind's usual variable.
pub(crate) fn api_keys(
    section: &mut Section<'_>,
    kind: Option<&Kind>,
    auth: Option<&Auth>,
    references: &References<'_>,
) -> Option<Vec<Secret>> {
    let usual = kind.and_then(|kind| kind.key.as_deref());
    if let (Some(variable), None, None) = (usual, section.item("api_keys"), auth) {
        match references.secret(&format!("env:{variable}")) {
            Ok(secret) => return Some(vec![secret]),
            Err(complaint) => section.complain("api_keys", complaint),
        }
        return None;
    }
    let api_keys = section.list("api_keys", &limits::API_KEYS, |item| {
        references.secret(item.text()?)
    });
    if auth.is_some() && api_keys.as_ref().is_some_and(|keys| !keys.is_empty()) {
        section.complain("auth", crate::config::sections::auth::beside_keys());
    }
    api_keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values;

    #[test]
    fn every_line_of_the_table_can_be_used() {
        let table = read_table(SHIPPED_TEXT).unwrap();
        assert!(table.len() >= 18);
        for kind in &table {
            if let Some(url) = &kind.base_url {
                let url = values::base_url(url).unwrap();
                assert!(url.tls || url.host == "127.0.0.1", "{}", kind.name);
            }
            assert!(values::name(&kind.name).is_ok());
            assert!(kind.from.len() > 3, "{}: where is this from?", kind.name);
            for field in kind.rename.keys() {
                assert!(!kind.refuses.contains(field), "{}: {field}", kind.name);
            }
        }
        assert_eq!(family().len(), table.len());
    }

    #[test]
    fn a_provider_is_one_line_of_data() {
        let line = "acme = { base_url = \"https://llm.acme.example/v1\", key = \"ACME_KEY\", rename = { seed = \"random\" }, from = \"a test\" }";
        let table = read_table(&format!("{SHIPPED_TEXT}\n{line}\n")).unwrap();
        let acme = table.iter().find(|kind| kind.name == "acme").unwrap();
        assert_eq!(acme.dialect, "openai");
        assert_eq!(acme.rename["seed"], "random");
        assert!(read_table("acme = { speed = 1, from = \"x\" }").is_err());
    }

    #[test]
    fn a_kind_fills_in_what_is_not_said() {
        let known = crate::config::load::KnownNames {
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
            crate::config::load::parse(&text, "x", std::path::Path::new(""), &known, &env)
        };
        let config = read("kind = \"groq\"").unwrap();
        let groq = config.providers.first().unwrap();
        assert_eq!(
            (groq.base_url.host.as_str(), groq.base_url.path.as_str()),
            ("api.groq.com", "/openai/v1")
        );
        assert_eq!(groq.api_keys, [Secret("gsk-1".into())]);
        let own =
            read("kind = \"groq\"\nbase_url = \"http://127.0.0.1:1\"\napi_keys = []").unwrap();
        let own = own.providers.first().unwrap();
        assert_eq!((own.base_url.port, own.api_keys.len()), (1, 0));
        assert!(
            read("kind = \"ollama\"").unwrap().providers[0]
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
