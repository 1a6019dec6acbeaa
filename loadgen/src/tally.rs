//! Gathers what the load threads saw, and makes the report of it.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use procfs::{CpuInfo, Current};
use rustix::time::{ClockId, clock_gettime};

use crate::{
    bench::{Stall, Window},
    client::Served,
    clock::nanoseconds,
    cpus::Division,
    failure::Failure,
    fairness,
    human::{count, duration_ns},
    limits,
    message::{Expect, Mismatch},
    plan::Plan,
    probes::{MachineProbe, ThreadProbe},
    recording::{LATENCY_NS_MAX, Latency, Recording},
    report::{
        Connections, Environment, Fairness, Generator, Interval, Latencies, Loop, Network, PlanSummary, Rate,
        Report, Requests, SCHEMA, Server, Status, Verdict,
    },
    schedule::Load,
    server_process::{Identity, ServerProcess, usage::Usage},
    slo, start_at, summary, verdict,
};

/// Where and against what a run is made.
#[derive(Clone, Debug)]
pub struct Setting {
    targets: Vec<String>,
    server: Option<Identity>,
    environment: Environment,
    plan: PlanSummary,
    started_at_unix_ms: u64,
    machine_at_start: MachineProbe,
}

/// What the run has of the machine.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The soft open-files limit.
    pub open_files_limit: u64,
    /// How many CPUs it may use.
    pub cpus: usize,
    /// How they are divided, if they are.
    pub division: Option<Division>,
}

/// What was used until a moment.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    generator_cpu_ns: u64,
    server: Option<Usage>,
    machine: MachineProbe,
}

/// What the load threads saw so far.
#[derive(Debug)]
pub struct Tally {
    threads: usize,
    window: Window,
    window_started_at_unix_us: u64,
    late_start_ns: u64,
    interval_ns: u64,
    total: Recording,
    /// The intervals that not every thread has told of yet, from number `first_open` on.
    open: VecDeque<OpenInterval>,
    first_open: usize,
    /// The last interval of each thread that has ended.
    ended_at: Vec<usize>,
    intervals: Vec<Interval>,
    clients: Vec<Served>,
    /// What all threads' longest stalls have in common: a server that stands still is seen by all.
    longest_stall: Option<Stall>,
    /// What each load thread used in its part of the window, and how many seconds that took.
    usages: Vec<(ThreadProbe, f64)>,
    client_retransmissions: u64,
    clock_step_ns: u64,
    ended_ns: u64,
    mismatch: Option<Mismatch>,
    cost: Option<(Cost, Cost)>,
}

#[derive(Debug, Default)]
struct OpenInterval {
    recording: Recording,
    told: usize,
}

impl Machine {
    /// Raises the open-files limit as far as it goes, and tells whether it is enough for the plan.
    ///
    /// # Errors
    /// When it is not.
    pub fn prepare(plan: &Plan) -> anyhow::Result<Self> {
        // Where it cannot be raised, what there is may do.
        let limit = common::limits::raise_open_files().unwrap_or_else(|_| common::limits::open_files());
        // The echo inside has the other end of each connection.
        let ends = if plan.calibrate { 2 } else { 1 };
        limits::check_open_files(u64::from(plan.connections) * ends, plan.threads as u64, limit)?;
        Ok(Self { open_files_limit: limit, cpus: common::limits::usable_cpus(), division: None })
    }
}

impl Setting {
    /// Of a run that begins now.
    pub fn new(plan: &Plan, targets: Vec<String>, server: Option<Identity>, machine: Machine) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            plan: plan_summary(plan, &targets),
            targets,
            server,
            environment: environment(machine),
            started_at_unix_ms: since_1970.as_millis() as u64,
            machine_at_start: MachineProbe::now(),
        }
    }

    /// The targets' addresses.
    pub fn targets(&self) -> &[String] {
        &self.targets
    }
}

