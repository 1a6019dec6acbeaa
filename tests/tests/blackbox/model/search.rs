//! Searches for a program whose answers the model does not allow, shrinks it, and keeps it.

use std::{
    env,
    fmt::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use server::mode::Mode;

use super::{kept, kind::Kind, program::Program, run};
use crate::harness::wait::PATIENCE;

/// The programs of each mode, of all kinds, if `MODEL_PROGRAMS` does not say otherwise.
const PROGRAMS: usize = 400;

/// How often a program is played when it is looked for, at once if it shares its server: not every run of it may fail.
const REPEATS: usize = 12;

/// How long a failing program is shrunk.
const SHRINK_FOR: Duration = Duration::from_secs(90);

/// A program that is stuck for this long counts as failing while it is shrunk.
const SHORT_PATIENCE: Duration = Duration::from_secs(3);

/// Which programs are run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) seed: u64,
    /// The number for each mode.
    pub(super) programs: usize,
    /// Whether somebody waits for a long search, and wants to see how it goes on.
    is_long: bool,
}

impl Settings {
    /// Those of the environment: `MODEL_SEED` and `MODEL_PROGRAMS`.
    pub(super) fn get() -> Self {
        let number = |name: &str| {
            let value = env::var(name).ok()?;
            Some(value.parse::<u64>().unwrap_or_else(|error| panic!("{name}={value}: {error}")))
        };
        let now = || SystemTime::UNIX_EPOCH.elapsed().expect("the clock is right").as_nanos() as u64;
        let programs = number("MODEL_PROGRAMS").map(|programs| programs as usize);
        Self {
            // Short enough to type.
            seed: number("MODEL_SEED").unwrap_or_else(|| now() % 1_000_000_000),
            programs: programs.unwrap_or(PROGRAMS),
            is_long: programs.is_some(),
        }
    }

    /// The number of programs of this kind for each mode.
    fn of(&self, kind: &Kind) -> usize {
        (self.programs * kind.share).div_ceil(1_000)
    }
}

/// Plays the kept programs of this kind in this mode, and then random ones.
///
/// # Panics
/// When the model does not allow the answers of one.
pub(super) fn search(mode: &'static Mode, kind: &Kind) {
    for (name, program) in kept::load(kind) {
        if let Err(error) = repeat(mode, kind, &program, PATIENCE) {
            panic!("the kept program {name} fails in the mode {}: {error}\n{program}", mode.name);
        }
    }
    let settings = Settings::get();
    let (begin, count) = (Instant::now(), settings.of(kind));
    let program = programs(kind, settings.seed);
    let progress = Progress::new(mode, kind, count, settings.is_long);
    let outcome = run::run(mode, kind, count, PATIENCE, &program, &|_| progress.note_one());
    if let Err((number, error)) = outcome {
        fail(mode, kind, settings, number, &error, progress.done());
    }
    if settings.is_long {
        let (mode, kind, took) = (mode.name, kind.name, begin.elapsed().as_secs_f64());
        eprintln!("{mode}, {kind}: {count} programs in {took:.1} s, seed {}", settings.seed);
    }
}

/// The random program with this number, and how it shrinks.
pub(super) fn tree(kind: &Kind, seed: u64, number: usize) -> impl ValueTree<Value = Program> + use<> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&(number as u64).to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    (kind.programs)().new_tree(&mut runner).expect("no strategy here rejects values")
}

/// The random programs of this kind, by their numbers.
pub(super) fn programs(kind: &Kind, seed: u64) -> impl Fn(usize) -> Program {
    move |number| tree(kind, seed, number).current()
}

/// Plays the program several times, since not every run of it may fail.
fn repeat(mode: &'static Mode, kind: &Kind, program: &Program, patience: Duration) -> Result<(), String> {
    let always = |_| program.clone();
    run::run(mode, kind, REPEATS, patience, &always, &|_| ()).map_err(|(_, error)| error)
}

/// Finds a failing program, shrinks it, keeps it, and panics with all that a reader needs.
fn fail(
    mode: &'static Mode,
    kind: &Kind,
    settings: Settings,
    number: Option<usize>,
    error: &str,
    played: usize,
) -> ! {
    let deadline = Instant::now() + SHRINK_FOR;
    let mut message = format!(
        "the model does not allow this, after {played} programs of the kind '{}' in the mode {} (seed {}): {error}\n",
        kind.name, mode.name, settings.seed
    );
    // A server that leaks something shows it at its end, and not in the program that caused it.
    let number = number.or_else(|| {
        (0..played).take_while(|_| Instant::now() < deadline).find(|number| {
            let program = tree(kind, settings.seed, *number).current();
            repeat(mode, kind, &program, SHORT_PATIENCE).is_err()
        })
    });
    let Some(number) = number else {
        panic!("{message}no single program shows it");
    };
    let (program, error) = shrink(tree(kind, settings.seed, number), deadline, |program| {
        repeat(mode, kind, program, SHORT_PATIENCE).err()
    });
    match error {
        Some(error) => _ = write!(message, "program {number} shrinks to this one: {error}\n{program}"),
        None => {
            _ = write!(message, "program {number} did not fail again in {REPEATS} runs:\n{program}");
        }
    }
    match kept::keep(kind, &program) {
        Ok(path) => _ = writeln!(message, "it is kept in {}, and played first from now on", path.display()),
        Err(error) => _ = writeln!(message, "it cannot be kept ({error}):\n{}", kept::text(&program)),
    }
    _ = write!(
        message,
        "to repeat the search: MODEL_SEED={} MODEL_PROGRAMS={} cargo test -p tests --test blackbox -- model::{}",
        settings.seed, settings.programs, mode.name
    );
    panic!("{message}");
}

/// The smallest failing program that is found before the deadline, and how it failed. `None` if none failed.
pub(super) fn shrink(
    mut tree: impl ValueTree<Value = Program>,
    deadline: Instant,
    fails: impl Fn(&Program) -> Option<String>,
) -> (Program, Option<String>) {
    let mut smallest = (tree.current(), fails(&tree.current()));
    if smallest.1.is_none() || !tree.simplify() {
        return smallest;
    }
    while Instant::now() < deadline {
        let program = tree.current();
        let goes_on = match fails(&program) {
            Some(error) => {
                smallest = (program, Some(error));
                tree.simplify()
            }
            None => tree.complicate(),
        };
        if !goes_on {
            break;
        }
    }
    smallest
}

/// The progress of a search, on stderr if it is long.
struct Progress<'a> {
    mode: &'a Mode,
    kind: &'a Kind,
    count: usize,
    done: AtomicUsize,
    begin: Instant,
    /// When the next line is due; `None` if there are no lines.
    next_line: Option<Mutex<Instant>>,
}

impl<'a> Progress<'a> {
    const EVERY: Duration = Duration::from_secs(10);

    fn new(mode: &'a Mode, kind: &'a Kind, count: usize, is_long: bool) -> Self {
        let begin = Instant::now();
        let next_line = is_long.then(|| Mutex::new(begin + Self::EVERY));
        Self { mode, kind, count, done: AtomicUsize::new(0), begin, next_line }
    }

    fn note_one(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let Some(next_line) = &self.next_line else { return };
        let (now, mut next_line) = (Instant::now(), lock(next_line));
        if *next_line <= now {
            *next_line = now + Self::EVERY;
            let (mode, kind, took) = (self.mode.name, self.kind.name, self.begin.elapsed().as_secs());
            eprintln!("{mode}, {kind}: {done} of {} programs in {took} s", self.count);
        }
    }

    fn done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
