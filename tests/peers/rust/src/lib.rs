//! Code that the echo servers in Rust share: their argument, their listener, and the conversion to upper case.

pub mod tokio_task;

use std::{
    io::{self, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use anyhow::Context;
use socket2::{Domain, Socket, Type};

/// Size of a receive buffer. A server with a thread or a task for each connection has one for each.
pub const BUFFER: usize = 16 * 1024;

/// Length of the accept queue.
const BACKLOG: i32 = 4096;

/// Listens on 127.0.0.1, on the port of the command line (0: any free one), and prints the address.
///
/// # Errors
/// If the argument is not a port, or the socket cannot listen on it.
pub fn listen() -> anyhow::Result<TcpListener> {
    let argument = std::env::args().nth(1).context("usage: PROGRAM PORT")?;
    let port: u16 = argument.parse().with_context(|| format!("'{argument}' is not a port"))?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).context("a socket cannot be made")?;
    socket
        .set_reuse_address(true)
        .context("the address cannot be shared with connections that are closing")?;
    socket
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())
        .with_context(|| format!("port {port} cannot be bound"))?;
    socket.listen(BACKLOG).context("the socket cannot listen")?;
    let listener = TcpListener::from(socket);
    print_address(&listener).context("stdout cannot be written")?;
    Ok(listener)
}

/// Converts ASCII letters to upper case.
pub fn upper(bytes: &mut [u8]) {
    bytes.make_ascii_uppercase();
}

fn print_address(listener: &TcpListener) -> io::Result<()> {
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on {}", listener.local_addr()?)?;
    stdout.flush()
}
