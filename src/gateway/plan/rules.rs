//! Which of a model's rules applies to a request, and what follows for its targets, arm and policy. Conditions
//! are in `routing/conditional.rs`.

use crate::auth::keys::Caller;
use crate::base::names::Name;
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::snapshot::rule::RuleRoute;
use crate::http::head::Headers;
use crate::protocols::json::document::Scratch;
use crate::routing::conditional::{RequestAttributes, unmet};
use crate::routing::demand::Needs;

/// A rule that was looked at, and the first condition that was not met.
pub(crate) type Looked = (Name, Option<&'static str>);

/// A request, as rules see it.
pub(crate) struct RuleContext<'r, 's> {
    headers: &'r Headers<'r>,
    key: Option<std::sync::Arc<str>>,
    team: Option<std::sync::Arc<str>>,
    constraints: &'r RouteConstraints<'s>,
    metadata: Vec<(String, String)>,
}

impl<'r, 's> RuleContext<'r, 's> {
    /// A request for a model with `rules`. Its body is read again only if one of them asks for `metadata`.
    pub(crate) fn new(
        rules: &[RuleRoute],
        headers: &'r Headers<'r>,
        caller: Caller<'_>,
        constraints: &'r RouteConstraints<'s>,
        body: &[u8],
        scratch: &mut Scratch,
    ) -> Self {
        let reads = rules
            .iter()
            .any(|rule| !rule.conditions.metadata.is_empty());
        let metadata = if reads {
            metadata(body, scratch)
        } else {
            Vec::new()
        };
        Self {
            headers,
            key: caller.key.map(Name::text),
            team: caller.team.map(Name::text),
            constraints,
            metadata,
        }
    }

    /// The place of the first rule that applies, and what was looked at on the way.
    #[must_use]
    pub(crate) fn first_of(&self, rules: &[RuleRoute]) -> (Option<usize>, Vec<Looked>) {
        let mut looked = Vec::with_capacity(rules.len());
        for (at, rule) in rules.iter().enumerate() {
            let unmet = unmet(&rule.conditions, self);
            looked.push((rule.name, unmet));
            if unmet.is_none() {
                return (Some(at), looked);
            }
        }
        (None, looked)
    }
}

/// The texts in the body's `metadata`.
fn metadata(body: &[u8], scratch: &mut Scratch) -> Vec<(String, String)> {
    let read = scratch.with_document(body, |document| {
        let fields = document
            .field(0, "metadata")
            .and_then(|at| document.fields(at));
        let texts = fields
            .into_iter()
            .flatten()
            .filter_map(|(name, at)| Some((name.to_owned(), document.text(at)?.to_owned())));
        texts.collect()
    });
    read.unwrap_or_default()
}

impl RequestAttributes for RuleContext<'_, '_> {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get_str(name)
    }

    fn metadata(&self, name: &str) -> Option<&str> {
        let found = self.metadata.iter().find(|(one, _)| one == name);
        found.map(|(_, value)| value.as_str())
    }

    fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    fn team(&self) -> Option<&str> {
        self.team.as_deref()
    }

    fn regions(&self) -> &[String] {
        let demand = &self.constraints.demand;
        match demand.regions.is_empty() {
            true => demand.key_regions,
            false => &demand.regions,
        }
    }

    fn prompt_tokens(&self) -> u64 {
        self.constraints.demand.tokens
    }

    fn needs(&self) -> Needs {
        self.constraints.demand.needs
    }
}
