//! What a chat request asks for: which models in which order, by which policy, and what their targets
//! must be able to do. From the body, the headers and the key; the journey and `explain` read it alike.

use crate::auth::keys::Caller;
use crate::base::names::Name;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::plan::candidates::RouteConstraints;
use crate::gateway::plan::rules::RuleContext;
use crate::gateway::plan::stored_responses;
use crate::gateway::snapshot::model::ModelRoute;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::headers;
use crate::http::head::RequestHead;
use crate::protocols::client_api::ClientApi;
use crate::protocols::json::document::Scratch;
use crate::protocols::request::chat_request::ChatRequest;
use crate::protocols::request::routing_fields;
use crate::protocols::request::routing_fields::RoutingFields;
use crate::protocols::responses::vocabulary;
use crate::routing::policies::registry::policy;
use arrayvec::ArrayVec;
use std::borrow::Cow;

/// Models that one `x-ringside-models`, or the field `models`, may name.
const CHAIN_MAX: usize = 8;

/// The models to try, each once.
pub(crate) type Chain<'s> = ArrayVec<&'s ModelRoute, { CHAIN_MAX + 1 }>;

/// What a request asks for.
pub(crate) struct RequestPlan<'s, 'b> {
    /// The request, read.
    pub chat: ChatRequest,
    /// The body as providers may see it: without the fields that only routing reads.
    pub body: Cow<'b, [u8]>,
    /// The model asked for, and those behind it.
    pub models: Chain<'s>,
    /// How their targets are chosen.
    pub constraints: RouteConstraints<'s>,
}

impl<'s, 'b> RequestPlan<'s, 'b> {
    /// Its fields, in their order.
    pub(crate) fn into_parts(
        self,
    ) -> (ChatRequest, Cow<'b, [u8]>, Chain<'s>, RouteConstraints<'s>) {
        (self.chat, self.body, self.models, self.constraints)
    }
}

/// Where an intent is read from.
pub(crate) struct RequestParser<'s, 'b> {
    /// The configuration.
    pub snapshot: &'s Snapshot,
    /// The caller.
    pub caller: Caller<'s>,
    /// The dialect it speaks.
    pub client_api: &'static dyn ClientApi,
    /// The head of its request.
    pub head: &'b RequestHead<'b>,
    /// Its body.
    pub body: &'b [u8],
    /// The cache needs the canonical form.
    pub with_canonical: bool,
}

/// Model suffixes that stand for a policy, as OpenRouter has them.
const SUFFIXES: [(&str, &str); 2] = [(":nitro", "throughput"), (":floor", "cheapest")];

/// `provider.sort`, as OpenRouter has it, and the policy that does so.
const SORTS: [(&str, &str); 3] = [
    ("price", "cheapest"),
    ("throughput", "throughput"),
    ("latency", "least-latency"),
];

impl<'s, 'b> RequestParser<'s, 'b> {
    /// Reads it; `seen` gets the model's name as soon as it is known.
    ///
    /// # Errors
    /// What the client is told.
    pub(crate) fn read(
        &self,
        scratch: &mut Scratch,
        seen: &mut Option<Name>,
    ) -> Result<RequestPlan<'s, 'b>, GatewayError> {
        let mut chat = self.read_body(self.body, scratch)?;
        let (name, suffix) = self.without_suffix(&chat.model);
        let route = find_model(self.snapshot, name, self.caller, seen)?;
        let mut constraints =
            RouteConstraints::new(self.snapshot, self.caller, &self.head.headers, &chat.shape)?;
        constraints.policy = suffix.and_then(policy);
        let mut models = Chain::new();
        models.push(route);
        let wished = headers::MODELS
            .read_str(&self.head.headers)
            .unwrap_or_default();
        let wished = wished.split(',').map(str::trim);
        self.extend(
            &mut models,
            headers::MODELS.name(),
            wished.filter(|name| !name.is_empty()),
        )?;
        let mut body = Cow::Borrowed(self.body);
        // To OpenRouter alone its fields go as they are: it knows what they mean.
        let is_theirs = models.iter().all(|route| route.is_openrouter);
        if let Some(routing_fields) = chat.routing_fields.take().filter(|_| !is_theirs) {
            let names = routing_fields.models.iter().map(String::as_str);
            self.extend(&mut models, "models", names)?;
            take_in(*routing_fields, &mut constraints)?;
            let cut = routing_fields::cut(self.body, scratch)?;
            chat = self.read_body(&cut, scratch)?;
            body = Cow::Owned(cut);
        }
        self.follow_header(&models, &mut constraints)?;
        if self.client_api.name() == vocabulary::NAME {
            let asked = (&mut chat, &mut body);
            stored_responses::settle(self.snapshot, self.caller, asked, &models, &mut constraints)?;
        }
        if !route.rules.is_empty() {
            self.rule(route, &mut constraints, scratch);
        }
        if let Some(experiment) = &route.experiment
            && !constraints.names_targets()
        {
            let excluded = constraints.select(route).excluded;
            let ruled = constraints.rule.and_then(|rule| rule.arm);
            let ruled = ruled.and_then(|at| experiment.arm(at, excluded));
            let drawn = || experiment.choose(&self.head.headers, self.caller.key, excluded);
            constraints.arm = ruled.or_else(drawn);
        }
        *seen = Some(route.name);
        Ok(RequestPlan {
            chat,
            body,
            models,
            constraints,
        })
    }

