//! What the users of an open loop have felt, computed from the schedule and the server's own record.
//!
//! With constant arrivals, request `k` of client `c` is due at `start + (c + k * clients) / rate`. Only the start
//! is not known; but no request is read by the server before it is due, so the earliest one of thousands gives it
//! away.
//!
//! A reply cannot be read before it is written, which bounds each response time from below. From above it is
//! bounded by witnesses: requests that the load thread cannot have written before it had read the reply. So a busy
//! machine widens the bounds instead of failing the test, and on a quiet one they are two gaps between requests wide.

use super::server::{Deed, Record};

const NS_PER_S: u64 = 1_000_000_000;
/// The earliest request of all was read by the server at most so long after it was due.
const START_SLACK_NS: u64 = 200_000;
/// From the load thread's waking to its reading of the last reply that was there.
const READING_SLACK_NS: u64 = 500_000;
/// The same for the replies of the end, after which there is no witness.
const END_SLACK_NS: u64 = 5_000_000;
/// A load thread that is held up for longer has many events to handle at once afterwards, and does so for a while.
const HELD_UP_NS: u64 = 1_000_000;
const AFTERMATH_NS: u64 = 10_000_000;
/// The same as `END_SLACK_NS`, of a machine that has just stood still.
const HELD_UP_END_SLACK_NS: u64 = 200_000_000;

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
    /// The longest time for which the machine has held up the load thread or the server.
    pub(super) held_up_ns: u64,
}

/// A record beside the schedule.
#[derive(Clone, Copy)]
struct Seen<'a> {
    record: &'a Record,
    due_ns: u64,
    /// When the reply was written that its client had waited for, if it had and got one.
    answering_ns: Option<u64>,
}

impl Load {
    /// The arguments of `loadgen run` for it.
    pub(super) fn args(&self) -> String {
        let Self { clients, rate_per_s, warm_up_ms, window_ms } = self;
        format!("-t 1 -c {clients} -r {rate_per_s} -w {warm_up_ms}ms -d {window_ms}ms --format json")
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
        let starts = records.iter().map(|record| record.request.received_ns - self.due(record));
        let start_ns = starts.min().expect("something was received");
        let seen = self.seen(records, start_ns);
        let witnesses = Witnesses::new(&seen);
        let mut felt = Felt {
            at_least_ns: Vec::new(),
            at_most_ns: Vec::new(),
            answered_per_s: 0.0,
            held_up_ns: seen.iter().filter_map(Seen::held_up_ns).max().unwrap_or(0),
        };
        for Seen { record, due_ns, .. } in seen.iter().filter(|seen| seen.at_ns().is_some()) {
            if self.measures(record.answering_ns - start_ns) {
                felt.answered_per_s += 1000.0 / self.window_ms as f64;
            }
            if self.measures(due_ns - start_ns) {
                let read_ns = witnesses.read_by(record.answered_ns);
                felt.at_least_ns.push(record.answering_ns - due_ns);
                felt.at_most_ns.push(read_ns + START_SLACK_NS + READING_SLACK_NS - due_ns);
            }
        }
        felt.at_least_ns.sort_unstable();
        felt.at_most_ns.sort_unstable();
        felt
    }

    /// The records of each client in the order of its requests.
    fn seen<'a>(&self, records: &'a [Record], start_ns: u64) -> Vec<Seen<'a>> {
        let mut records: Vec<_> = records.iter().collect();
        records.sort_unstable_by_key(|record| (record.request.client, record.request.number));
        let mut before: Option<Seen> = None;
        let seen = records.into_iter().map(|record| {
            let due_ns = start_ns + self.due(record);
            let follows = |before: &Seen| {
                let (one, other) = (before.record.request, record.request);
                one.client == other.client && one.number + 1 == other.number && before.at_ns().is_some()
            };
            let answering_ns = before.filter(follows).map(|before| before.record.answering_ns);
            *before.insert(Seen { record, due_ns, answering_ns })
        });
        seen.collect()
    }

    fn due(&self, record: &Record) -> u64 {
        self.turn_ns(record.request.client + record.request.number * self.clients)
    }
}

impl Seen<'_> {
    /// When it was to be answered, if it was.
    fn at_ns(&self) -> Option<u64> {
        match self.record.deed {
            Deed::Answer { at_ns } => Some(at_ns),
            _ => None,
        }
    }

    /// It was not written before it was due, nor before its client had the reply to the one before.
    fn written_from_ns(&self) -> u64 {
        (self.due_ns - START_SLACK_NS).max(self.answering_ns.unwrap_or(0))
    }

    /// How much later it was received or answered than it could have been. Who had to connect anew is not looked at.
    fn held_up_ns(&self) -> Option<u64> {
        let received_late_ns = self.record.request.received_ns - self.written_from_ns();
        let answered_late_ns = self.record.answered_ns - self.at_ns()?;
        self.answering_ns.map(|_| received_late_ns.max(answered_late_ns))
    }
}

/// The element under which this share of a sorted list lies, as a histogram gives it.
pub(super) fn quantile(sorted: &[u64], share: f64) -> u64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// By when the load thread had read what.
struct Witnesses {
    /// When a request was received that was not written before that moment.
    received: Firsts,
    /// When the next request of the same client was received, which had to wait for the reply.
    followed: Firsts,
    /// When the thread was held up, or was still catching up.
    held_up: Vec<(u64, u64)>,
}

/// For each moment the first of those that belong to it or a later one, in rising order.
struct Firsts(Vec<(u64, u64)>);

impl Witnesses {
    fn new(seen: &[Seen]) -> Self {
        let received_ns = |seen: &Seen| seen.record.request.received_ns;
        let received = seen.iter().map(|seen| (seen.written_from_ns(), received_ns(seen)));
        let pairs = seen.windows(2).filter(|pair| pair[1].answering_ns.is_some());
        let followed = pairs.map(|pair| (pair[0].written_from_ns(), received_ns(&pair[1])));
        let late = received.clone().filter(|(from_ns, received_ns)| received_ns - from_ns > HELD_UP_NS);
        Self {
            held_up: late.map(|(from_ns, received_ns)| (from_ns, received_ns + AFTERMATH_NS)).collect(),
            received: Firsts::new(received.collect()),
            followed: Firsts::new(followed.collect()),
        }
    }

    /// By when a reply that was there at `answered_ns` was read.
    ///
    /// The first request from then on shows that the thread was awake, and the first from that on that it has looked
    /// for replies in between, unless it is still busy with what it found there before. Then only the reply to a
    /// request that was written later will do: it is found in a later round, and after this one.
    fn read_by(&self, answered_ns: u64) -> u64 {
        if self.held_up.iter().any(|(from_ns, to_ns)| (from_ns..to_ns).contains(&&answered_ns)) {
            self.followed.from(answered_ns).unwrap_or(answered_ns + HELD_UP_END_SLACK_NS)
        } else {
            let first = self.received.from(answered_ns);
            first.and_then(|first_ns| self.received.from(first_ns)).unwrap_or(answered_ns + END_SLACK_NS)
        }
    }
}

impl Firsts {
    fn new(mut moments: Vec<(u64, u64)>) -> Self {
        moments.sort_unstable();
        let mut first_ns = u64::MAX;
        for (_, moment_ns) in moments.iter_mut().rev() {
            first_ns = first_ns.min(*moment_ns);
            *moment_ns = first_ns;
        }
        Self(moments)
    }

    fn from(&self, at_ns: u64) -> Option<u64> {
        let index = self.0.partition_point(|(from_ns, _)| *from_ns < at_ns);
        self.0.get(index).map(|(_, first_ns)| *first_ns)
    }
}
