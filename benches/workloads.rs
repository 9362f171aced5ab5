//! The workloads of the benches and of the instruction count: pure steps of a request, each as a closure.

use ringside::base::random::mix;
use ringside::cache::entry::{Entry, NewEntry};
use ringside::cache::freshness::classify::Freshness;
use ringside::cache::key::{HashSecret, Key};
use ringside::cache::response::cached_response::CachedResponse;
use ringside::cache::response::from_stream::StreamReader;
use ringside::cache::store::Store;
use ringside::cache::verify::features::compare;
use ringside::cache::verify::model::Verifier;
use ringside::cache::verify::words::Words;
use ringside::embedding::codes::Code;
use ringside::embedding::index::VectorIndex;
use ringside::embedding::static_index::{StaticCode, StaticIndex};
use ringside::embedding::table::StaticTable;
use ringside::gateway::transform::neutral_relay::NeutralRelay;
use ringside::gateway::transform::stream_relay::StreamRelay;
use ringside::gateway::transform::translate_body;
use ringside::gateway::transform::translate_body::ClientRequest;
use ringside::http::chunked::ChunkDecoder;
use ringside::http::head::parse_request_head;
use ringside::http::limits::HeadLimits;
use ringside::observability::metrics::histogram::{Histogram, OVERHEAD_SECONDS};
use ringside::protocols::client_api::ResponseContext;
use ringside::protocols::json::document::Scratch;
use ringside::protocols::neutral::unsupported_fields::UnsupportedFields;
use ringside::protocols::registry::DEFAULT;
use ringside::protocols::registry::provider_api;
use ringside::protocols::request::chat_request::read_chat;
use ringside::routing::health::Outcome;
use ringside::routing::indices::{ModelIndex, TargetSlot};
use ringside::routing::measurements::Series;
use ringside::routing::policies::registry::policy;
use ringside::routing::policy::RequestFacts;
use ringside::routing::route_inputs::RouteInputs;
use ringside::routing::target_ref::TargetRef;
use ringside::routing::target_set::TargetSet;
use ringside::routing::targets::TargetTable;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A step to be measured.
pub(crate) struct Workload {
    /// `group/step`.
    pub name: String,
    /// Runs the step once.
    pub run: Box<dyn FnMut()>,
}

fn workload(name: impl Into<String>, run: impl FnMut() + 'static) -> Workload {
    let (name, run) = (name.into(), Box::new(run));
    Workload { name, run }
}

/// All workloads. Indexes hold at most `vectors_max` vectors: large ones take long to fill.
pub(crate) fn all(vectors_max: usize) -> Vec<Workload> {
    let mut all = http();
    all.extend(api());
    all.extend(translations());
    all.extend(cache());
    all.extend(routing());
    all.extend(semantic(vectors_max));
    all
}

const HEAD: &[u8] = b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:8080\r\nuser-agent: OpenAI/Python 2.8.1\r\n\
accept: application/json\r\naccept-encoding: gzip, deflate\r\nconnection: keep-alive\r\ncontent-type: application/json\r\n\
x-stainless-lang: python\r\nx-stainless-os: Linux\r\nx-stainless-arch: x64\r\nx-stainless-runtime: CPython\r\n\
authorization: Bearer sk-0123456789abcdef0123456789abcdef\r\ncontent-length: 120\r\n\r\n";

fn http() -> Vec<Workload> {
    let limits = HeadLimits::default();
    let chunks = b"2a\r\n0123456789012345678901234567890123456789ab\r\n".repeat(24);
    let chunks = [&chunks[..], b"0\r\n\r\n"].concat();
    let mut out = Vec::with_capacity(4096);
    vec![
        workload("http/request head", move || {
            black_box(parse_request_head(black_box(HEAD), &limits).unwrap());
        }),
        workload("http/24 chunks", move || {
            out.clear();
            let taken = ChunkDecoder::default().read(black_box(&chunks), &mut out);
            assert_eq!(taken, Ok(chunks.len()));
        }),
    ]
}

/// A chat request with `prompt_bytes` bytes of prompt.
fn request(prompt_bytes: usize) -> Vec<u8> {
    let prompt = "How far is it from Vienna to Graz by train? ".repeat(prompt_bytes / 44 + 1);
    format!(
        r#"{{"model":"gpt-4o-mini","temperature":0.2,"messages":[{{"role":"system","content":"You are brief."}},{{"role":"user","content":"{}"}}]}}"#,
        &prompt[..prompt_bytes]
    )
    .into_bytes()
}

