//! Criterion benches: `cargo bench`. Times depend on the machine; compare within one run.

#[path = "../tests/in_process/mod.rs"]
mod in_process;
mod policies;
mod workloads;

use criterion::Criterion;
use in_process::{Client, WHOLE, gateway, provider, stream_of};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    for mut workload in workloads::all(10_000) {
        criterion.bench_function(&workload.name, |bencher| bencher.iter(&mut workload.run));
    }
    policies::all(&mut criterion);
    requests(&mut criterion);
    criterion.final_summary();
}

/// Whole requests over loopback, one at a time: the latency of a single caller, provider included.
fn requests(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    for driver in ["io_uring", "epoll"] {
        for (name, cache, response, is_new) in [
            ("passed through", false, WHOLE, true),
            ("a stream of 50", false, stream_of(50), true),
            ("stored", true, WHOLE, true),
            ("exact hit", true, WHOLE, false),
        ] {
            let gateway = gateway(
                folder.path(),
                driver,
                provider(response),
                &format!("enabled = {cache}"),
            );
            let mut client = Client::new(gateway, name == "a stream of 50");
            client.ask(true);
            criterion.bench_function(&format!("journey/{name}, {driver}"), |bencher| {
                bencher.iter(|| client.ask(is_new));
            });
        }
    }
}
