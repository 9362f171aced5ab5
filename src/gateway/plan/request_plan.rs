//! The plan of a chat request, read from its body, headers and key: which models in which order, by which policy,
//! and what their targets must be able to do. Requests and `explain` share this code.

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

/// Models that `x-ringside-models` or the field `models` may name.
const CHAIN_MAX: usize = 8;

/// The models to try, in order; no model is in it twice.
pub(crate) type Chain<'s> = ArrayVec<&'s ModelRoute, { CHAIN_MAX + 1 }>;

pub(crate) struct RequestPlan<'s, 'b> {
    pub chat: ChatRequest,
    /// The body that providers get: without the fields that only routing reads.
    pub body: Cow<'b, [u8]>,
    /// The requested model, then those that the request names as alternatives.
    pub models: Chain<'s>,
    pub constraints: RouteConstraints<'s>,
}

/// Reads the plan of a request.
pub(crate) struct RequestParser<'s, 'b> {
    pub snapshot: &'s Snapshot,
    pub caller: Caller<'s>,
    pub client_api: &'static dyn ClientApi,
    pub head: &'b RequestHead<'b>,
    pub body: &'b [u8],
    /// Also make the canonical form of the request, which is the key of the cache.
    pub with_canonical: bool,
}

/// OpenRouter's model suffixes, and the policies that they stand for.
const SUFFIXES: [(&str, &str); 2] = [(":nitro", "throughput"), (":floor", "cheapest")];

/// OpenRouter's values of `provider.sort`, and the policies that they stand for.
const SORTS: [(&str, &str); 3] = [
    ("price", "cheapest"),
    ("throughput", "throughput"),
    ("latency", "least-latency"),
];

impl<'s, 'b> RequestParser<'s, 'b> {
    /// Reads the plan. `seen` gets the model's name as soon as it is known, for the access log of a rejected request.
    ///
    /// # Errors
    /// The body, a header or a routing field is invalid, or the caller may not use a model.
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
        let header = headers::MODELS.read_str(&self.head.headers);
        let names = header.unwrap_or_default().split(',').map(str::trim);
        let names = names.filter(|name| !name.is_empty());
        self.add_models(&mut models, headers::MODELS.name(), names)?;
        let mut body = Cow::Borrowed(self.body);
        // A request for OpenRouter alone keeps its fields, because OpenRouter follows them itself.
        let goes_to_openrouter = models.iter().all(|route| route.is_openrouter);
        if let Some(fields) = chat.routing_fields.take().filter(|_| !goes_to_openrouter) {
            let names = fields.models.iter().map(String::as_str);
            self.add_models(&mut models, "models", names)?;
            apply_routing_fields(*fields, &mut constraints)?;
            let cut = routing_fields::cut(self.body, scratch)?;
            chat = self.read_body(&cut, scratch)?;
            body = Cow::Owned(cut);
        }
        self.apply_route_header(&models, &mut constraints)?;
        if self.client_api.name() == vocabulary::NAME {
            constraints.stored_responses = stored_responses::resolve(
                self.snapshot,
                self.caller,
                &mut chat,
                &mut body,
                &models,
                &mut constraints.demand,
            )?;
        }
        if !route.rules.is_empty() {
            self.apply_rules(route, &mut constraints, scratch);
        }
        if let Some(experiment) = &route.experiment
            && !constraints.names_targets()
        {
            let excluded = constraints.select(route).excluded;
            let arm_of_rule = constraints.rule.and_then(|rule| rule.arm);
            let arm_of_rule = arm_of_rule.and_then(|arm| experiment.arm(arm, excluded));
            let drawn = || experiment.choose(&self.head.headers, self.caller.key, excluded);
            constraints.arm = arm_of_rule.or_else(drawn);
        }
        *seen = Some(route.name);
        Ok(RequestPlan {
            chat,
            body,
            models,
            constraints,
        })
    }

    fn apply_rules(
        &self,
        route: &'s ModelRoute,
        constraints: &mut RouteConstraints<'s>,
        scratch: &mut Scratch,
    ) {
        let (rules, headers) = (&route.rules, &self.head.headers);
        let demand = &constraints.demand;
        let context = RuleContext::new(rules, headers, self.caller, demand, self.body, scratch);
        let found = context.find(rules);
        constraints.rule = found.rule;
        constraints.checked_rules = found.checked;
        constraints.rules_model = Some(route.name);
    }

    fn read_body(&self, body: &[u8], scratch: &mut Scratch) -> Result<ChatRequest, GatewayError> {
        let target = self.head.target;
        self.client_api
            .inspect_request(target, body, scratch, self.with_canonical)
    }

    /// The name of a configured model, and the policy that a suffix of `name` stands for.
    fn without_suffix<'n>(&self, name: &'n str) -> (&'n str, Option<&'static str>) {
        if self.snapshot.models.contains_key(name) {
            return (name, None);
        }
        let mut matches = SUFFIXES.iter().filter_map(|(suffix, policy)| {
            let base = name.strip_suffix(suffix)?;
            let is_known = self.snapshot.models.contains_key(base);
            is_known.then_some((base, Some(*policy)))
        });
        matches.next().unwrap_or((name, None))
    }

    /// Adds the models that the header or field `source` names.
    fn add_models<'n>(
        &self,
        models: &mut Chain<'s>,
        source: &'static str,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<(), GatewayError> {
        for name in names {
            let found = find_model(self.snapshot, name, self.caller, &mut None);
            let found = found.map_err(|error| error.on(source))?;
            let is_new = models.iter().all(|route| route.index != found.index);
            if is_new && models.try_push(found).is_err() {
                let message = format!("`{source}` names more than {CHAIN_MAX} models");
                return Err(GatewayError::new(ErrorCode::InvalidHeader, message).on(source));
            }
        }
        Ok(())
    }

    /// `x-ringside-route`: a policy, and targets in the order to try them; `*` admits all other targets after these.
    fn apply_route_header(
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
                    "`{}`: `{word}` is neither a policy nor a target of this model; give a policy, a \
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

/// Adds the constraints of the body's routing fields.
fn apply_routing_fields(
    fields: RoutingFields,
    constraints: &mut RouteConstraints<'_>,
) -> Result<(), GatewayError> {
    if let Some(field) = fields.unsupported {
        let message = format!("`provider.{field}` is not supported here");
        return Err(GatewayError::new(ErrorCode::InvalidRequest, message).on("provider"));
    }
    if let Some(sort) = fields.sort {
        let known = SORTS.iter().find(|(name, _)| *name == sort);
        let (_, name) = known.ok_or_else(|| {
            let message = "`provider.sort` must be `price`, `throughput` or `latency`";
            GatewayError::new(ErrorCode::InvalidRequest, message).on("provider.sort")
        })?;
        constraints.policy = policy(name);
    }
    let demand = &mut constraints.demand;
    demand.only = fields.only;
    if fields.forbids_fallbacks && !fields.order.is_empty() {
        // Both lists apply: only targets that are in both may be used.
        let in_both = |name: &String| demand.only.is_empty() || demand.only.contains(name);
        demand.only = fields
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
    demand.first = fields.order;
    demand.ignored = fields.ignore;
    demand.no_collection = fields.denies_collection;
    Ok(())
}

/// The route of a model that is configured and that the caller may use.
///
/// # Errors
/// The model is not configured, or the key does not allow it. The message names only models that the caller may use.
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
