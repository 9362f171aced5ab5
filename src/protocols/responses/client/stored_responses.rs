//! Reads the references of a Responses request to responses that a provider stores, and the paths of stored
//! responses. It must not know which provider stores a response.

use crate::error::code::ErrorCode;
use crate::error::gateway_error::GatewayError;
use crate::http::head::Method;
use crate::protocols::json::document::Document;
use crate::protocols::json::name_map::NameMap;
use crate::protocols::request::stored_state::Previous;
use crate::protocols::request::stored_state::State;

/// The field that continues a conversation that is not stored as a response.
const NOT_SERVED: &str = "conversation";

/// The field in which a client chooses the id of its response, at vLLM and servers derived from it (its "Responses
/// API", "Extra parameters"). A client could choose the id of another client's response.
const OWN_ID: &str = "request_id";

/// For each item type, the field without which an item with an id only refers to a stored item (OpenAI's API
/// reference, "Create a model response", `input`).
const WHOLE_BY: [(&str, &str); 22] = [
    ("message", "content"),
    ("function_call", "arguments"),
    ("function_call_output", "output"),
    ("custom_tool_call", "input"),
    ("custom_tool_call_output", "output"),
    ("reasoning", "encrypted_content"),
    ("compaction", "encrypted_content"),
    ("image_generation_call", "result"),
    ("web_search_call", "action"),
    ("file_search_call", "queries"),
    ("code_interpreter_call", "code"),
    ("computer_call", "action"),
    ("computer_call_output", "output"),
    ("local_shell_call", "action"),
    ("local_shell_call_output", "output"),
    ("shell_call", "action"),
    ("shell_call_output", "output"),
    ("apply_patch_call", "operation"),
    ("apply_patch_call_output", "status"),
    ("mcp_list_tools", "tools"),
    ("mcp_call", "arguments"),
    ("mcp_approval_request", "arguments"),
];

/// 400 that names the field that needs a stored response.
#[must_use]
pub(crate) fn no_stored_responses(name: &'static str) -> GatewayError {
    let message = format!(
        "`{name}` needs a response that a provider stores, and no provider of this model stores responses; \
         send the whole conversation as `input`"
    );
    GatewayError::new(ErrorCode::StatefulNotSupported, message).on(name)
}

/// 400 that names a field whose id the gateway cannot attribute to the client.
#[must_use]
pub(crate) fn unowned_reference(field: &str) -> GatewayError {
    let message = match field {
        OWN_ID => {
            format!("`{OWN_ID}` could choose the id of another client's response; leave it out")
        }
        _ => format!(
            "`{field}` names an item that a provider stores, and the gateway cannot check who owns it; send the \
             whole item (thoughts have `encrypted_content` if `include` requests it), or continue with \
             `previous_response_id`"
        ),
    };
    GatewayError::new(ErrorCode::StatefulNotSupported, message).on(field.to_owned())
}

/// Reads the references.
///
/// # Errors
/// 400 that names a field that is malformed or not served.
pub(crate) fn read(body: &[u8], document: &Document<'_>) -> Result<State, GatewayError> {
    let given = |name| {
        let at = document.field(0, name)?;
        (!document.is_null(at)).then_some(at)
    };
    if given(NOT_SERVED).is_some() {
        return Err(no_stored_responses(NOT_SERVED));
    }
    let previous = match given("previous_response_id") {
        None => None,
        Some(at) => Some(previous(body, document, at)?),
    };
    let background = given("background").is_some_and(|at| document.boolean(at) != Some(false));
    let items = document.field(0, "input");
    let mut items = items.and_then(|at| document.elements(at));
    Ok(State {
        previous,
        background,
        reference: match given(OWN_ID) {
            Some(_) => Some(OWN_ID.to_owned()),
            None => items
                .as_mut()
                .and_then(|items| items.position(|item| is_reference(document, item)))
                .map(|at| format!("input[{at}]")),
        },
    })
}

