//! The sums of the histograms of all parts.

use std::mem;

use super::MergeError;
use crate::result::{
    Latencies, Latency, Report,
    counts::{AddError, Counts},
    summary::{self, Unanswered},
};

/// The sums of the histograms of the parts so far.
#[derive(Debug)]
pub(super) struct Distributions {
    response: Counts,
    service: Counts,
    connect: Counts,
    due_to_written: Counts,
    /// A distribution that only some generators have does not describe the whole load. None if a part has none.
    schedule_lag: Option<Counts>,
    handshake: Option<Counts>,
    written_to_ready: Option<Counts>,
    ready_to_read: Option<Counts>,
    replies: Counts,
    kinds: Vec<Counts>,
    stages: Vec<Counts>,
}

impl Default for Distributions {
    fn default() -> Self {
        Self {
            response: Counts::default(),
            service: Counts::default(),
            connect: Counts::default(),
            due_to_written: Counts::default(),
            schedule_lag: Some(Counts::default()),
            handshake: Some(Counts::default()),
            written_to_ready: Some(Counts::default()),
            ready_to_read: Some(Counts::default()),
            replies: Counts::default(),
            kinds: Vec::new(),
            stages: Vec::new(),
        }
    }
}

impl Distributions {
    /// Adds the histograms of a part, and removes them from it.
    ///
    /// # Errors
    /// When it lacks one that every part has, or has one that cannot be used.
    pub(super) fn take(&mut self, name: &str, report: &mut Report) -> Result<(), MergeError> {
        let times = &mut report.latency_ns;
        add(&mut self.response, &mut times.response.hdr, name, "latency_ns.response")?;
        add(&mut self.service, &mut times.service.hdr, name, "latency_ns.service")?;
        add(&mut self.connect, &mut times.connect.hdr, name, "latency_ns.connect")?;
        add(&mut self.due_to_written, &mut times.due_to_written.hdr, name, "latency_ns.due_to_written")?;
        let optional: [(&mut Option<Counts>, &mut Option<Latency>, &'static str); 4] = [
            (&mut self.schedule_lag, &mut times.schedule_lag, "latency_ns.schedule_lag"),
            (&mut self.handshake, &mut times.handshake, "latency_ns.handshake"),
            (&mut self.written_to_ready, &mut times.written_to_ready, "latency_ns.written_to_ready"),
            (&mut self.ready_to_read, &mut times.ready_to_read, "latency_ns.ready_to_read"),
        ];
        for (sum, latency, what) in optional {
            match (sum.as_mut(), latency) {
                (Some(sum), Some(latency)) => add(sum, &mut latency.hdr, name, what)?,
                (_, latency) => {
                    *sum = None;
                    // The notes need to know that the part had it.
                    latency.iter_mut().for_each(|latency| latency.hdr = String::new());
                }
            }
        }
        // It is the same as that of the response times.
        times.successful.hdr = String::new();
        add(&mut self.replies, &mut report.fairness.replies_hdr, name, "fairness.replies_hdr")?;
        let kinds = report.kinds.iter_mut().map(|kind| &mut kind.outcomes.response_ns.hdr);
        add_each(&mut self.kinds, kinds, name, "kinds")?;
        let stages = report.stages.iter_mut().map(|stage| &mut stage.outcomes.response_ns.hdr);
        add_each(&mut self.stages, stages, name, "stages")
    }

    /// The response times.
    pub(super) fn response(&self) -> &Counts {
        &self.response
    }

    /// The numbers of replies to clients, serialised.
    pub(super) fn replies(&self) -> String {
        summary::serialise(&self.replies.histogram())
    }

    /// The response times of the kind with this index.
    pub(super) fn kind(&self, index: usize) -> &Counts {
        &self.kinds[index]
    }

    /// The response times of the stage with this index.
    pub(super) fn stage(&self, index: usize) -> &Counts {
        &self.stages[index]
    }

    /// The sums of all times.
    pub(super) fn latencies(&self, unanswered: Unanswered) -> Latencies {
        let of = |counts: &Counts| summary::distribution(&counts.histogram(), Unanswered::default());
        Latencies {
            response: summary::distribution(&self.response.histogram(), unanswered),
            successful: of(&self.response),
            service: of(&self.service),
            schedule_lag: self.schedule_lag.as_ref().map(of),
            connect: of(&self.connect),
            handshake: self.handshake.as_ref().map(of),
            due_to_written: of(&self.due_to_written),
            written_to_ready: self.written_to_ready.as_ref().map(of),
            ready_to_read: self.ready_to_read.as_ref().map(of),
        }
    }
}

fn add_each<'a>(
    sums: &mut Vec<Counts>,
    hdrs: impl Iterator<Item = &'a mut String>,
    name: &str,
    what: &'static str,
) -> Result<(), MergeError> {
    for (index, hdr) in hdrs.enumerate() {
        if index == sums.len() {
            sums.push(Counts::default());
        }
        add(&mut sums[index], hdr, name, what)?;
    }
    Ok(())
}

/// Adds the samples of a serialised histogram, and removes its text.
pub(super) fn add(
    sum: &mut Counts,
    hdr: &mut String,
    name: &str,
    what: &'static str,
) -> Result<(), MergeError> {
    sum.add(&mem::take(hdr)).map_err(|error| match error {
        AddError::Missing => MergeError::Older { name: name.to_owned(), what },
        AddError::Unusable => MergeError::Unusable { name: name.to_owned(), what },
    })
}
