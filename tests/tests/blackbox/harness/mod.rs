//! Tools of the tests: the programs, the processes and the clients. They let a test read as its scenario.

pub(crate) mod browser;
pub(crate) mod cgroup;
pub(crate) mod client;
pub(crate) mod docker;
pub(crate) mod exposition;
pub(crate) mod faulty;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod prometheus;
pub(crate) mod queues;
pub(crate) mod request_log;
pub(crate) mod scraped_load;
pub(crate) mod server;
pub(crate) mod service;
pub(crate) mod slurm;
pub(crate) mod text;
pub(crate) mod tls;
pub(crate) mod wait;

pub(crate) use self::{
    client::Client,
    process::Finished,
    server::{Server, ServerCommand},
    wait::wait_until,
};
