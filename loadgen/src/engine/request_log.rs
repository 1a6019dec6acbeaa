//! The way of logged requests from the load threads to one writer.
//!
//! A load thread never waits for the writer. It fills a batch, and exchanges the full batch for an empty one. Without an
//! empty one, the writer cannot follow: the thread clears its batch, and these requests are not in the log.

use std::{
    mem,
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, Sender, SyncSender},
    },
};

use crate::engine::failure::Failure;

/// The number of entries of a full batch. It takes 160 KiB.
const BATCH_ENTRIES: usize = 4096;
/// The most batches of all threads together, with up to 64 threads: 40 MiB, or a million requests.
const BATCHES: usize = 256;
/// The bounds of the number of batches of one thread.
const BATCHES_OF_THREAD: RangeInclusive<usize> = 4..=64;

/// A request that has ended. Times are nanoseconds since the start of the measured window: they are negative before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When it was due.
    pub due_ns: i64,
    /// When the client began to write it. Meaningless unless `is_written`.
    pub written_ns: i64,
    /// When its reply was complete, or when it failed or was cut off.
    pub ended_ns: i64,
    /// Its number among the requests of its client, from 0.
    pub request: u64,
    /// The number of its client.
    pub client: u32,
    /// The index of its kind.
    pub kind: u16,
    /// Whether at least one byte of it was written.
    pub is_written: bool,
    /// How it ended.
    pub ending: Ending,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By the expected reply.
    Replied,
    /// By a failure.
    Failed(Failure),
    /// By the end of the run, before its timeout.
    CutOff,
}

/// A request that ends now. Times are readings of the run's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedRequest {
    /// The number of its client.
    pub client: u32,
    /// Its number among the requests of its client.
    pub request: u64,
    /// When it was due.
    pub due_ns: u64,
    /// When the client began to write it. None if no byte was written.
    pub written_ns: Option<u64>,
    /// How it ended.
    pub ending: Ending,
}

/// The log of one load thread.
#[derive(Debug)]
pub(crate) struct RequestLog {
    thread: usize,
    batch: Vec<Entry>,
    empty: Receiver<Vec<Entry>>,
    full: SyncSender<Batch>,
    /// The start of the measured window. None before the load.
    origin_ns: Option<u64>,
    /// The number of requests that have ended, in the log or not.
    requests: u64,
    requests_of_all: Arc<AtomicU64>,
}

/// Entries of one thread, in the order in which its requests ended.
#[derive(Debug)]
pub(crate) struct Batch {
    thread: usize,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// The writer's end.
#[derive(Debug)]
pub(crate) struct Entries {
    full: Receiver<Batch>,
    empty: Vec<Sender<Vec<Entry>>>,
}

/// The logs of this number of load threads, the writer's end, and the number of logged and lost requests of the threads that
/// have ended.
pub(crate) fn channel(threads: usize) -> (Vec<RequestLog>, Entries, Arc<AtomicU64>) {
    let batches = (BATCHES / threads.max(1)).clamp(*BATCHES_OF_THREAD.start(), *BATCHES_OF_THREAD.end());
    let (full, filled) = mpsc::sync_channel(batches * threads);
    let requests_of_all = Arc::<AtomicU64>::default();
    let make = |thread| {
        let (give_back, empty) = mpsc::channel();
        let fresh = || Vec::with_capacity(BATCH_ENTRIES);
        for _ in 1..batches {
            give_back.send(fresh()).expect("the receiver exists");
        }
        let log = RequestLog {
            thread,
            batch: fresh(),
            empty,
            full: full.clone(),
            origin_ns: None,
            requests: 0,
            requests_of_all: requests_of_all.clone(),
        };
        (log, give_back)
    };
    let (logs, empty) = (0..threads).map(make).unzip();
    (logs, Entries { full: filled, empty }, requests_of_all)
}

impl RequestLog {
    /// The load begins. The measured window starts at `origin_ns`.
    pub(crate) fn load_begins(&mut self, origin_ns: u64) {
        self.origin_ns = Some(origin_ns);
    }

    /// Appends a request of this kind, which ends at `now_ns`. Never waits.
    pub(crate) fn append(&mut self, ended: &EndedRequest, kind: usize, now_ns: u64) {
        let origin_ns = self.origin_ns.unwrap_or(0);
        // The run's clock begins at 0, so each reading is below 2^63.
        let since_origin = |at_ns: u64| at_ns as i64 - origin_ns as i64;
        self.batch.push(Entry {
            due_ns: since_origin(ended.due_ns),
            written_ns: since_origin(ended.written_ns.unwrap_or(ended.due_ns)),
            ended_ns: since_origin(now_ns),
            request: ended.request,
            client: ended.client,
            kind: kind as u16,
            is_written: ended.written_ns.is_some(),
            ending: ended.ending,
        });
        self.requests += 1;
        if self.batch.len() >= BATCH_ENTRIES {
            self.hand_over();
            // Without an empty batch, its entries are lost.
            self.batch.clear();
        }
    }

