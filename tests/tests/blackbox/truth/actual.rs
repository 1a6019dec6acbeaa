//! The actual response times of an open loop, computed from the schedule and the server's record.
//!
//! With constant arrivals, request `k` of client `c` is due at `start + (c + k * clients) / rate`. The start is unknown,
//! but the server reads no request before it is due. So the earliest of thousands of requests gives the start.
//!
//! A reply cannot be read before it is written. This is the lower bound of each response time. The upper bound follows
//! from later requests, which the load thread cannot have written before it read the reply. A busy machine widens the
//! bounds and does not fail the test. On a quiet machine, they are as far apart as two or three requests.

use super::server::{Action, Record};

const NS_PER_S: u64 = 1_000_000_000;
/// The server reads the earliest request within this time after it is due.
const START_SLACK_NS: u64 = 200_000;
/// Time that the load thread needs, after it wakes, to read all replies that are ready.
const READING_SLACK_NS: u64 = 500_000;
/// The same for the last replies, which no later request follows.
const END_SLACK_NS: u64 = 5_000_000;
/// After a longer delay, the load thread has many events to handle, and needs some time to catch up.
const DELAYED_NS: u64 = 1_000_000;
const CATCH_UP_NS: u64 = 10_000_000;
/// The same as `END_SLACK_NS`, on a machine that has just stalled.
const DELAYED_END_SLACK_NS: u64 = 200_000_000;

/// An open loop of one load thread with constant arrivals, each client with one outstanding request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) clients: u64,
    pub(super) rate_per_s: u64,
    pub(super) warm_up_ms: u64,
    pub(super) window_ms: u64,
}

/// The bounds of the response times. Each list is sorted.
#[derive(Debug)]
pub(super) struct Actual {
    pub(super) at_least_ns: Vec<u64>,
    pub(super) at_most_ns: Vec<u64>,
    /// Replies per second that were written in the window.
    pub(super) answered_per_s: f64,
    /// The longest delay of the load thread or the server that the machine caused.
    pub(super) delayed_ns: u64,
}

/// A record, with its place in the schedule.
#[derive(Clone, Copy)]
struct Scheduled<'a> {
    record: &'a Record,
    due_ns: u64,
    /// When the server wrote the reply to the previous request of the same client, if it wrote one.
    answering_ns: Option<u64>,
}

impl Load {
    /// The arguments of `loadgen run` for this load.
    pub(super) fn args(&self) -> String {
        let Self { clients, rate_per_s, warm_up_ms, window_ms } = self;
        format!("-t 1 -c {clients} -r {rate_per_s} -w {warm_up_ms}ms -d {window_ms}ms --format json")
    }

    /// The requests of the window: their numbers among those of all clients, and their due times.
    pub(super) fn window(&self) -> impl Iterator<Item = (u64, u64)> {
        let numbered = (0..).map(|turn| (turn, self.turn_ns(turn)));
        numbered
            .skip_while(|(_, due_ns)| !self.measures(*due_ns))
            .take_while(|(_, due_ns)| self.measures(*due_ns))
    }

    /// Whether a request that is due at this time belongs to the window.
    fn measures(&self, due_ns: u64) -> bool {
        let from_ns = self.warm_up_ms * 1_000_000;
        (from_ns..from_ns + self.window_ms * 1_000_000).contains(&due_ns)
    }

    fn turn_ns(&self, turn: u64) -> u64 {
        (u128::from(turn) * u128::from(NS_PER_S) / u128::from(self.rate_per_s)) as u64
    }

    /// The response times of the requests that were due in the window and got a correct reply.
    pub(super) fn actual(&self, records: &[Record]) -> Actual {
        let starts = records.iter().map(|record| record.request.received_ns - self.due(record));
        let start_ns = starts.min().expect("something was received");
        let scheduled = self.scheduled(records, start_ns);
        let read_times = ReadTimes::new(&scheduled);
        let mut actual = Actual {
            at_least_ns: Vec::new(),
            at_most_ns: Vec::new(),
            answered_per_s: 0.0,
            delayed_ns: scheduled.iter().filter_map(Scheduled::delayed_ns).max().unwrap_or(0),
        };
        for Scheduled { record, due_ns, .. } in
            scheduled.iter().filter(|scheduled| scheduled.at_ns().is_some())
        {
            if self.measures(record.answering_ns - start_ns) {
                actual.answered_per_s += 1000.0 / self.window_ms as f64;
            }
            if self.measures(due_ns - start_ns) {
                let read_ns = read_times.read_by(record.answered_ns);
                actual.at_least_ns.push(record.answering_ns - due_ns);
                actual.at_most_ns.push(read_ns + START_SLACK_NS + READING_SLACK_NS - due_ns);
            }
        }
        actual.at_least_ns.sort_unstable();
        actual.at_most_ns.sort_unstable();
        actual
    }