impl Cost {
    /// What was used until now.
    pub fn now(server: Option<&ServerProcess>) -> Self {
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            generator_cpu_ns: cpu.tv_sec as u64 * 1_000_000_000 + cpu.tv_nsec as u64,
            server: server.and_then(ServerProcess::usage),
            machine: MachineProbe::now(),
        }
    }
}

impl Tally {
    /// Nothing seen yet.
    pub fn new(plan: &Plan, window: Window) -> Self {
        Self {
            threads: plan.threads,
            window,
            window_started_at_unix_us: 0,
            late_start_ns: 0,
            interval_ns: nanoseconds(plan.interval),
            total: Recording::default(),
            open: VecDeque::new(),
            first_open: 0,
            ended_at: Vec::new(),
            intervals: Vec::new(),
            clients: Vec::new(),
            longest_stall: None,
            usages: Vec::new(),
            client_retransmissions: 0,
            clock_step_ns: 0,
            ended_ns: window.start_ns,
            mismatch: None,
            cost: None,
        }
    }

    /// What one thread saw in one interval.
    pub fn add_interval(&mut self, index: usize, recording: &Recording) {
        let place = index - self.first_open;
        if self.open.len() <= place {
            self.open.resize_with(place + 1, OpenInterval::default);
        }
        self.open[place].recording.merge(recording);
        self.open[place].told += 1;
    }

    /// What remains of a thread.
    pub fn add_ended(&mut self, ended: crate::worker::Ended) {
        self.add_interval(ended.index, &ended.recording);
        self.ended_at.push(ended.index);
        self.clients.extend(ended.clients);
        let stall = ended.longest_stall;
        self.longest_stall = Some(self.longest_stall.map_or(stall, |known| known.common(stall)));
        let window_s = ended.ended_ns.saturating_sub(self.window.start_ns) as f64 / 1e9;
        self.usages.push((ended.usage, window_s));
        self.client_retransmissions += ended.retransmissions;
        self.ended_ns = self.ended_ns.max(ended.ended_ns);
        self.mismatch = self.mismatch.take().or(ended.mismatch);
    }

    /// When the window began, by the clock on the wall, and the smallest step of the run's own clock.
    pub fn set_clocks(&mut self, at: SystemTime, clock_step_ns: u64) {
        self.clock_step_ns = clock_step_ns;
        let since_1970 = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.window_started_at_unix_us = since_1970.as_micros() as u64;
    }

    /// By how much the load began later than it was to.
    pub fn set_late_start(&mut self, late_ns: u64) {
        self.late_start_ns = late_ns;
    }

    /// What the window has cost.
    pub fn set_cost(&mut self, before: Cost, after: Cost) {
        self.cost = Some((before, after));
    }

    /// The intervals that every thread has told of by now, each once.
    pub fn finished_intervals(&mut self) -> Vec<Interval> {
        let mut finished = Vec::new();
        while let Some(open) = self.open.front() {
            let ended_before = self.ended_at.iter().filter(|index| **index < self.first_open).count();
            if open.told + ended_before < self.threads {
                break;
            }
            let Some(OpenInterval { recording, .. }) = self.open.pop_front() else { break };
            let interval = self.interval(&recording);
            self.total.merge(&recording);
            self.first_open += 1;
            finished.push(interval);
        }
        self.intervals.extend_from_slice(&finished);
        finished
    }

    /// What was seen in all the intervals that are finished.
    pub fn total(&self) -> &Recording {
        &self.total
    }

