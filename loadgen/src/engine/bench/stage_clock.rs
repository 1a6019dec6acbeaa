//! The stage of a moment. Pure.

use crate::{
    engine::window::Window,
    load::{
        plan::Plan,
        schedule::{Load, Pace},
    },
};

/// The stages of a load on the clock of the run. Without stages, no moment has one.
#[derive(Clone, Debug, Default)]
pub(super) struct StageClock {
    /// When each stage ends: after the start of the window, until the window is known.
    ends_ns: Box<[u64]>,
}

impl StageClock {
    pub(super) fn new(plan: &Plan) -> Self {
        match &plan.load {
            Load::Open { pace: Pace::Stages(course), .. } => {
                Self { ends_ns: course.stages_ns().map(|(_, end_ns)| end_ns).collect() }
            }
            Load::Open { .. } | Load::Closed { .. } | Load::Replay(_) => Self::default(),
        }
    }

    /// The load begins, with this window.
    pub(super) fn load_begins(&mut self, window: Window) {
        for end_ns in &mut self.ends_ns {
            *end_ns = end_ns.saturating_add(window.start_ns);
        }
    }

    /// The number of stages.
    pub(super) fn count(&self) -> usize {
        self.ends_ns.len()
    }

    /// The index of the stage of a moment in the window. None without stages.
    #[inline]
    pub(super) fn stage_at(&self, at_ns: u64) -> Option<usize> {
        let last = self.ends_ns.len().checked_sub(1)?;
        Some(self.ends_ns.partition_point(|end_ns| *end_ns <= at_ns).min(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::request::{Request, tests::request};

    #[test]
    fn a_moment_belongs_to_the_stage_that_it_begins_and_not_to_the_one_that_it_ends() {
        let stages = Some("1/1us,0/1us,1/2us".parse().unwrap());
        let mut clock = StageClock::new(&Request { stages, ..request() }.plan(1).unwrap());
        clock.load_begins(Window { start_ns: 500, end_ns: 4_500 });
        assert_eq!(clock.count(), 3);
        for (at_ns, stage) in [(500, 0), (1_499, 0), (1_500, 1), (2_500, 2), (4_499, 2), (9_999, 2)] {
            assert_eq!(clock.stage_at(at_ns), Some(stage), "{at_ns}");
        }
        assert_eq!(StageClock::new(&request().plan(1).unwrap()).stage_at(500), None);
    }
}
