//! What every command that gives several servers their turns takes.

use std::time::Duration;

use clap::{
    Arg,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use server::mode::{MODES, Mode};

use super::load::OwnServerArgs;
use crate::{
    contestant::{Invitation, ServerCommand},
    plan::Request,
};

const EVERY: &str = "all";
const DURATION_DEFAULT: Duration = Duration::from_secs(2);

/// The servers that take turns.
#[derive(Debug, clap::Args)]
pub struct ServersArgs {
    /// Modes of loadgen's own server, parted by commas, or all [default: all, or none where other servers are named]
    #[arg(short, long, help_heading = "Servers", value_name = "MODES", value_delimiter = ',',
          value_parser = mode_parser())]
    modes: Vec<ModeName>,
    /// Somebody's server: its name, and a command with {port} in it; repeatable
    #[arg(long = "server", help_heading = "Servers", value_name = "NAME=COMMAND")]
    servers: Vec<ServerCommand>,
    /// Give the servers that are started and the load CPUs of their own, one for each load thread; without it they
    /// share them all
    #[arg(long, help_heading = "Servers")]
    pub pin: bool,
    /// Of loadgen's own servers.
    #[command(flatten)]
    own_server: OwnServerArgs,
}

/// One word of `--modes`.
#[derive(Clone, Copy, Debug)]
enum ModeName {
    Every,
    One(&'static Mode),
}

impl ServersArgs {
    /// Who is asked to take part; there is no target among them.
    pub fn invitation(&self) -> Invitation {
        let modes = self.modes.iter().flat_map(|name| match name {
            ModeName::Every => MODES.iter().collect(),
            ModeName::One(mode) => vec![*mode],
        });
        Invitation {
            modes: modes.collect(),
            work: self.own_server.work.clone(),
            server_threads: self.own_server.server_threads,
            servers: self.servers.clone(),
            targets: Vec::new(),
        }
    }
}

/// Several turns of each of several servers are made while somebody waits.
pub fn in_turns(flag: Arg) -> Arg {
    match flag.get_id().as_str() {
        "duration" => flag.help("Measure for so long [default: 2s, or no limit with --requests]"),
        "warmup" => flag.default_value("500ms"),
        _ => flag,
    }
}

/// The same of a load that is asked for.
pub fn limit(load: &mut Request) {
    if load.requests.is_none() {
        load.duration.get_or_insert(DURATION_DEFAULT);
    }
}

fn mode_parser() -> impl TypedValueParser<Value = ModeName> {
    let every = PossibleValue::new(EVERY).help("every one of them");
    let modes = MODES.iter().map(|mode| PossibleValue::new(mode.name).help(mode.summary));
    PossibleValuesParser::new(modes.chain([every])).map(|name| match Mode::by_name(&name) {
        Some(mode) => ModeName::One(mode),
        None => ModeName::Every,
    })
}
