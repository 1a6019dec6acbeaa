//! A tokio task for each connection on the multi-thread runtime, a worker for each usable CPU.

use peers::tokio_task;

fn main() -> anyhow::Result<()> {
    tokio_task::run(tokio::runtime::Builder::new_multi_thread())
}
