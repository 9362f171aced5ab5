//! One data-plane thread: pinned to a CPU, with its own runtime on the best driver that the kernel permits.

use crate::runtime::turn;
use io_uring::IoUring;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use std::future::Future;
use std::io;

/// Submission entries of a ring.
const RING_ENTRIES: u32 = 4096;
/// Completion entries: four times the default connection cap of a core, because monoio does not
/// drain the completion queue when the kernel reports it as overflowing.
const COMPLETION_ENTRIES: u32 = 32 * 1024;

/// Which drivers a core may try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverChoice {
    /// In this order: tuned ring, plain ring, epoll.
    Auto,
    /// A ring, or an error.
    RingOnly,
    /// epoll.
    Epoll,
}

/// The driver of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverInUse {
    /// io_uring with COOP_TASKRUN, TASKRUN_FLAG and SINGLE_ISSUER (Linux 6.0).
    TunedRing,
    /// io_uring with default flags.
    PlainRing,
    /// epoll.
    Epoll,
}

impl DriverInUse {
    /// Name in `/info`, logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TunedRing => "io_uring",
            Self::PlainRing => "io_uring-plain",
            Self::Epoll => "epoll",
        }
    }
}

/// Pins the calling thread to one CPU.
///
/// # Errors
/// The CPU does not exist or the process may not use it.
pub fn pin_to_cpu(cpu: usize) -> io::Result<()> {
    monoio::utils::bind_to_cpu_set([cpu])
        .map_err(|errno| io::Error::from_raw_os_error(errno as i32))
}

/// Builds a runtime on the calling thread and runs `main` on it until it returns.
///
/// `main` receives the driver in use. The ring is created on the thread that uses it, as SINGLE_ISSUER requires.
///
/// # Errors
/// No permitted driver could be built; the text contains the error of each.
pub fn run<M, F>(choice: DriverChoice, main: M) -> io::Result<()>
where
    M: FnOnce(DriverInUse) -> F,
    F: Future<Output = ()>,
{
    let mut refused = String::new();
    if choice != DriverChoice::Epoll {
        for driver in [DriverInUse::TunedRing, DriverInUse::PlainRing] {
            match ring(driver) {
                Ok(mut runtime) => {
                    runtime.block_on(prepared(main(driver)));
                    return Ok(());
                }
                Err(error) => refused.push_str(&format!("{}: {error}; ", driver.as_str())),
            }
        }
        if choice == DriverChoice::RingOnly {
            return Err(io::Error::other(format!(
                "io_uring is required but the kernel or a seccomp profile refuses it ({refused}set server.driver = \"auto\" or \"epoll\")"
            )));
        }
    }
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new()
        .with_entries(RING_ENTRIES)
        .enable_timer()
        .build()?;
    runtime.block_on(prepared(main(DriverInUse::Epoll)));
    Ok(())
}

/// Runs `main` on a core whose tasks can end their turn.
async fn prepared(main: impl Future<Output = ()>) {
    turn::prepare();
    main.await;
}

type RingRuntime = monoio::Runtime<monoio::time::TimeDriver<IoUringDriver>>;

fn ring(driver: DriverInUse) -> io::Result<RingRuntime> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(COMPLETION_ENTRIES);
    if driver == DriverInUse::TunedRing {
        builder
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .setup_single_issuer();
    }
    RuntimeBuilder::<IoUringDriver>::new()
        .uring_builder(builder)
        .with_entries(RING_ENTRIES)
        .enable_timer()
        .build()
}
