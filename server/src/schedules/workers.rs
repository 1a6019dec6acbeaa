//! [`Workers`]: the total never decreases and loses nothing when a worker ends.

use std::sync::Arc;

use shuttle::thread;

use super::check;
use crate::daemon::workers::{Workers, note_received};

#[test]
fn the_total_keeps_the_bytes_of_workers_that_end() {
    check(|| {
        let workers = Arc::new(Workers::new(None));
        let threads = [1, 2, 4].map(|bytes| {
            let workers = Arc::clone(&workers);
            thread::spawn(move || {
                let _entered = workers.enter();
                note_received(bytes);
                thread::yield_now();
                note_received(bytes);
            })
        });
        let mut last = 0;
        for _ in 0..4 {
            let total = workers.total().bytes_received;
            assert!(total >= last, "the total fell from {last} to {total}");
            last = total;
        }
        threads.into_iter().for_each(|thread| thread.join().expect("it ends"));
        assert_eq!((workers.total().bytes_received, workers.each().len()), (14, 0));
    });
}
