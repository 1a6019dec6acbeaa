//! The whole mode on a simulated kernel, driven by random schedules. A seed names a schedule, and replays it.
//!
//! `SCHEDULES` sets how many schedules run, and `SEED` the first of them:
//! `SEED=17 SCHEDULES=1 cargo test -p server simulated`.

use std::{
    cell::RefCell,
    env,
    rc::Rc,
    sync::{Arc, Barrier, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use common::Address;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

use super::{
    Loop, RingHandle, Shared,
    accepting::RingAcceptor,
    ring::{Request, Ring},
    slot::Receive,
};
use crate::{
    admission::{acceptor::Acceptor, access::ClientRules, listener::Listener},
    connection::work::Work,
    daemon::{
        config::{Config, Listen, WhenFull},
        service::Service,
        shutdown::Shutdown,
    },
};

mod clients;
mod kernel;
mod memory;

use clients::Clients;
use kernel::{Faults, SimulatedKernel, World, file_of};

type Random = Xoshiro256PlusPlus;

/// How many schedules run without `SCHEDULES`.
const SCHEDULES: u64 = 500;

/// A schedule in which nothing happens for this many rounds is stuck.
const ROUNDS_WITHOUT_PROGRESS: u32 = 400;

#[test]
fn every_schedule_keeps_the_invariants_and_the_echo() {
    let number = |name: &str, default: u64| {
        env::var(name).map_or(default, |text| text.parse().expect("the variable is a number"))
    };
    let (first, count) = (number("SEED", 0), number("SCHEDULES", SCHEDULES));
    let began = Instant::now();
    let mut rounds = 0;
    for seed in first..first + count {
        let replay = Replay(seed);
        rounds += run(seed);
        std::mem::forget(replay);
    }
    println!("{count} schedules, {rounds} rounds, {:?}", began.elapsed());
}

#[test]
fn a_seed_replays_its_schedule() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

/// Says how to replay a schedule that panics.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        eprintln!("replay: SEED={} SCHEDULES=1 cargo test -p server simulated -- --nocapture", self.0);
    }
}

/// Runs a schedule. Returns its rounds.
fn run(seed: u64) -> u64 {
    let mut schedule = Schedule::new(seed);
    for _ in 0..schedule.rounds {
        schedule.run_round();
    }
    schedule.finish();
    schedule.rounds_run
}

struct Schedule {
    world: Rc<RefCell<World>>,
    shared: Arc<Shared>,
    loops: Vec<Loop<SimulatedKernel>>,
    rounds: u32,
    drains_early: bool,
    rounds_run: u64,
    _folder: tempfile::TempDir,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        let mut random = Random::seed_from_u64(seed);
        let folder = tempfile::tempdir().expect("a folder for the socket can be made");
        let path = folder.path().join("s");
        let config = config(&mut random, &path);
        let rejects = config.when_full == WhenFull::Reject;
        let listeners = Listener::bind_all(&config).expect("the path is free");
        let threads = config.threads;
        let service = Service::new(config, Shutdown::new().expect("there are descriptors"));
        let service = Arc::new(service.expect("there are descriptors"));

        let mut clients = Clients::new(path);
        clients.wanted = random.random_range(1..12);
        clients.message_max = [8, 100, 1_000, 20_000, 150_000][random.random_range(0..5)];
        clients.reset_one_in = if random.random_ratio(1, 3) { random.random_range(20..200) } else { 0 };
        clients.may_be_cut = rejects;
        let faults = faults(&mut random);
        let submissions_max = [1, 2, 4, 64, 512][random.random_range(0..5)];
        let rounds = random.random_range(0..150);
        let drains_early = random.random_ratio(1, 4);
        let world = World { random, clients, rings: Vec::new(), faults, progress: 0 };
        let world = Rc::new(RefCell::new(world));

