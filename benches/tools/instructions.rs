//! Runs each workload of the benches; `benches/instructions` counts their instructions with valgrind's callgrind.

#[path = "../workloads.rs"]
mod workloads;

/// Counted runs of each workload.
const RUNS: u32 = 100;

fn main() {
    for mut workload in workloads::all(1_000) {
        println!("{}", workload.name);
        // Warm up: tables and pools grow, and code is linked.
        for _ in 0..3 {
            (workload.run)();
        }
        measured(&mut *workload.run);
    }
}

/// callgrind counts this function by its name.
#[inline(never)]
fn measured(run: &mut dyn FnMut()) {
    for _ in 0..RUNS {
        run();
    }
}
