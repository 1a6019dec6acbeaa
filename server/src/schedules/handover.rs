//! [`Handover`]: no connection is lost between two rings, and each one sees the drain.
//!
//! The rings are replaced: a ring here is a counter of messages that lock and condition variable protect. A message can fail, as
//! one to a ring without room does. Its sender then sends it again in its next round.

use std::sync::Arc;

use shuttle::{
    rand::{Rng, thread_rng},
    sync::{Condvar, Mutex},
    thread,
};

use super::{check, check_all};
use crate::{Shutdown, mode::io_uring::handover::Handover};

/// The completions that a thread's ring has.
#[derive(Clone, Copy, Default)]
struct Completions {
    messages: usize,
    shutdown: bool,
}

#[derive(Default)]
struct Ring {
    completions: Mutex<Completions>,
    is_not_empty: Condvar,
}

impl Ring {
    fn complete(&self, change: impl FnOnce(&mut Completions)) {
        change(&mut self.completions.lock().expect("no thread panics"));
        self.is_not_empty.notify_one();
    }

    fn wait(&self) -> Completions {
        let completions = self.completions.lock().expect("no thread panics");
        let is_empty = |completions: &mut Completions| completions.messages == 0 && !completions.shutdown;
        std::mem::take(&mut *self.is_not_empty.wait_while(completions, is_empty).expect("no thread panics"))
    }
}

/// A thread gives connections to another one while the shutdown begins. Messages fail up to so many times.
fn give_and_drain(connections: usize, failures: impl Fn() -> usize) {
    let (ring, shutdown) = (Arc::new(Ring::default()), Shutdown::new().expect("the kernel makes an eventfd"));
    let handover = Arc::new(Handover::new());
    let taker = {
        let (ring, handover, shutdown) = (Arc::clone(&ring), Arc::clone(&handover), shutdown.clone());
        thread::spawn(move || take_all(&ring, &handover, &shutdown, connections))
    };
    let drain = {
        let (ring, shutdown) = (Arc::clone(&ring), shutdown);
        thread::spawn(move || {
            shutdown.begin("check");
            ring.complete(|completions| completions.shutdown = true);
        })
    };
    let mut unsent = 0;
    for connection in 0..connections {
        if handover.give(connection) {
            unsent = failures();
            if unsent == 0 {
                ring.complete(|completions| completions.messages += 1);
            }
        } else if unsent > 0 {
            // The next round: the failed message is sent again.
            unsent = 0;
            ring.complete(|completions| completions.messages += 1);
        }
    }
    if unsent > 0 {
        ring.complete(|completions| completions.messages += 1);
    }
    taker.join().expect("it ends");
    drain.join().expect("it ends");
}

/// The loop of the other thread: ends when it has drained all connections, each once.
fn take_all(ring: &Ring, handover: &Handover<usize>, shutdown: &Shutdown, connections: usize) {
    let mut drained = vec![None; connections];
    while drained.iter().any(|drained| *drained != Some(true)) {
        let Completions { messages, shutdown: is_shutdown } = ring.wait();
        assert!(messages <= 1, "two messages for one list");
        if messages > 0 {
            for connection in handover.take() {
                let before = drained[connection].replace(shutdown.begun().is_some());
                assert_eq!(before, None, "a connection was given twice");
            }
        }
        if is_shutdown {
            drained.iter_mut().flatten().for_each(|drained| *drained = true);
        }
    }
}

/// Without the drain, so that it has few schedules.
#[test]
fn no_connection_is_lost_in_any_schedule() {
    check_all(|| {
        let (ring, handover) = (Arc::new(Ring::default()), Arc::new(Handover::new()));
        let taker = {
            let (ring, handover) = (Arc::clone(&ring), Arc::clone(&handover));
            thread::spawn(move || {
                let mut taken = Vec::new();
                while taken != [0, 1] {
                    ring.wait();
                    taken.extend(handover.take());
                }
            })
        };
        for connection in 0..2 {
            if handover.give(connection) {
                ring.complete(|completions| completions.messages += 1);
            }
        }
        taker.join().expect("it ends");
    });
}

#[test]
fn no_connection_is_lost_if_messages_fail() {
    check(|| give_and_drain(4, || thread_rng().gen_range(0..=1)));
}