fn previous(body: &[u8], document: &Document<'_>, at: usize) -> Result<Previous, GatewayError> {
    const NAME: &str = "previous_response_id";
    let wrong = || {
        GatewayError::new(
            ErrorCode::InvalidRequest,
            format!("`{NAME}` must be a string"),
        )
    };
    let id = document.text(at).ok_or_else(|| wrong().on(NAME))?;
    let start = document.offset_of(id);
    let range = start
        .and_then(|start| Some(start..crate::protocols::json::splice::string_end(body, start)?));
    Ok(Previous {
        id: id.to_owned(),
        range: range.unwrap_or_default(),
    })
}

/// Fields that have no meaning when they are empty.
const SAYS_MORE_THAN_NOTHING: [&str; 3] = ["id", "encrypted_content", "result"];

/// Whether an item of `input` only refers to an item that the provider stores. An item with a repeated field counts
/// as one, because another parser could read the other value.
fn is_reference(document: &Document<'_>, item: usize) -> bool {
    let mut seen: NameMap<&str, ()> = NameMap::default();
    for (name, _) in document.fields(item).into_iter().flatten() {
        if seen.insert(name, ()).is_some() {
            return true;
        }
    }
    let is_said = |name: &str| {
        let value = document.field(item, name);
        value.is_some_and(|at| {
            let is_nothing =
                document.text(at) == Some("") && SAYS_MORE_THAN_NOTHING.contains(&name);
            !document.is_null(at) && !is_nothing
        })
    };
    let kind = match document.text_of(item, "type") {
        Some("item_reference") => return true,
        Some(kind) => kind,
        None if is_said("role") => "message",
        None => "",
    };
    if !is_said("id") {
        return false;
    }
    let whole_by = WHOLE_BY.iter().find(|(name, _)| *name == kind);
    !whole_by.is_some_and(|(_, field)| is_said(field))
}

/// A request about a stored response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredResponseCall<'t> {
    /// The id, as the client knows it.
    pub id: &'t str,
    /// The rest of the path: empty, or the name of a sub-resource.
    pub rest: &'t str,
    /// The query, including `?`.
    pub query: &'t str,
}

/// Paths under `/v1/responses/` that are not ids.
const NO_IDS: [&str; 2] = ["compact", "input_tokens"];