fn api() -> Vec<Workload> {
    let mut all = Vec::new();
    for (bytes, size) in [(100, "100 B"), (8_000, "8 KB"), (100_000, "100 KB")] {
        let body = request(bytes);
        let mut scratch = Scratch::default();
        all.push(workload(format!("api/read a chat of {size}"), move || {
            black_box(read_chat(black_box(&body), &mut scratch, true).unwrap());
        }));
    }
    all
}

fn response_ctx() -> ResponseContext {
    ResponseContext {
        request_id: "r".into(),
        created: 1,
        wants_usage: true,
        ..ResponseContext::default()
    }
}

/// Translates a chat of 2 KB, its response and stream events between the formats of OpenAI and Anthropic:
/// the cost of a translation compared with a passthrough.
fn translations() -> Vec<Workload> {
    let to = provider_api("anthropic").unwrap();
    let client_api = DEFAULT;
    let body = request(2_000);
    let response = format!(
        r#"{{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{{"type":"text","text":"{}"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{{"input_tokens":19,"output_tokens":9}}}}"#,
        "About two and a half hours. ".repeat(10)
    );
    let event = b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"word \"}}\n\n".repeat(100);
    let block = b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
    let mut scratch = Scratch::default();
    let mut relay = NeutralRelay::new(to.decoder(), Some(client_api.encoder(response_ctx())), None);
    let (mut arrived, mut out) = (block.to_vec(), Vec::new());
    relay.feed(&mut arrived, &mut out, &mut scratch).unwrap();
    let (mut first, mut second) = (Scratch::default(), Scratch::default());
    let mut written = Vec::new();
    vec![
        workload("translate/a chat of 2 KB", move || {
            written.clear();
            let mut unsupported = UnsupportedFields::new(false);
            let (unsupported, scratch, out) = (&mut unsupported, &mut first, &mut written);
            let request = ClientRequest {
                client_api,
                body: black_box(&body),
                streams: false,
            };
            translate_body::translate_request(&request, to, "m", unsupported, scratch, out)
                .unwrap();
        }),
        workload("translate/its answer", move || {
            let body = black_box(response.as_bytes());
            black_box(
                translate_body::translate_response(
                    client_api,
                    to,
                    200,
                    body,
                    &response_ctx(),
                    &mut second,
                )
                .unwrap(),
            );
        }),
        workload("translate/100 events together", move || {
            arrived.clear();
            arrived.extend_from_slice(&event);
            out.clear();
            relay.feed(&mut arrived, &mut out, &mut scratch).unwrap();
        }),
    ]
}

const ANSWER: &[u8] = br#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o-mini","choices":[{"index":0,"message":{"role":"assistant","content":"About two and a half hours."},"finish_reason":"stop"}],"usage":{"prompt_tokens":19,"completion_tokens":9,"total_tokens":28}}"#;

fn key(secret: &HashSecret, body: &[u8]) -> Key {
    let mut scratch = Scratch::default();
    let chat = read_chat(body, &mut scratch, true).unwrap();
    Key::new(secret, "tenant", 7, chat.canonical.unwrap())
}

fn cache() -> Vec<Workload> {
    let secret = HashSecret::draw().unwrap();
    let form = read_chat(&request(100), &mut Scratch::default(), true).unwrap();
    let form = form.canonical.unwrap();
    let store = filled(&secret);
    let wanted = key(&secret, &request(100));
    let mut scratch = Scratch::default();
    let now = Instant::now();
    let event: &[u8] = b"data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word \"},\"finish_reason\":null}]}\n\n";
    let events = event.repeat(100);
    let (mut arrived, mut out) = (Vec::new(), Vec::new());
    vec![
        workload("cache/key", move || {
            black_box(Key::new(&secret, "tenant", 7, form.clone()));
        }),
        workload("cache/exact hit among 1,000", move || {
            black_box(store.get(black_box(&wanted), now).unwrap());
        }),
        workload("cache/read an answer", move || {
            black_box(CachedResponse::from_whole(black_box(ANSWER), None, &mut scratch).unwrap());
        }),
        workload("cache/class of a question of 27 words", || {
            const QUESTION: &str = "Our card was declined at the shop today although there was enough money in the account: what should we do now, and whom could we call about it?";
            black_box(Freshness::of_question(black_box(QUESTION)));
        }),
        workload("relay/100 events together, read for the cache", move || {
            let mut scratch = Scratch::default();
            let mut relay = StreamRelay::new(false);
            let mut reader = StreamReader::new(1 << 20);
            arrived.extend_from_slice(&events);
            out.clear();
            let fed = relay.feed(&mut arrived, &mut out, |one, text| match text {
                Some(text) => reader.like_last(one, text, &mut scratch),
                None => reader.event(one, &mut scratch),
            });
            assert!(fed.is_ok() && relay.events() == 100);
        }),
    ]
}

