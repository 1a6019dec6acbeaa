//! The cost of a request for the generator and the server.

use std::io;

use common::human::{bytes, duration_ns, percent};

use crate::{
    format::text::page::{Page, line},
    result::Report,
};

/// Prints the cost.
pub(super) fn write(report: &Report, out: &mut Page) -> io::Result<()> {
    let cpu = |cpu_ns: Option<f64>| match cpu_ns {
        Some(cpu_ns) => format!("{} of CPU per request", duration_ns(cpu_ns.round() as u64)),
        None if report.requests.replies_in_window > 0 => {
            "CPU per request: - (below the resolution of the clock)".to_owned()
        }
        None => "CPU per request: - (no reply)".to_owned(),
    };
    let generator = &report.generator;
    let (each, busy) = (cpu(generator.cpu_ns_per_request), percent(generator.busiest_thread_share));
    let busy = match report.plan.busy_poll {
        true => format!("the busiest thread polled all the time, and had work for {busy} of it"),
        false => format!("the busiest thread ran {busy} of the time"),
    };
    line(out, "generator", &format!("{each}; {busy}"))?;
    let Some(server) = &report.server else { return Ok(()) };
    let switches = server.context_switches_per_request.map_or("-".to_owned(), |each| format!("{each:.3}"));
    let each = cpu(server.cpu_ns_per_request);
    line(out, "server", &format!("{each}; {switches} context switches per request"))?;
    let resident = bytes(server.rss_bytes);
    match server.pss_bytes {
        Some(pss) => {
            line(out, "", &format!("memory: {resident} resident (RSS), {} proportional (PSS)", bytes(pss)))
        }
        None => line(out, "", &format!("memory: {resident} resident (RSS)")),
    }
}