/// The request about a stored response that `target` names; `None` if it names none.
///
/// # Errors
/// The methods that the path allows.
pub(crate) fn stored_response_call(
    method: Method,
    target: &str,
) -> Option<Result<StoredResponseCall<'_>, &'static str>> {
    let at = target.find('?').unwrap_or(target.len());
    let (path, query) = target.split_at_checked(at)?;
    let path = path.strip_prefix("/v1/responses/")?;
    let (id, rest) = path.split_at_checked(path.find('/').unwrap_or(path.len()))?;
    let is_right = match rest {
        _ if id.is_empty() || NO_IDS.contains(&id) => return None,
        "" => matches!(method, Method::Get | Method::Delete),
        "/cancel" => method == Method::Post,
        "/input_items" => method == Method::Get,
        _ => return None,
    };
    Some(match (is_right, rest) {
        (true, _) => Ok(StoredResponseCall { id, rest, query }),
        (_, "") => Err("GET, DELETE"),
        (_, "/cancel") => Err("POST"),
        _ => Err("GET"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::json::document::Scratch;
    use serde_json::{Value, json};

    fn state(body: &Value) -> Result<State, GatewayError> {
        let body = body.to_string().into_bytes();
        let mut scratch = Scratch::default();
        scratch
            .with_document(&body, |document| read(&body, document))
            .unwrap()
    }

    #[test]
    fn empty_references_are_ignored() {
        for more in [
            json!({"input": "x"}),
            json!({"previous_response_id": null, "conversation": null, "background": false}),
            json!({"input": [{"role": "user", "content": "x"}, {"type": "function_call_output", "call_id": "c", "output": ""}]}),
        ] {
            assert_eq!(state(&more).unwrap(), State::default());
        }
    }

    #[test]
    fn fields_that_need_a_stored_response_are_found() {
        let found = state(&json!({"background": true, "previous_response_id": "resp_1"})).unwrap();
        assert_eq!(found.field(), Some("previous_response_id"));
        let previous = found.previous.unwrap();
        assert_eq!((previous.id.as_str(), previous.range.len()), ("resp_1", 6));
        let error = state(&json!({"conversation": {"id": "conv_1"}})).unwrap_err();
        assert_eq!(
            (error.code, error.param.as_deref()),
            (ErrorCode::StatefulNotSupported, Some("conversation"))
        );
        let chosen = state(&json!({"request_id": "resp_1"})).unwrap();
        assert_eq!(chosen.reference.as_deref(), Some("request_id"));
        let error = state(&json!({"previous_response_id": 7})).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidRequest);
    }

    #[test]
    fn items_that_refer_to_stored_items_are_found() {
        for item in [
            json!({"type": "item_reference", "id": "msg_1"}),
            json!({"id": "msg_1"}),
            json!({"type": null, "id": "msg_1"}),
            json!({"type": "reasoning", "id": "rs_1", "summary": []}),
            json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": ""}),
            json!({"type": "image_generation_call", "id": "ig_1"}),
            json!({"type": "of_tomorrow", "id": "x", "content": "y"}),
        ] {
            let found = state(&json!({"input": [{"role": "user", "content": "x"}, item]})).unwrap();
            assert_eq!(found.reference.as_deref(), Some("input[1]"), "{item}");
        }
        for item in [
            json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e"}),
            json!({"type": "reasoning", "summary": []}),
            json!({"id": "msg_1", "role": "assistant", "content": [], "status": "completed"}),
            json!({"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}),
            json!({"type": "of_tomorrow"}),
        ] {
            let found = state(&json!({"input": [item]})).unwrap();
            assert_eq!(found.reference, None, "{item}");
        }
    }

    #[test]
    fn an_ambiguous_item_counts_as_a_reference() {
        let body = br#"{"input":[{"type":"message","role":"user","content":"x","id":"m","type":"item_reference"}]}"#;
        let mut scratch = Scratch::default();
        let found = scratch
            .with_document(body, |document| read(body, document))
            .unwrap();
        assert_eq!(found.unwrap().reference.as_deref(), Some("input[0]"));
    }

    #[test]
    fn paths_of_stored_responses() {
        let ask = |method, target| {
            stored_response_call(method, target)
                .map(|found| found.map(|call| (call.id, call.rest, call.query)))
        };
        assert_eq!(
            ask(Method::Get, "/v1/responses/r-1?stream=true"),
            Some(Ok(("r-1", "", "?stream=true")))
        );
        assert_eq!(
            ask(Method::Delete, "/v1/responses/r"),
            Some(Ok(("r", "", "")))
        );
        assert_eq!(
            ask(Method::Post, "/v1/responses/r/cancel"),
            Some(Ok(("r", "/cancel", "")))
        );
        assert_eq!(
            ask(Method::Get, "/v1/responses/r/input_items?limit=1"),
            Some(Ok(("r", "/input_items", "?limit=1")))
        );
        assert_eq!(
            ask(Method::Post, "/v1/responses/r"),
            Some(Err("GET, DELETE"))
        );
        assert_eq!(
            ask(Method::Get, "/v1/responses/r/cancel"),
            Some(Err("POST"))
        );
        for other in [
            "/v1/responses",
            "/v1/responses/",
            "/v1/responses/compact",
            "/v1/responses/r/x",
            "/v1/responsesx/r",
        ] {
            assert_eq!(ask(Method::Get, other), None, "{other}");
        }
    }
}
