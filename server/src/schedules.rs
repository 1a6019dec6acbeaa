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
//! The model checker explores only sequentially consistent executions. So it cannot see that an ordering is too weak.

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

/// How many schedules each of the two schedulers tries.
const SCHEDULES: usize = 500;

/// How many schedules a check of all schedules tries at most. No such check has as many.
const SCHEDULES_MAX: usize = 1_000_000;

/// How many times PCT changes the priority of a thread at most: the depth of the bugs that it looks for.
const PCT_DEPTH: usize = 3;

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
    run("PCT", PctScheduler::new_from_seed(seed as u64, PCT_DEPTH, schedules), &scenario);
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
