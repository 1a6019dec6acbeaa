//! A load generator whose numbers can be trusted. It is a pipeline, and each part has its file:
//!
//! `arguments -> plan -> schedule -> clients -> recordings -> report -> format`
//!
//! - [`args`] is the command line's syntax, [`plan`] what it means.
//! - [`schedule`] says when each client's requests are due, [`message`] what they say: both pure.
//! - [`run`] conducts: it checks the [`limits`], finds the servers ([`reach`]), starts the server when it is to be the
//!   run's own ([`own_server`], [`server_process`]), and starts one [`worker`] a load thread, which it steers through
//!   [`control`], as the [`interruption`] does.
//! - A worker waits for sockets and [`timers`] and drives its [`client`]s, which share a [`mod@bench`]. What they
//!   see goes into a [`recording`]; a [`failure`] is counted data like everything else.
//! - [`tally`] gathers the recordings and makes the [`report`] of them, with the help of [`summary`],
//!   [`fairness`] and [`verdict`]: pure again.
//! - [`mod@metrics`] tells Prometheus what was gathered so far, while the load runs.
//! - What is asked of a result ([`slo`]) is held against its report.
//! - A format prints what is in the report, and computes nothing. What it prints to a file is there as a whole or not at
//!   all ([`files`]).
//! - [`mod@merge`] adds reports of several generators up to one.
//! - [`mod@compare`] conducts many runs in turn, each with a fresh server: its own, or somebody's ([`their_server`]), once it
//!   has given its first [`answer`]. [`mod@sweep`] does so at one level of load after the other. What a [`contestant`] is
//!   and how it gets its [`turn`] is the same in both.

pub mod answer;
pub mod args;
pub mod bench;
pub mod calibrate;
pub mod client;
pub mod clock;
pub mod compare;
pub mod contestant;
pub mod control;
pub mod cpus;
pub mod error;
pub mod failure;
pub mod fairness;
pub mod files;
pub mod human;
pub mod interruption;
pub mod limits;
pub mod merge;
pub mod message;
pub mod metrics;
pub mod own_server;
pub mod plan;
pub mod probes;
pub mod progress;
pub mod reach;
pub mod recording;
pub mod report;
pub mod run;
pub mod schedule;
pub mod server_process;
pub mod show;
pub mod slo;
pub mod socket;
pub mod start_at;
pub mod summary;
pub mod sweep;
pub mod talk;
pub mod tally;
pub mod their_server;
pub mod timers;
pub mod timestamps;
pub mod turn;
pub mod verdict;
pub mod worker;
