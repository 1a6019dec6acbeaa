//! The command: parse, run, one line for an error, and an exit code.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{CommandFactory, Parser};
use common::{generate, limits, log};
use loadgen::{
    args::{
        Args, Command, RunArgs, ShowArgs, TalkArgs, compare::CompareArgs, merge::MergeArgs, sweep::SweepArgs,
    },
    compare::{self, plan::ComparePlanError},
    error::RunError,
    files::{self, check_writable},
    merge::{self, MergeError, Part},
    metrics::Endpoint,
    plan::{Plan, PlanError},
    progress::RunProgress,
    report::{Document, Report, Status, hdr},
    run::{self, Finished},
    server_process::guard,
    show::{self, ShowError},
    sweep::{self, plan::SweepPlanError},
    talk,
};

const FAILED: u8 = 1;
const BAD_USAGE: u8 = 2;
const SLO_MISSED: u8 = 3;
const INVALID: u8 = 4;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            // A closed standard error leaves nobody to tell.
            let _nobody = writeln!(io::stderr(), "loadgen: {error:#}");
            ExitCode::from(code_of(&error))
        }
    }
}

fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(what) = args.generate {
        return print(None, |out| generate::write(what, Args::command(), &mut &mut *out));
    }
    match args.command {
        Some(Command::Server(args)) => Ok(server::main(*args)),
        Some(Command::Guard) => {
            guard::watch();
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Run(args)) => run_load(&args),
        Some(Command::Compare(args)) => compare_servers(&args),
        Some(Command::Sweep(args)) => sweep_servers(&args),
        Some(Command::Show(args)) => show(&args),
        Some(Command::Merge(args)) => merge(&args),
        Some(Command::Talk(args)) => talk(&args),
        None => {
            Err(Args::command().error(clap::error::ErrorKind::MissingSubcommand, "no command given").into())
        }
    }
}

fn run_load(args: &RunArgs) -> anyhow::Result<ExitCode> {
    log::start(log::LogFormat::Text).map_err(anyhow::Error::msg)?;
    let plan = Plan::new(args.request()?, limits::usable_cpus())?;
    if let Some(path) = &args.output.output {
        check_writable(path)?;
    }
    let metrics = args.metrics.as_ref().map(Endpoint::bind).transpose()?;
    if let Some(prefix) = &args.hdr.prefix {
        hdr::paths(prefix).try_for_each(|path| check_writable(&path))?;
    }
    let mut progress = RunProgress::new(args.quiet, plan.interval);
    let Finished { report, signal } = run::run(plan, metrics, &mut progress)?;
    let (format, output) = (args.output.format(), &args.output.output);
    let code = code_of_report(&report);
    let histograms = write_histograms(args.hdr.prefix.as_deref(), &report);
    print(output.as_deref(), |out| (format.write)(&Document::Run(Box::new(report)), out))?;
    // Said after the report is printed: it was worth a run.
    histograms?;
    Ok(signal.map_or(code, |signal| ExitCode::from(signal.exit_code())))
}

fn code_of_report(report: &Report) -> ExitCode {
    match report.verdict.status {
        // Of numbers that deserve no trust nothing can be said.
        Status::Invalid => ExitCode::from(INVALID),
        Status::Valid | Status::Suspect if report.slo.iter().any(|slo| !slo.met) => {
            ExitCode::from(SLO_MISSED)
        }
        Status::Valid | Status::Suspect => ExitCode::SUCCESS,
    }
}

fn compare_servers(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    log::start(log::LogFormat::Text).map_err(anyhow::Error::msg)?;
    let plan = args.plan(limits::usable_cpus())?;
    if let Some(path) = &args.output.output {
        check_writable(path)?;
    }
    let compare::Finished { comparison, signal } = compare::compare(&plan, args.quiet)?;
    let (format, output) = (args.output.format(), &args.output.output);
    let has_failed = comparison.subjects.iter().any(|subject| subject.failure.is_some());
    let slo_missed = comparison.subjects.iter().flat_map(|subject| &subject.slo).any(|slo| !slo.met);
    print(output.as_deref(), |out| (format.write)(&Document::Comparison(Box::new(comparison)), out))?;
    Ok(match (signal, has_failed) {
        (Some(signal), _) => ExitCode::from(signal.exit_code()),
        (None, true) => ExitCode::from(FAILED),
        (None, false) if slo_missed => ExitCode::from(SLO_MISSED),
        (None, false) => ExitCode::SUCCESS,
    })
}

