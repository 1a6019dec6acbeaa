//! What the load generator says of its own numbers.

use std::io::{Read, Write};

use crate::{
    behaviour::group,
    harness::{
        ServerCommand,
        load::{Loadgen, Peer, Report, converse, ignore},
    },
};

group! {
    once {
        an_overloaded_generator_is_blamed_and_not_the_server,
        replies_that_wait_for_a_delayed_acknowledgement_are_named,
        lost_connections_are_named,
        a_server_that_is_slow_and_keeps_up_is_not_blamed,
        every_reason_has_its_figure_its_bound_and_an_advice,
        a_calibration_states_the_floor_of_each_percentile,
        a_calibration_takes_the_kind_of_socket_that_the_targets_have,
        a_calibration_needs_descriptors_for_both_ends,
        the_kernels_timestamps_part_the_service_time,
        what_the_kernel_does_not_tell_is_absent_and_said,
    }
}

fn an_overloaded_generator_is_blamed_and_not_the_server() {
    // Many short messages at once are little work for the server, and each is one request for the generator.
    let args = "-t 1 -c 64 -p 256 -s 1 -r 50m -d 1s -w 0s --timeout 1s --mode event-loop --format json";
    let run = Loadgen::run(None, args).finish();
    let report = Report::read(run.expect_code(4));
    let reasons = report.at("verdict.reasons").as_array().unwrap();
    let of = |code: &str| reasons.iter().find(|reason| reason["code"] == code);
    let saturated = of("generator_saturated").unwrap_or_else(|| panic!("{}", report.at("verdict")));
    assert!(of("cannot_keep_up").is_none(), "{}", report.at("verdict"));
    let message = saturated["message"].as_str().unwrap();
    assert!(message.contains("the generator was the bottleneck, not the server"), "{message}");
    assert!(report.number("generator.idle_share_min") < 0.05);
}

fn replies_that_wait_for_a_delayed_acknowledgement_are_named() {
    // It writes each reply in two parts: the second waits for an acknowledgement of the first (Nagle's algorithm).
    let peer = Peer::start(|_, mut stream| {
        stream.set_nodelay(false)?;
        let mut buffer = [0; 64];
        loop {
            stream.read_exact(&mut buffer)?;
            buffer.make_ascii_uppercase();
            stream.write_all(&buffer[..1])?;
            stream.write_all(&buffer[1..])?;
        }
    });
    let report = Loadgen::run(Some(peer.address()), "-c 5 -d 2s -w 500ms --format json").finish();
    let report = Report::read(report.expect_code(0));
    assert!(report.reasons().contains(&"delayed_ack".to_owned()), "{}", report.at("verdict"));
    assert_eq!(report.at("verdict.status"), "suspect");
}

fn lost_connections_are_named() {
    // Each connection ends after a hundred replies.
    let peer = Peer::start(|_, mut stream| {
        let mut buffer = [0; 64];
        for _ in 0..100 {
            stream.read_exact(&mut buffer)?;
            buffer.make_ascii_uppercase();
            stream.write_all(&buffer)?;
        }
        Ok(())
    });
    let report = Loadgen::run(Some(peer.address()), "-c 4 -d 1s -w 0s --format json").finish();
    let report = Report::read(report.expect_code(4));
    assert!(report.reasons().contains(&"reconnects".to_owned()), "{}", report.at("verdict"));
    let (established, lost) = (report.count("connections.established"), report.count("connections.lost"));
    assert!(lost > 4 && established >= lost, "{established} established, {lost} lost");
}

fn a_server_that_is_slow_and_keeps_up_is_not_blamed() {
    // A seventh of the replies come after the window, as there was no warm-up in which the first were asked.
    let args = "-c 400 -r 1k -w 0s -d 1s --mode tokio-task --work sleep:150ms --format json";
    let report = Report::read(Loadgen::run(None, args).finish().expect_report());
    assert!(report.number("rate.achieved_per_s") < 900.0, "{}", report.at("rate"));
    assert!(!report.reasons().contains(&"cannot_keep_up".to_owned()), "{}", report.at("verdict"));
}

fn every_reason_has_its_figure_its_bound_and_an_advice() {
    let run = |format: &str| {
        let peer = Peer::start(|number, stream| match number {
            0 => converse(&stream, <[u8]>::make_ascii_uppercase),
            _ => ignore(&stream),
        });
        let args = format!("-c 4 -d 500ms -w 0s --timeout 1s --format {format}");
        Loadgen::run(Some(peer.address()), &args).finish()
    };
    let report = Report::read(run("json").expect_code(4));
    let reasons = report.at("verdict.reasons").as_array().unwrap();
    assert!(reasons.len() >= 2, "{}", report.at("verdict"));
    for reason in reasons {
        assert!(reason["value"].is_number() && reason["bound"].is_number(), "{reason}");
        assert!(["suspect", "invalid"].iter().any(|status| reason["status"] == *status), "{reason}");
        for text in ["message", "advice"] {
            assert!(reason[text].as_str().is_some_and(|text| text.len() > 10), "{reason}");
        }
    }
    // A person reads them above the numbers.
    let text = run("text").stdout;
    let [verdict, reason, advice, numbers] = ["INVALID", "starved:", "→", "p50"]
        .map(|part| text.find(part).unwrap_or_else(|| panic!("no {part}: {text}")));
    assert!(verdict < reason && reason < advice && advice < numbers, "{text}");
}

