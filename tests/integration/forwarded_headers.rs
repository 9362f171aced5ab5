//! What a caller's own headers cause concerns this caller alone: no key is put in cooldown, no target loses traffic, and
//! requests that differ in a header that is sent on share neither a cached response nor a call. The headers are those of
//! `docs/forwarded-headers.md`, which is written from the table in the code.

use crate::dialects::{Caller, piece, whole};
use crate::harness::*;
use crate::local_model::ready;
use crate::scoping::keys;
use serde_json::json;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const FOLLOWERS: &str = "ringside_coalesced_requests_total";

/// A line of the table.
struct ForwardedHeader {
    name: String,
    /// The dialects of callers whose header it is.
    callers: Vec<Caller>,
    is_in_scope: bool,
    selects: String,
}

fn forwarded_headers() -> Vec<ForwardedHeader> {
    let page = include_str!("../../docs/forwarded-headers.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let headers: Vec<ForwardedHeader> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let callers = [Caller::OpenAi, Caller::Anthropic, Caller::Gemini]
                .into_iter()
                .filter(|caller| {
                    cells[2] == "all" || cells[2].contains(&format!("`{}`", name(*caller)))
                });
            ForwardedHeader {
                name: cells[1].trim_matches('`').to_owned(),
                callers: callers.collect(),
                is_in_scope: cells[3] == "yes",
                selects: cells[4].split(',').next().unwrap().to_owned(),
            }
        })
        .collect();
    assert!(headers.len() > 5, "the page has a table");
    headers
}

/// The dialect of a provider with the caller's API.
fn name(caller: Caller) -> &'static str {
    match caller {
        Caller::OpenAi => "openai",
        Caller::Anthropic => "anthropic",
        Caller::Gemini => "gemini",
    }
}

fn selecting() -> impl Iterator<Item = (ForwardedHeader, Caller)> {
    let headers = forwarded_headers().into_iter();
    let selecting = headers.filter(|header| header.selects != "nothing");
    selecting.map(|header| {
        let caller = header.callers[0];
        (header, caller)
    })
}

/// Responds with `status` to every request with the header `refused`, and well to all others.
fn refusing(dialect: &'static str, status: u16, refused: String) -> Upstream {
    Upstream::start(move |seen, stream| {
        if seen.header(&refused) == Some("wrong") {
            let error = json!({"error": {"message": "no such organisation", "code": "c"}});
            return write_json(stream, status, &error);
        }
        write_json(stream, 200, &whole(dialect, "fine"))
    })
}

/// A model `m` with the targets `main` and `spare`, and the keys `a`, `b` and `c`.
fn start(driver: &str, dialect: &str, main: &Upstream, spare: &Upstream) -> Gateway {
    let said = format!("dialect = \"{dialect}\"");
    let (folder, keys) = keys();
    let config = format!(
        "{}{}{}{keys}[cache]\nenabled = false\n",
        provider("main", &main.address.to_string(), &said),
        provider("spare", &spare.address.to_string(), &said),
        model("m", &["main", "spare"]),
    );
    Setup::new(driver, config)
        .server("cores = 1\n")
        .start_in(folder)
}

fn call(
    gateway: &Gateway,
    key: &str,
    caller: Caller,
    header: Option<(&str, &str)>,
    question: &str,
) -> Response {
    let key = format!("Bearer secret-{key}");
    let mut headers = vec![("authorization", key.as_str())];
    headers.extend(header);
    gateway.post_with(caller.path(false), &headers, &caller.body(question, false))
}

fn target(reply: &Response) -> &str {
    reply.header("x-ringside-target").unwrap_or_default()
}

/// Nothing was learned from the refusals: no cooldown, and other callers are served as before.
fn nothing_was_learned(gateway: &Gateway, caller: Caller, what: &str) {
    for key in ["b", "c", "a"] {
        let reply = call(gateway, key, caller, None, "later");
        let served = (reply.status, target(&reply));
        assert_eq!(served, (200, "main/m-at-main"), "{what}");
        assert_eq!(reply.header("x-ringside-attempts"), Some("1"), "{what}");
    }
    let log = gateway.log_lines().join("\n");
    assert!(!log.contains("key_cooldown"), "{what}: {log}");
    assert!(!log.contains("target_phase"), "{what}: {log}");
}

