//! Writes the mock's responses: whole answers, failures in each dialect, and what a behaviour breaks on purpose.

use super::answer::{ChatRequest, Dialect, whole};
use super::behaviour::{Behaviour, Framing, HangUp};
use super::{gemini, messages};
use ringside::http::encode;
use ringside::runtime::clock;
use ringside::server::client::Client;

/// OpenAI's error envelope.
pub(super) fn error_body(status: u16, code: &str, message: &str) -> String {
    // OpenAI's types of errors; clients decide by them what to raise.
    let kind = match status {
        401 => "authentication_error",
        403 => "permission_error",
        429 => "rate_limit_error",
        400..=499 => "invalid_request_error",
        _ => "server_error",
    };
    let error =
        serde_json::json!({ "message": message, "type": kind, "param": null, "code": code });
    serde_json::json!({ "error": error }).to_string()
}

pub(super) async fn fail(client: &mut Client, behaviour: &Behaviour, dialect: Dialect) {
    let now = clock::since_epoch();
    let reported: Vec<(&str, String)> = behaviour
        .retry_after
        .iter()
        .flat_map(|after| {
            let styles = behaviour.retry_style.iter();
            styles.flat_map(|style| style.headers(*after, now))
        })
        .collect();
    let extra: Vec<(&str, &str)> = reported
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    if behaviour.html {
        let page = b"<html><body><h1>502 Bad Gateway</h1></body></html>";
        return send(client, behaviour.status, "text/html", &extra, page).await;
    }
    let code = match behaviour.status {
        429 => "rate_limit_exceeded",
        _ => "mock_error",
    };
    let wait = behaviour.retry_after.map(|wait| wait.as_secs_f64());
    let body = match dialect {
        Dialect::Chat => error_body(behaviour.status, code, "the mock was told to fail"),
        Dialect::Messages => messages::error(behaviour.status),
        Dialect::Gemini => gemini::error(behaviour.status, wait),
    };
    send(
        client,
        behaviour.status,
        "application/json",
        &extra,
        body.as_bytes(),
    )
    .await;
}

pub(super) async fn answer_whole(
    request_read: &ChatRequest<'_>,
    behaviour: &Behaviour,
    client: &mut Client,
) {
    let mut body = whole(request_read, behaviour);
    if behaviour.malformed {
        body.truncate(body.len() / 2);
        return send(client, 200, "application/json", &[], &body).await;
    }
    let mut out = Vec::with_capacity(body.len() + 256);
    head(&mut out, 200, "application/json");
    match behaviour.framing {
        Framing::Length => encode::content_length(&mut out, body.len() as u64),
        Framing::Chunked | Framing::Broken => encode::chunked(&mut out),
        Framing::Close => client.keep_alive = false,
    }
    encode::end_head(&mut out);
    match behaviour.hang_up {
        Some(HangUp::Head) => client.keep_alive = false,
        Some(_) => {
            client.keep_alive = false;
            out.extend_from_slice(body.get(..body.len() / 2).unwrap_or_default());
        }
        None if behaviour.framing == Framing::Broken => {
            encode::chunk(&mut out, body.get(..body.len() / 2).unwrap_or_default());
            out.extend_from_slice(b"no size\r\n");
        }
        None if behaviour.framing == Framing::Chunked => {
            encode::chunk(&mut out, &body);
            encode::last_chunk(&mut out);
        }
        None => out.extend_from_slice(&body),
    }
    let _ = client.write(out).await;
}

pub(super) fn head(out: &mut Vec<u8>, status: u16, kind: &str) {
    encode::status_line(out, status);
    encode::header(out, "content-type", kind.as_bytes());
    encode::header(out, "x-request-id", b"mock");
}

pub(super) async fn send(
    client: &mut Client,
    status: u16,
    kind: &str,
    extra: &[(&str, &str)],
    body: &[u8],
) {
    let mut out = Vec::with_capacity(body.len() + 256);
    head(&mut out, status, kind);
    for (name, value) in extra {
        encode::header(&mut out, name, value.as_bytes());
    }
    encode::content_length(&mut out, body.len() as u64);
    encode::end_head(&mut out);
    out.extend_from_slice(body);
    let _ = client.write(out).await;
}
