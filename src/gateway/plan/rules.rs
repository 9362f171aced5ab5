//! Which of a model's rules applies to a request. Conditions are checked in `routing/conditional.rs`; what follows
//! from the rule for targets, arm and policy is in `candidates`.

use crate::auth::keys::Caller;
use crate::base::names::Name;
use crate::gateway::snapshot::rule::RuleRoute;
use crate::http::head::Headers;
use crate::protocols::json::document::Scratch;
use crate::routing::conditional::{RequestAttributes, unmet};
use crate::routing::demand::{Demand, Needs};
use std::sync::Arc;

/// A rule whose conditions were checked.
pub(crate) struct CheckedRule {
    pub rule: Name,
    /// The first condition that is not met; `None` if the rule applies.
    pub unmet: Option<&'static str>,
}

/// The rules that were checked, in order, up to and with the first that applies.
pub(crate) struct RuleMatch<'s> {
    pub rule: Option<&'s RuleRoute>,
    pub checked: Vec<CheckedRule>,
}

/// The attributes of a request that conditions of rules read.
pub(crate) struct RuleContext<'r> {
    headers: &'r Headers<'r>,
    key: Option<Arc<str>>,
    team: Option<Arc<str>>,
    demand: &'r Demand<'r>,
    metadata: Vec<(String, String)>,
}

impl<'r> RuleContext<'r> {
    /// A request for a model with `rules`. The body is parsed again only if a rule has a condition on `metadata`.
    pub(crate) fn new(
        rules: &[RuleRoute],
        headers: &'r Headers<'r>,
        caller: Caller<'_>,
        demand: &'r Demand<'r>,
        body: &[u8],
        scratch: &mut Scratch,
    ) -> Self {
        let reads_metadata = rules
            .iter()
            .any(|rule| !rule.conditions.metadata.is_empty());
        let metadata = if reads_metadata {
            metadata(body, scratch)
        } else {
            Vec::new()
        };
        Self {
            headers,
            key: caller.key.map(Name::text),
            team: caller.team.map(Name::text),
            demand,
            metadata,
        }
    }

    /// The first rule that applies.
    #[must_use]
    pub(crate) fn find<'s>(&self, rules: &'s [RuleRoute]) -> RuleMatch<'s> {
        let mut checked = Vec::with_capacity(rules.len());
        for rule in rules {
            let unmet = unmet(&rule.conditions, self);
            checked.push(CheckedRule {
                rule: rule.name,
                unmet,
            });
            if unmet.is_none() {
                return RuleMatch {
                    rule: Some(rule),
                    checked,
                };
            }
        }
        RuleMatch {
            rule: None,
            checked,
        }
    }
}

/// The members of the body's `metadata` that are strings.
fn metadata(body: &[u8], scratch: &mut Scratch) -> Vec<(String, String)> {
    let members = scratch.with_document(body, |document| {
        let fields = document
            .field(0, "metadata")
            .and_then(|value| document.fields(value));
        let texts = fields
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.to_owned(), document.text(value)?.to_owned())));
        texts.collect()
    });
    members.unwrap_or_default()
}

impl RequestAttributes for RuleContext<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get_str(name)
    }

    fn metadata(&self, name: &str) -> Option<&str> {
        let found = self.metadata.iter().find(|(member, _)| member == name);
        found.map(|(_, value)| value.as_str())
    }

    fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    fn team(&self) -> Option<&str> {
        self.team.as_deref()
    }

    fn regions(&self) -> &[String] {
        if self.demand.regions.is_empty() {
            self.demand.key_regions
        } else {
            &self.demand.regions
        }
    }

    fn prompt_tokens(&self) -> u64 {
        self.demand.tokens
    }

    fn needs(&self) -> Needs {
        self.demand.needs
    }
}