    /// The report of everything that was seen.
    pub fn into_report(mut self, plan: &Plan, setting: Setting, interrupted: bool) -> Report {
        self.finished_intervals();
        // The window of an interrupted run may not have begun.
        let elapsed_s = self.ended_ns.saturating_sub(self.window.start_ns) as f64 / 1e9;
        let counts = self.total.counts;
        let achieved_per_s = per(counts.replies_in_window as f64, elapsed_s).unwrap_or(0.0);
        let mut report = Report {
            schema: SCHEMA,
            verdict: Verdict { status: Status::Valid, reasons: Vec::new() },
            interrupted,
            environment: setting.environment.clone(),
            started_at_unix_ms: setting.started_at_unix_ms,
            window_started_at_unix_us: self.window_started_at_unix_us,
            late_start_ns: self.late_start_ns,
            elapsed_s,
            requests: self.requests(plan),
            rate: Rate { offered_per_s: plan.rate_per_s().map(|rate| rate as f64), achieved_per_s },
            errors: self.errors(),
            connections: Connections {
                established: self.total.connect.histogram().len(),
                lost: counts.connections_lost,
            },
            first_mismatch: self.mismatch.clone(),
            response_histogram: summary::bars(self.total.response.histogram()),
            fairness: self.fairness(achieved_per_s),
            generator: self.generator(),
            network: self.network(&setting),
            server: setting.server.as_ref().and_then(|identity| self.server(identity)),
            server_ended_early: setting.server.is_some() && self.server_is_gone(),
            slo: Vec::new(),
            calibration: None,
            merged: None,
            notes: self.notes(plan),
            latency_ns: self.latencies(plan),
            intervals: self.intervals,
            plan: setting.plan,
        };
        report.verdict = verdict::judge(&report);
        report.slo = slo::judge(&plan.slo, &report);
        report
    }

    fn interval(&self, recording: &Recording) -> Interval {
        let offset_ns = self.interval_ns.saturating_mul(self.first_open as u64);
        // Known only of a thread that has ended: then this is the last interval.
        let end_ns = match self.ended_at.len() == self.threads && self.open.is_empty() {
            true => self.ended_ns.saturating_sub(self.window.start_ns),
            false => u64::MAX,
        };
        let length_ns = self.interval_ns.min(end_ns.saturating_sub(offset_ns));
        let counts = recording.counts;
        let achieved_per_s = per(counts.replies_in_window as f64, length_ns as f64 / 1e9).unwrap_or(0.0);
        summary::interval(
            offset_ns as f64 / 1e9,
            counts.completed,
            counts.failed + counts.unsent,
            achieved_per_s,
            recording.response.histogram(),
        )
    }

    fn requests(&self, plan: &Plan) -> Requests {
        let counts = self.total.counts;
        let completed_bytes = counts.completed * plan.messages.size() as u64;
        Requests {
            sent: counts.completed + counts.failed,
            completed: counts.completed,
            failed: counts.failed + counts.unsent,
            verified: if plan.expect == Expect::None { 0 } else { counts.completed },
            delayed_rests: counts.delayed_rests,
            bytes_sent: completed_bytes + counts.failed_bytes_sent,
            bytes_received: completed_bytes + counts.failed_bytes_received,
        }
    }

    fn errors(&self) -> BTreeMap<String, u64> {
        let count = |kind| self.total.failures.get(kind);
        Failure::ALL.iter().map(|(kind, name, _)| ((*name).to_owned(), count(*kind))).collect()
    }

    fn latencies(&self, plan: &Plan) -> Latencies {
        let open = plan.rate_per_s().is_some();
        // A unix socket does not tell when a reply was ready.
        let stamped = !self.total.ready_to_read.histogram().is_empty();
        Latencies {
            response: summary::latency(&self.total.response),
            service: summary::latency(&self.total.service),
            schedule_lag: open.then(|| summary::latency(&self.total.schedule_lag)),
            connect: summary::latency(&self.total.connect),
            due_to_written: summary::latency(&self.total.due_to_written),
            written_to_ready: stamped.then(|| summary::latency(&self.total.written_to_ready)),
            ready_to_read: stamped.then(|| summary::latency(&self.total.ready_to_read)),
        }
    }

