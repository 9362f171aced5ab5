//! What left the cache's memory and what is in its folder, in numbers. It must not know how.

use crate::admin::metrics_page::page::gauge;
use crate::cache::disk::disk_cache::{Counts, Disk, QUEUE_MAX};
use crate::cache::store::Store;
use crate::observability::metrics::prometheus::{Page, float};
use std::sync::atomic::{AtomicU64, Ordering};

/// Adds these metrics.
pub(crate) fn add(store: &Store, page: &mut Page) {
    page.single(
        "ringside_cache_evictions_total",
        "counter",
        "Cache entries removed to make room.",
        float(store.evicted()),
    );
    if let Some(disk) = store.disk() {
        gauges(disk, page);
        counters(&disk.counts, page);
    }
}

fn gauges(disk: &Disk, page: &mut Page) {
    let counts = &disk.counts;
    for (name, help, value) in [
        (
            "ringside_cache_disk_segments",
            "Segments in the cache's folder.",
            count(&counts.segments),
        ),
        (
            "ringside_cache_disk_bytes",
            "Bytes of these segments.",
            count(&counts.bytes),
        ),
        (
            "ringside_cache_disk_bytes_limit",
            "Bytes they may take.",
            disk.bytes_max,
        ),
        (
            "ringside_cache_disk_queue",
            "Entries waiting to be written.",
            disk.queued() as u64,
        ),
        (
            "ringside_cache_disk_queue_limit",
            "Entries that may wait.",
            QUEUE_MAX as u64,
        ),
        (
            "ringside_cache_disk_loading",
            "1 while entries of an earlier run are being read back.",
            u64::from(counts.loading.load(Ordering::Relaxed)),
        ),
    ] {
        gauge(page, name, help, value);
    }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn counters(counts: &Counts, page: &mut Page) {
    for (name, help, value) in [
        (
            "ringside_cache_disk_written_total",
            "Records written.",
            &counts.written,
        ),
        (
            "ringside_cache_disk_recovered_total",
            "Entries read back.",
            &counts.recovered,
        ),
        (
            "ringside_cache_disk_skipped_total",
            "Entries not read back: expired, deleted, replaced, without room.",
            &counts.skipped,
        ),
        (
            "ringside_cache_disk_damaged_total",
            "Damaged places found.",
            &counts.damaged,
        ),
    ] {
        page.single(name, "counter", help, float(count(value)));
    }
    let name = "ringside_cache_disk_dropped_total";
    page.metric(name, "counter", "Records not written: in memory only.");
    for (reason, value) in [
        ("queue-full", &counts.queue_full),
        ("too-large", &counts.too_large),
        ("write-failed", &counts.failed),
    ] {
        page.sample(name, &[("reason", reason)], float(count(value)));
    }
}
