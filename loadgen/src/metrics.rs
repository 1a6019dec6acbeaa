//! What Prometheus is told of a running load: `loadgen run --metrics ADDR`.
//!
//! Nothing of this is on the way of a request. The load threads do not know of it: the conductor adds what they saw in an
//! interval, and publishes the sum. A thread of its own, which yields its CPU to every other, serves what was published
//! last, with bounds on everything that a client can do.

mod exposition;
mod http;
mod page;
mod snapshot;

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use anyhow::Context;
use common::Address;

use self::{
    exposition::{Exposition, Facts},
    snapshot::{Phase, Totals},
};
use crate::{bench::Window, plan::Plan, progress::Progress, recording::Recording, report::Interval};

/// Where the metrics of a run will be served: the address is taken, and nobody is answered yet.
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
}

/// A run's progress, of which Prometheus is told as well. What was told last is served until the process ends.
pub struct Exposed<'a> {
    progress: &'a mut dyn Progress,
    exposition: Arc<Exposition>,
}

impl Endpoint {
    /// Takes the address; port 0 takes any free one.
    ///
    /// # Errors
    /// When it cannot be had; the error says what to do.
    pub fn bind(address: &Address) -> anyhow::Result<Self> {
        let bound = address.resolve().and_then(|addresses| TcpListener::bind(addresses.as_slice()));
        let listener = bound.map_err(|error| {
            anyhow::anyhow!("metrics cannot be served on {address}: {error}; {}", advice(&error))
        })?;
        let address = listener.local_addr().context("the address of the metrics is not known")?;
        Ok(Self { listener, address })
    }

    /// Where a scraper finds the metrics.
    pub fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }
}

impl<'a> Exposed<'a> {
    /// Serves the metrics of this run from now on, in a thread that inherits the CPUs of this one.
    ///
    /// # Errors
    /// When the thread, or what it waits with, cannot be had.
    pub fn start(endpoint: Endpoint, plan: &Plan, progress: &'a mut dyn Progress) -> anyhow::Result<Self> {
        let url = endpoint.url();
        let exposition = Arc::new(Exposition::new(Facts::of(plan)));
        http::serve(endpoint.listener, exposition::registry(&exposition))
            .context("the metrics cannot be served")?;
        progress.say(&format!("metrics on {url}"));
        Ok(Self { progress, exposition })
    }
}

impl Progress for Exposed<'_> {
    fn say(&mut self, text: &str) {
        self.progress.say(text);
    }

    fn tick(&mut self, now_ns: u64, window: Window) {
        self.exposition.set_phase(Phase::at(now_ns, window));
        self.progress.tick(now_ns, window);
    }

    fn interval(&mut self, interval: &Interval) {
        self.progress.interval(interval);
    }

    fn total(&mut self, recording: &Recording) {
        self.exposition.set_totals(Totals::of(recording));
        self.progress.total(recording);
    }

    fn finish(&mut self) {
        self.exposition.set_phase(Phase::Ended);
        self.progress.finish();
    }
}

/// What to do about an address that cannot be had.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => "give --metrics another port, or 0 for any free one",
        ErrorKind::AddrNotAvailable => {
            "give --metrics an address of this machine: 0.0.0.0 or [::] stands for all"
        }
        ErrorKind::PermissionDenied => "give --metrics a port from 1024 on",
        _ => "give --metrics an address of this machine",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_an_error_that_says_what_to_do() {
        let taken = Endpoint::bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        assert_ne!(taken.address.port(), 0);
        let error = Endpoint::bind(&taken.address.into()).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.starts_with(&format!("metrics cannot be served on {}", taken.address)), "{text}");
        assert!(text.ends_with("give --metrics another port, or 0 for any free one"), "{text}");
    }

    #[test]
    fn an_address_that_is_not_of_this_machine_is_an_error() {
        // Of a network that is kept for documentation (RFC 5737).
        let error = Endpoint::bind(&"192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert!(format!("{error:#}").contains("address of this machine"), "{error:#}");
    }

    #[test]
    fn the_url_of_an_ipv6_address_has_brackets() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = Endpoint { listener, address: "[::1]:9464".parse().unwrap() };
        assert_eq!(endpoint.url(), "http://[::1]:9464/metrics");
    }
}