    /// Finds the rule that applies.
    fn rule(
        &self,
        route: &'s ModelRoute,
        constraints: &mut RouteConstraints<'s>,
        scratch: &mut Scratch,
    ) {
        let (rules, headers) = (&route.rules, &self.head.headers);
        let asking = RuleContext::new(rules, headers, self.caller, constraints, self.body, scratch);
        let (at, looked) = asking.first_of(rules);
        constraints.rule = at.and_then(|at| rules.get(at));
        (constraints.looked, constraints.ruled) = (looked, Some(route.name));
    }

    fn read_body(&self, body: &[u8], scratch: &mut Scratch) -> Result<ChatRequest, GatewayError> {
        let (target, form) = (self.head.target, self.with_canonical);
        self.client_api.inspect_request(target, body, scratch, form)
    }

    /// The configured name, and the policy that a suffix behind it stands for.
    fn without_suffix<'n>(&self, name: &'n str) -> (&'n str, Option<&'static str>) {
        if self.snapshot.models.contains_key(name) {
            return (name, None);
        }
        let mut cut = SUFFIXES.iter().filter_map(|(suffix, policy)| {
            let base = name.strip_suffix(suffix)?;
            let is_known = self.snapshot.models.contains_key(base);
            is_known.then_some((base, Some(*policy)))
        });
        cut.next().unwrap_or((name, None))
    }

    fn extend<'n>(
        &self,
        models: &mut Chain<'s>,
        place: &'static str,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<(), GatewayError> {
        for name in names {
            let found = find_model(self.snapshot, name, self.caller, &mut None);
            let found = found.map_err(|fault| fault.on(place))?;
            let is_new = models.iter().all(|one| one.index != found.index);
            if is_new && models.try_push(found).is_err() {
                let message = format!("`{place}` names more than {CHAIN_MAX} models");
                return Err(GatewayError::new(ErrorCode::InvalidHeader, message).on(place));
            }
        }
        Ok(())
    }

    /// `x-ringside-route`: a policy, targets in the order to be asked, `*` for all others behind them.
    fn follow_header(
        &self,
        models: &Chain<'s>,
        constraints: &mut RouteConstraints<'s>,
    ) -> Result<(), GatewayError> {
        let Some(value) = headers::ROUTE.read_str(&self.head.headers) else {
            return Ok(());
        };
        let (mut names, mut admits_others) = (Vec::new(), false);
        for word in value.split(',').map(str::trim) {
            let mut traits = models.iter().flat_map(|route| &route.traits);
            if word == "*" {
                admits_others = true;
            } else if let Some(policy) = policy(word) {
                constraints.policy = Some(policy);
            } else if traits.any(|target| target.is_called(word)) {
                names.push(word.to_owned());
            } else {
                let message = format!(
                    "`{}`: `{word}` is no policy and no target of this model; give a policy, a \
                     provider, `provider/model`, or `*` for all others",
                    headers::ROUTE
                );
                return Err(
                    GatewayError::new(ErrorCode::InvalidHeader, message).on(headers::ROUTE.name())
                );
            }
        }
        if !names.is_empty() {
            if !admits_others {
                constraints.demand.only.clone_from(&names);
            }
            constraints.demand.first = names;
        }
        Ok(())
    }
}

/// What the body's fields demand.
fn take_in(
    routing_fields: RoutingFields,
    constraints: &mut RouteConstraints<'_>,
) -> Result<(), GatewayError> {
    if let Some(field) = routing_fields.unsupported {
        let message = format!("`provider.{field}` is not supported here");
        return Err(GatewayError::new(ErrorCode::InvalidRequest, message).on("provider"));
    }
    if let Some(sort) = routing_fields.sort {
        let known = SORTS.iter().find(|(name, _)| *name == sort);
        let (_, name) = known.ok_or_else(|| {
            let message = "`provider.sort` must be `price`, `throughput` or `latency`";
            GatewayError::new(ErrorCode::InvalidRequest, message).on("provider.sort")
        })?;
        constraints.policy = policy(name);
    }
    let demand = &mut constraints.demand;
    demand.only = routing_fields.only;
    if routing_fields.forbids_fallbacks && !routing_fields.order.is_empty() {
        // Both lists hold: what is in one alone may not be asked.
        let in_both = |name: &String| demand.only.is_empty() || demand.only.contains(name);
        demand.only = routing_fields
            .order
            .iter()
            .filter(|name| in_both(name))
            .cloned()
            .collect();
        if demand.only.is_empty() {
            let message = "`provider.order` and `provider.only` have no provider in common";
            return Err(GatewayError::new(ErrorCode::InvalidRequest, message).on("provider"));
        }
    }
    demand.first = routing_fields.order;
    demand.ignored = routing_fields.ignore;
    demand.no_collection = routing_fields.denies_collection;
    Ok(())
}

/// The model's route, if it is configured and the caller may use it. The message names only models
/// that the caller may use.
pub(crate) fn find_model<'s>(
    snapshot: &'s Snapshot,
    name: &str,
    caller: Caller<'_>,
    seen: &mut Option<Name>,
) -> Result<&'s ModelRoute, GatewayError> {
    let Some(route) = snapshot.models.get(name) else {
        let known: Vec<&str> = snapshot
            .model_names
            .iter()
            .map(String::as_str)
            .filter(|name| caller.allows(name))
            .collect();
        return Err(GatewayError::new(
            ErrorCode::ModelNotFound,
            format!(
                "the model `{name}` is not configured; known models: {}",
                known.join(", ")
            ),
        )
        .on("model"));
    };
    *seen = Some(route.name);
    caller.check_model(name)?;
    Ok(route)
}
