//! Checks of the structures that threads share, with a model checker (shuttle).
//!
//! Each check runs a small scenario under many schedules. The model checker runs one thread at a time, and decides at each lock,
//! atomic operation, condition variable and system call which thread runs next. A check fails if an assertion fails, or if no
//! thread can run: a lost wake-up. It then prints the schedule, and `SCHEDULE=` with that text runs the same schedule again.
//!
//! ```text
//! export RUSTFLAGS="--cfg shuttle"
//! cargo test -p server --target-dir target/shuttle --lib schedules                        # seconds
//! SCHEDULES=200000 SEED=2 cargo test -p server --target-dir target/shuttle --lib schedules     # longer, with other schedules
//! SCHEDULE=9104... cargo test -p server --target-dir target/shuttle --lib schedules::thread_pool::the_limit
//! ```
//!
//! The model checker explores only sequentially consistent executions, so it cannot see that an ordering is too weak. Therefore the
//! atomics that threads wake each other by stay SeqCst, and only statistics are Relaxed. The pattern is the same everywhere: a
//! thread writes what it wants and then reads what the other one writes, and the other one does so the other way round (`wanted`
//! and `open`, the stage and the shutdown). Without SeqCst, both can read the old value. On x86-64 it costs one locked store,
//! at the limit and before each blocking read.
//!
//! Not checked here: the system calls of io-uring, tokio's own structures, and timeouts that end while a thread waits.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use shuttle::{
    Config, MaxSteps, Runner,
    scheduler::{DfsScheduler, PctScheduler, RandomScheduler, ReplayScheduler, Scheduler},
};

mod connection_limit;
mod handover;
mod modes;
mod per_ip;
mod shutdown;
mod workers;

/// How many schedules each scheduler tries.
const SCHEDULES: usize = 700;

/// How many schedules a check of all schedules tries at most. No such check has as many.
const SCHEDULES_MAX: usize = 1_000_000;

/// The depths of the bugs that PCT looks for: one more than the number of moments at which the running thread must change. The
/// deeper a bug, the more schedules it takes to find.
const PCT_DEPTHS: [usize; 2] = [2, 3];

/// Runs a scenario under many schedules.
fn check(scenario: impl Fn() + Send + Sync + 'static) {
    let number = |name, default| env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (schedules, seed) = (number("SCHEDULES", SCHEDULES), number("SEED", 1));
    let scenario = Arc::new(scenario);
    if let Ok(schedule) = env::var("SCHEDULE") {
        run("replay", ReplayScheduler::new_from_encoded(&schedule), &scenario);
        return;
    }
    run("random", RandomScheduler::new_from_seed(seed as u64, schedules), &scenario);
    for depth in PCT_DEPTHS {
        run("PCT", PctScheduler::new_from_seed(seed as u64, depth, schedules), &scenario);
    }
}

/// Runs a scenario under every schedule. It must be small, and make no random choice.
fn check_all(scenario: impl Fn() + Send + Sync + 'static) {
    let scenario = Arc::new(scenario);
    if let Ok(schedule) = env::var("SCHEDULE") {
        run("replay", ReplayScheduler::new_from_encoded(&schedule), &scenario);
        return;
    }
    let schedules = run("all", DfsScheduler::new(Some(SCHEDULES_MAX), false), &scenario);
    assert!(schedules < SCHEDULES_MAX, "the scenario is too large to try every schedule");
}

/// Returns how many schedules were tried.
fn run(
    name: &'static str,
    scheduler: impl Scheduler + 'static,
    scenario: &Arc<impl Fn() + Send + Sync + 'static>,
) -> usize {
    let mut config = Config::new();
    // A thread formats log lines and panics on its stack.
    config.stack_size = 256 * 1024;
    config.max_steps = MaxSteps::FailAfter(100_000);
    config.silence_warnings = true;
    let progress = Progress { name, begun: Instant::now(), schedules: Arc::default() };
    let (scenario, schedules) = (Arc::clone(scenario), Arc::clone(&progress.schedules));
    Runner::new(scheduler, config).run(move || {
        schedules.fetch_add(1, Relaxed);
        scenario();
    })
}

/// Says at the end, also that of a failure, how many schedules were tried.
struct Progress {
    name: &'static str,
    begun: Instant,
    schedules: Arc<AtomicUsize>,
}

impl Drop for Progress {
    fn drop(&mut self) {
        let (name, schedules, seconds) = (self.name, self.schedules.load(Relaxed), self.begun.elapsed());
        eprintln!("{name}: {schedules} schedules in {seconds:.1?}");
    }
}
