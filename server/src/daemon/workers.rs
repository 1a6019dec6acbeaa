//! What each worker thread publishes of itself: its bytes and its turns.
//!
//! A turn is the time from the end of one wait to the beginning of the next one: all work between them. Only the worker
//! writes its numbers, and they have cache lines of their own, so counting costs an echo no shared write. A scrape adds them
//! up.

use std::{
    cell::OnceCell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use slab::Slab;

use crate::{
    daemon::{coarse_clock::now_ns, watchdog::Watchdog},
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicUsize, thread_local},
};

/// The upper bounds of the buckets of turns, inclusive. One more bucket holds longer turns. The clock's resolution is a tick
/// of the kernel, which is from 1 to 10 ms, so smaller buckets would say nothing.
pub(crate) const TURN_BOUNDS: [Duration; 11] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(10),
];
const BUCKETS: usize = TURN_BOUNDS.len() + 1;

/// The worker threads of the process.
#[derive(Debug)]
pub(crate) struct Workers {
    registry: Mutex<Registry>,
    pub(crate) watchdog: Option<Watchdog>,
}

#[derive(Debug, Default)]
struct Registry {
    running: Slab<Arc<Worker>>,
    /// The sums of the workers that have ended.
    ended: Tally,
}

/// What one thread publishes. All that an echo changes is in the first cache line: with a thread for each connection, each line
/// is a cache miss.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct Worker {
    reads: OwnCounter,
    bytes_received: OwnCounter,
    bytes_sent: OwnCounter,
    /// Bytes that were counted as sent and were not. The next sent bytes are not counted instead: a counter never decreases.
    bytes_unsent: OwnCounter,
    /// The moment at which its turn began; 0 while it waits.
    turn_began_ns: AtomicU64,
    /// Turns shorter than a tick of the clock. They are part of the first bucket.
    short_turns: OwnCounter,
    busy_ns: OwnCounter,
    /// The other turns, by their length.
    turns: [OwnCounter; BUCKETS],
    /// Its open connections, in a mode in which a connection stays with a worker. Other threads may change it.
    pub(crate) connections: AtomicUsize,
}

/// A counter that only one thread changes.
#[derive(Debug, Default)]
struct OwnCounter(AtomicU64);

impl OwnCounter {
    fn add(&self, count: u64) {
        self.set(self.get().wrapping_add(count));
    }

    fn set(&self, count: u64) {
        self.0.store(count, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The numbers of one or several workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Receives that returned bytes.
    pub(crate) reads: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) connections: u64,
    /// The time in turns that have ended, in nanoseconds. The present turn would have to be counted twice for a moment, or not
    /// at all: the worker ends it without a lock.
    pub(crate) busy_ns: u64,
    /// How many turns had each length. The last bucket has those longer than every bound.
    pub(crate) turns: [u64; BUCKETS],
    /// How long the present turn has lasted, in nanoseconds; 0 while the worker waits. Of several workers, the longest.
    pub(crate) turn_ns: u64,
}

thread_local! {
    static WORKER: OnceCell<Arc<Worker>> = const { OnceCell::new() };
}

impl Workers {
    pub(crate) fn new(watchdog: Option<Watchdog>) -> Self {
        Self { registry: Mutex::default(), watchdog }
    }

    /// Adds a worker that never ends. A thread becomes that worker by [`Worker::run_on_this_thread`].
    pub(crate) fn add(&self) -> Arc<Worker> {
        let worker = Arc::<Worker>::default();
        self.registry().running.insert(Arc::clone(&worker));
        worker
    }

    /// Makes the calling thread a worker, for as long as the returned guard lives.
    pub(crate) fn enter(self: &Arc<Self>) -> Entered {
        let worker = Arc::<Worker>::default();
        let key = self.registry().running.insert(Arc::clone(&worker));
        worker.run_on_this_thread();
        Entered { workers: Arc::clone(self), key }
    }

    /// The numbers of each worker that runs, in the order in which they were added.
    pub(crate) fn each(&self) -> Vec<Tally> {
        let now_ns = now_ns();
        self.registry().running.iter().map(|(_, worker)| worker.tally(now_ns)).collect()
    }

