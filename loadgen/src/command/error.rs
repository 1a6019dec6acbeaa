//! The exit code of a command that has no result.

use crate::{
    command::{
        compare::{kept::AgainstError, plan::ComparePlanError},
        delivery::OutputError,
        exit::{BAD_USAGE, FAILED},
        merge::{MergeError, input::InputError},
        show::ShowError,
        sweep::plan::SweepPlanError,
    },
    engine::error::RunError,
    load::request::PlanError,
};

/// The exit code for an error of [`run`](crate::run()).
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let is_usage = error.is::<PlanError>()
        || error.is::<ComparePlanError>()
        || error.is::<AgainstError>()
        || error.is::<SweepPlanError>()
        || error.is::<ShowError>()
        || error.is::<MergeError>()
        || matches!(error.downcast_ref(), Some(InputError::Terminal))
        || error.is::<OutputError>()
        || error.is::<clap::Error>();
    match error.downcast_ref::<RunError>() {
        _ if is_usage => BAD_USAGE,
        Some(RunError::Interrupted(signal)) => signal.exit_code(),
        _ => FAILED,
    }
}
