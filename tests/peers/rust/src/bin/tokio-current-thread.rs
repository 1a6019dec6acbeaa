//! A tokio task for each connection on a current-thread runtime, the usual design.

use peers::tokio_task;

fn main() -> anyhow::Result<()> {
    tokio_task::run(tokio::runtime::Builder::new_current_thread())
}
