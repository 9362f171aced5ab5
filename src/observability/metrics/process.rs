//! Metrics of a core's connections, log and memory.

use crate::observability::metrics::counters::{Counter, CounterBy};
use crate::observability::metrics::gauges::{MaxGauge, SumGauge};
use crate::observability::metrics::group::metric_group;
use crate::observability::metrics::labels::LabelEnum;

/// Why a client connection was refused after it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum RefusedConnection {
    /// Its socket could not be set up.
    Socket,
    TlsHandshake,
}

impl LabelEnum for RefusedConnection {
    const ALL: &'static [Self] = &[Self::Socket, Self::TlsHandshake];

    fn as_str(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::TlsHandshake => "tls_handshake",
        }
    }
}

/// The limit that refused a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum BodyLimit {
    /// `server.bodies_per_core_max`
    Core,
    /// `server.bodies_per_key_max`
    Key,
    /// `server.bodies_keyless_max`
    Keyless,
}

impl LabelEnum for BodyLimit {
    const ALL: &'static [Self] = &[Self::Core, Self::Key, Self::Keyless];

    fn as_str(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Key => "key",
            Self::Keyless => "keyless",
        }
    }
}

metric_group! {
    /// Connections, log and memory of the cores
    pub(crate) struct ProcessMetrics {
        /// Client connections accepted.
        connections_accepted: Counter = "ringside_connections_accepted_total" [];
        /// Client connections refused, by reason.
        ///
        /// Reasons: `socket`, `tls_handshake`.
        connections_refused: CounterBy<RefusedConnection> = "ringside_connections_refused_total" ["reason"];
        /// Client connections open.
        connections_open: SumGauge = "ringside_connections_open" [];
        /// Most client connections open on one core so far.
        connections_open_high_water: MaxGauge = "ringside_connections_open_high_water" [];
        /// Bytes of request bodies in memory.
        request_body_bytes: SumGauge = "ringside_request_body_bytes" [];
        /// Bytes of providers' whole responses in memory; smaller ones are not counted.
        response_body_bytes: SumGauge = "ringside_response_body_bytes" [];
        /// Requests refused because their bodies had no room in memory, by limit.
        ///
        /// Limits: `core`, `key`, `keyless` (`server.bodies_per_core_max` and its neighbours).
        request_bodies_refused: CounterBy<BodyLimit> = "ringside_request_bodies_refused_total" ["limit"];
        /// Panics caught; each ended one connection.
        ///
        /// Please report it.
        panics: Counter = "ringside_panics_total" [];
        /// Request log lines dropped because the control plane did not keep up.
        access_records_dropped: Counter = "ringside_access_records_dropped_total" [];
        /// Bytes in the buffer pools.
        buffer_pool_bytes: SumGauge = "ringside_buffer_pool_bytes" [];
        /// Most bytes in the buffer pools so far.
        buffer_pool_bytes_high_water: SumGauge = "ringside_buffer_pool_bytes_high_water" [];
    }
}
