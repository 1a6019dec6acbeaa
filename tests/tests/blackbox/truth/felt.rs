//! What the users of an open loop have felt, computed from the schedule and the server's own record.
//!
//! With constant arrivals, request `k` of client `c` is due at `start + (c + k * clients) / rate`. Only the start is not
//! known; but no request is read by the server before it is due, so the earliest one of thousands gives it away.
//!
//! A reply cannot be read before it is written, which bounds each response time from below. From above it is bounded by
//! a witness: one load thread that has begun a later round has read every reply that was there before. So a busy machine
//! widens the bounds instead of failing the test, and on a quiet one they are two gaps between requests wide.

use super::server::{Deed, Record};

const NS_PER_S: u64 = 1_000_000_000;
/// The earliest request of all was read by the server at most so long after it was due.
const START_SLACK_NS: u64 = 200_000;
/// From the load thread's waking to its reading of the last reply that was there.
const READING_SLACK_NS: u64 = 500_000;
/// The same for the replies of the end, after which there is no witness.
const END_SLACK_NS: u64 = 5_000_000;

/// An open loop of one load thread with constant arrivals, each client with one outstanding request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) clients: u64,
    pub(super) rate_per_s: u64,
    pub(super) warm_up_ms: u64,
    pub(super) window_ms: u64,
}

/// The bounds of the response times, each list in rising order.
#[derive(Debug)]
pub(super) struct Felt {
    pub(super) at_least_ns: Vec<u64>,
    pub(super) at_most_ns: Vec<u64>,
    /// Replies a second that were written in the window.
    pub(super) answered_per_s: f64,
}

impl Load {
    /// The arguments of `loadgen run` for it.
    pub(super) fn args(&self) -> String {
        let Self { clients, rate_per_s, warm_up_ms, window_ms } = self;
        format!("-t 1 -c {clients} -r {rate_per_s} -w {warm_up_ms}ms -d {window_ms}ms --format json")
    }

    /// When a request is due, from the start of the load.
    pub(super) fn due_ns(&self, client: u64, number: u64) -> u64 {
        self.turn_ns(client + number * self.clients)
    }

    /// When the requests of the window are due, with their numbers among those of all clients.
    pub(super) fn window(&self) -> impl Iterator<Item = (u64, u64)> {
        let numbered = (0..).map(|turn| (turn, self.turn_ns(turn)));
        numbered
            .skip_while(|(_, due_ns)| !self.measures(*due_ns))
            .take_while(|(_, due_ns)| self.measures(*due_ns))
    }

    /// Whether what is due then is measured.
    fn measures(&self, due_ns: u64) -> bool {
        let from_ns = self.warm_up_ms * 1_000_000;
        (from_ns..from_ns + self.window_ms * 1_000_000).contains(&due_ns)
    }

    fn turn_ns(&self, turn: u64) -> u64 {
        (u128::from(turn) * u128::from(NS_PER_S) / u128::from(self.rate_per_s)) as u64
    }

    /// What the users have felt whose requests were due in the window and answered well.
    pub(super) fn felt(&self, records: &[Record]) -> Felt {
        let due_ns = |record: &Record| self.due_ns(record.request.client, record.request.number);
        let starts = records.iter().map(|record| record.request.received_ns - due_ns(record));
        let start_ns = starts.min().expect("something was received");
        let witnesses = Witnesses::new(records, |record| start_ns - START_SLACK_NS + due_ns(record));
        let (mut at_least_ns, mut at_most_ns, mut answered) = (Vec::new(), Vec::new(), 0);
        for record in records.iter().filter(|record| matches!(record.deed, Deed::Answer { .. })) {
            answered += u64::from(self.measures(record.answering_ns.saturating_sub(start_ns)));
            if self.measures(due_ns(record)) {
                let due_ns = start_ns + due_ns(record);
                let read_ns = witnesses.read_by(record.answered_ns);
                at_least_ns.push(record.answering_ns.saturating_sub(due_ns));
                at_most_ns.push(read_ns + START_SLACK_NS + READING_SLACK_NS - due_ns);
            }
        }
        at_least_ns.sort_unstable();
        at_most_ns.sort_unstable();
        let answered_per_s = answered as f64 * 1000.0 / self.window_ms as f64;
        Felt { at_least_ns, at_most_ns, answered_per_s }
    }
}

/// The element under which this share of a sorted list lies, as a histogram gives it.
pub(super) fn quantile(sorted: &[u64], share: f64) -> u64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// By when the load thread was awake.
struct Witnesses {
    /// Each request's earliest moment of being written, and when the first of those that cannot have been written
    /// before it was read by the server; in rising order.
    received_from: Vec<(u64, u64)>,
}

impl Witnesses {
    /// A request is written when it is `due_ns`, or when its client has the reply to the one before.
    fn new(records: &[Record], due_ns: impl Fn(&Record) -> u64) -> Self {
        let mut records: Vec<_> = records.iter().collect();
        records.sort_unstable_by_key(|record| (record.request.client, record.request.number));
        let before = |index: usize| {
            let (one, other) = (index.checked_sub(1).map(|index| records[index])?, records[index]);
            let is_before = one.request.client == other.request.client
                && one.request.number + 1 == other.request.number
                && matches!(one.deed, Deed::Answer { .. });
            is_before.then_some(one.answering_ns)
        };
        let written = records.iter().enumerate().map(|(index, record)| {
            (due_ns(record).max(before(index).unwrap_or(0)), record.request.received_ns)
        });
        let mut received_from: Vec<_> = written.collect();
        received_from.sort_unstable();
        let mut first_ns = u64::MAX;
        for (_, received_ns) in received_from.iter_mut().rev() {
            first_ns = first_ns.min(*received_ns);
            *received_ns = first_ns;
        }
        Self { received_from }
    }

    /// By when a reply that was there at `answered_ns` was read. The first request from then on shows that the thread
    /// was awake, the first from that on that it had looked for replies in between.
    fn read_by(&self, answered_ns: u64) -> u64 {
        let first = self.first_from(answered_ns);
        first.and_then(|first_ns| self.first_from(first_ns)).unwrap_or(answered_ns + END_SLACK_NS)
    }

    fn first_from(&self, at_ns: u64) -> Option<u64> {
        let index = self.received_from.partition_point(|(written_ns, _)| *written_ns < at_ns);
        self.received_from.get(index).map(|(_, received_ns)| *received_ns)
    }
}
