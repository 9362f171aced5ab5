//! What would happen to a chat request, and why: the journey's own reading and choosing, without sending
//! anything and on a copy of what a core has learned.

use crate::base::request_ids;
use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::gateway::attempt::attempt_loop;
use crate::gateway::plan::candidates::Selection;
use crate::gateway::plan::request_plan::{RequestParser, RequestPlan};
use crate::gateway::snapshot::{ModelRoute, Snapshot};
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

/// Explains `input`: a chat request's body, or `{"key": NAME, "headers": {…}, "body": {…}}` around it.
/// `fleet` is what a core knows at `now_us`.
#[must_use]
pub fn explain(
    snapshot: &Snapshot,
    target_table: &TargetTable,
    now_us: u64,
    input: &[u8],
) -> Value {
    let told = ExplainRequest::read(input)
        .and_then(|question| question.response(snapshot, &mut target_table.clone(), now_us));
    told.unwrap_or_else(|fault| {
        json!({
            "refused": { "status": fault.status, "code": fault.code.as_str(), "message": fault.message },
        })
    })
}

struct ExplainRequest {
    key: Option<String>,
    head: Vec<u8>,
    body: Vec<u8>,
}

impl ExplainRequest {
    fn read(input: &[u8]) -> Result<Self, GatewayError> {
        let wrong = |message: String| GatewayError::new(ErrorCode::InvalidJson, message);
        let value: Value = serde_json::from_slice(input)
            .map_err(|error| wrong(format!("the request is not JSON: {error}")))?;
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
            let text = text.ok_or_else(|| wrong(format!("header `{name}` must be a string")))?;
            encode::header(&mut head, name, text.as_bytes());
        }
        encode::end_head(&mut head);
        Ok(Self {
            key: value.get("key").and_then(Value::as_str).map(str::to_owned),
            head,
            body: body.to_string().into_bytes(),
        })
    }

    fn response(
        &self,
        snapshot: &Snapshot,
        target_table: &mut TargetTable,
        now_us: u64,
    ) -> Result<Value, GatewayError> {
        let limits = HeadLimits::default();
        let wrong = |why: String| {
            let message = format!("the headers cannot be sent: {why}");
            GatewayError::new(ErrorCode::InvalidHeader, message)
        };
        let parsed = parse_request_head(&self.head, &limits);
        let Parsed::Complete { value: head, .. } = parsed.map_err(|why| wrong(why.to_string()))?
        else {
            return Err(wrong("they do not end".to_owned()));
        };
        let caller = snapshot.keys.grant_of(self.key.as_deref()).ok_or_else(|| {
            let message = "keys are configured: name one of them as `key` beside `body`";
            GatewayError::new(ErrorCode::MissingApiKey, message)
        })?;
        let source = RequestParser {
            snapshot,
            caller,
            client_api: client_api_for(head.target),
            head: &head,
            body: &self.body,
            with_canonical: false,
        };
        let request_plan = source.read(&mut Scratch::default(), &mut None)?;
        let facts = RequestFacts {
            random: request_ids::random(),
            affinity_key: attempt_loop::affinity_key(&head.headers, caller.key),
            series: Series::of_request(request_plan.chat.stream, request_plan.body.len()),
        };
        let mut models = Vec::new();
        for route in &request_plan.models {
            models.push(model(&request_plan, route, &facts, target_table, now_us));
        }
        let demand = &request_plan.constraints.demand;
        let refused = request_plan.constraints.nothing_fits(&request_plan.models);
        Ok(json!({
            "request": {
                "stream": request_plan.chat.stream,
                "prompt_tokens_estimated": demand.tokens,
                "completion_tokens_expected": request_plan.constraints.expected.completion,
                "tools": demand.tools,
                "images": demand.images,
                "json_schema": demand.schema,
                "regions": demand.regions,
                "key_regions": demand.key_regions,
                "only": demand.only,
                "ignored": demand.ignored,
                "first": demand.first,
            },
            "prices": { "version": snapshot.prices.version, "as_of": snapshot.prices.as_of },
            "models": models,
            "refused": refused.map(|fault| {
                json!({ "status": fault.status, "code": fault.code.as_str(), "message": fault.message })
            }),
        }))
    }
}