    /// The sums of all workers, also of those that have ended.
    pub(crate) fn total(&self) -> Tally {
        let now_ns = now_ns();
        let registry = self.registry();
        let mut total = registry.ended.clone();
        registry.running.iter().for_each(|(_, worker)| total.add(&worker.tally(now_ns)));
        total
    }

    /// How long the longest present turn has lasted.
    pub(crate) fn longest_turn(&self) -> Duration {
        let now_ns = now_ns();
        let turns = self.registry().running.iter().map(|(_, worker)| worker.turn_ns(now_ns)).max();
        Duration::from_nanos(turns.unwrap_or(0))
    }

    /// The end of a worker's turn is the moment at which the watchdog may be due.
    fn check_watchdog(&self, now_ns: u64) {
        if let Some(watchdog) = &self.watchdog
            && watchdog.take_due(now_ns)
        {
            watchdog.report(self.longest_turn());
        }
    }

    /// Waits on the thread of a worker, between two of its turns.
    pub(crate) fn wait<T>(&self, wait: impl FnOnce() -> T) -> T {
        WORKER.with(|worker| match worker.get() {
            Some(worker) => worker.wait(self, wait),
            None => wait(),
        })
    }

    /// Ends the turn of the worker on this thread.
    pub(crate) fn end_turn(&self) {
        with_worker(|worker| worker.end_turn(self));
    }

    /// Reports to the watchdog from a thread that has just waited.
    pub(crate) fn note_wait(&self) {
        if self.watchdog.is_some() {
            self.check_watchdog(now_ns());
        }
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // No panic can leave the numbers inconsistent.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that is a worker.
pub(crate) struct Entered {
    workers: Arc<Workers>,
    key: usize,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut registry = self.workers.registry();
        let worker = registry.running.remove(self.key);
        let last = Tally { connections: 0, turn_ns: 0, ..worker.tally(now_ns()) };
        registry.ended.add(&last);
    }
}

impl Worker {
    /// From now on, [`note_received`] and [`note_sent`] on this thread count for this worker.
    pub(crate) fn run_on_this_thread(self: &Arc<Self>) {
        WORKER.with(|this| this.set(Arc::clone(self))).expect("a thread becomes a worker once");
    }

    /// Ends the turn, waits, and begins the next turn.
    pub(crate) fn wait<T>(&self, workers: &Workers, wait: impl FnOnce() -> T) -> T {
        self.end_turn(workers);
        let result = wait();
        self.begin_turn();
        result
    }

    /// Begins a turn.
    pub(crate) fn begin_turn(&self) {
        self.turn_began_ns.store(now_ns(), Relaxed);
    }

    /// Ends the turn, if one has begun.
    fn end_turn(&self, workers: &Workers) {
        if self.turn_began_ns.load(Relaxed) == 0 && workers.watchdog.is_none() {
            return;
        }
        let now_ns = now_ns();
        self.count_turn(now_ns);
        self.turn_began_ns.store(0, Relaxed);
        workers.check_watchdog(now_ns);
    }

    /// Ends the turn and begins the next one, without a wait between them.
    pub(crate) fn next_turn(&self, workers: &Workers) {
        let now_ns = now_ns();
        self.count_turn(now_ns);
        self.turn_began_ns.store(now_ns, Relaxed);
        workers.check_watchdog(now_ns);
    }

    fn count_turn(&self, now_ns: u64) {
        if self.turn_began_ns.load(Relaxed) == 0 {
            return;
        }
        match self.turn_ns(now_ns) {
            0 => self.short_turns.add(1),
            turn_ns => {
                self.turns[bucket(turn_ns)].add(1);
                self.busy_ns.add(turn_ns);
            }
        }
    }

    fn turn_ns(&self, now_ns: u64) -> u64 {
        match self.turn_began_ns.load(Relaxed) {
            0 => 0,
            // A turn that begins just now may have a later time.
            began_ns => now_ns.saturating_sub(began_ns),
        }
    }