#[test]
fn a_refusal_of_what_a_caller_selects_concerns_this_caller_alone() {
    on_both_drivers(|driver| {
        for (header, caller) in selecting() {
            for status in [401, 403, 404, 400] {
                let what = format!("{} {status}", header.name);
                let main = refusing(name(caller), status, header.name.clone());
                let spare = refusing(name(caller), 200, String::new());
                let gateway = start(driver, name(caller), &main, &spare);
                for at in 0..8 {
                    let wrong = Some((header.name.as_str(), "wrong"));
                    let reply = call(&gateway, "a", caller, wrong, &at.to_string());
                    // The account is the caller's choice: no other target is tried in its place.
                    let is_final = header.selects == "an account" || status < 401 || status == 404;
                    let expected = if is_final { status } else { 200 };
                    assert_eq!(reply.status, expected, "{what}: {reply:?}");
                }
                nothing_was_learned(&gateway, caller, &what);
            }
        }
    });
}

#[test]
fn the_rate_limit_of_an_account_that_a_caller_selects_limits_nobody_else() {
    on_both_drivers(|driver| {
        let accounts = selecting().filter(|(header, _)| header.selects == "an account");
        for (header, caller) in accounts {
            let main = refusing(name(caller), 429, header.name.clone());
            let spare = refusing(name(caller), 200, String::new());
            let gateway = start(driver, name(caller), &main, &spare);
            for at in 0..3 {
                let wrong = Some((header.name.as_str(), "wrong"));
                let reply = call(&gateway, "a", caller, wrong, &at.to_string());
                assert_eq!(target(&reply), "spare/m-at-spare", "{reply:?}");
            }
            nothing_was_learned(&gateway, caller, &header.name);
        }
    });
}

/// The other endpoints that are routed to targets.
#[test]
fn a_refusal_concerns_its_caller_alone_at_every_endpoint() {
    on_both_drivers(|driver| {
        let refused = "openai-organization";
        let main = refusing("openai", 401, refused.to_owned());
        let spare = refusing("openai", 200, String::new());
        let gateway = start(driver, "openai", &main, &spare);
        let headers = [("authorization", "Bearer secret-a"), (refused, "wrong")];
        for (path, body) in [
            ("/v1/embeddings", json!({"model": "m", "input": "x"})),
            ("/v1/completions", json!({"model": "m", "prompt": "x"})),
            ("/v1/moderations", json!({"model": "m", "input": "x"})),
            (
                "/v1/images/generations",
                json!({"model": "m", "prompt": "x"}),
            ),
            ("/v1/chat/completions", ask_stream("x")),
            (
                "/v1/responses",
                json!({"model": "m", "input": "x", "store": false}),
            ),
        ] {
            let reply = gateway.post_with(path, &headers, &body);
            assert!(
                reply.status == 401 || path == "/v1/responses",
                "{path}: {reply:?}"
            );
        }
        nothing_was_learned(&gateway, Caller::OpenAi, "endpoints");
    });
}

/// The same refusal without a header of the caller is about the gateway's key.
#[test]
fn a_refusal_that_the_caller_did_not_cause_is_about_the_key() {
    on_both_drivers(|driver| {
        let main = Upstream::start(|_, stream| {
            let error = json!({"error": {"message": "m", "code": "c"}});
            write_json(stream, 401, &error)
        });
        let spare = refusing("anthropic", 200, String::new());
        let gateway = start(driver, "anthropic", &main, &spare);
        // The version that every SDK sends selects nothing.
        let version = Some(("anthropic-version", "2023-06-01"));
        for _ in 0..3 {
            let reply = call(&gateway, "a", Caller::Anthropic, version, "x");
            assert_eq!(target(&reply), "spare/m-at-spare");
        }
        gateway.wait_for_event("key_cooldown");
        assert_eq!(main.count(), 1);
    });
}

/// Callers of a team share responses, except where a header on which a response may depend differs.
#[test]
fn requests_that_differ_in_a_forwarded_header_share_no_response() {
    on_both_drivers(|driver| {
        for header in forwarded_headers() {
            for caller in &header.callers {
                let dialect = name(*caller);
                let upstream = refusing(dialect, 200, String::new());
                let said = format!("dialect = \"{dialect}\"");
                let (folder, keys) = keys();
                let config = format!(
                    "{}{}{keys}[cache]\nscope = \"team\"\n",
                    provider("up", &upstream.address.to_string(), &said),
                    model("m", &["up"]),
                );
                let gateway = Setup::new(driver, config).start_in(folder);
                let ask = |key: &str, value: Option<&str>| {
                    let own = value.map(|value| (header.name.as_str(), value));
                    let reply = call(&gateway, key, *caller, own, "q");
                    reply.cache().to_owned()
                };
                let what = format!("{} of {caller:?}", header.name);
                assert_eq!(ask("a", Some("one")), "miss", "{what}");
                assert_eq!(upstream.last().header(&header.name), Some("one"), "{what}");
                let other = if header.is_in_scope { "miss" } else { "exact" };
                assert_eq!(ask("b", Some("two")), other, "{what}");
                assert_eq!(ask("b", None), other, "{what}");
                assert_eq!(ask("b", Some("one")), "exact", "{what}");
            }
        }
    });
}

