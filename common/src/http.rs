//! A small HTTP server for metrics and health checks, in its own thread. Every cost that a client can cause has a bound.

use std::{convert::Infallible, fmt, io, net, sync::Arc, thread, time::Duration};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderName},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::oneshot,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{Address, address::ParseAddressError};

/// The maximum number of open connections of each listener. Others wait in the accept queue.
pub const CONNECTIONS_MAX: usize = 8;
/// The time limit of a connection, from its accept to its end.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause between two accepts. A connection has one request, so a busy client costs only a small share of a CPU.
const CONNECTION_GAP: Duration = Duration::from_millis(10);
/// The maximum number of buffered bytes per connection: the smallest value that the library allows.
const BUFFER_BYTES_MAX: usize = 8192;
/// The lowest priority (setpriority(2)).
const NICE_MAX: i32 = 19;

/// The content type of plain text.
pub const TEXT: &str = "text/plain; charset=utf-8";
const METHODS: &str = "GET, HEAD";

/// A page of the server.
pub struct Page {
    /// The path of its URL.
    pub path: &'static str,
    /// The content type of its body.
    pub content_type: &'static str,
    /// Makes its status and its body, for each request anew.
    pub render: Box<dyn Fn() -> (Status, String) + Send + Sync>,
}

/// The status of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// 200.
    Ok,
    /// 503.
    Unavailable,
}

/// A running server. It serves until [`HttpServer::stop`], or until the process ends.
#[derive(Debug)]
pub struct HttpServer {
    stop: oneshot::Sender<()>,
}

/// Parses the address of the server.
///
/// # Errors
/// When the text is no address, or that of a unix socket. The error says what to do.
pub fn parse_address(text: &str) -> Result<Address, String> {
    match text.parse().map_err(|error: ParseAddressError| error.to_string())? {
        Address::Unix(_) => Err("metrics are served over TCP only: write host:port or [v6]:port".to_owned()),
        address => Ok(address),
    }
}

impl HttpServer {
    /// Serves these pages at these listeners. Each request is answered on one thread, which has the lowest priority.
    ///
    /// # Errors
    /// When the thread or its runtime cannot be created.
    pub fn start(listeners: Vec<net::TcpListener>, pages: Vec<Page>) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listeners = {
            let _guard = runtime.enter();
            let to_tokio = |listener: net::TcpListener| {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)
            };
            listeners.into_iter().map(to_tokio).collect::<io::Result<Vec<_>>>()?
        };
        let (stop, stopped) = oneshot::channel();
        thread::Builder::new().name("metrics".to_owned()).spawn(move || {
            // On Linux, this is the priority of the calling thread only. Other threads on the same CPU then have
            // precedence. If the system does not allow it, the bounds above still hold.
            let _priority = rustix::process::setpriority_process(None, NICE_MAX);
            runtime.block_on(serve(listeners, Arc::new(pages), stopped));
        })?;
        Ok(Self { stop })
    }

    /// Closes the listeners. Requests that are being answered are cut off.
    pub fn stop(self) {
        // The thread has ended if its process ends.
        _ = self.stop.send(());
    }
}

async fn serve(listeners: Vec<TcpListener>, pages: Arc<Vec<Page>>, stopped: oneshot::Receiver<()>) {
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, Arc::clone(&pages)));
    }
    if stopped.await.is_err() {
        // The handle is dropped, so nothing will stop this server.
        accepting.join_all().await;
    }
}

async fn accept(listener: TcpListener, pages: Arc<Vec<Page>>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            let _ended = connections.join_next().await;
        }
        // After a failed accept, the next attempt follows the pause.
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(timeout(CONNECTION_TIMEOUT, converse(stream, Arc::clone(&pages))));
        }
        sleep(CONNECTION_GAP).await;
    }
}

/// One request and its response.
async fn converse(stream: TcpStream, pages: Arc<Vec<Page>>) {
    let respond = service_fn(|request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &pages);
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), respond);
    // Errors of a client do not matter to the program.
    let _served = connection.await;
}

fn respond(method: &Method, path: &str, pages: &[Page]) -> Response<String> {
    let Some(page) = pages.iter().find(|page| page.path == path) else {
        let paths: Vec<_> = pages.iter().map(|page| page.path).collect();
        let text = format!("not found: the pages are {}\n", paths.join(" "));
        return response(StatusCode::NOT_FOUND, (CONTENT_TYPE, TEXT), text);
    };
    if !matches!(*method, Method::GET | Method::HEAD) {
        return response(StatusCode::METHOD_NOT_ALLOWED, (ALLOW, METHODS), String::new());
    }
    let (status, body) = (page.render)();
    let status = match status {
        Status::Ok => StatusCode::OK,
        Status::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    };
    response(status, (CONTENT_TYPE, page.content_type), body)
}

fn response(status: StatusCode, (name, value): (HeaderName, &'static str), body: String) -> Response<String> {
    let response = Response::builder().status(status).header(name, value).body(body);
    response.expect("the header is a constant and well formed")
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };

    use super::*;

    fn pages() -> Vec<Page> {
        let page = |path, content_type, status: Status| Page {
            path,
            content_type,
            render: Box::new(move || (status, format!("{path}\n"))),
        };
        vec![
            page("/", TEXT, Status::Ok),
            page("/data", "application/data", Status::Ok),
            page("/readyz", TEXT, Status::Unavailable),
        ]
    }

    #[test]
    fn unknown_paths_and_methods_have_their_status() {
        for (method, path, status) in [
            (Method::GET, "/data", 200),
            (Method::HEAD, "/data", 200),
            (Method::GET, "/", 200),
            (Method::GET, "/readyz", 503),
            (Method::GET, "/data/", 404),
            (Method::GET, "/favicon.ico", 404),
            (Method::POST, "/favicon.ico", 404),
            (Method::POST, "/data", 405),
            (Method::DELETE, "/", 405),
        ] {
            let response = respond(&method, path, &pages());
            assert_eq!(response.status(), status, "{method} {path}");
            assert_eq!(response.headers().contains_key(ALLOW), status == 405, "{method} {path}");
        }
        let data = respond(&Method::GET, "/data", &pages());
        assert_eq!(
            (&data.headers()[CONTENT_TYPE], data.body().as_str()),
            (&"application/data".parse().unwrap(), "/data\n")
        );
    }

    #[test]
    fn every_listener_is_served_until_the_stop_and_no_longer() {
        let listeners: Vec<_> = (0..2).map(|_| net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        let server = HttpServer::start(listeners, pages()).unwrap();
        for address in &addresses {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(b"GET /data HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n/data\n"), "{answer}");
        }
        server.stop();
        for address in &addresses {
            while TcpStream::connect(address).is_ok() {
                thread::yield_now();
            }
        }
    }
}