    fn tally(&self, now_ns: u64) -> Tally {
        let mut turns = self.turns.each_ref().map(OwnCounter::get);
        turns[0] += self.short_turns.get();
        Tally {
            reads: self.reads.get(),
            bytes_received: self.bytes_received.get(),
            bytes_sent: self.bytes_sent.get(),
            connections: self.connections.load(Relaxed) as u64,
            busy_ns: self.busy_ns.get(),
            turns,
            turn_ns: self.turn_ns(now_ns),
        }
    }
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.reads += other.reads;
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
        self.connections += other.connections;
        self.busy_ns += other.busy_ns;
        self.turns.iter_mut().zip(other.turns).for_each(|(sum, turns)| *sum += turns);
        self.turn_ns = self.turn_ns.max(other.turn_ns);
    }
}

/// Counts one receive of this many bytes, for the worker of this thread.
pub(crate) fn note_received(bytes: usize) {
    with_worker(|worker| {
        worker.reads.add(1);
        worker.bytes_received.add(bytes as u64);
    });
}

/// Counts bytes that were sent, for the worker of this thread.
pub(crate) fn note_sent(bytes: usize) {
    with_worker(|worker| {
        let counted = worker.bytes_unsent.get().min(bytes as u64);
        if counted > 0 {
            worker.bytes_unsent.set(worker.bytes_unsent.get() - counted);
        }
        worker.bytes_sent.add(bytes as u64 - counted);
    });
}

/// Corrects [`note_sent`] for bytes that were not sent after all, for the worker of this thread.
pub(crate) fn note_unsent(bytes: usize) {
    with_worker(|worker| worker.bytes_unsent.add(bytes as u64));
}

/// Calls this with the worker of this thread, if it is one.
pub(crate) fn with_worker(call: impl FnOnce(&Worker)) {
    WORKER.with(|worker| worker.get().map(|worker| call(worker)));
}

/// The bucket of a turn.
fn bucket(turn_ns: u64) -> usize {
    TURN_BOUNDS.partition_point(|bound| bound.as_nanos() < u128::from(turn_ns))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn turns_are_counted_by_their_length() {
        for (turn_ns, expected) in [
            (0, 0),
            (4_000_000, 0),
            (5_000_000, 0),
            (5_000_001, 1),
            (1_000_000_000, 7),
            (10_000_000_000, 10),
            (10_000_000_001, 11),
            (u64::MAX, 11),
        ] {
            assert_eq!(bucket(turn_ns), expected, "{turn_ns}");
        }
    }

    #[test]
    fn an_echo_changes_one_cache_line() {
        assert!(std::mem::offset_of!(Worker, busy_ns) < 64);
        assert_eq!(align_of::<Worker>(), 64);
    }

    #[test]
    fn numbers_of_workers_that_have_ended_are_in_the_total_alone() {
        let workers = Arc::new(Workers::new(None));
        let running = workers.add();
        let worker_thread = {
            let workers = Arc::clone(&workers);
            move || {
                let _entered = workers.enter();
                workers.wait(|| {});
                note_received(7);
                note_received(5);
                note_sent(12);
                note_unsent(4);
                note_sent(1);
                note_sent(5);
                workers.wait(|| {});
                assert_eq!(workers.each().len(), 2);
            }
        };
        thread::spawn(worker_thread).join().unwrap();
        assert_eq!(workers.each(), [Tally::default()]);
        let total = workers.total();
        assert_eq!((total.reads, total.bytes_received, total.bytes_sent), (2, 12, 14));
        assert_eq!((total.turns.iter().sum::<u64>(), total.turn_ns), (1, 0));
        drop(running);
    }

    #[test]
    fn a_turn_that_lasts_is_seen_before_it_ends() {
        let workers = Workers::new(None);
        let worker = workers.add();
        assert_eq!(workers.longest_turn(), Duration::ZERO);
        worker.begin_turn();
        // Until the clock has moved.
        while workers.longest_turn() < Duration::from_millis(20) {
            thread::yield_now();
        }
        let running = workers.total();
        assert!(running.turn_ns >= 20_000_000, "{running:?}");
        // It is counted once, when it ends.
        assert_eq!((running.busy_ns, running.turns), (0, [0; BUCKETS]));
        worker.end_turn(&workers);
        let ended = workers.total();
        assert_eq!((ended.turn_ns, ended.turns.iter().sum()), (0, 1_u64));
        assert!(ended.busy_ns >= running.turn_ns && ended.turns[..2] == [0; 2], "{ended:?}");
    }
}
