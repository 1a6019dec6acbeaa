//! The kinds of programs: the flags of their server, and how random ones are made.

use std::time::Duration;

use proptest::{collection::vec, option, prelude::*};

use super::program::{Circumstance, Ending, GracePeriod, Header, HeaderKind, Program, Script, Step};

/// A kind of programs.
pub(super) struct Kind {
    /// The beginning of the names of kept files.
    pub(super) name: &'static str,
    /// Its share of all programs, in thousandths.
    pub(super) share: usize,
    /// The server's flags, without those that follow from a program.
    pub(super) flags: &'static [&'static str],
    pub(super) idle_timeout: Option<Duration>,
    pub(super) write_timeout: Duration,
    pub(super) programs: fn() -> BoxedStrategy<Program>,
}

/// The default of the server. No program lasts as long.
const LONG_WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// A kind without timeouts.
const fn kind(
    name: &'static str,
    share: usize,
    flags: &'static [&'static str],
    programs: fn() -> BoxedStrategy<Program>,
) -> Kind {
    Kind { name, share, flags, idle_timeout: None, write_timeout: LONG_WRITE_TIMEOUT, programs }
}

pub(super) static SERVED: Kind = kind("served", 560, &[], || serves(ordinary_script()));

pub(super) static WORKED_FOR: Kind =
    kind("worked-for", 100, &["--work", "sleep:300us"], || serves(ordinary_script()));

pub(super) static PROXIED: Kind = kind("proxied", 100, &["--proxy-protocol"], || serves(proxied_script()));

pub(super) static IDLE: Kind = Kind {
    name: "idle",
    share: 60,
    flags: &["--idle-timeout", "60ms"],
    idle_timeout: Some(Duration::from_millis(60)),
    write_timeout: LONG_WRITE_TIMEOUT,
    programs: || serves(idle_script()),
};

pub(super) static SLOW: Kind = Kind {
    name: "slow",
    share: 20,
    flags: &["--write-timeout", "300ms"],
    idle_timeout: None,
    write_timeout: Duration::from_millis(300),
    programs: || serves(slow_script()),
};

pub(super) static DRAINED: Kind = kind("drained", 110, &["--drain-timeout", "10s"], drains);

pub(super) static CROWDED: Kind = kind("crowded", 40, &[], is_full);

pub(super) static WITHOUT_DESCRIPTORS: Kind =
    kind("without-descriptors", 10, &["--max-connections", "1k"], runs_out_of_descriptors);

fn serves(script: impl Strategy<Value = Script> + 'static) -> BoxedStrategy<Program> {
    let clients = vec(script, 1..=3);
    clients.prop_map(|clients| Program { server: Circumstance::Serves, clients }).boxed()
}

fn drains() -> BoxedStrategy<Program> {
    let after_us = prop_oneof![0..1_000_u32, 0..20_000_u32];
    let grace = prop_oneof![
        2 => prop_oneof![Just(0), 0..30_u16].prop_map(GracePeriod::Ms),
        1 => Just(GracePeriod::Long),
    ];
    let late = prop_oneof![4 => Just(0), 1 => 0..20_000_u32];
    let script = prop_oneof![2 => ordinary_script(), 1 => requests()];
    let script =
        (script, late, prop::bool::weighted(0.2)).prop_map(|(script, connects_after_us, ignores)| {
            let ignores_the_end = ignores && script.ending == Ending::HalfClose;
            Script { connects_after_us, ignores_the_end, ..script }
        });
    (after_us, grace, vec(script, 1..=12))
        .prop_map(|(after_us, grace, clients)| Program {
            server: Circumstance::Drains { after_us, grace },
            clients,
        })
        .boxed()
}

fn is_full() -> BoxedStrategy<Program> {
    (1..=4_u16, any::<bool>(), vec(ordinary_script(), 1..=12))
        .prop_map(|(places, rejects, clients)| Program {
            server: Circumstance::IsFull { places, rejects },
            clients,
        })
        .boxed()
}

fn runs_out_of_descriptors() -> BoxedStrategy<Program> {
    (40..50_u16, vec(short_script(), 40..70))
        .prop_map(|(descriptors, clients)| Program {
            server: Circumstance::RunsOutOfDescriptors { descriptors },
            clients,
        })
        .boxed()
}

fn script(
    steps: impl Strategy<Value = Vec<Step>> + 'static,
    ending: impl Strategy<Value = Ending> + 'static,
) -> impl Strategy<Value = Script> {
    let receive_buffer = option::weighted(0.3, prop_oneof![Just(1), 2_048..65_536_u32]);
    let send_buffer = option::weighted(0.3, prop_oneof![Just(1), 4_096..65_536_u32]);
    (receive_buffer, send_buffer, steps, ending).prop_map(
        |(receive_buffer, send_buffer, mut steps, ending)| {
            if receive_buffer.is_some_and(|bytes| bytes < 8_192) {
                steps.iter_mut().for_each(shorten);
            }
            Script {
                receive_buffer,
                send_buffer,
                connects_after_us: 0,
                header: None,
                steps,
                ending,
                ignores_the_end: false,
            }
        },
    )
}

