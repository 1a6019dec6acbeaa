//! Tables of the model itself: which answers it allows, and which echo it finds wrong.

use std::time::{Duration, Instant};

use super::{
    program::{Ending, Program, Script, Step},
    reference::{Allowed, Answer, Drain, End, Moments, Service, allowed, check},
    search::shrink,
    stream::{EchoCheck, Stream, URGENT},
};
use crate::behaviour::group;

group! {
    once {
        a_serving_server_echoes_everything_before_its_end,
        a_client_that_breaks_off_has_any_part_of_its_echo,
        an_idle_or_a_slow_client_may_be_closed_and_no_other,
        a_drain_echoes_what_was_acknowledged_and_whole_requests,
        the_check_of_an_echo_finds_every_kind_of_mistake,
        a_program_shrinks_to_the_step_that_fails,
    }
}

/// A server without timeouts of interest.
const SERVES: Service =
    Service { idle_timeout: None, write_timeout: Duration::from_secs(30), may_reject: false, drain: None };

const AT_ONCE: Moments = Moments {
    acknowledged_before_drain: None,
    connected_after_drain: false,
    longest_silence: Duration::ZERO,
    longest_unread: Duration::ZERO,
};

fn script(steps: &[Step], ending: Ending) -> Script {
    Script {
        receive_buffer: None,
        send_buffer: None,
        connects_after_us: 0,
        header: None,
        steps: steps.to_vec(),
        ending,
        ignores_the_end: false,
    }
}

const HUNDRED: Step = Step::Write { times: 1, bytes: 100 };

/// Whether the model allows this end after the echo of so many of 100 bytes.
fn allows(script: &Script, service: &Service, moments: Moments, end: End, echoed: u64) -> bool {
    check(script, service, &Answer { end, sent: 100, echoed, moments }).is_ok()
}

fn a_serving_server_echoes_everything_before_its_end() {
    let script = script(&[HUNDRED], Ending::HalfClose);
    let is_allowed = |end, echoed| allows(&script, &SERVES, AT_ONCE, end, echoed);
    assert!(is_allowed(End::Eof, 100));
    assert!(!is_allowed(End::Eof, 99) && !is_allowed(End::Reset, 100) && !is_allowed(End::Stuck, 100));
    let rejecting = Service { may_reject: true, ..SERVES };
    assert!(allows(&script, &rejecting, AT_ONCE, End::Reset, 0));
    assert!(!allows(&script, &rejecting, AT_ONCE, End::Reset, 1));
}

fn a_client_that_breaks_off_has_any_part_of_its_echo() {
    for ending in [Ending::Reset, Ending::Close, Ending::HalfCloseAndReset { after_us: 1 }] {
        let script = script(&[HUNDRED], ending);
        let is_allowed = |end, echoed| allows(&script, &SERVES, AT_ONCE, end, echoed);
        assert!(is_allowed(End::ByClient, 0) && is_allowed(End::ByClient, 100), "{ending:?}");
        assert!(!is_allowed(End::Reset, 0) && !is_allowed(End::Eof, 99), "{ending:?}");
    }
}

fn an_idle_or_a_slow_client_may_be_closed_and_no_other() {
    let second = Duration::from_secs(1);
    let waits = script(&[HUNDRED], Ending::WaitForEnd);
    assert_eq!(allowed(&waits, &SERVES, 100, &AT_ONCE), Vec::<Allowed>::new());
    let service = Service { idle_timeout: Some(second), write_timeout: second, ..SERVES };
    assert!(!allows(&waits, &service, AT_ONCE, End::Eof, 100));
    assert!(allows(&waits, &service, Moments { longest_silence: second, ..AT_ONCE }, End::Eof, 100));
    assert!(!allows(&waits, &service, Moments { longest_silence: second, ..AT_ONCE }, End::Stuck, 100));
    let reads = script(&[HUNDRED], Ending::HalfClose);
    assert!(!allows(&reads, &service, AT_ONCE, End::Reset, 50));
    assert!(allows(&reads, &service, Moments { longest_unread: second, ..AT_ONCE }, End::Reset, 50));
}

