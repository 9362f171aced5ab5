//! `[[models.rules]]`: conditions on requests that choose targets, arm or policy. It must not know how they are applied.

use crate::config::context::Context;
use crate::config::key::key;
use crate::config::limits::{ARM_TARGETS, CONTEXT_TOKENS, TAGS};
use crate::config::names::known_policies;
use crate::config::notation::{
    Notation, flag, known_name, list, name, number, one_of, unique_name_of, written,
};
use crate::config::problem::Complaint;
use crate::config::reader::{Item, Section};
use crate::config::sections::target::target_indices;
use crate::config::settings::{section, settings};

settings! {
    /// A rule.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Rule checked by check_effect {
        /// shown in log, `explain` and `x-ringside-route`
        pub name: String = key("name", unique_name_of("rule"))
            .required("name the rule; log, `explain` and `x-ringside-route` show it");
        /// Conditions that a request must meet.
        pub when: When = section("when");
        /// targets that the request may be sent to, each as provider or `provider/model`
        pub targets: Option<Vec<usize>> = key("targets", targets()).optional("all");
        /// the arm of the model's experiment that the request is in
        pub arm: Option<usize> = key("arm", arm()).optional("drawn");
        /// policy, unless the caller chooses one
        pub policy: Option<String> = key("policy", known_name("policy", known_policies))
            .optional("the model's");
    }
}

settings! {
    /// `when`: all conditions must hold.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct When {
        /// request headers; `*` = any value
        pub headers: Vec<(String, String)> = key("headers", list(TAGS, "of `\"name: value\"`", header()))
            .default_shown(Vec::new(), "any");
        /// fields of the body's `metadata`; `*` = any value
        pub metadata: Vec<(String, String)> = key("metadata", list(TAGS, "of `\"name: value\"`", pair()))
            .default_shown(Vec::new(), "any");
        /// virtual keys
        pub keys: Vec<String> = key("keys", list(TAGS, "names of keys", known_key()))
            .default_shown(Vec::new(), "any");
        /// teams of virtual keys
        pub teams: Vec<String> = key("teams", list(TAGS, "teams of keys", known_team()))
            .default_shown(Vec::new(), "any");
        /// the request may go to no other region
        pub regions: Vec<String> = key("regions", list(TAGS, "names", name()))
            .default_shown(Vec::new(), "any");
        /// estimated tokens of the prompt, at least
        pub prompt_tokens_min: Option<u64> = key("prompt_tokens_min", number(CONTEXT_TOKENS)).optional("any");
        /// estimated tokens of the prompt, at most
        pub prompt_tokens_max: Option<u64> = key("prompt_tokens_max", number(CONTEXT_TOKENS)).optional("any");
        /// whether the request has tools
        pub tools: Option<bool> = key("tools", flag()).optional("any");
        /// whether the request has images
        pub images: Option<bool> = key("images", flag()).optional("any");
        /// whether the request has a JSON schema for its answer
        pub schema: Option<bool> = key("schema", flag()).optional("any");
        /// whether the request has `stream`
        pub stream: Option<bool> = key("stream", flag()).optional("any");
    }
}

fn check_effect(_: &mut Rule, section: &Section<'_>, _: &Context<'_>) {
    let mut effects = ["targets", "arm", "policy"].into_iter();
    if effects.any(|key| section.peek(key).is_some()) {
        return;
    }
    let remedy = "give it `targets`, an `arm` or a `policy`";
    section.complain(
        "name",
        Complaint::new("a rule that changes nothing", remedy),
    );
}

/// Indices of targets, in the order of the rule.
fn targets() -> Notation<Vec<usize>> {
    let names = list(ARM_TARGETS, "targets", written("", target_indices));
    written("1 to 32 of the model's targets", move |item, context| {
        let named = (names.read)(item, context)?;
        Ok(named.into_iter().flatten().collect())
    })
}

/// Index of an arm of the model's experiment.
fn arm() -> Notation<usize> {
    written("an arm of the model's experiment", |item, context| {
        let arms = &context.model().arms;
        let name = one_of(item, "arm", arms)?;
        let index = arms.iter().position(|arm| *arm == name);
        Ok(index.unwrap_or_default())
    })
}

fn known_key() -> Notation<String> {
    written("", |item, context| one_of(item, "key", &context.names.keys))
}

fn known_team() -> Notation<String> {
    written("", |item, context| {
        one_of(item, "team", &context.names.teams)
    })
}

/// A header, its name in small letters.
fn header() -> Notation<(String, String)> {
    written("", |item, _| {
        let (name, value) = read_pair(item)?;
        Ok((name.to_ascii_lowercase(), value))
    })
}

fn pair() -> Notation<(String, String)> {
    written("", |item, _| read_pair(item))
}

/// `"name: value"`
fn read_pair(item: &Item<'_>) -> Result<(String, String), Complaint> {
    let text = item.text()?;
    let parts = text
        .split_once(':')
        .map(|(name, value)| (name.trim(), value.trim()));
    match parts {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(Complaint::new(
            format!("`{text}` is not a name and a value"),
            "write both with a colon between, e.g. \"x-tier: gold\", or \"x-tier: *\" for any value",
        )),
    }
}