    /// The records, by client and in the order of the client's requests.
    fn scheduled<'a>(&self, records: &'a [Record], start_ns: u64) -> Vec<Scheduled<'a>> {
        let mut records: Vec<_> = records.iter().collect();
        records.sort_unstable_by_key(|record| (record.request.client, record.request.number));
        let mut before: Option<Scheduled> = None;
        let scheduled = records.into_iter().map(|record| {
            let due_ns = start_ns + self.due(record);
            let follows = |before: &Scheduled| {
                let (one, other) = (before.record.request, record.request);
                one.client == other.client && one.number + 1 == other.number && before.at_ns().is_some()
            };
            let answering_ns = before.filter(follows).map(|before| before.record.answering_ns);
            *before.insert(Scheduled { record, due_ns, answering_ns })
        });
        scheduled.collect()
    }

    fn due(&self, record: &Record) -> u64 {
        self.turn_ns(record.request.client + record.request.number * self.clients)
    }
}

impl Scheduled<'_> {
    /// The planned time of the reply, if the server replied correctly.
    fn at_ns(&self) -> Option<u64> {
        match self.record.action {
            Action::Answer { at_ns } => Some(at_ns),
            _ => None,
        }
    }

    /// The client wrote the request after it was due, and after the reply to the previous request.
    fn written_from_ns(&self) -> u64 {
        (self.due_ns - START_SLACK_NS).max(self.answering_ns.unwrap_or(0))
    }

    /// The delay that the machine added to the request or its reply. Unknown for a client that had to reconnect.
    fn delayed_ns(&self) -> Option<u64> {
        let received_late_ns = self.record.request.received_ns - self.written_from_ns();
        let answered_late_ns = self.record.answered_ns - self.at_ns()?;
        self.answering_ns.map(|_| received_late_ns.max(answered_late_ns))
    }
}

/// The quantile of a sorted list, by the definition of the histograms.
pub(super) fn quantile(sorted: &[u64], share: f64) -> u64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Upper bounds for the times at which the load thread read replies.
struct ReadTimes {
    /// For each earliest write time of a request, the time at which the server received it.
    received: EarliestFrom,
    /// The same with the receive time of the client's next request, which had to wait for the reply.
    followed: EarliestFrom,
    /// Times in which the load thread was delayed, or was catching up.
    delayed: Vec<(u64, u64)>,
}

/// For each time, the earliest of the times that belong to it or to a later one. Sorted.
struct EarliestFrom(Vec<(u64, u64)>);

impl ReadTimes {
    fn new(scheduled: &[Scheduled]) -> Self {
        let received_ns = |scheduled: &Scheduled| scheduled.record.request.received_ns;
        let received =
            scheduled.iter().map(|scheduled| (scheduled.written_from_ns(), received_ns(scheduled)));
        let pairs = scheduled.windows(2).filter(|pair| pair[1].answering_ns.is_some());
        let followed = pairs.map(|pair| (pair[0].written_from_ns(), received_ns(&pair[1])));
        let late = received.clone().filter(|(from_ns, received_ns)| received_ns - from_ns > DELAYED_NS);
        Self {
            delayed: late.map(|(from_ns, received_ns)| (from_ns, received_ns + CATCH_UP_NS)).collect(),
            received: EarliestFrom::new(received.collect()),
            followed: EarliestFrom::new(followed.collect()),
        }
    }

    /// The latest time at which the load thread read a reply that was ready at `answered_ns`.
    ///
    /// The first request after `answered_ns` shows that the thread ran. The first request after that one shows that the
    /// thread looked for replies in between. A thread that is catching up may still handle older events. Then only the
    /// reply to a later request is a bound, because the thread reads it in a later round.
    fn read_by(&self, answered_ns: u64) -> u64 {
        if self.delayed.iter().any(|(from_ns, to_ns)| (from_ns..to_ns).contains(&&answered_ns)) {
            self.followed.from(answered_ns).unwrap_or(answered_ns + DELAYED_END_SLACK_NS)
        } else {
            let first = self.received.from(answered_ns);
            first.and_then(|first_ns| self.received.from(first_ns)).unwrap_or(answered_ns + END_SLACK_NS)
        }
    }
}

impl EarliestFrom {
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