fn a_drain_echoes_what_was_acknowledged_and_whole_requests() {
    let drains = |has_long_grace| Service { drain: Some(Drain { has_long_grace }), ..SERVES };
    let acknowledged = |bytes| Moments { acknowledged_before_drain: Some(bytes), ..AT_ONCE };
    let bulk = script(&[HUNDRED, HUNDRED], Ending::HalfClose);
    for (bytes, echoed, is_allowed) in [(60, 60, true), (60, 59, false), (0, 0, true), (100, 100, true)] {
        assert_eq!(allows(&bulk, &drains(true), acknowledged(bytes), End::Eof, echoed), is_allowed);
    }
    assert!(!allows(&bulk, &drains(true), acknowledged(0), End::Reset, 0));
    assert!(!allows(&bulk, &drains(true), acknowledged(0), End::Refused, 0));
    let late = Moments { connected_after_drain: true, ..AT_ONCE };
    assert!(allows(&bulk, &drains(true), late, End::Refused, 0));
    assert!(!allows(&bulk, &drains(true), late, End::Reset, 1));
    // One request at a time: either it gets its whole reply, or the client has seen the end before it.
    let requests = script(&[HUNDRED, Step::AwaitEcho, HUNDRED, Step::AwaitEcho], Ending::HalfClose);
    assert!(allows(&requests, &drains(true), acknowledged(0), End::Eof, 100));
    assert!(!allows(&requests, &drains(true), acknowledged(0), End::Eof, 99));
    assert!(allows(&requests, &drains(false), acknowledged(0), End::Eof, 99));
}

fn the_check_of_an_echo_finds_every_kind_of_mistake() {
    let script = script(&[HUNDRED, Step::WriteUrgent, HUNDRED], Ending::HalfClose);
    let stream = Stream::of(&script, 7);
    let mut sent = vec![0; 201];
    // In pieces, which must not matter.
    let (first, rest) = sent.split_at_mut(93);
    stream.fill(0, first);
    stream.fill(93, rest);
    assert_eq!(sent.iter().filter(|byte| **byte == URGENT).count(), 1);
    assert_eq!(sent[100], URGENT);
    let echo = sent.to_ascii_uppercase();
    let check = |received: &[u8], sent| EchoCheck::new(stream.clone()).receive(received, sent);
    assert_eq!(check(&echo, 201), Ok(()));
    assert!(check(&sent, 201).is_err(), "lower case");
    assert!(check(&echo, 200).is_err(), "a byte that was not sent yet");
    assert!(check(&[&echo[..100], &echo[101..]].concat(), 201).is_err(), "a lost byte");
    assert!(check(&[&echo[..50], &echo[49..]].concat(), 202).is_err(), "a doubled byte");
    assert!(check(&[&echo[8..16], &echo[..8]].concat(), 201).is_err(), "two pieces in the wrong order");
    let mut other = vec![0; 50];
    Stream::of(&script, 8).fill(0, &mut other);
    assert!(check(&other.to_ascii_uppercase(), 201).is_err(), "the bytes of another client");
}

fn a_program_shrinks_to_the_step_that_fails() {
    let is_wrong = |program: &Program| {
        let steps = program.clients.iter().flat_map(|client| &client.steps);
        let has_large = steps.clone().any(|step| step.bytes() > 10_000);
        (has_large && !program.needs_its_own_server()).then(|| "too large".to_owned())
    };
    let number =
        (0..).find(|number| is_wrong(&super::search::programs(&super::kind::SERVED, 1)(*number)).is_some());
    let tree = super::search::tree(&super::kind::SERVED, 1, number.expect("some programs have large writes"));
    let (program, error) = shrink(tree, Instant::now() + Duration::from_secs(10), is_wrong);
    assert_eq!(error.as_deref(), Some("too large"));
    let [client] = &program.clients[..] else { panic!("one client is enough: {program}") };
    assert_eq!(client.steps.len(), 1, "one step is enough: {program}");
    assert_eq!((client.ending, client.receive_buffer), (Ending::HalfClose, None), "{program}");
    let text = super::kept::text(&program);
    assert_eq!(
        serde_json::from_str::<Program>(&text).ok(),
        Some(program),
        "a kept program is read as it was"
    );
}
