//! The command: parse, run, one line for an error, and an exit code.

use std::{
    fs::Permissions,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use clap::{CommandFactory, Parser};
use common::{generate, limits, log};
use loadgen::{
    args::{Args, Command, OutputArgs, RunArgs, ShowArgs, TalkArgs, compare::CompareArgs, sweep::SweepArgs},
    compare::{self, plan::ComparePlanError},
    error::RunError,
    plan::{Plan, PlanError},
    progress::RunProgress,
    report::{Document, Status, text::table},
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
    let mut progress = RunProgress::new(args.quiet, plan.interval);
    let Finished { report, signal } = run::run(plan, &mut progress)?;
    let OutputArgs { format, output } = &args.output;
    let (status, slo_missed) = (report.verdict.status, report.slo.iter().any(|slo| !slo.met));
    print(output.as_deref(), |out| (format.write)(&Document::Run(Box::new(report)), out))?;
    Ok(match (signal, status) {
        (Some(signal), _) => ExitCode::from(signal.exit_code()),
        // Of numbers that deserve no trust nothing can be said.
        (None, Status::Invalid) => ExitCode::from(INVALID),
        (None, Status::Valid | Status::Suspect) if slo_missed => ExitCode::from(SLO_MISSED),
        (None, Status::Valid | Status::Suspect) => ExitCode::SUCCESS,
    })
}

fn compare_servers(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    log::start(log::LogFormat::Text).map_err(anyhow::Error::msg)?;
    let plan = args.plan(limits::usable_cpus())?;
    if let Some(path) = &args.output.output {
        check_writable(path)?;
    }
    let compare::Finished { comparison, signal } = compare::compare(&plan, args.quiet)?;
    let OutputArgs { format, output } = &args.output;
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
    let OutputArgs { format, output } = &args.output;
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
    let OutputArgs { format, output } = &args.output;
    match <[Document; 1]>::try_from(kept) {
        Ok([document]) => print(output.as_deref(), |out| (format.write)(&document, out)),
        Err(several) => {
            let reports = show::side_by_side(&args.files, several, format)?;
            print(output.as_deref(), |out| table::write(&reports, out))
        }
    }
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
        Some(path) => {
            replace(path, &text).with_context(|| format!("{} cannot be written", path.display()))?
        }
        None => match io::stdout().lock().write_all(&text) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                return Err(error).context("standard output cannot be written");
            }
            _ => {}
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// Tells before a run whether its report can be written there.
fn check_writable(path: &Path) -> anyhow::Result<()> {
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return Ok(());
    }
    let probe = tempfile::tempfile_in(folder(path));
    probe.map(drop).with_context(|| format!("no report can be written to {}", path.display()))
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    // A device or a pipe is written to, not replaced.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        return std::fs::write(path, text);
    }
    let readable = Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().permissions(readable).tempfile_in(folder(path))?;
    file.write_all(text)?;
    file.persist(path)?;
    Ok(())
}

fn code_of(error: &anyhow::Error) -> u8 {
    if error.is::<PlanError>()
        || error.is::<ComparePlanError>()
        || error.is::<SweepPlanError>()
        || error.is::<ShowError>()
        || error.is::<clap::Error>()
    {
        return BAD_USAGE;
    }
    match error.downcast_ref::<RunError>() {
        Some(RunError::Interrupted(signal)) => signal.exit_code(),
        _ => FAILED,
    }
}
