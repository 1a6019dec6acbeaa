//! The verdict of the load generator on its own numbers.

use std::io::{Read, Write};

use crate::{
    behaviour::group,
    harness::{
        ServerCommand,
        cgroup::Cgroup,
        load::{Loadgen, Peer, Report, converse, ignore},
    },
};

group! {
    once {
        an_overloaded_generator_is_named_and_not_the_server,
        delayed_acknowledgements_are_named,
        the_exit_code_says_which_verdicts_fail,
        lost_connections_are_named,
        a_slow_server_that_keeps_up_is_not_named,
        every_reason_has_a_value_a_bound_and_advice,
        a_calibration_states_the_floor_of_each_percentile,
        a_calibration_uses_the_same_kind_of_socket_as_the_targets,
        a_calibration_needs_descriptors_for_both_ends,
        kernel_timestamps_divide_the_service_time,
        missing_kernel_timestamps_are_absent_and_reported,
    }
    alone {
        a_cpu_quota_is_named_with_its_share_and_others_are_not needs Cgroup::limits_cpu,
    }
}

fn an_overloaded_generator_is_named_and_not_the_server() {
    // Many short messages in one receive are little work for the server. For the generator, each is a request.
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

fn delayed_acknowledgements_are_named() {
    // The server writes each reply in two parts. The second waits for the acknowledgement of the first (Nagle's algorithm).
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
    let report = Report::read(report.expect_report());
    assert!(report.reasons().contains(&"delayed_ack".to_owned()), "{}", report.at("verdict"));
    assert_ne!(report.at("verdict.status"), "valid");
}

fn the_exit_code_says_which_verdicts_fail() {
    let wrong = Peer::echo();
    let run =
        |args: &str| Loadgen::run(Some(wrong.address()), &format!("-c 2 -n 4 -w 0s -q {args}")).finish();
    run("").expect_code(4);
    run("--fail-on suspect").expect_code(4);
    run("--fail-on never").expect_code(0);
    run("--fail-on never --slo p50<1ns").expect_code(3);
    // Slow enough to be suspect on any machine.
    let slow = Peer::start(|_, mut stream| {
        stream.set_nodelay(false)?;
        let mut buffer = [0; 64];
        loop {
            stream.read_exact(&mut buffer)?;
            buffer.make_ascii_uppercase();
            stream.write_all(&buffer[..1])?;
            stream.write_all(&buffer[1..])?;
        }
    });
    let odd =
        Loadgen::run(Some(slow.address()), "-c 5 -d 2s -w 500ms --format json --fail-on suspect").finish();
    let report = Report::read(odd.expect_code(4));
    assert!(report.reasons().contains(&"delayed_ack".to_owned()), "{}", report.at("verdict"));
    let args =
        "compare --modes tokio-task --rounds 1 -c 2 -n 50 -w 0s -q --expect none --slo p50<1ns --fail-on";
    for fail_on in ["never", "invalid", "suspect"] {
        let compared = Loadgen::new(&[]).args(args.split(' ')).args([fail_on, "--format", "json"]).finish();
        let status = Report::read(&compared).at("subjects")[0]["rounds"][0]["verdict"]["status"].clone();
        let fails = match fail_on {
            "suspect" => status != "valid",
            "invalid" => status == "invalid",
            _ => false,
        };
        compared.expect_code(if fails { 4 } else { 3 });
    }
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

fn a_slow_server_that_keeps_up_is_not_named() {
    // A seventh of the replies arrive after the window, because there was no warm-up.
    let args = "-c 400 -r 1k -w 0s -d 1s --mode tokio-task --work sleep:150ms --format json";
    let report = Report::read(Loadgen::run(None, args).finish().expect_report());
    assert!(report.number("rate.achieved_per_s") < 900.0, "{}", report.at("rate"));
    assert!(!report.reasons().contains(&"cannot_keep_up".to_owned()), "{}", report.at("verdict"));
}

fn a_cpu_quota_is_named_with_its_share_and_others_are_not() {
    // The load threads and their server are both in the cgroup, and would use more than a CPU.
    let quota = Cgroup::of_cpu_percent(10).unwrap();
    let args = "-t 1 -c 50 -d 2s -w 0s --mode event-loop --format json";
    let report = Report::read(Loadgen::run(None, args).with_quota(&quota).finish().expect_report());
    let reasons = report.at("verdict.reasons").as_array().unwrap();
    let of = |code: &str| reasons.iter().find(|reason| reason["code"] == code);
    let throttled = of("throttled").unwrap_or_else(|| panic!("{}", report.at("verdict")));
    let message = throttled["message"].as_str().unwrap();
    assert!(message.contains("cpu.max: 0.10 CPUs"), "{message}");
    assert_eq!(report.number("generator.cpu_quota"), 0.1);
    // On a busy machine, the cgroup gets less than its quota at times.
    assert!(report.number("generator.throttled_share") > 0.2, "{}", report.at("generator"));
    assert!(report.number("generator.throttled_s") > 0.2, "{}", report.at("generator"));
    assert_eq!(throttled["value"], *report.at("generator.throttled_share"));
    let explained = report.number("generator.throttled_s") / report.number("elapsed_s");
    if report.number("generator.cpu_wait_share_max") <= explained {
        let blamed = reasons.iter().any(|reason| reason["advice"].as_str().unwrap().contains("others use"));
        assert!(!blamed, "{}", report.at("verdict"));
    }
    // A quota that is never exhausted is only reported.
    let quota = Cgroup::of_cpu_percent(400).unwrap();
    let args = "-t 1 -c 5 -r 100 -d 500ms -w 0s --mode event-loop";
    let report = Loadgen::run(None, args).with_quota(&quota).report();
    assert_eq!(report.number("generator.cpu_quota"), 4.0);
    assert_eq!(report.number("generator.throttled_share"), 0.0);
}

fn every_reason_has_a_value_a_bound_and_advice() {
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
    // The text shows them above the numbers.
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
    let median = report.at("calibration.floor.0");
    assert_eq!(median["percentile"], "p50");
    assert_eq!(&median["response_ns"], report.at("latency_ns.response.p50"));
    // The calibration's echo does not sleep, so it is faster, unless the machine was busy during it.
    match median["share"].as_f64() {
        Some(share) => assert!((share - floor / response).abs() < 1e-9, "{median}"),
        None => assert!(floor > response, "{median}"),
    }
    // In a closed loop, the echo gets the rate that the server has reached.
    let closed = Report::read(run("", "json").expect_report());
    let [offered, reached] =
        ["calibration.offered_per_s", "rate.achieved_per_s"].map(|path| closed.number(path));
    assert!((offered / reached - 1.0).abs() < 0.001, "{offered} {reached}");
    let [floor, response] =
        ["calibration.response.p50", "latency_ns.response.p50"].map(|path| closed.number(path));
    match closed.at("calibration.floor.0.share").as_f64() {
        Some(share) => assert!((share - floor / response).abs() < 1e-9, "{share} {floor} {response}"),
        None => assert!(floor > response, "{floor} {response}"),
    }
    assert!(closed.at("notes").to_string().contains("the calibration's floor"), "{}", closed.at("notes"));
    let text = run("-r 500", "text").stdout;
    assert!(text.contains("floor: the same load on an echo inside the generator"), "{text}");
}

fn a_calibration_uses_the_same_kind_of_socket_as_the_targets() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("echo.sock").display());
    let server = ServerCommand::bare().listen(&socket).start();
    // The kernel has no timestamps for unix sockets, only for TCP.
    let args = "-c 5 -n 500 -w 0s --calibrate --expect upper";
    let report = Loadgen::run(Some(server.address()), args).report();
    report.expect_all_verified();
    assert!(report.number("calibration.achieved_per_s") > 0.0);
    // A target without upper case is calibrated too, although the echo inside converts to upper case.
    let echo = Peer::echo();
    let report = Loadgen::run(Some(echo.address()), "-c 5 -n 500 -w 0s --calibrate --expect echo").report();
    report.expect_all_verified();
    assert_eq!(report.count("calibration.response.count"), 500);
}

