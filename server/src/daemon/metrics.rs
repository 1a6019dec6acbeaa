//! `--metrics ADDR`: what operators and their tools see of the server over HTTP. No request changes anything.
//!
//! A scrape adds up what the workers publish, so nothing is computed for it in advance.

use std::{io, net::TcpListener, os::fd::AsFd, sync::Arc, time::Duration};

use anyhow::Context;
use common::{
    Address,
    http::{HttpServer, Page, Status, TEXT},
};
use prometheus_client::{encoding::text, registry::Registry};

use self::{families::Families, process::ProcessFamilies};
use crate::{
    admission::listener::Listener,
    daemon::{service::Service, setup::Setup},
};

mod families;
mod process;

/// The content type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From this length of a worker's present turn on, the process does not count as alive.
const HANG: Duration = Duration::from_secs(30);

/// The running endpoint. It serves until [`Metrics::stop`], or until the process ends.
#[derive(Debug)]
pub(crate) struct Metrics {
    server: HttpServer,
    /// The listeners whose copies the server uses. A takeover offers them as long as they are open.
    _listeners: Vec<Listener>,
}

impl Metrics {
    /// Serves at these listeners.
    ///
    /// # Errors
    /// When a socket cannot be copied, or the thread cannot be started.
    pub(crate) fn serve(
        listeners: Vec<Listener>,
        setup: &Setup,
        service: &Arc<Service>,
    ) -> anyhow::Result<Self> {
        let sockets = listeners
            .iter()
            .map(|listener| Ok(TcpListener::from(listener.as_fd().try_clone_to_owned()?)))
            .collect::<io::Result<Vec<_>>>()
            .context("cannot copy the socket of --metrics")?;
        for listener in &listeners {
            announce(listener.address());
        }
        let server = HttpServer::start(sockets, pages(setup, service))
            .context("cannot start the thread of --metrics")?;
        Ok(Self { server, _listeners: listeners })
    }

    /// Closes the listeners of this process.
    pub(crate) fn stop(self) {
        self.server.stop();
    }
}

/// Logs where the metrics are, with a warning if other hosts may reach them.
fn announce(address: &Address) {
    let url = format!("http://{address}/metrics");
    let is_local = match address {
        Address::Tcp { .. } => address
            .resolve()
            .is_ok_and(|addresses| addresses.iter().all(|address| address.ip().is_loopback())),
        Address::Unix(_) => true,
    };
    match is_local {
        true => tracing::info!(url, "metrics"),
        false => tracing::warn!(
            url,
            "metrics: other hosts may read them; use a loopback address, or let a firewall decide who may"
        ),
    }
}

fn pages(setup: &Setup, service: &Arc<Service>) -> Vec<Page> {
    let registry = registry(setup, service);
    let (alive, ready) = (Arc::clone(service), Arc::clone(service));
    vec![
        page("/metrics", OPEN_METRICS, move || {
            let mut page = String::new();
            text::encode(&mut page, &registry).expect("writing into memory does not fail");
            (Status::Ok, page)
        }),
        page("/livez", TEXT, move || match alive.workers.longest_turn() {
            turn if turn >= HANG => {
                let turn = common::units::format_duration(turn);
                (Status::Unavailable, format!("a worker has hung for {turn}\n"))
            }
            _ => (Status::Ok, "alive\n".to_owned()),
        }),
        page("/readyz", TEXT, move || match (ready.shutdown.begun(), ready.accept_errors.is_paused()) {
            (Some(_), _) => (Status::Unavailable, "draining\n".to_owned()),
            (None, true) => (Status::Unavailable, "out of descriptors, memory or threads\n".to_owned()),
            (None, false) => (Status::Ok, "accepting\n".to_owned()),
        }),
        page("/", TEXT, || (Status::Ok, "echo server: /metrics /livez /readyz\n".to_owned())),
    ]
}

fn page(
    path: &'static str,
    content_type: &'static str,
    render: impl Fn() -> (Status, String) + Send + Sync + 'static,
) -> Page {
    Page { path, content_type, render: Box::new(render) }
}

fn registry(setup: &Setup, service: &Arc<Service>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(ProcessFamilies));
    let mode = ("mode".into(), setup.mode.name.into());
    let echo = registry.sub_registry_with_prefix("echo").sub_registry_with_label(mode);
    echo.register_collector(Box::new(Families::new(setup.mode, Arc::clone(service))));
    registry
}
