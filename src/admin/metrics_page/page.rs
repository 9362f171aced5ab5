//! `/metrics`: the cores' numbers, and one gauge with its limit for each bounded thing.

use crate::admin::experiments_page;
use crate::admin::metrics_page::disk;
use crate::admin::metrics_page::mirror;
use crate::admin::metrics_page::quality;
use crate::cache::coalesce::shared_call::ALL_STREAM_BYTES_MAX;
use crate::cache::coalesce::shared_calls::FLIGHTS_MAX;
use crate::control::plane::Plane;
use crate::observability::metrics::prometheus::{Page, float};
use std::sync::atomic::Ordering::Relaxed;

/// The page.
pub(crate) async fn page(plane: &Plane) -> String {
    let (core, answered) = plane.core_metrics().await;
    let mut page = Page::default();
    page.metric("ringside_info", "gauge", "Version and driver in use.");
    let driver = plane.cores.first().map_or("", |core| core.driver);
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("driver", driver)];
    page.sample("ringside_info", &labels, 1.0);
    let cores = [
        ("ringside_cores", "Data-plane cores.", plane.cores.len()),
        (
            "ringside_cores_reporting",
            "Data-plane cores that handed over their numbers in time.",
            answered,
        ),
    ];
    for (name, help, value) in cores {
        page.single(name, "gauge", help, float(value as u64));
    }
    let (generation, refused) = {
        let reload = plane.reload.lock();
        (reload.generation, reload.refused.is_some())
    };
    page.single(
        "ringside_config_loads_total",
        "counter",
        "Configurations that took effect.",
        float(generation),
    );
    page.single(
        "ringside_config_refused",
        "gauge",
        "1 while the newest configuration file is refused.",
        f64::from(u8::from(refused)),
    );
    page.core_metrics(&core);
    credentials(plane, &mut page);
    bounded(plane, &mut page);
    experiments_page::write(plane, &mut page);
    mirror::write(plane, &mut page);
    page.into_text()
}

/// Credentials that are renewed.
fn credentials(plane: &Plane, page: &mut Page) {
    let mut all = plane.reload.lock().credentials();
    all.retain(|one| one.source.token_url().is_some());
    if all.is_empty() {
        return;
    }
    let name = "ringside_credentials_expire_timestamp_seconds";
    page.metric(
        name,
        "gauge",
        "When a provider's credentials expire, as a Unix time; 0 while there are none.",
    );
    for one in &all {
        let at = float(one.expires_at().unwrap_or(0));
        page.sample(name, &[("provider", &one.provider)], at);
    }
    let name = "ringside_credentials_renewals_total";
    page.metric(name, "counter", "Renewals of a provider's credentials.");
    for one in &all {
        let outcomes = ["ok", "failed"];
        for (outcome, count) in outcomes.into_iter().zip(one.renewals()) {
            let labels = [("provider", one.provider.as_str()), ("outcome", outcome)];
            page.sample(name, &labels, float(count));
        }
    }
}

fn bounded(plane: &Plane, page: &mut Page) {
    let shared = &plane.shared;
    let limit = shared
        .snapshot
        .load()
        .config
        .server
        .connections_per_core_max;
    gauge(
        page,
        "ringside_connections_per_core_limit",
        "Client connections allowed per core.",
        limit as u64,
    );
    let refused: u64 = plane
        .acceptors
        .iter()
        .map(crate::server::acceptor::AcceptorHandle::refused)
        .sum();
    page.single(
        "ringside_connections_over_limit_total",
        "counter",
        "Client connections refused because every core was at its limit.",
        float(refused),
    );
    gauge(
        page,
        "ringside_cache_entries",
        "Cache entries.",
        shared.store.len() as u64,
    );
    gauge(
        page,
        "ringside_cache_bytes",
        "Bytes the cache is accounted with.",
        shared.store.bytes(),
    );
    gauge(
        page,
        "ringside_cache_bytes_limit",
        "Bytes the cache may take.",
        shared.store.bytes_max(),
    );
    shared_calls(plane, page);
    disk::add(&shared.store, page);
    let waiting: usize = plane.cores.iter().map(|core| core.records.len()).sum();
    gauge(
        page,
        "ringside_access_records_waiting",
        "Request log lines waiting for the control plane.",
        waiting as u64,
    );
    let records_max = crate::gateway::core::RECORDS_MAX * plane.cores.len();
    gauge(
        page,
        "ringside_access_records_limit",
        "Request log lines that may wait.",
        records_max as u64,
    );
    gauge(
        page,
        "ringside_shared_targets",
        "Targets that the cores last told each other of.",
        shared.view.load().len() as u64,
    );
    model(plane, page);
}

