//! Real servers of other projects, each on a free port with a configuration of its own.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
};

use common::Address;
use tempfile::TempDir;

use super::{machine, process::Running, wait::wait_until};

/// How often another port is tried, if another program takes the port meanwhile.
const ATTEMPTS: usize = 5;
/// How many files nginx's only worker may open.
const NGINX_CONNECTIONS: u32 = 1024;

/// A running server.
pub(crate) struct Service {
    // Ends before its folder is removed.
    _running: Running,
    port: u16,
    folder: TempDir,
}

impl Service {
    /// redis-server, with further settings of its configuration file, each a line.
    #[track_caller]
    pub(crate) fn redis(settings: &str) -> Self {
        Self::start(|port, folder| {
            let file = folder.join("redis.conf");
            let address = if settings.contains("tls-port") { 0 } else { port };
            let settings = settings.replace("PORT", &port.to_string());
            let text =
                format!("bind 127.0.0.1\nport {address}\nsave \"\"\ndir {}\n{settings}\n", folder.display());
            fs::write(&file, text).expect("the folder is ours");
            let mut command = Command::new("redis-server");
            command.arg(file);
            command
        })
    }

    /// memcached with one worker.
    #[track_caller]
    pub(crate) fn memcached() -> Self {
        Self::start(|port, _| {
            let mut command = Command::new("memcached");
            command.args(["-l", "127.0.0.1", "-U", "0", "-t", "1", "-u", "nobody", "-p", &port.to_string()]);
            command
        })
    }

    /// nginx with one worker and these lines in its `server` block. Its log has one line for each request: the status, the
    /// method and the path.
    #[track_caller]
    pub(crate) fn nginx(listen_options: &str, server: &str) -> Self {
        Self::start(|port, folder| {
            let (file, root) = (folder.join("nginx.conf"), folder.join("html"));
            fs::create_dir(&root).expect("the folder is ours");
            fs::write(root.join("index.html"), "hello\n").expect("the folder is ours");
            let text = format!(
                "daemon off; master_process off; pid {folder}/pid; error_log stderr;\n\
                 events {{ worker_connections {NGINX_CONNECTIONS}; }}\n\
                 http {{\n log_format short '$status $request_method $request_uri';\n access_log {folder}/access.log short;\n \
                 client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;\n \
                 uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n \
                 server {{ listen 127.0.0.1:{port} {listen_options}; root {folder}/html;\n {server}\n }}\n}}\n",
                folder = folder.display()
            );
            fs::write(&file, text).expect("the folder is ours");
            let mut command = Command::new("nginx");
            command.arg("-c").arg(file).arg("-e").arg("stderr");
            command
        })
    }

    /// Starts it on a free port. Another program may take the port before the server does.
    #[track_caller]
    fn start(command: impl Fn(u16, &Path) -> Command) -> Self {
        for _ in 0..ATTEMPTS {
            let folder = tempfile::tempdir().expect("there is room for temporary files");
            let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
            let port = listener.local_addr().expect("it listens").port();
            drop(listener);
            let mut running = Running::start(&mut command(port, folder.path()));
            let mut is_up = false;
            wait_until("the service listens or has ended", || {
                is_up = TcpStream::connect(("127.0.0.1", port)).is_ok();
                is_up || !running.is_running()
            });
            if is_up && running.is_running() {
                return Self { _running: running, port, folder };
            }
            println!("it ended: {}{}", running.stdout.so_far(), running.stderr.so_far());
        }
        panic!("the service did not start on {ATTEMPTS} ports");
    }

    pub(crate) fn address(&self) -> Address {
        format!("127.0.0.1:{}", self.port).parse().expect("it is an address")
    }

    /// Its folder, with its files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends these bytes on a connection of its own, and reads until the reply ends with `end`.
    #[track_caller]
    pub(crate) fn ask(&self, request: &str, end: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the service accepts");
        stream.write_all(request.as_bytes()).expect("the service reads");
        let (mut reply, mut part) = (Vec::new(), [0; 4096]);
        while !reply.ends_with(end.as_bytes()) {
            let length = stream.read(&mut part).expect("the service answers");
            assert!(length > 0, "the connection ended after {}", reply.escape_ascii());
            reply.extend_from_slice(&part[..length]);
        }
        String::from_utf8(reply).expect("the service answers in UTF-8")
    }

    /// The lines of nginx's access log, once there are this many.
    #[track_caller]
    pub(crate) fn access_log(&self, lines: u64) -> String {
        let log = || fs::read_to_string(self.folder().join("access.log")).unwrap_or_default();
        wait_until("the log has every request", || log().lines().count() as u64 >= lines);
        log()
    }
}

/// Requires redis-server.
pub(crate) fn redis() -> Result<(), String> {
    machine::works(Command::new("redis-server").arg("--version"))
}

/// Requires memcached.
pub(crate) fn memcached() -> Result<(), String> {
    machine::works(Command::new("memcached").arg("-V"))
}

/// Requires redis-server and memcached.
pub(crate) fn redis_and_memcached() -> Result<(), String> {
    redis().and_then(|()| memcached())
}

/// Requires nginx.
pub(crate) fn nginx() -> Result<(), String> {
    machine::works(Command::new("nginx").arg("-v"))
}
