//! The part of the metrics that is known before the run.

use crate::load::plan::{Against, Plan};

/// The facts that are known before the run.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The label for the server under load, and its value.
    pub(super) against: (&'static str, String),
    pub(super) connections: u32,
    /// None in a closed loop.
    pub(super) rate_per_s: Option<f64>,
    /// With TLS, a connection is established after its handshake.
    pub(super) tls: bool,
}

impl Facts {
    /// The facts of a run with this plan.
    pub(super) fn of(plan: &Plan) -> Self {
        let against = match &plan.against {
            Against::Targets(targets) => {
                ("targets", targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
            }
            Against::OwnServer(own) => ("mode", own.mode.to_owned()),
        };
        Self {
            against,
            connections: plan.connections(),
            rate_per_s: plan.rate_per_s(),
            tls: plan.tls.is_some(),
        }
    }
}