fn sweep_servers(args: &SweepArgs) -> anyhow::Result<ExitCode> {
    log::start(log::LogFormat::Text).map_err(anyhow::Error::msg)?;
    let plan = args.plan(limits::usable_cpus())?;
    if let Some(path) = &args.output.output {
        check_writable(path)?;
    }
    let sweep::Finished { sweep, signal } = sweep::sweep(&plan, args.quiet)?;
    let (format, output) = (args.output.format(), &args.output.output);
    let has_failed = sweep.subjects.iter().any(|subject| subject.failure.is_some());
    let mut capacities = sweep.subjects.iter().filter_map(|subject| subject.capacity.as_ref());
    let slo_missed = capacities.any(|capacity| capacity.low.is_none());
    print(output.as_deref(), |out| (format.write)(&Document::Sweep(Box::new(sweep)), out))?;
    Ok(match (signal, has_failed) {
        (Some(signal), _) => ExitCode::from(signal.exit_code()),
        (None, true) => ExitCode::from(FAILED),
        (None, false) if slo_missed => ExitCode::from(SLO_MISSED),
        (None, false) => ExitCode::SUCCESS,
    })
}

fn show(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let kept = args.files.iter().map(|file| show::read(file)).collect::<anyhow::Result<Vec<_>>>()?;
    let (format, output) = (args.output.format(), &args.output.output);
    match <[Document; 1]>::try_from(kept) {
        Ok([document]) => {
            match (&args.hdr.prefix, &document) {
                (Some(prefix), Document::Run(report)) => write_histograms(Some(prefix), report)?,
                (Some(_), _) => return Err(ShowError::NoRunForHdr(args.files[0].clone()).into()),
                (None, _) => {}
            }
            print(output.as_deref(), |out| (format.write)(&document, out))
        }
        Err(several) => {
            if args.hdr.prefix.is_some() {
                return Err(ShowError::SeveralHdr.into());
            }
            let write = format.write_several.ok_or(ShowError::SeveralFormatted(format.name))?;
            let reports = show::side_by_side(&args.files, several)?;
            print(output.as_deref(), |out| write(&reports, out))
        }
    }
}

fn merge(args: &MergeArgs) -> anyhow::Result<ExitCode> {
    let part = |file: &PathBuf| match (file.display().to_string(), show::read(file)?) {
        (name, Document::Run(report)) => Ok(Part { name, report: *report }),
        (name, _) => Err(MergeError::NotARun(name).into()),
    };
    let parts = args.files.iter().map(part).collect::<anyhow::Result<Vec<_>>>()?;
    let report = merge::merge(&parts)?;
    let code = code_of_report(&report);
    let (format, output) = (args.output.format(), &args.output.output);
    print(output.as_deref(), |out| (format.write)(&Document::Run(Box::new(report)), out))?;
    Ok(code)
}

fn talk(args: &TalkArgs) -> anyhow::Result<ExitCode> {
    talk::talk(&args.target, args.save.as_deref(), args.timeout)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints to a file, which is then there as a whole or not at all, or to standard output. That nobody reads
/// standard output any more is no failure.
fn print(
    file: Option<&Path>,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    write(&mut text)?;
    match file {
        Some(path) => files::replace(&[(path.to_owned(), text)])?,
        None => match io::stdout().lock().write_all(&text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(error).context("standard output cannot be written");
            }
            _ => {}
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the files of `--hdr`, where they are asked for.
fn write_histograms(prefix: Option<&Path>, report: &Report) -> anyhow::Result<()> {
    prefix.map_or(Ok(()), |prefix| files::replace(&hdr::files(prefix, report)?))
}

fn code_of(error: &anyhow::Error) -> u8 {
    if error.is::<PlanError>()
        || error.is::<ComparePlanError>()
        || error.is::<SweepPlanError>()
        || error.is::<ShowError>()
        || error.is::<MergeError>()
        || error.is::<clap::Error>()
    {
        return BAD_USAGE;
    }
    match error.downcast_ref::<RunError>() {
        Some(RunError::Interrupted(signal)) => signal.exit_code(),
        _ => FAILED,
    }
}
