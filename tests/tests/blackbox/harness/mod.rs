//! What lets a test read as its scenario: the programs, the processes and the clients.

pub(crate) mod client;
pub(crate) mod exposition;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod queues;
pub(crate) mod server;
pub(crate) mod text;
pub(crate) mod wait;

pub(crate) use self::{
    client::Client,
    process::Finished,
    server::{Server, ServerCommand},
    wait::wait_until,
};
