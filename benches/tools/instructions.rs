//! Runs each workload of the benches under valgrind's callgrind, for `benches/instructions` to count.

#[path = "../workloads.rs"]
mod workloads;

/// Runs of each that are counted.
const RUNS: u32 = 100;

fn main() {
    for mut workload in workloads::all(1_000) {
        println!("{}", workload.name);
        // Tables and pools have grown, and code is linked, by then.
        for _ in 0..3 {
            (workload.run)();
        }
        measured(&mut *workload.run);
    }
}

/// What callgrind counts: it goes by the name.
#[inline(never)]
fn measured(run: &mut dyn FnMut()) {
    for _ in 0..RUNS {
        run();
    }
}