fn a_calibration_needs_descriptors_for_both_ends() {
    let server = ServerCommand::bare().start();
    let run = |args: &str| Loadgen::run(Some(server.address()), args).with_open_files(200).finish();
    run("-c 100 -n 1000 -w 0s -q").expect_report();
    run("-c 100 -n 1000 -w 0s --calibrate").expect_code(1).expect_stderr(&["open files"]);
}

fn kernel_timestamps_divide_the_service_time() {
    let report = Loadgen::run(None, "-c 10 -d 1s -w 200ms --work sleep:2ms --kernel-timestamps").report();
    report.expect_all_verified();
    let at = |path: &str| report.number(&format!("latency_ns.{path}"));
    assert_eq!(at("ready_to_read.count"), at("written_to_ready.count"));
    assert!(at("ready_to_read.count") > at("service.count") * 0.9);
    // The server's sleep is in the server's part, and the parts add up to the whole.
    assert!(at("written_to_ready.min") > 1.9e6, "{}", at("written_to_ready.min"));
    let parts = at("written_to_ready.mean") + at("ready_to_read.mean");
    assert!((parts / at("service.mean") - 1.0).abs() < 0.05, "{parts} and {}", at("service.mean"));
    assert!(at("due_to_written.mean") + at("service.mean") <= at("response.mean") * 1.01);
    // Without the flag, the fields are absent.
    let report = Loadgen::run(None, "-c 2 -n 100 -w 0s").report();
    assert!(report.at("latency_ns.ready_to_read").is_null());
}

fn missing_kernel_timestamps_are_absent_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let socket = format!("unix:{}", folder.path().join("echo.sock").display());
    let server = ServerCommand::bare().listen(&socket).start();
    let report = Loadgen::run(Some(server.address()), "-c 5 -n 100 -w 0s --kernel-timestamps").report();
    assert!(report.at("latency_ns.written_to_ready").is_null());
    assert!(report.at("notes").to_string().contains("100 replies"), "{}", report.at("notes"));
    // Replies that share a read have no separate timestamps.
    let report = Loadgen::run(None, "-c 1 -p 64 -n 5000 -w 0s --kernel-timestamps").report();
    let stamped = report.at("latency_ns.ready_to_read")["count"].as_u64().unwrap_or(0);
    assert!(stamped < 5_000, "{stamped}");
}
