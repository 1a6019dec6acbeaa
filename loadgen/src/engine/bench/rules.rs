//! The parts of the plan that each client needs, in the units of the run's clock.

use common::units::nanoseconds;

use crate::load::plan::Plan;

/// The parts of the plan that each client needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The most outstanding requests of one client.
    pub pipeline: u64,
    /// The most replies on one connection.
    pub requests_per_connection: u64,
    /// The limit from the writing of a request to its reply.
    pub timeout_ns: u64,
    /// The limit for a connection attempt.
    pub connect_timeout_ns: u64,
    /// Whether the generator can be late. In a closed loop there is no scheduled time to compare with.
    pub open_loop: bool,
    /// Whether the kernel is asked when replies were ready.
    pub kernel_timestamps: bool,
    /// The seed for the jitter of reconnects.
    pub seed: u64,
}

impl Rules {
    /// The rules of a plan.
    pub(crate) fn new(plan: &Plan) -> Self {
        Self {
            pipeline: plan.pipeline as u64,
            requests_per_connection: plan.connecting.requests_per_connection.unwrap_or(u64::MAX),
            timeout_ns: nanoseconds(plan.timeouts.reply),
            connect_timeout_ns: nanoseconds(plan.timeouts.connect),
            open_loop: plan.is_open_loop(),
            kernel_timestamps: plan.measuring.kernel_timestamps,
            seed: plan.seed,
        }
    }
}