/// Calls that identical requests share.
fn shared_calls(plane: &Plane, page: &mut Page) {
    let shared_calls = &plane.shared.shared_calls;
    let counts = shared_calls.counts();
    let gauges = [
        (
            "ringside_coalesce_in_flight",
            "Upstream calls in flight that identical requests may share.",
            shared_calls.len(),
        ),
        (
            "ringside_coalesce_in_flight_limit",
            "Calls that may be shared at once; a request beyond makes its own.",
            FLIGHTS_MAX,
        ),
        (
            "ringside_coalesce_buffer_bytes",
            "Bytes of streams held for requests that share them.",
            counts.bytes.load(Relaxed),
        ),
        (
            "ringside_coalesce_buffer_bytes_limit",
            "Bytes from which on each stream keeps little.",
            ALL_STREAM_BYTES_MAX,
        ),
    ];
    for (name, help, value) in gauges {
        gauge(page, name, help, value as u64);
    }
    let counters = [
        (
            "ringside_coalesced_requests_total",
            "Requests that waited for the call of an identical one.",
            &counts.followers,
        ),
        (
            "ringside_coalesce_handovers_total",
            "Shared calls that went on after the client that caused them had hung up.",
            &counts.handovers,
        ),
        (
            "ringside_coalesce_followers_too_slow_total",
            "Requests that lost their shared stream because they read it too slowly.",
            &counts.lagged,
        ),
    ];
    for (name, help, counter) in counters {
        page.single(name, "counter", help, float(counter.load(Relaxed)));
    }
}

/// The semantic tier and the embedding workshop.
fn model(plane: &Plane, page: &mut Page) {
    let shared = &plane.shared;
    if let Some(semantic) = &shared.semantic {
        let (scopes, vectors) = semantic.size();
        gauge(
            page,
            "ringside_cache_scopes",
            "Scopes with at least one vector.",
            scopes as u64,
        );
        gauge(
            page,
            "ringside_cache_vectors",
            "Vectors in all scopes.",
            vectors as u64,
        );
        wrong_answers(semantic, page);
        quality::write(plane, semantic, page);
        let (hits, misses) = semantic.observed();
        page.metric(
            "ringside_cache_observed_total",
            "counter",
            "Look-ups in mode `observe`, by what they would have been.",
        );
        page.sample(
            "ringside_cache_observed_total",
            &[("outcome", "hit")],
            float(hits),
        );
        page.sample(
            "ringside_cache_observed_total",
            &[("outcome", "miss")],
            float(misses),
        );
    }
    if let Some(embedding_pool) = &shared.embedding_pool {
        let stats = embedding_pool.stats();
        gauge(
            page,
            "ringside_embedding_ready",
            "1 once the embedding model is loaded.",
            u64::from(embedding_pool.is_ready()),
        );
        gauge(
            page,
            "ringside_embedding_queue",
            "Jobs waiting for the embedding model.",
            stats.queued as u64,
        );
        gauge(
            page,
            "ringside_embedding_queue_high_water",
            "Most jobs ever waiting.",
            stats.queued_high_water as u64,
        );
        gauge(
            page,
            "ringside_embedding_queue_limit",
            "Jobs that may wait.",
            stats.queue_max as u64,
        );
    }
}

/// Marks that wrong answers left.
fn wrong_answers(semantic: &crate::cache::semantic::Semantic, page: &mut Page) {
    gauge(
        page,
        "ringside_cache_wrong_answers",
        "Questions remembered because their stored answer was wrong.",
        semantic.wrong_answers().len() as u64,
    );
    gauge(
        page,
        "ringside_cache_wrong_answers_limit",
        "Refuted questions that may be remembered.",
        crate::cache::wrong_answers::REFUTED_MAX as u64,
    );
}

/// A gauge without labels.
pub(crate) fn gauge(page: &mut Page, name: &str, help: &str, value: u64) {
    page.single(name, "gauge", help, float(value));
}
