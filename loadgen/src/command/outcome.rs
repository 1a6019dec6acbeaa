//! The steps that `run`, `compare`, `sweep` and `merge` share: check that the report can be written, make the result,
//! deliver the report, and choose the exit code.

use std::process::ExitCode;

use common::{
    log::{self, LogFormat},
    signal::Termination,
};

use crate::{
    command::{
        command_line::command_line,
        delivery::{Delivery, DeliveryRequest},
        exit::{self, FailOn},
    },
    result::Document,
};

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The result. It is incomplete after a signal.
    pub document: Document,
    /// The signal that ended the command early.
    pub signal: Option<Termination>,
}

/// Like [`deliver`], for a command that measures: it starts the log first.
pub(crate) fn measure(
    request: DeliveryRequest<'_>,
    fail_on: FailOn,
    make: impl FnOnce() -> anyhow::Result<Outcome>,
) -> anyhow::Result<ExitCode> {
    log::start(LogFormat::Text).map_err(anyhow::Error::msg)?;
    deliver(request, fail_on, make)
}

/// Makes a result with `make` and delivers its report as `request` says.
///
/// # Errors
/// When the report cannot be delivered, or `make` fails.
pub(crate) fn deliver(
    request: DeliveryRequest<'_>,
    fail_on: FailOn,
    make: impl FnOnce() -> anyhow::Result<Outcome>,
) -> anyhow::Result<ExitCode> {
    let delivery = Delivery::prepare(request)?;
    let Outcome { mut document, signal } = make()?;
    document.set_command(command_line());
    delivery.deliver(&document)?;
    Ok(ExitCode::from(exit::code(&document, signal, fail_on)))
}