    /// Hands over the entries so far, if there is an empty batch.
    pub(crate) fn hand_over(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if let Ok(empty) = self.empty.try_recv() {
            let entries = mem::replace(&mut self.batch, empty);
            self.send(entries);
        }
    }

    /// The thread has ended its requests.
    pub(crate) fn finish(mut self) {
        self.requests_of_all.fetch_add(self.requests, Ordering::AcqRel);
        if self.origin_ns.is_some() {
            let rest = mem::take(&mut self.batch);
            self.send(rest);
        }
    }

    fn send(&self, entries: Vec<Entry>) {
        // The channel has room for every batch. It is closed if the writer has failed.
        let _closed = self.full.try_send(Batch { thread: self.thread, entries });
    }
}

impl Entries {
    /// Waits for the next batch. It may be empty. None if each thread has ended.
    pub(crate) fn next(&self) -> Option<Batch> {
        self.full.recv().ok()
    }

    /// Gives a batch back to its thread.
    pub(crate) fn give_back(&self, batch: Batch) {
        let Batch { thread, mut entries } = batch;
        entries.clear();
        let _ended = self.empty[thread].send(entries);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(log: &mut RequestLog, request: u64) {
        let ended = EndedRequest {
            client: 3,
            request,
            due_ns: 1_000 + request,
            written_ns: Some(1_500 + request),
            ending: Ending::Replied,
        };
        log.append(&ended, 2, 2_000 + request);
    }

    fn log() -> (RequestLog, Entries, Arc<AtomicU64>) {
        let (mut logs, entries, requests) = channel(1);
        let mut log = logs.remove(0);
        log.load_begins(1_500);
        (log, entries, requests)
    }

    #[test]
    fn an_entry_is_small_and_counts_from_the_window() {
        assert_eq!(size_of::<Entry>(), 40);
        let (mut log, entries, requests) = log();
        append(&mut log, 7);
        log.finish();
        let expected = Entry {
            due_ns: -493,
            written_ns: 7,
            ended_ns: 507,
            request: 7,
            client: 3,
            kind: 2,
            is_written: true,
            ending: Ending::Replied,
        };
        assert_eq!(entries.next().unwrap().entries, [expected]);
        assert!(entries.next().is_none());
        assert_eq!(requests.load(Ordering::Acquire), 1);
    }

    #[test]
    fn a_thread_that_the_writer_cannot_follow_drops_whole_batches_and_does_not_wait() {
        let (mut log, entries, requests) = log();
        let batches = *BATCHES_OF_THREAD.end();
        let batch = BATCH_ENTRIES as u64;
        // One batch is always in the thread's hands.
        let kept = (batches as u64 - 1) * batch;
        (0..kept + 2 * batch + 5).for_each(|request| append(&mut log, request));
        let first = entries.next().unwrap();
        assert_eq!((first.entries.len() as u64, first.entries[0].request), (batch, 0));
        entries.give_back(first);
        // The thread has an empty batch again.
        (0..batch).for_each(|request| append(&mut log, kept + 2 * batch + 5 + request));
        log.finish();
        let mut seen = Vec::new();
        while let Some(batch) = entries.next() {
            seen.extend(batch.entries.iter().map(|entry| entry.request));
            entries.give_back(batch);
        }
        let expected: Vec<_> = (batch..kept).chain(kept + 2 * batch..kept + 3 * batch + 5).collect();
        assert!(seen == expected, "{} requests", seen.len());
        assert_eq!(requests.load(Ordering::Acquire), kept + 3 * batch + 5);
    }

    #[test]
    fn an_incomplete_batch_is_handed_over_on_request_and_never_lost() {
        let (mut log, entries, _) = log();
        for request in 0..200 {
            append(&mut log, request);
            log.hand_over();
            log.hand_over();
        }
        log.finish();
        let mut seen = 0;
        while let Some(batch) = entries.next() {
            seen += batch.entries.len();
        }
        assert_eq!(seen, 200);
    }

    #[test]
    fn a_log_without_a_load_or_without_a_writer_is_harmless() {
        let (mut logs, entries, _) = channel(2);
        logs.drain(..).for_each(RequestLog::finish);
        assert!(entries.next().is_none());
        let (mut log, entries, requests) = log();
        drop(entries);
        (0..3 * BATCH_ENTRIES as u64).for_each(|request| append(&mut log, request));
        log.finish();
        assert_eq!(requests.load(Ordering::Acquire), 3 * BATCH_ENTRIES as u64);
    }
}
