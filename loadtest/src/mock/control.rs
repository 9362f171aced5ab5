//! The mock's own endpoints: what was seen, and how it behaves from now on.

use super::state::{State, Stats};
use ringside::error::code::ErrorCode;
use ringside::error::gateway_error::GatewayError;
use ringside::http::head::Method;
use ringside::runtime::clock;
use ringside::server::connection::Request;
use serde_json::Value;
use std::collections::BTreeMap;

/// `GET /mock/stats`.
pub(super) fn stats(stats: &Stats, connections: impl serde::Serialize) -> String {
    serde_json::json!({
        "requests": stats.requests,
        "cancelled": stats.cancelled,
        "failed": stats.failed,
        "limited": stats.limited,
        "open_connections": connections,
        "last_authorization": stats.last_authorization,
        "last_body": String::from_utf8_lossy(&stats.last_body),
    })
    .to_string()
}

/// `GET`, `POST` (names and values as JSON, `reset` first) or `DELETE` (reset) `/mock/behaviour`.
/// Answers with the behaviour there is then.
pub(super) fn behaviour(request: &Request<'_>, state: &mut State) -> Result<String, GatewayError> {
    let now = clock::now();
    let bad = |why: String| GatewayError::new(ErrorCode::InvalidRequest, why);
    match request.head.method {
        Method::Get => {}
        Method::Delete => state.change(true, &BTreeMap::new(), now).map_err(bad)?,
        Method::Post => {
            let (reset, changes) = read(request.body).map_err(bad)?;
            state.change(reset, &changes, now).map_err(bad)?;
        }
        _ => {
            return Err(GatewayError::new(
                ErrorCode::MethodNotAllowed,
                "GET, POST or DELETE",
            ));
        }
    }
    Ok(state.settings(now).describe().to_string())
}

fn read(body: &[u8]) -> Result<(bool, BTreeMap<String, String>), String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let Value::Object(object) = value else {
        return Err("the body must be a JSON object of names and values".into());
    };
    let mut reset = false;
    let mut changes = BTreeMap::new();
    for (name, value) in object {
        let text = match value {
            Value::Bool(value) if name == "reset" => {
                reset = value;
                continue;
            }
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            _ => return Err(format!("{name}: must be a text, a number, true or false")),
        };
        changes.insert(name, text);
    }
    Ok((reset, changes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read() {
        let (reset, changes) =
            read(br#"{"reset":true,"latency":"5ms","tokens":7,"hang":false}"#).unwrap();
        assert!(reset);
        assert_eq!(changes["latency"], "5ms");
        assert_eq!(changes["tokens"], "7");
        assert_eq!(changes["hang"], "false");
        assert!(read(b"[]").is_err());
        assert!(read(br#"{"quota":[1]}"#).is_err());
    }
}
