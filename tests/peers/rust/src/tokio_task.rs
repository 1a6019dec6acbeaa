//! The echo that both of tokio's runtimes run.

use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Builder,
};

use crate::{BUFFER, listen, upper};

/// Serves until the process ends.
///
/// # Errors
/// If the server cannot listen or accept: the measurement would be invalid.
pub fn run(mut runtime: Builder) -> anyhow::Result<()> {
    let listener = listen()?;
    listener.set_nonblocking(true).context("the listener cannot be made non-blocking")?;
    let runtime = runtime.enable_io().build().context("the runtime cannot be started")?;
    // The accept loop is a task, too: `block_on` would run it outside the worker threads.
    runtime.block_on(async { tokio::spawn(accept(TcpListener::from_std(listener)?)).await? })
}

async fn accept(listener: TcpListener) -> anyhow::Result<()> {
    loop {
        let (connection, _) = listener.accept().await.context("no connection can be accepted")?;
        connection.set_nodelay(true).context("TCP_NODELAY cannot be set")?;
        tokio::spawn(serve(connection));
    }
}

async fn serve(mut connection: TcpStream) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(received @ 1..) = connection.read(&mut buffer).await {
        upper(&mut buffer[..received]);
        if connection.write_all(&buffer[..received]).await.is_err() {
            return;
        }
    }
}
