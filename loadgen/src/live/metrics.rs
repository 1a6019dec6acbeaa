//! Metrics for Prometheus during a run: `loadgen run --metrics ADDR`.
//!
//! Load threads take no part in this. At the end of each interval, the thread that gathers publishes the sums so far. A thread with
//! the lowest priority serves the last published sums. Every cost that a scraper can cause has a bound.

mod exposition;
mod facts;
mod families;
mod page;
mod snapshot;

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use anyhow::Context;
use common::{
    Address,
    http::{HttpServer, Page, Status, TEXT},
};

use self::{
    exposition::Exposition,
    facts::Facts,
    snapshot::{Phase, Totals},
};
use crate::{
    engine::{failure::FailureCounts, recording::Recording, window::Window},
    live::progress::Progress,
    load::plan::Plan,
    result::Interval,
};

/// The bound endpoint of the metrics, which does not answer yet.
#[derive(Debug)]
pub(crate) struct Endpoint {
    listener: TcpListener,
    address: SocketAddr,
}

/// The progress of a run, which is also published as metrics. The last metrics are served until the process ends.
pub(crate) struct Exposed<'a> {
    progress: &'a mut dyn Progress,
    exposition: Arc<Exposition>,
}

impl Endpoint {
    /// Binds the address. Port 0 selects a free port.
    ///
    /// # Errors
    /// When the address cannot be bound; the error says what to do.
    pub(crate) fn bind(address: &Address) -> anyhow::Result<Self> {
        let bound = address.resolve().and_then(|addresses| TcpListener::bind(addresses.as_slice()));
        let listener = bound.map_err(|error| {
            anyhow::anyhow!("metrics cannot be served on {address}: {error}; {}", advice(&error))
        })?;
        let address = listener.local_addr().context("the address of the metrics is unknown")?;
        Ok(Self { listener, address })
    }

    /// The URL of the metrics.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }
}

impl<'a> Exposed<'a> {
    /// Starts to serve the metrics of this run, in a thread that inherits the CPUs of the calling thread.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be created.
    pub(crate) fn start(
        endpoint: Endpoint,
        plan: &Plan,
        progress: &'a mut dyn Progress,
    ) -> anyhow::Result<Self> {
        let url = endpoint.url();
        let exposition = Arc::new(Exposition::new(Facts::of(plan)));
        HttpServer::start(vec![endpoint.listener], pages(&exposition))
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

    fn interval(&mut self, interval: &Interval, failures: &FailureCounts) {
        self.progress.interval(interval, failures);
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

/// The pages of the endpoint.
fn pages(exposition: &Arc<Exposition>) -> Vec<Page> {
    let registry = exposition::registry(exposition);
    vec![
        Page {
            path: "/metrics",
            content_type: page::CONTENT_TYPE,
            render: Box::new(move || (Status::Ok, exposition::render(&registry))),
        },
        Page {
            path: "/",
            content_type: TEXT,
            render: Box::new(|| {
                (Status::Ok, "loadgen: the metrics of the running load are at /metrics\n".to_owned())
            }),
        },
    ]
}

/// Advice for an address that cannot be bound.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => "give --metrics another port, or port 0 for a free one",
        ErrorKind::AddrNotAvailable => {
            "give --metrics an address of this machine, or 0.0.0.0 or [::] for all addresses"
        }
        ErrorKind::PermissionDenied => "give --metrics a port of at least 1024",
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
        assert!(text.ends_with("give --metrics another port, or port 0 for a free one"), "{text}");
    }

    #[test]
    fn an_address_of_another_machine_is_an_error() {
        // An address for documentation (RFC 5737).
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
