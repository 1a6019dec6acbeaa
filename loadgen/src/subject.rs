//! The server under test: loadgen's own or another one, its address, its process and its usage.

pub(crate) mod answer;
pub(crate) mod candidate;
pub(crate) mod command_server;
pub(crate) mod cpus;
pub(crate) mod machine;
pub(crate) mod own_server;
pub(crate) mod reach;
pub(crate) mod server_log;
pub(crate) mod server_process;
pub(crate) mod tls;