fn a_calibration_states_the_floor_of_each_percentile() {
    let run = |load: &str, format: &str| {
        let args = format!("-c 10 {load} -d 500ms -w 100ms --work sleep:5ms --calibrate --format {format}");
        Loadgen::run(None, &args).finish()
    };
    let report = Report::read(run("-r 500", "json").expect_report());
    let [floor, response] =
        ["calibration.response.p50", "latency_ns.response.p50"].map(|path| report.number(path));
    // An echo that does nothing is faster than one that sleeps.
    assert!(floor < response, "{floor} and {response}");
    let median = report.at("calibration.floor.0");
    assert_eq!(median["percentile"], "p50");
    assert_eq!(&median["response_ns"], report.at("latency_ns.response.p50"));
    let share = median["share"].as_f64().unwrap();
    assert!((share - floor / response).abs() < 1e-9, "{median}");
    // In a closed loop the echo is asked far more often, and its floor is no part of anything.
    let closed = Report::read(run("", "json").expect_report());
    assert!(closed.number("calibration.achieved_per_s") > closed.number("rate.achieved_per_s"));
    assert!(closed.at("calibration.floor.0.share").is_null());
    assert!(closed.at("notes").to_string().contains("the calibration's floor"), "{}", closed.at("notes"));
    let text = run("-r 500", "text").stdout;
    assert!(text.contains("floor: the same load against an echo inside the generator"), "{text}");
}

fn a_calibration_takes_the_kind_of_socket_that_the_targets_have() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("echo.sock").display());
    let server = ServerCommand::bare().listen(&socket).start();
    // That kernel stamps no unix socket: only over TCP would there be any.
    let args = "-c 5 -n 500 -w 0s --calibrate --expect upper";
    let report = Loadgen::run(Some(server.address()), args).report();
    report.expect_all_good();
    assert!(report.number("calibration.achieved_per_s") > 0.0);
    // One that changes nothing is a target like any other, although the echo inside does.
    let echo = Peer::echo();
    let report = Loadgen::run(Some(echo.address()), "-c 5 -n 500 -w 0s --calibrate --expect echo").report();
    report.expect_all_good();
    assert_eq!(report.count("calibration.response.count"), 500);
}

fn a_calibration_needs_descriptors_for_both_ends() {
    let server = ServerCommand::bare().start();
    let run = |args: &str| Loadgen::run(Some(server.address()), args).with_open_files(200).finish();
    run("-c 100 -n 1000 -w 0s -q").expect_report();
    run("-c 100 -n 1000 -w 0s --calibrate").expect_code(1).expect_said(&["open files"]);
}

fn the_kernels_timestamps_part_the_service_time() {
    let report = Loadgen::run(None, "-c 10 -d 1s -w 200ms --work sleep:2ms --kernel-timestamps").report();
    report.expect_all_good();
    let at = |path: &str| report.number(&format!("latency_ns.{path}"));
    assert_eq!(at("ready_to_read.count"), at("written_to_ready.count"));
    assert!(at("ready_to_read.count") > at("service.count") * 0.9);
    // The server's sleep is in its part, and the parts are the whole.
    assert!(at("written_to_ready.min") > 1.9e6, "{}", at("written_to_ready.min"));
    let parts = at("written_to_ready.mean") + at("ready_to_read.mean");
    assert!((parts / at("service.mean") - 1.0).abs() < 0.05, "{parts} and {}", at("service.mean"));
    assert!(at("due_to_written.mean") + at("service.mean") <= at("response.mean") * 1.01);
    // Who does not ask is told nothing.
    let report = Loadgen::run(None, "-c 2 -n 100 -w 0s").report();
    assert!(report.at("latency_ns.ready_to_read").is_null());
}

fn what_the_kernel_does_not_tell_is_absent_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("echo.sock").display());
    let server = ServerCommand::bare().listen(&socket).start();
    let report = Loadgen::run(Some(server.address()), "-c 5 -n 100 -w 0s --kernel-timestamps").report();
    assert!(report.at("latency_ns.written_to_ready").is_null());
    assert!(report.at("notes").to_string().contains("100 replies"), "{}", report.at("notes"));
    // Replies that share a read have no moment of their own.
    let report = Loadgen::run(None, "-c 1 -p 64 -n 5000 -w 0s --kernel-timestamps").report();
    let stamped = report.at("latency_ns.ready_to_read")["count"].as_u64().unwrap_or(0);
    assert!(stamped < 5_000, "{stamped}");
}
