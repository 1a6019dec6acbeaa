//! `loadgen run`: one run, against targets or the own server.

use std::{process::ExitCode, sync::Arc};

use common::{Address, limits};

use crate::{
    command::{
        calibrate,
        conduct::{Finished, conduct},
        delivery::DeliveryRequest,
        exit::FailOn,
        outcome::{self, Outcome},
        request_log::{self, LogRequest, LogWriter},
    },
    engine::interruption::Interruption,
    live::{
        metrics::{Endpoint, Exposed},
        progress::{Progress, RunProgress},
    },
    load::{
        plan::{Against, Plan},
        request::Request,
    },
    result::{Document, Report},
    subject::{
        candidate::location::Location,
        cpus::{self, Division},
        machine::Machine,
        own_server::{self, Log},
    },
};

/// Carries out `loadgen run`.
///
/// # Errors
/// When the request is invalid, the run cannot be made, or the report cannot be delivered.
pub(crate) fn execute(
    request: Request,
    metrics: Option<&Address>,
    log: Option<LogRequest<'_>>,
    delivery: DeliveryRequest<'_>,
    fail_on: FailOn,
) -> anyhow::Result<ExitCode> {
    let plan = request.plan(limits::usable_cpus())?;
    let quiet = delivery.is_quiet;
    let mut log_error = None;
    let code = outcome::measure(delivery, fail_on, || {
        let metrics = metrics.map(Endpoint::bind).transpose()?;
        let mut progress = RunProgress::new(quiet, plan.measuring.interval, plan.timeouts.reply);
        let (Finished { report, signal }, unwritten) = run(plan, metrics, log, &mut progress)?;
        log_error = unwritten;
        Ok(Outcome { document: Document::Run(Box::new(report)), signal })
    })?;
    log_error.map_or(Ok(code), Err)
}

/// Makes the run. A failed request is part of the report, not an error. The second value is the error of the request log, or of a calibration
/// after the run.
fn run(
    plan: Plan,
    metrics: Option<Endpoint>,
    log: Option<LogRequest<'_>>,
    progress: &mut dyn Progress,
) -> anyhow::Result<(Finished, Option<anyhow::Error>)> {
    let plan = Arc::new(plan);
    if let Against::OwnServer(own) = &plan.against {
        own_server::config(own)?;
    }
    let mut machine = Machine::prepare(&plan)?;
    let interruption = Interruption::install()?;
    if let Against::OwnServer(_) = &plan.against {
        machine.division = cpus::usable().ok().and_then(|cpus| Division::of(&cpus, plan.threads));
    }
    let server = match &plan.against {
        Against::OwnServer(own) => {
            let server = cpus::start_divided(&mut machine.division, || {
                own_server::start(own, &Location::default(), Log::Forwarded(progress.server_log()))
            })?;
            progress.say(&format!("started loadgen's own server: {} on {}", own.mode, server.address()));
            Some(server)
        }
        Against::Targets(_) => None,
    };
    let calibrates = plan.measuring.calibrate;
    let mut floor = None;
    if calibrates && plan.is_open_loop() {
        floor = Some(calibrate::floor(&plan, &machine, &interruption, progress)?);
    }
    let machine_of_floor = machine.clone();
    // The threads of the log and of the endpoint inherit the CPUs of the load, so the CPUs must be divided before.
    let (logs, writer) = match log {
        None => (Vec::new(), None),
        Some(log) => {
            let (logs, writer) = LogWriter::start(log, &plan)?;
            (logs, Some(writer))
        }
    };
    let mut finished = match metrics {
        None => conduct(&plan, machine, server.as_ref(), &interruption, logs, progress)?,
        Some(endpoint) => {
            let mut exposed = Exposed::start(endpoint, &plan, progress)?;
            conduct(&plan, machine, server.as_ref(), &interruption, logs, &mut exposed)?
        }
    };
    let mut error = writer.and_then(|writer| add_log(writer, &mut finished.report));
    if calibrates && floor.is_none() && finished.signal.is_none() {
        let (report, machine) = (&finished.report, &machine_of_floor);
        // The run is over: its report is not lost.
        match calibrate::floor_of_closed_loop(&plan, report, machine, &interruption, progress) {
            Ok(report) => floor = Some(report),
            Err(reason) if interruption.signal().is_none() => error = error.or(Some(reason)),
            Err(_interrupted) => finished.signal = interruption.signal(),
        }
    }
    if let Some(floor) = floor {
        let calibration = calibrate::calibration(&floor, &finished.report);
        finished.report.notes.extend(calibrate::notes(&calibration, &finished.report.plan));
        finished.report.calibration = Some(calibration);
    }
    Ok((finished, error))
}

/// Waits for the request log and adds its numbers to the report. Returns why the log could not be written to its end.
fn add_log(writer: LogWriter, report: &mut Report) -> Option<anyhow::Error> {
    let (summary, error) = writer.finish();
    report.notes.extend(request_log::notes(&summary));
    report.log = Some(summary);
    error
}
