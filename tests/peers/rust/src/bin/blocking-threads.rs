//! A thread for each connection, blocking calls.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
};

use anyhow::Context;
use peers::{BUFFER, listen, upper};

fn main() -> anyhow::Result<()> {
    let listener = listen()?;
    loop {
        let (connection, _) = listener.accept().context("no connection can be accepted")?;
        connection.set_nodelay(true).context("TCP_NODELAY cannot be set")?;
        thread::Builder::new().spawn(|| serve(connection)).context("no thread can be started")?;
    }
}

fn serve(mut connection: TcpStream) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(received @ 1..) = connection.read(&mut buffer) {
        upper(&mut buffer[..received]);
        if connection.write_all(&buffer[..received]).is_err() {
            return;
        }
    }
}