/// The smallest receive buffer takes a packet each time the sender's timer probes it, which is a fifth of a second.
fn shorten(step: &mut Step) {
    if let Step::Write { times, bytes } = step {
        *times = 1;
        *bytes = (*bytes).min(2_000);
    }
}

fn ordinary_script() -> BoxedStrategy<Script> {
    script(vec(step(), 0..8), ending()).boxed()
}

/// A client that waits for the reply to each request.
fn requests() -> BoxedStrategy<Script> {
    let request = (1..1_400_u32, option::weighted(0.5, 0..3_000_u32)).prop_map(|(bytes, pause)| {
        let pause = pause.map(|us| Step::Pause { us });
        [Some(Step::Write { times: 1, bytes }), Some(Step::AwaitEcho), pause].into_iter().flatten().collect()
    });
    let steps = vec(request, 1..30).prop_map(|requests: Vec<Vec<Step>>| requests.concat());
    script(steps, Just(Ending::HalfClose)).boxed()
}

fn short_script() -> BoxedStrategy<Script> {
    let short = prop_oneof![
        4 => (1..5_000_u32).prop_map(|bytes| Step::Write { times: 1, bytes }),
        1 => Just(Step::AwaitEcho),
        1 => (0..5_000_u32).prop_map(|us| Step::Pause { us }),
    ];
    script(vec(short, 0..4), ending()).boxed()
}

fn proxied_script() -> BoxedStrategy<Script> {
    let kind = prop_oneof![
        4 => Just(HeaderKind::Version1),
        4 => Just(HeaderKind::Version2),
        1 => Just(HeaderKind::Broken),
    ];
    let header = (kind, vec(1..30_u8, 0..4)).prop_map(|(kind, pieces)| Header { kind, pieces });
    (ordinary_script(), header).prop_map(|(script, header)| Script { header: Some(header), ..script }).boxed()
}

fn idle_script() -> BoxedStrategy<Script> {
    let pause = prop_oneof![0..5_000_u32, 0..150_000_u32].prop_map(|us| Step::Pause { us });
    let step = prop_oneof![3 => small_write(), 2 => pause, 1 => Just(Step::AwaitEcho)];
    let ending = prop_oneof![2 => Just(Ending::WaitForEnd), 1 => ending()];
    script(vec(step, 0..6), ending).boxed()
}

/// Clients that read slowly, but in far less time than the timeout; and clients that do not read.
fn slow_script() -> BoxedStrategy<Script> {
    let bulk = (2..5_u32).prop_map(|mebibytes| Step::Write { times: 1, bytes: mebibytes << 20 });
    let slow = (24..64_u32, 10..20_u16)
        .prop_map(|(kibibytes, every_ms)| Step::ReadSlowly { bytes: kibibytes << 10, every_ms });
    let deaf = prop_oneof![
        3 => Just(None),
        1 => (500..800_u16).prop_map(|ms| Some(Step::StopReading { ms }))
    ];
    let steps = (slow, deaf, bulk)
        .prop_map(|(slow, deaf, bulk)| [Some(slow), deaf, Some(bulk)].into_iter().flatten().collect());
    let receive_buffer = 16_384..65_536_u32;
    (script(steps, Just(Ending::HalfClose)), receive_buffer)
        .prop_map(|(script, bytes)| Script { receive_buffer: Some(bytes), send_buffer: None, ..script })
        .boxed()
}

fn ending() -> BoxedStrategy<Ending> {
    prop_oneof![
        6 => Just(Ending::HalfClose),
        1 => (0..5_000_u32).prop_map(|after_us| Ending::HalfCloseAndReset { after_us }),
        1 => Just(Ending::Reset),
        1 => Just(Ending::Close),
    ]
    .boxed()
}

fn step() -> BoxedStrategy<Step> {
    prop_oneof![
        5 => small_write(),
        2 => large_write(),
        1 => Just(Step::WriteUrgent),
        2 => prop_oneof![0..500_u32, 0..10_000_u32].prop_map(|us| Step::Pause { us }),
        1 => (0..40_u16).prop_map(|ms| Step::StopReading { ms }),
        1 => (4_096..100_000_u32, 0..4_u16).prop_map(|(bytes, every_ms)| Step::ReadSlowly { bytes, every_ms }),
        2 => Just(Step::AwaitEcho),
    ]
    .boxed()
}

fn small_write() -> BoxedStrategy<Step> {
    let bytes = prop_oneof![1..10_u32, 1..2_000_u32];
    let times = prop_oneof![Just(1), 1..20_u16];
    (times, bytes).prop_map(|(times, bytes)| Step::Write { times, bytes }).boxed()
}

/// Around a block of the server's memory (64 KiB), and up to many of them.
fn large_write() -> BoxedStrategy<Step> {
    prop_oneof![
        4 => 2_000..70_000_u32,
        2 => 65_530..65_545_u32,
        1 => 131_060..131_080_u32,
        1 => 70_000..1_048_577_u32,
    ]
    .prop_map(|bytes| Step::Write { times: 1, bytes })
    .boxed()
}
