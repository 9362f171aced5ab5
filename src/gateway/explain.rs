//! Explains what would happen to a chat request: parses and routes it with the code that serves requests, on a copy of
//! a core's target table, and sends nothing.

use crate::base::request_ids;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::plan::affinity_key::affinity_key;
use crate::gateway::plan::request_plan::{RequestParser, RequestPlan};
use crate::gateway::plan::selection::Selection;
use crate::gateway::snapshot::model::ModelRoute;
use crate::gateway::snapshot::snapshot::Snapshot;
use crate::http::encode;
use crate::http::head::{Parsed, parse_request_head};
use crate::http::limits::HeadLimits;
use crate::protocols::json::document::Scratch;
use crate::protocols::registry::client_api_for;
use crate::routing::indices::TargetIndex;
use crate::routing::measurements::Series;
use crate::routing::policy::RequestFacts;
use crate::routing::targets::TargetTable;
use serde_json::{Value, json};
use std::fmt::Write;

/// Explains `input`: the body of a chat request, or `{"key": NAME, "headers": {…}, "body": {…}}` around it.
/// `target_table` is a core's, as of `now_us`.
#[must_use]
pub fn explain(
    snapshot: &Snapshot,
    target_table: &TargetTable,
    now_us: u64,
    input: &[u8],
) -> Value {
    let explained = ExplainRequest::read(input)
        .and_then(|request| request.explain(snapshot, &mut target_table.clone(), now_us));
    explained.unwrap_or_else(|error| json!({ "refused": refusal(&error) }))
}

fn refusal(error: &GatewayError) -> Value {
    json!({ "status": error.status, "code": error.code.as_str(), "message": error.message })
}

struct ExplainRequest {
    key: Option<String>,
    head: Vec<u8>,
    body: Vec<u8>,
}

impl ExplainRequest {
    fn read(input: &[u8]) -> Result<Self, GatewayError> {
        let invalid = |message: String| GatewayError::new(ErrorCode::InvalidJson, message);
        let value: Value = serde_json::from_slice(input)
            .map_err(|error| invalid(format!("the request is not JSON: {error}")))?;
        let mut head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: explain\r\n".to_vec();
        let Some(body) = value.get("body").filter(|body| body.is_object()) else {
            encode::end_head(&mut head);
            return Ok(Self {
                key: None,
                head,
                body: input.to_vec(),
            });
        };
        let headers = value.get("headers").and_then(Value::as_object);
        for (name, value) in headers.into_iter().flatten() {
            let text = value.as_str();
            let text = text.ok_or_else(|| invalid(format!("header `{name}` must be a string")))?;
            encode::header(&mut head, name, text.as_bytes());
        }
        encode::end_head(&mut head);
        Ok(Self {
            key: value.get("key").and_then(Value::as_str).map(str::to_owned),
            head,
            body: body.to_string().into_bytes(),
        })
    }

    fn explain(
        &self,
        snapshot: &Snapshot,
        target_table: &mut TargetTable,
        now_us: u64,
    ) -> Result<Value, GatewayError> {
        let limits = HeadLimits::default();
        let invalid = |reason: String| {
            let message = format!("the headers cannot be sent: {reason}");
            GatewayError::new(ErrorCode::InvalidHeader, message)
        };
        let parsed = parse_request_head(&self.head, &limits);
        let Parsed::Complete { value: head, .. } =
            parsed.map_err(|error| invalid(error.to_string()))?
        else {
            return Err(invalid("they do not end".to_owned()));
        };
        let caller = snapshot
            .keys
            .caller_of(self.key.as_deref())
            .ok_or_else(|| {
                let message = "keys are configured: name one of them as `key` beside `body`";
                GatewayError::new(ErrorCode::MissingApiKey, message)
            })?;
        let parser = RequestParser {
            snapshot,
            caller,
            client_api: client_api_for(head.target),
            head: &head,
            body: &self.body,
            with_canonical: false,
        };
        let request_plan = parser.read(&mut Scratch::default(), &mut None)?;
        let facts = RequestFacts {
            random: request_ids::random(),
            affinity_key: affinity_key(&head.headers, caller.key),
            series: Series::of_request(request_plan.chat.stream, request_plan.body.len()),
        };
        let mut models = Vec::new();
        for route in &request_plan.models {
            models.push(model(&request_plan, route, &facts, target_table, now_us));
        }
        let demand = &request_plan.constraints.demand;
        let refused = request_plan
            .constraints
            .no_eligible_target(&request_plan.models);
        Ok(json!({
            "request": {
                "stream": request_plan.chat.stream,
                "prompt_tokens_estimated": demand.tokens,
                "completion_tokens_expected": request_plan.constraints.expected.completion,
                "tools": demand.needs.tools,
                "images": demand.needs.images,
                "json_schema": demand.needs.schema,
                "regions": demand.regions,
                "key_regions": demand.key_regions,
                "only": demand.only,
                "ignored": demand.ignored,
                "first": demand.first,
            },
            "prices": { "version": snapshot.prices.version, "as_of": snapshot.prices.as_of },
            "models": models,
            "refused": refused.as_ref().map(refusal),
        }))
    }
}