/// One model of the chain: its candidates, and the order they would be tried in.
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
    let ruled = constraints.rule_of(route);
    let policy_from = match (constraints.policy, ruled.and_then(|rule| rule.policy)) {
        (Some(_), _) => "request",
        (None, Some(_)) => "rule",
        (None, None) => "model",
    };
    let looked = constraints
        .looked
        .iter()
        .filter(|_| constraints.ruled == Some(route.name));
    let rules: Vec<Value> = looked
        .map(|(name, unmet)| json!({ "rule": name.text().to_string(), "unmet": unmet }))
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
        "policy_from": policy_from,
        "rules": rules,
        "candidates": candidates,
        "order": routed.order.iter().filter_map(label).collect::<Vec<_>>(),
        "last_resort": routed.is_last_resort,
        "waits": routed.order.is_empty() && !routed.full.is_empty(),
        "in_line": target_table.in_line(route.index),
        "limited_for_ms": routed.limited_until_us.map(|at| at.saturating_sub(now_us) / 1000),
    })
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
    let told = targets.map(|(at, (traits, target_ref))| {
        let seen = target_table.inspect(TargetIndex::new(at), target_ref, &inputs, now_us);
        let why = selection.exclusions.get(at).copied().flatten();
        json!({
            "target": traits.label,
            "excluded": why.map(|why| why.name()),
            "phase": seen.phase.name(),
            "standing": seen.availability,
            "priority": seen.candidate.priority,
            "weight": seen.candidate.weight,
            "score": seen.candidate.score,
            "outstanding": seen.candidate.outstanding,
            "limit": seen.limit,
            "expected_us": seen.candidate.expected_us,
            "tokens_per_s": seen.candidate.tokens_per_s,
            "cost_nanousd": seen.candidate.cost_nanousd,
            "is_probe": seen.candidate.is_probe,
            "is_stale": seen.candidate.is_stale,
        })
    });
    told.collect()
}

/// The same for a terminal.
#[must_use]
pub fn readable(told: &Value) -> String {
    let mut out = String::new();
    let request = &told["request"];
    if !request.is_null() {
        let _ = writeln!(
            out,
            "request: about {} prompt tokens, {} expected in answer; stream {}, tools {}, images {}, json schema {}",
            text(&request["prompt_tokens_estimated"]),
            text(&request["completion_tokens_expected"]),
            text(&request["stream"]),
            text(&request["tools"]),
            text(&request["images"]),
            text(&request["json_schema"]),
        );
    }
    for model in &each(&told["models"]) {
        let arm = match &model["arm"] {
            Value::Null => String::new(),
            arm => format!(", arm {}", text(arm)),
        };
        let [name, policy, from] = ["model", "policy", "policy_from"].map(|key| text(&model[key]));
        let _ = writeln!(
            out,
            "\nmodel {name}: policy {policy} (from the {from}){arm}"
        );
        for one in each(&model["rules"]) {
            let outcome = match &one["unmet"] {
                Value::Null => "applies".to_owned(),
                why => format!("does not apply: {}", text(why)),
            };
            let _ = writeln!(out, "  rule {} {outcome}", text(&one["rule"]));
        }
        let order: Vec<String> = each(&model["order"]).iter().map(text).collect();
        write_candidates(model, &order, &mut out);
    }
    if !told["refused"].is_null() {
        let refused = &told["refused"];
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

/// The candidates of one model, a line each, with their places in `order`.
fn write_candidates(model: &Value, order: &[String], out: &mut String) {
    for one in each(&model["candidates"]) {
        let place = order
            .iter()
            .position(|label| *label == text(&one["target"]));
        let place = place.map_or("-".to_owned(), |at| (at + 1).to_string());
        let excluded = match &one["excluded"] {
            Value::Null => String::new(),
            why => format!("  excluded: {}", text(why)),
        };
        let _ = writeln!(
            out,
            "  {place:>2}  {:32} {} {}  priority {} weight {} score {} under way {} of {} expected {} us, {} tokens/s, {} nano-dollars{excluded}",
            text(&one["target"]),
            text(&one["phase"]),
            text(&one["standing"]),
            text(&one["priority"]),
            text(&one["weight"]),
            text(&one["score"]),
            text(&one["outstanding"]),
            text(&one["limit"]),
            text(&one["expected_us"]),
            text(&one["tokens_per_s"]),
            text(&one["cost_nanousd"]),
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
