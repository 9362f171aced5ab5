//! Metrics of the process: version, cores, configuration.

use crate::admin::metrics_page::shared_metric::{
    Sample, SharedMetrics, Sources, counter, gauge, labelled_counter, labelled_gauge,
};
use crate::observability::metrics::prometheus::float;
use crate::observability::output;
use crate::upstream::credentials::Credentials;
use std::sync::Arc;

pub(crate) const METRICS: SharedMetrics = SharedMetrics {
    title: "Process",
    metrics: &[
        labelled_gauge(
            "ringside_info",
            &["version", "driver"],
            "Version and driver in use.\n\nAlways 1.",
            |from| {
                let driver = from.plane.cores.first().map_or("", |core| core.driver);
                Some(vec![Sample {
                    labels: vec![env!("CARGO_PKG_VERSION").into(), driver.into()],
                    value: 1.0,
                }])
            },
        ),
        gauge("ringside_cores", "Data-plane cores.", |from| {
            float(from.plane.cores.len() as u64)
        }),
        gauge(
            "ringside_cores_reporting",
            "Data-plane cores that handed over their numbers in time.\n\nIn time is within a second.",
            |from| float(from.cores_reporting as u64),
        ),
        counter(
            "ringside_config_loads_total",
            "Configurations that took effect.",
            |from| float(from.plane.reload.lock().generation),
        ),
        gauge(
            "ringside_config_refused",
            "1 while the newest configuration file is refused.",
            |from| f64::from(u8::from(from.plane.reload.lock().refused.is_some())),
        ),
    ],
};

pub(crate) const CREDENTIALS: SharedMetrics = SharedMetrics {
    title: "Credentials that are renewed",
    metrics: &[
        labelled_gauge(
            "ringside_credentials_expire_timestamp_seconds",
            &["provider"],
            "When a provider's credentials expire, as a Unix time; 0 while there are none.\n\n\
             Of providers with `auth` whose credentials are fetched.",
            |from| {
                let samples = renewed_credentials(from)?
                    .into_iter()
                    .map(|credentials| Sample {
                        value: float(credentials.expires_at().unwrap_or(0)),
                        labels: vec![credentials.provider.clone()],
                    });
                Some(samples.collect())
            },
        ),
        labelled_counter(
            "ringside_credentials_renewals_total",
            &["provider", "outcome"],
            "Renewals of a provider's credentials.\n\nOutcomes: `ok`, `failed`.",
            |from| {
                let mut samples = Vec::new();
                for credentials in renewed_credentials(from)? {
                    for (outcome, count) in ["ok", "failed"].iter().zip(credentials.renewals()) {
                        samples.push(Sample {
                            labels: vec![credentials.provider.clone(), (*outcome).into()],
                            value: float(count),
                        });
                    }
                }
                Some(samples)
            },
        ),
    ],
};

/// `None` if no provider has such credentials.
fn renewed_credentials(from: &Sources<'_>) -> Option<Vec<Arc<Credentials>>> {
    let mut all = from.plane.reload.lock().credentials();
    all.retain(|credentials| credentials.source.token_url().is_some());
    (!all.is_empty()).then_some(all)
}

pub(crate) const LIMITS: SharedMetrics = SharedMetrics {
    title: "Limits of connections and log",
    metrics: &[
        gauge(
            "ringside_connections_per_core_limit",
            "Client connections allowed per core.",
            |from| {
                let snapshot = from.plane.shared.snapshot.load();
                float(snapshot.config.server.connections_per_core_max as u64)
            },
        ),
        counter(
            "ringside_connections_over_limit_total",
            "Client connections refused because every core was at its limit, or the process near its limit of open files.",
            |from| {
                let acceptors = from.plane.acceptors.iter();
                float(acceptors.map(|acceptor| acceptor.refused()).sum())
            },
        ),
        gauge(
            "ringside_access_records_waiting",
            "Request log lines that wait for the control plane.",
            |from| {
                let cores = from.plane.cores.iter();
                float(cores.map(|core| core.records.len() as u64).sum())
            },
        ),
        gauge(
            "ringside_access_records_limit",
            "Request log lines that may wait.",
            |from| {
                let cores = from.plane.cores.len();
                float((crate::gateway::core::RECORDS_MAX * cores) as u64)
            },
        ),
        gauge(
            "ringside_log_bytes_waiting",
            "Bytes of log lines that wait to be written to standard output.",
            |_| float(output::bytes_waiting() as u64),
        ),
        gauge(
            "ringside_log_bytes_limit",
            "Bytes of log lines that may wait.",
            |_| float(output::LOG_BYTES_MAX as u64),
        ),
        counter(
            "ringside_log_lines_dropped_total",
            "Log lines dropped because standard output or standard error was not read or could not be written.",
            |_| float(output::lines_dropped()),
        ),
        gauge(
            "ringside_shared_targets",
            "Targets in the health that the cores last shared.\n\n0 with one core.",
            |from| float(from.plane.shared.shared_health.load().len() as u64),
        ),
    ],
};