/// One model of the chain: its candidates, and the order in which they would be tried.
fn model(
    request_plan: &RequestPlan<'_, '_>,
    route: &ModelRoute,
    facts: &RequestFacts,
    target_table: &mut TargetTable,
    now_us: u64,
) -> Value {
    let constraints = &request_plan.constraints;
    let selection = constraints.select(route);
    let candidates = candidates(route, &selection, facts, target_table, now_us);
    let routed = constraints.order(route, &selection, facts, target_table, now_us);
    let rule = constraints.rule_of(route);
    let policy_source = match (constraints.policy, rule.and_then(|rule| rule.policy)) {
        (Some(_), _) => PolicySource::Request,
        (None, Some(_)) => PolicySource::Rule,
        (None, None) => PolicySource::Model,
    };
    let checked = constraints
        .checked_rules
        .iter()
        .filter(|_| constraints.rules_model == Some(route.name));
    let rules: Vec<Value> = checked
        .map(|checked| json!({ "rule": checked.rule.text().to_string(), "unmet": checked.unmet }))
        .collect();
    let label = |index: &TargetIndex| {
        route
            .traits
            .get(index.get())
            .map(|traits| traits.label.clone())
    };
    json!({
        "model": route.name.text().to_string(),
        "arm": constraints.arm_of(route).map(|chosen| chosen.arm.label.text().to_string()),
        "policy": selection.policy.name(),
        "policy_from": policy_source.as_str(),
        "rules": rules,
        "candidates": candidates,
        "order": routed.order.iter().filter_map(label).collect::<Vec<_>>(),
        "last_resort": routed.is_last_resort,
        "waits": routed.order.is_empty() && !routed.full.is_empty(),
        "queued": target_table.queue_length(route.index),
        "limited_for_ms": routed.limited_until_us.map(|until_us| until_us.saturating_sub(now_us) / 1000),
    })
}

/// Where the policy of a model comes from.
enum PolicySource {
    Request,
    Rule,
    Model,
}

impl PolicySource {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Rule => "rule",
            Self::Model => "model",
        }
    }
}

fn candidates(
    route: &ModelRoute,
    selection: &Selection,
    facts: &RequestFacts,
    target_table: &mut TargetTable,
    now_us: u64,
) -> Vec<Value> {
    let inputs = selection.inputs(facts);
    let targets = route.traits.iter().zip(&route.target_refs).enumerate();
    let candidates = targets.map(|(index, (traits, target_ref))| {
        let state = target_table.inspect(TargetIndex::new(index), target_ref, &inputs, now_us);
        let exclusion = selection.exclusions.get(index).copied().flatten();
        json!({
            "target": traits.label,
            "excluded": exclusion.map(|exclusion| exclusion.as_str()),
            "phase": state.phase.as_str(),
            "availability": state.availability.as_str(),
            "priority": state.candidate.priority,
            "weight": state.candidate.weight,
            "score": state.candidate.score,
            "in_flight": state.candidate.in_flight,
            "limit": state.limit,
            "expected_us": state.candidate.expected_us,
            "tokens_per_s": state.candidate.tokens_per_s,
            "cost_nanousd": state.candidate.cost_nanousd,
            "is_probe": state.candidate.is_probe,
            "is_stale": state.candidate.is_stale,
        })
    });
    candidates.collect()
}

/// An explanation as text, for a terminal.
#[must_use]
pub fn readable(explanation: &Value) -> String {
    let mut out = String::new();
    let request = &explanation["request"];
    if !request.is_null() {
        let _ = writeln!(
            out,
            "request: about {} prompt tokens, {} expected completion tokens; stream {}, tools {}, images {}, json schema {}",
            text(&request["prompt_tokens_estimated"]),
            text(&request["completion_tokens_expected"]),
            text(&request["stream"]),
            text(&request["tools"]),
            text(&request["images"]),
            text(&request["json_schema"]),
        );
    }
    for model in &each(&explanation["models"]) {
        let arm = match &model["arm"] {
            Value::Null => String::new(),
            arm => format!(", arm {}", text(arm)),
        };
        let [name, policy, from] = ["model", "policy", "policy_from"].map(|key| text(&model[key]));
        let _ = writeln!(
            out,
            "\nmodel {name}: policy {policy} (from the {from}){arm}"
        );
        for rule in each(&model["rules"]) {
            let outcome = match &rule["unmet"] {
                Value::Null => "applies".to_owned(),
                condition => format!("does not apply: {}", text(condition)),
            };
            let _ = writeln!(out, "  rule {} {outcome}", text(&rule["rule"]));
        }
        let order: Vec<String> = each(&model["order"]).iter().map(text).collect();
        write_candidates(model, &order, &mut out);
    }
    if !explanation["refused"].is_null() {
        let refused = &explanation["refused"];
        let _ = writeln!(
            out,
            "\nrefused: {} {}: {}",
            text(&refused["status"]),
            text(&refused["code"]),
            text(&refused["message"])
        );
    }
    out
}

/// The candidates of one model, a line each, with their positions in `order`.
fn write_candidates(model: &Value, order: &[String], out: &mut String) {
    for candidate in each(&model["candidates"]) {
        let position = order
            .iter()
            .position(|label| *label == text(&candidate["target"]));
        let position = position.map_or("-".to_owned(), |index| (index + 1).to_string());
        let excluded = match &candidate["excluded"] {
            Value::Null => String::new(),
            reason => format!("  excluded: {}", text(reason)),
        };
        let _ = writeln!(
            out,
            "  {position:>2}  {:32} {} {}  priority {} weight {} score {} in flight {} of {} expected {} us, {} tokens/s, {} nano-dollars{excluded}",
            text(&candidate["target"]),
            text(&candidate["phase"]),
            text(&candidate["availability"]),
            text(&candidate["priority"]),
            text(&candidate["weight"]),
            text(&candidate["score"]),
            text(&candidate["in_flight"]),
            text(&candidate["limit"]),
            text(&candidate["expected_us"]),
            text(&candidate["tokens_per_s"]),
            text(&candidate["cost_nanousd"]),
        );
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn each(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}