#[test]
fn requests_that_differ_in_a_forwarded_header_share_no_call() {
    on_both_drivers(|driver| {
        for header in forwarded_headers().iter().filter(|one| one.is_in_scope) {
            let caller = header.callers[0];
            let dialect = name(caller);
            let is_open = Arc::new(AtomicBool::new(false));
            let gate = Arc::clone(&is_open);
            let upstream = Upstream::start(move |seen, stream| {
                wait_until("the gate is open", || gate.load(Ordering::SeqCst));
                if seen.json()["stream"] == true || seen.line.contains("streamGenerate") {
                    let mut out = stream_head().to_vec();
                    out.extend_from_slice(&chunk(&piece(dialect, "x")));
                    out.extend_from_slice(b"0\r\n\r\n");
                    return stream.write_all(&out).is_ok();
                }
                write_json(stream, 200, &whole(dialect, "fine"))
            });
            let said = format!("dialect = \"{dialect}\"");
            let up = provider("up", &upstream.address.to_string(), &said);
            let gateway = Setup::new(driver, format!("{up}{}", model("m", &["up"]))).start();
            let mut clients = Vec::new();
            for streams in [false, true] {
                for value in [Some("one"), Some("two"), None] {
                    let own: Vec<_> = value
                        .iter()
                        .map(|value| (header.name.as_str(), *value))
                        .collect();
                    let body = caller.body("q", streams).to_string();
                    let mut client = gateway.connect();
                    client.send(&request(caller.path(streams), &own, body.as_bytes()));
                    clients.push(client);
                    let wanted = clients.len();
                    wait_until("a call of its own", || upstream.count() == wanted);
                }
            }
            assert_eq!(gateway.metric(FOLLOWERS), 0.0, "{}", header.name);
            is_open.store(true, Ordering::SeqCst);
            for client in &mut clients {
                client.response();
            }
        }
    });
}

#[test]
fn another_value_of_a_forwarded_header_is_another_scope_of_meaning() {
    let upstream = Upstream::echo();
    let semantic = "[cache.semantic]\nmode = \"serve\"\nsimilarity_min = 0.9\ndeadline = \"5s\"\n";
    let gateway = Setup::new("epoll", upstream.config() + semantic).start();
    ready(&gateway);
    let ask = |value: &str, question: &str, control: &str| {
        let headers = [("openai-beta", value), ("cache-control", control)];
        let reply = gateway.post_with("/v1/chat/completions", &headers, &ask(question));
        reply.cache().to_owned()
    };
    let other_words = "What is the capital city of France?";
    assert_eq!(
        ask("one", "What is the capital of France?", "max-age=0"),
        "miss"
    );
    wait_until("the question is indexed", || {
        ask("one", other_words, "only-if-cached") == "semantic"
    });
    assert_ne!(ask("two", other_words, "only-if-cached"), "semantic");
}

/// A query of a chat request is not sent to the provider, so requests that differ in it may share a response.
#[test]
fn what_a_query_says_does_not_reach_the_provider() {
    on_both_drivers(|driver| {
        for caller in [Caller::OpenAi, Caller::Anthropic, Caller::Gemini] {
            let dialect = name(caller);
            let upstream = refusing(dialect, 200, String::new());
            let said = format!("dialect = \"{dialect}\"");
            let up = provider("up", &upstream.address.to_string(), &said);
            let gateway = Setup::new(driver, format!("{up}{}", model("m", &["up"]))).start();
            for (at, query) in ["api-version=1", "beta=true", "x=1&x=2", "%61=b", "trace"]
                .into_iter()
                .enumerate()
            {
                let path = format!("{}?{query}", caller.path(false));
                let reply = gateway.post(&path, &caller.body(&at.to_string(), false));
                assert_eq!(reply.status, 200, "{path}: {reply:?}");
                let line = upstream.last().line;
                assert!(!line.contains('?'), "{path}: {line}");
            }
        }
    });
}
