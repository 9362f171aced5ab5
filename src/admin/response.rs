//! Responses of the admin API.

use crate::error::code::ErrorCode;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

pub(crate) type AdminResponse = Response<Full<Bytes>>;

pub(crate) fn text(status: StatusCode, body: &str) -> AdminResponse {
    let mut response = Response::new(Full::new(Bytes::from(body.to_owned())));
    *response.status_mut() = status;
    response
}

pub(crate) fn with_content_type(
    mut response: AdminResponse,
    content_type: &'static str,
) -> AdminResponse {
    let value = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

pub(crate) fn ok(body: &Value) -> AdminResponse {
    json_response(StatusCode::OK, body)
}

pub(crate) fn error(code: ErrorCode, message: &str) -> AdminResponse {
    let error = json!({
        "message": message,
        "type": "invalid_request_error",
        "param": null,
        "code": code.as_str(),
    });
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json_response(status, &json!({ "error": error }))
}

fn json_response(status: StatusCode, body: &Value) -> AdminResponse {
    with_content_type(text(status, &format!("{body}\n")), "application/json")
}