    fn fairness(&self, achieved_per_s: f64) -> Fairness {
        let replies = || self.clients.iter().map(|client| client.replies);
        let concurrency = |latency: &Latency| {
            let histogram = latency.histogram();
            let any = !histogram.is_empty();
            any.then(|| fairness::effective_concurrency(achieved_per_s, histogram.mean()))
        };
        let stall = self.longest_stall.unwrap_or_default();
        let of = |is: fn(&Served) -> bool| self.clients.iter().filter(|client| is(client)).count() as u64;
        Fairness {
            clients: self.clients.len() as u64,
            asked: of(|client| client.was_owed),
            starved: of(|client| client.was_owed && client.completed + client.replies == 0),
            served: replies().filter(|replies| *replies > 0).count() as u64,
            jain: fairness::jain(replies()),
            requests_min: replies().min().unwrap_or(0),
            requests_max: replies().max().unwrap_or(0),
            longest_silence_ns: self.clients.iter().map(|client| client.silence_ns_max).max().unwrap_or(0),
            longest_stall_ns: stall.length_ns(),
            longest_stall_at_ns: (stall.length_ns() > 0).then(|| stall.from_ns - self.window.start_ns),
            effective_concurrency: concurrency(&self.total.response),
            service_concurrency: concurrency(&self.total.service),
            replies_sum: replies().sum(),
            replies_sum_of_squares: replies().map(|replies| (replies as f64).powi(2)).sum(),
            replies_hdr: summary::replies(replies()),
        }
    }

    fn generator(&self) -> Generator {
        let cpu_ns = self.cost.map_or(0, |(before, after)| after.generator_cpu_ns - before.generator_cpu_ns);
        let replies = self.total.counts.replies_in_window as f64;
        Generator {
            cpu_s: cpu_ns as f64 / 1e9,
            cpu_ns_per_request: per(cpu_ns as f64, replies),
            busiest_thread_share: self.most_of(|usage| Some(usage.cpu_ns as f64 / 1e9)).unwrap_or(0.0),
            idle_share_min: self
                .most_of(|usage| Some((usage.cpu_ns + usage.waited_ns?) as f64 / 1e9))
                .map(|busy| (1.0 - busy).max(0.0)),
            cpu_wait_share_max: self.most_of(|usage| Some(usage.waited_ns? as f64 / 1e9)),
            preemptions_per_s_max: self.most_of(|usage| Some(usage.preemptions? as f64)),
            steal_share: self
                .cost
                .and_then(|(before, after)| after.machine.steal_share_since(&before.machine)),
            clock_step_ns: self.clock_step_ns,
        }
    }

    /// The most that any load thread used of something, for each second of its part of the window.
    fn most_of(&self, of: fn(&ThreadProbe) -> Option<f64>) -> Option<f64> {
        let each = |(usage, window_s): &(ThreadProbe, f64)| per(of(usage)?, *window_s);
        self.usages.iter().filter_map(each).reduce(f64::max)
    }

    fn network(&self, setting: &Setting) -> Option<Network> {
        let (_, Cost { machine: after, .. }) = self.cost?;
        let before = setting.machine_at_start;
        let since = |of: fn(&MachineProbe) -> Option<u64>| Some(of(&after)?.saturating_sub(of(&before)?));
        Some(Network {
            client_retransmissions: self.client_retransmissions,
            retransmissions: since(|machine| machine.retransmissions)?,
            listen_overflows: since(|machine| machine.listen_overflows)?,
        })
    }

    fn server(&self, identity: &Identity) -> Option<Server> {
        let (before, after) = self.cost?;
        let (before, after) = (before.server?, after.server?);
        let replies = self.total.counts.replies_in_window as f64;
        let cpu_ns = after.cpu_ns.saturating_sub(before.cpu_ns) as f64;
        // Threads that ended in the window took their count with them.
        let switches = after.context_switches.saturating_sub(before.context_switches) as f64;
        Some(Server {
            mode: identity.mode.map(str::to_owned),
            threads: identity.threads,
            work: identity.work.clone(),
            cpu_s: cpu_ns / 1e9,
            cpu_ns_per_request: per(cpu_ns, replies),
            rss_bytes: after.rss_bytes,
            pss_bytes: after.pss_bytes,
            context_switches_per_request: per(switches, replies),
        })
    }

