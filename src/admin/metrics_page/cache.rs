//! Metrics of the cache's memory, of its folder, and of coalescing.

use crate::admin::metrics_page::shared_metric::{
    Sample, SharedMetrics, Sources, counter, gauge, labelled_counter, optional_counter,
    optional_gauge,
};
use crate::cache::coalesce::shared_calls::SHARED_CALLS_MAX;
use crate::cache::coalesce::stream_buffer::ALL_STREAM_BYTES_MAX;
use crate::cache::disk::handle::{DiskHandle, DiskStats, QUEUE_MAX};
use crate::observability::metrics::prometheus::float;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) const METRICS: SharedMetrics = SharedMetrics {
    title: "Cache in memory",
    metrics: &[
        gauge("ringside_cache_entries", "Cache entries.", |from| {
            float(from.plane.shared.store.len() as u64)
        }),
        gauge(
            "ringside_cache_bytes",
            "Bytes that the cache accounts for.",
            |from| float(from.plane.shared.store.bytes()),
        ),
        gauge(
            "ringside_cache_bytes_limit",
            "Bytes that the cache may take.",
            |from| float(from.plane.shared.store.bytes_max()),
        ),
        counter(
            "ringside_cache_evictions_total",
            "Cache entries removed to make room.",
            |from| float(from.plane.shared.store.evicted()),
        ),
    ],
};

pub(crate) const COALESCING: SharedMetrics = SharedMetrics {
    title: "Coalescing",
    metrics: &[
        gauge(
            "ringside_coalesce_in_flight",
            "Upstream calls in flight that identical requests may share.",
            |from| float(from.plane.shared.shared_calls.len() as u64),
        ),
        gauge(
            "ringside_coalesce_in_flight_limit",
            "Calls that may be shared at once; a request beyond makes its own.",
            |_| float(SHARED_CALLS_MAX as u64),
        ),
        gauge(
            "ringside_coalesce_buffer_bytes",
            "Bytes of streams held for requests that share them.",
            |from| {
                let counts = from.plane.shared.shared_calls.counts();
                float(counts.bytes.load(Ordering::Relaxed) as u64)
            },
        ),
        gauge(
            "ringside_coalesce_buffer_bytes_limit",
            "Bytes above which each stream holds less.",
            |_| float(ALL_STREAM_BYTES_MAX as u64),
        ),
        counter(
            "ringside_coalesced_requests_total",
            "Requests that waited for the call of an identical one.\n\nSee [coalescing](cache.md#coalescing).",
            |from| read(&from.plane.shared.shared_calls.counts().followers),
        ),
        counter(
            "ringside_coalesce_handovers_total",
            "Shared calls that went on after the client that caused them had hung up.",
            |from| read(&from.plane.shared.shared_calls.counts().handovers),
        ),
        counter(
            "ringside_coalesce_followers_too_slow_total",
            "Requests that lost their shared stream because they read it too slowly.",
            |from| read(&from.plane.shared.shared_calls.counts().lagged),
        ),
    ],
};

pub(crate) const DISK: SharedMetrics = SharedMetrics {
    title: "Cache on disk, with `cache.dir`",
    metrics: &[
        optional_gauge(
            "ringside_cache_disk_segments",
            "Segments in the cache's folder.",
            |from| Some(read(&counts(from)?.segments)),
        ),
        optional_gauge(
            "ringside_cache_disk_bytes",
            "Bytes of these segments.",
            |from| Some(read(&counts(from)?.bytes)),
        ),
        optional_gauge(
            "ringside_cache_disk_bytes_limit",
            "Bytes they may take.",
            |from| Some(float(disk(from)?.bytes_max)),
        ),
        optional_gauge(
            "ringside_cache_disk_queue",
            "Entries that wait to be written.",
            |from| Some(float(disk(from)?.queued() as u64)),
        ),
        optional_gauge(
            "ringside_cache_disk_queue_limit",
            "Entries that may wait.",
            |from| disk(from).map(|_| float(QUEUE_MAX as u64)),
        ),
        optional_gauge(
            "ringside_cache_disk_loading",
            "1 while entries of an earlier run are being read back.",
            |from| {
                let is_loading = counts(from)?.loading.load(Ordering::Relaxed);
                Some(f64::from(u8::from(is_loading)))
            },
        ),
        optional_counter(
            "ringside_cache_disk_written_total",
            "Records written.",
            |from| Some(read(&counts(from)?.written)),
        ),
        optional_counter(
            "ringside_cache_disk_recovered_total",
            "Entries read back.",
            |from| Some(read(&counts(from)?.recovered)),
        ),
        optional_counter(
            "ringside_cache_disk_skipped_total",
            "Entries not read back: expired, deleted, replaced, without room.",
            |from| Some(read(&counts(from)?.skipped)),
        ),
        optional_counter(
            "ringside_cache_disk_damaged_total",
            "Damaged records found.",
            |from| Some(read(&counts(from)?.damaged)),
        ),
        labelled_counter(
            "ringside_cache_disk_dropped_total",
            &["reason"],
            "Records not written: in memory only.\n\nReasons: `queue-full`, `too-large`, `write-failed`.",
            |from| {
                let counts = counts(from)?;
                let reasons = [
                    ("queue-full", &counts.queue_full),
                    ("too-large", &counts.too_large),
                    ("write-failed", &counts.failed),
                ];
                let samples = reasons.map(|(reason, count)| Sample {
                    labels: vec![reason.into()],
                    value: read(count),
                });
                Some(samples.into())
            },
        ),
    ],
};

fn disk<'p>(from: &Sources<'p>) -> Option<&'p DiskHandle> {
    from.plane.shared.store.disk().map(|disk| &**disk)
}

fn counts<'p>(from: &Sources<'p>) -> Option<&'p DiskStats> {
    disk(from).map(|disk| &*disk.stats)
}

fn read(count: &AtomicU64) -> f64 {
    float(count.load(Ordering::Relaxed))
}
