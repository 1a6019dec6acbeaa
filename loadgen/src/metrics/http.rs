//! A small HTTP server in a thread of its own, which nobody can make large.

use std::{convert::Infallible, io, net, sync::Arc, thread, time::Duration};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderName},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use prometheus_client::registry::Registry;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{exposition::render, page};

/// Connections at once. Others wait in the backlog.
const CONNECTIONS_MAX: usize = 8;
/// From the moment when a connection was accepted to its end, whatever its client does.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two connections, of which each has one request: whoever asks without pause costs no more than a small part of
/// a CPU.
const CONNECTION_GAP: Duration = Duration::from_millis(10);
/// Of a request's head, and of what is buffered at all; the least that the library takes.
const BUFFER_BYTES_MAX: usize = 8192;
/// The lowest priority there is (setpriority(2)).
const NICE_MAX: i32 = 19;

const TEXT: &str = "text/plain; charset=utf-8";
const METHODS: &str = "GET, HEAD";

/// Serves what the registry knows until the process ends.
///
/// # Errors
/// When the thread, or what it waits with, cannot be had.
pub(super) fn serve(listener: net::TcpListener, registry: Registry) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    listener.set_nonblocking(true)?;
    let listener = {
        let _guard = runtime.enter();
        TcpListener::from_std(listener)?
    };
    thread::Builder::new().name("metrics".to_owned()).spawn(move || {
        // On Linux that is of this thread alone. A load thread on the same CPU goes first; where the system does not
        // allow it, the bounds above remain.
        let _priority = rustix::process::setpriority_process(None, NICE_MAX);
        runtime.block_on(accept(listener, Arc::new(registry)));
    })?;
    Ok(())
}

async fn accept(listener: TcpListener, registry: Arc<Registry>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            let _ended = connections.join_next().await;
        }
        // Where a connection cannot be accepted, the next try comes after the gap.
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(timeout(CONNECTION_TIMEOUT, converse(stream, registry.clone())));
        }
        sleep(CONNECTION_GAP).await;
    }
}

/// One request and its response.
async fn converse(stream: TcpStream, registry: Arc<Registry>) {
    let respond = service_fn(|request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &registry);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), respond);
    // A client that goes away or sends nonsense is its own affair.
    let _served = connection.await;
}

fn respond(method: &Method, path: &str, registry: &Registry) -> Response<String> {
    match (method, path) {
        (&Method::GET | &Method::HEAD, "/metrics") => {
            response(StatusCode::OK, (CONTENT_TYPE, page::CONTENT_TYPE), render(registry))
        }
        (&Method::GET | &Method::HEAD, "/") => {
            let text = "loadgen: the metrics of the running load are at /metrics\n";
            response(StatusCode::OK, (CONTENT_TYPE, TEXT), text.to_owned())
        }
        (_, "/metrics" | "/") => response(StatusCode::METHOD_NOT_ALLOWED, (ALLOW, METHODS), String::new()),
        _ => {
            let text = "not found: the metrics are at /metrics\n";
            response(StatusCode::NOT_FOUND, (CONTENT_TYPE, TEXT), text.to_owned())
        }
    }
}

fn response(status: StatusCode, (name, value): (HeaderName, &'static str), body: String) -> Response<String> {
    let response = Response::builder().status(status).header(name, value).body(body);
    response.expect("the header is a constant and well formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_and_what_cannot_be_done_have_their_own_status() {
        let registry = Registry::default();
        for (method, path, status) in [
            (Method::GET, "/metrics", 200),
            (Method::HEAD, "/metrics", 200),
            (Method::GET, "/", 200),
            (Method::GET, "/metrics/", 404),
            (Method::GET, "/favicon.ico", 404),
            (Method::POST, "/favicon.ico", 404),
            (Method::POST, "/metrics", 405),
            (Method::DELETE, "/", 405),
        ] {
            let response = respond(&method, path, &registry);
            assert_eq!(response.status(), status, "{method} {path}");
            assert_eq!(response.headers().contains_key(ALLOW), status == 405, "{method} {path}");
        }
        let metrics = respond(&Method::GET, "/metrics", &registry);
        assert_eq!(metrics.headers()[CONTENT_TYPE], page::CONTENT_TYPE);
    }
}