    fn server_is_gone(&self) -> bool {
        self.cost.is_some_and(|(before, after)| before.server.and(after.server).is_none())
    }

    fn notes(&self, plan: &Plan) -> Vec<String> {
        let mut notes = Vec::new();
        if plan.rate_per_s().is_none() {
            notes.push(verdict::CLOSED_LOOP.to_owned());
        }
        if let Some(at) = plan.start_at.filter(|_| self.late_start_ns > 0) {
            let (at, late) = (start_at::format(at), duration_ns(self.late_start_ns));
            notes.push(format!("the load was to begin at {at}, and began {late} later"));
        }
        let clamped = self.total.clamped();
        if clamped > 0 {
            let most_s = LATENCY_NS_MAX / 1_000_000_000;
            notes.push(format!("{clamped} times were longer than {most_s} s and are counted there"));
        }
        let stamped = self.total.ready_to_read.histogram().len();
        let unstamped = self.total.counts.completed - stamped;
        if plan.kernel_timestamps && unstamped > 0 {
            notes.push(format!(
                "the kernel does not tell when {unstamped} replies were ready: it tells for TCP, and for one reply a read"
            ));
        }
        let unsent = self.total.counts.unsent;
        if unsent > 0 {
            notes.push(format!(
                "{} requests were due, but could not be written before the end",
                count(unsent)
            ));
        }
        notes
    }
}

/// What a plan says, for a report.
pub fn plan_summary(plan: &Plan, targets: &[String]) -> PlanSummary {
    let (arrival, think) = match plan.load {
        Load::Open { arrival, .. } => (Some(arrival), None),
        Load::Closed { think } => (None, Some(think)),
    };
    PlanSummary {
        targets: targets.to_vec(),
        r#loop: if arrival.is_some() { Loop::Open } else { Loop::Closed },
        connections: plan.connections,
        threads: plan.threads,
        rate_per_s: plan.rate_per_s().map(|rate| rate as f64),
        arrival,
        pipeline: plan.pipeline,
        think_s: think.map(|think| think.as_secs_f64()),
        connect_rate_per_s: plan.connect_rate_per_s,
        requests_per_connection: plan.requests_per_connection,
        size: plan.messages.size(),
        message: plan.message_file.as_ref().map(|path| path.display().to_string()),
        expect: plan.expect,
        warmup_s: plan.warmup.as_secs_f64(),
        duration_s: plan.duration.map(|duration| duration.as_secs_f64()),
        requests: plan.requests,
        connect_timeout_s: plan.connect_timeout.as_secs_f64(),
        timeout_s: plan.timeout.as_secs_f64(),
        interval_s: plan.interval.as_secs_f64(),
        seed: plan.seed,
        kernel_timestamps: plan.kernel_timestamps,
        start_at_unix_ms: plan.start_at.map(start_at::unix_ms),
        slo: plan.slo.iter().map(ToString::to_string).collect(),
    }
}

/// What the machine is, for a report.
pub fn environment(machine: Machine) -> Environment {
    let unknown = || "unknown".to_owned();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let cpu = CpuInfo::current().ok().and_then(|info| info.model_name(0).map(str::to_owned));
    Environment {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: kernel.map_or_else(unknown, |text| text.trim().to_owned()),
        cpu: cpu.unwrap_or_else(unknown),
        cpus: machine.cpus,
        division: machine.division,
        open_files_limit: machine.open_files_limit,
    }
}

/// A quotient; None where there is nothing to divide by.
pub(crate) fn per(amount: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| amount / whole)
}