        let rings: Vec<_> = (0..threads)
            .map(|_| Ring::over(|blocks| SimulatedKernel::new(&world, blocks, submissions_max)))
            .collect();
        let shared = Arc::new(Shared {
            service: Arc::clone(&service),
            handles: rings.iter().map(|ring| RingHandle::new(ring, &service)).collect(),
            enabled: Barrier::new(1),
        });
        let mut acceptor = Some(RingAcceptor::new(Acceptor::new(&service, listeners)));
        let loops = rings.into_iter().enumerate();
        let mut loops: Vec<_> =
            loops.map(|(number, ring)| Loop::new(number, ring, acceptor.take(), &shared)).collect();
        loops.iter_mut().for_each(Loop::begin);
        Self { world, shared, loops, rounds, drains_early, rounds_run: 0, _folder: folder }
    }

    /// One thread runs for a round.
    fn run_round(&mut self) {
        let thread = self.world.borrow_mut().random.random_range(0..self.loops.len());
        self.loops[thread].run_round(&mut Vec::new());
        self.rounds_run += 1;
        self.check();
    }

    /// Lets every client finish, and then the server.
    fn finish(&mut self) {
        if self.drains_early {
            self.drain();
        }
        self.world.borrow_mut().clients.finish = true;
        self.run_until("every client is done", |schedule| {
            schedule.world.borrow().clients.are_done()
                && schedule.loops.iter().all(|the_loop| the_loop.slots.is_empty())
        });
        if !self.drains_early {
            self.drain();
        }
        // A client that has reset its connection may still be in the accept queue.
        self.run_until("the last connection has ended", |schedule| {
            schedule.loops[0].acceptor.is_none() && schedule.shared.service.connections.open() == 0
        });
        assert!(self.shared.service.connections.wait_until_drained(Instant::now()), "the drain does not end");
        for (number, the_loop) in self.loops.drain(..).enumerate() {
            let ring = &self.world.borrow().rings[number];
            let may_stay = |request: &u64| matches!(Request::decode(*request), Request::Readable(_));
            assert!(ring.outstanding.keys().all(may_stay), "a request is left");
            // SAFETY: The simulated kernel is not called any more.
            unsafe { the_loop.ring.free_blocks() };
        }
    }

    fn drain(&mut self) {
        self.world.borrow_mut().clients.may_be_cut |= self.drains_early;
        self.shared.service.shutdown.begin("the schedule");
    }

    fn run_until(&mut self, what: &str, is_done: impl Fn(&Self) -> bool) {
        let (mut progress, mut idle) = (0, 0);
        while !is_done(self) {
            self.run_round();
            let now = self.world.borrow().progress;
            idle = if now == progress { idle + 1 } else { 0 };
            progress = now;
            if idle > ROUNDS_WITHOUT_PROGRESS {
                panic!("stuck, and never {what}:\n{}", self.world.borrow().clients.describe());
            }
        }
    }

    /// The invariants between two rounds.
    fn check(&self) {
        let world = &mut *self.world.borrow_mut();
        let mut connections = 0;
        for (the_loop, ring) in self.loops.iter().zip(&mut world.rings) {
            assert_eq!(
                the_loop.ring.check_blocks(),
                ring.lent_count(),
                "lent blocks, for the mode and for the kernel"
            );
            for (key, slot) in &the_loop.slots {
                let file = file_of(&slot.connection.socket);
                let receive = ring.outstanding.get(&Request::Receive(key).encode());
                assert_eq!(
                    receive.is_some(),
                    slot.receive != Receive::Idle,
                    "the receive of connection {key}"
                );
                if let Some(receive) = receive {
                    assert_eq!(Some(receive.file), file, "the receive of connection {key} is of another one");
                    assert_eq!(receive.is_cancelled, slot.receive == Receive::Cancelled, "connection {key}");
                }
                let writable = ring.outstanding.get(&Request::Writable(key).encode());
                assert_eq!(writable.is_some(), slot.watches_writable, "the watch of connection {key}");
                assert!(writable.is_none_or(|watch| Some(watch.file) == file), "the watch of another one");
                let queued = the_loop.queue.iter().filter(|queued| **queued == key).count();
                assert_eq!(queued, usize::from(slot.is_queued), "connection {key} in the queue");
                let sends = the_loop.sends.iter().filter(|send| send.key == key).count();
                assert_eq!(sends, usize::from(slot.sent_in == the_loop.round), "sends of connection {key}");
            }
            for request in ring.outstanding.keys() {
                if let Request::Receive(key) | Request::Writable(key) = Request::decode(*request) {
                    assert!(the_loop.slots.contains(key), "a request of connection {key}, which has ended");
                }
            }
            let assigned = the_loop.handle_of_this_loop().assigned.waiting();
            assert_eq!(the_loop.worker.connections.load(SeqCst), the_loop.slots.len() + assigned);
            connections += the_loop.slots.len() + assigned;
        }
        assert_eq!(self.shared.service.connections.open(), connections, "counted connections");
    }
}

fn config(random: &mut Random, path: &std::path::Path) -> Config {
    Config {
        listen: vec![Listen::Address(Address::Unix(path.to_owned()))],
        threads: random.random_range(1..=2),
        max_connections: if random.random_ratio(1, 2) { random.random_range(1..8) } else { 1_000 },
        when_full: if random.random_ratio(1, 4) { WhenFull::Reject } else { WhenFull::Wait },
        clients: ClientRules::default(),
        proxy_protocol: false,
        idle_timeout: None,
        write_timeout: Duration::from_secs(3600),
        drain_timeout: Duration::from_secs(3600),
        drain_grace: Duration::ZERO,
        work: if random.random_ratio(1, 8) { Work::Sleep(Duration::from_nanos(1)) } else { Work::None },
        backlog: random.random_range(1..4),
        reuse_port: false,
        takeover: None,
        metrics: None,
    }
}

fn faults(random: &mut Random) -> Faults {
    let mut one_in = |share: u32, range: std::ops::Range<u32>| match random.random_ratio(1, share) {
        true => random.random_range(range),
        false => 0,
    };
    Faults {
        short_send: one_in(2, 2..20),
        accept_error: one_in(8, 2..20),
        multishot_end: one_in(2, 4..40),
        short_submission: one_in(3, 2..20),
        interruption: one_in(3, 2..20),
        lost_message: one_in(2, 2..6),
    }
}