fn filled(secret: &HashSecret) -> Store {
    let store = Store::new(64 << 20, 1.0);
    for bytes in 100..1100 {
        let response = CachedResponse::from_whole(ANSWER, None, &mut Scratch::default()).unwrap();
        let new_entry = NewEntry {
            response,
            model: ringside::base::names::Name::new("m"),
            key: None,
            target: ringside::base::names::Name::new("p/m"),
            stored_at: Instant::now(),
            ttl: Duration::from_secs(3600),
            stale_for: Duration::ZERO,
            indexed: false,
        };
        let key = key(secret, &request(bytes));
        store.insert(Arc::new(Entry::new(key, new_entry, Arc::default())));
    }
    store
}

/// Ten targets that differ only in their identity.
pub(crate) fn ten_targets() -> Vec<TargetRef> {
    (0..10)
        .map(|at| TargetRef {
            slot: TargetSlot::new(at),
            identity: mix(at as u64, 7),
            priority: 1,
            weight: 1,
            keys: 2,
            bounds: None,
        })
        .collect()
}

fn routing() -> Vec<Workload> {
    let target_refs = ten_targets();
    let policy = policy("least-latency").unwrap();
    let (mut target_table, mut round) = (TargetTable::default(), 0);
    let mut histogram = Histogram::new(OVERHEAD_SECONDS);
    vec![
        workload(
            "routing/one of 10 targets, and what came of it",
            move || {
                round += 1;
                let now_us = round * 100;
                let inputs = RouteInputs {
                    facts: RequestFacts {
                        random: mix(round, 1),
                        affinity_key: Some(round),
                        series: Series::FirstToken,
                    },
                    excluded: TargetSet::default(),
                    costs_nanousd: &[],
                };
                target_table.count_request();
                let routed =
                    target_table.route(ModelIndex::new(0), &target_refs, policy, &inputs, now_us);
                let first = black_box(routed.order[0]);
                let ticket = target_table.begin(&target_refs[first.get()], now_us);
                target_table.measure(&ticket, Series::FirstToken, 1000 + round % 512, now_us);
                target_table.end(ticket, Outcome::Good, now_us, round);
            },
        ),
        workload("telemetry/histogram", move || {
            histogram.record(black_box(0.000_02));
        }),
    ]
}

/// Pseudo-random numbers, the same in every run.
fn numbers(mut seed: u64) -> impl Iterator<Item = f32> {
    std::iter::repeat_with(move || {
        seed = mix(seed, 1);
        (seed >> 40) as f32 / (1 << 23) as f32 - 1.0
    })
}

fn semantic(vectors_max: usize) -> Vec<Workload> {
    let models = concat!(env!("CARGO_MANIFEST_DIR"), "/models/all-minilm-l6-v2");
    let file = |name| std::fs::read(format!("{models}/{name}")).unwrap();
    let table = StaticTable::read(&file("static.bin"), &file("tokenizer.json")).unwrap();
    let verifier = Verifier::shipped().unwrap();
    let mut all = vec![workload("verify/two questions of 12 words", move || {
        let first = "What should I do when my card was declined at the shop today?";
        let second = "What do I have to do if my card is declined at the shop today?";
        let first = Words::read(black_box(first), &table).unwrap();
        let second = Words::read(black_box(second), &table).unwrap();
        let features = compare(&first, &second, 0.93, &table).unwrap();
        black_box(verifier.score(&features));
    })];
    for count in [100, 1_000, 10_000] {
        if count > vectors_max {
            break;
        }
        let vector = |seed: u64| -> Arc<[f32]> {
            let components: Vec<f32> = numbers(seed).take(384).collect();
            let length = components.iter().map(|x| x * x).sum::<f32>().sqrt();
            components.iter().map(|x| x / length).collect()
        };
        let mut index = VectorIndex::new();
        let mut near = StaticIndex::default();
        for id in 0..count as u64 {
            index.insert(id, &Code::new(&vector(id)));
            near.insert(&code(id));
        }
        let (query, query_code) = (vector(u64::MAX), code(u64::MAX));
        all.push(workload(
            format!("embedding/nearest of {count}"),
            move || {
                black_box(index.nearest_k(black_box(&query), 4));
            },
        ));
        all.push(workload(
            format!("embedding/certain miss among {count}"),
            move || {
                assert!(!near.reaches(black_box(&query_code), 0.7));
            },
        ));
    }
    all
}

fn code(seed: u64) -> StaticCode {
    let mut components = numbers(seed ^ 0x5eed);
    StaticCode::new(&std::array::from_fn(|_| components.next().unwrap_or(0.0))).unwrap()
}
