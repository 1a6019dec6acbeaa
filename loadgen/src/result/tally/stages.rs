//! The rows of the stages.

use super::Tally;
use crate::{
    engine::slice::Slice,
    load::{
        plan::Plan,
        schedule::{Load, Pace},
    },
    result::{Stage, summary},
};

impl Tally {
    /// The stages that have begun.
    pub(super) fn stages(&self, plan: &Plan) -> Vec<Stage> {
        let Load::Open { pace: Pace::Stages(course), .. } = &plan.load else { return Vec::new() };
        let elapsed_ns = self.elapsed_ns();
        let parts = course.stages_ns().map(|(from_ns, end_ns)| (from_ns, end_ns.min(elapsed_ns)));
        let parts: Vec<_> = parts.filter(|(from_ns, end_ns)| from_ns < end_ns).collect();
        let mut slices = self.total.stages.clone();
        slices.resize_with(parts.len(), Slice::default);
        self.add_unsent(plan, &parts, &mut slices);
        let written = plan.stages.iter().flat_map(|stages| stages.all());
        let rows = written.zip(&parts).zip(&slices).enumerate();
        rows.map(|(index, ((stage, (from_ns, end_ns)), slice))| {
            let length_s = (end_ns - from_ns) as f64 / 1e9;
            Stage {
                number: index + 1,
                stage: stage.to_string(),
                t_s: *from_ns as f64 / 1e9,
                length_s,
                offered_per_s: course.mean_per_s(*from_ns, *end_ns) * plan.rate_share(),
                outcomes: summary::outcomes(slice, length_s),
            }
        })
        .collect()
    }

    /// Adds the requests that were never sent. The load threads do not know their stages, but the schedule does: it is a pure
    /// function of the plan.
    fn add_unsent(&self, plan: &Plan, parts: &[(u64, u64)], slices: &mut [Slice]) {
        let mut left = self.total.counts.unsent;
        if left == 0 {
            return;
        }
        let start_ns = self.window.start_ns;
        let on_clock: Vec<_> = parts.iter().map(|(from, end)| (start_ns + from, start_ns + end)).collect();
        let load_start_ns = start_ns.saturating_sub(common::units::nanoseconds(plan.timing.warmup));
        let due = plan.load.due_in_parts(&on_clock, plan.clients, plan.seed, load_start_ns);
        let last = slices.len().saturating_sub(1);
        for (index, ((slice, due), (_, end_ns))) in slices.iter_mut().zip(due).zip(&on_clock).enumerate() {
            // The threads of an interrupted run end at slightly different moments, in the last stage.
            let unsent = match index == last {
                true => left,
                false => due.saturating_sub(slice.counts.due()).min(left),
            };
            left -= unsent;
            slice.unsent(unsent, self.ended_ns.saturating_sub(*end_ns));
        }
    }
}
