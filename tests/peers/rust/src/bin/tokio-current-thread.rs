//! A tokio task for each connection on a current-thread runtime, as everybody writes it.

use peers::tokio_task;

fn main() -> anyhow::Result<()> {
    tokio_task::run(tokio::runtime::Builder::new_current_thread())
}
