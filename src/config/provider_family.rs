//! The table `models/providers/family.toml` of providers that are compatible with OpenAI's API: one line of data each.
//!
//! It must not know how a request is adapted to one (`protocols/openai/provider/param_compat.rs`).

use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

const SHIPPED_TEXT: &str = include_str!("../../models/providers/family.toml");

static SHIPPED: LazyLock<Vec<Kind>> =
    LazyLock::new(|| read_table(SHIPPED_TEXT).unwrap_or_default());

/// One line of the table.
#[derive(Debug, PartialEq, Eq, Deserialize)]
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
    "openai".to_owned()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::base_url::base_url;
    use crate::config::values;

    #[test]
    fn every_line_of_the_table_can_be_used() {
        let table = read_table(SHIPPED_TEXT).unwrap();
        assert!(table.len() >= 18);
        for kind in &table {
            if let Some(url) = &kind.base_url {
                let url = base_url(url).unwrap();
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
}
