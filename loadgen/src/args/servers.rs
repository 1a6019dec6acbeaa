//! The arguments of the commands that load several servers in turn: `compare` and `sweep`.

use std::{net::IpAddr, time::Duration};

use clap::{
    Arg,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use server::mode::{MODES, Mode};

use super::{dialogue::ServerDialogue, load::OwnServerArgs};
use crate::{
    load::{
        plan::Against,
        request::{PlanError, Request},
    },
    subject::candidate::{
        ServerCommand, ServerSelection,
        location::{CommandPrefix, Location, parse_server_address},
        running::RunningServer,
    },
};

const EVERY: &str = "all";
const DURATION_DEFAULT: Duration = Duration::from_secs(2);

/// The servers that take turns.
#[derive(Debug, clap::Args)]
pub(crate) struct ServersArgs {
    /// Modes of loadgen's own server, separated by commas, or all [default: all, or none if other servers are given]
    #[arg(short, long, help_heading = "Servers", value_name = "MODES", value_delimiter = ',',
          value_parser = mode_parser())]
    modes: Vec<ModeName>,
    /// Another server: its name, and a command with {port} in it; may be repeated
    #[arg(long = "server", help_heading = "Servers", value_name = "NAME=COMMAND")]
    servers: Vec<ServerCommand>,
    /// Requests and replies of one server, in place of the common ones: its name, and flags such as --protocol and --message. May be
    /// repeated, for servers that speak different protocols
    #[arg(long = "dialogue", help_heading = "Servers", value_name = "NAME=FLAGS")]
    dialogues: Vec<ServerDialogue>,
    /// Command in front of the commands of all servers that loadgen starts, to run them on another host: 'ip netns exec NAME',
    /// 'ssh HOST'. Needs --server-address
    #[arg(long, help_heading = "Servers", value_name = "COMMAND", requires = "server_address")]
    server_prefix: Option<CommandPrefix>,
    /// IP address at which the servers that loadgen starts listen; it replaces {host} in a command [default: 127.0.0.1]
    #[arg(long, help_heading = "Servers", value_name = "IP", value_parser = parse_server_address)]
    server_address: Option<IpAddr>,
    /// Run the load and the servers that loadgen starts on separate CPUs: one CPU for each load thread, the others for the
    /// servers. Without it they share all CPUs
    #[arg(long, help_heading = "Servers")]
    pub pin: bool,
    /// The own servers.
    #[command(flatten)]
    own_server: OwnServerArgs,
}

/// A value of `--modes`.
#[derive(Clone, Copy, Debug)]
enum ModeName {
    Every,
    One(&'static Mode),
}

impl ServersArgs {
    /// The servers. `targets` are running.
    ///
    /// # Errors
    /// When the message file of a dialogue cannot be read.
    pub(crate) fn selection(&self, targets: &[RunningServer]) -> Result<ServerSelection, PlanError> {
        let modes = self.modes.iter().flat_map(|name| match name {
            ModeName::Every => MODES.iter().collect(),
            ModeName::One(mode) => vec![*mode],
        });
        let dialogues = self.dialogues.iter().map(|dialogue| {
            let target = targets.iter().filter(|target| target.name == dialogue.name);
            let request =
                dialogue.request(&Against::Targets(target.map(|target| target.address.clone()).collect()))?;
            Ok((dialogue.name.clone(), request))
        });
        Ok(ServerSelection {
            modes: modes.collect(),
            work: self.own_server.work.clone(),
            server_threads: self.own_server.server_threads,
            servers: self.servers.clone(),
            targets: targets.to_vec(),
            dialogues: dialogues.collect::<Result<_, PlanError>>()?,
            location: self.location(),
        })
    }

    fn location(&self) -> Location {
        let default = Location::default();
        Location {
            prefix: self.server_prefix.clone().unwrap_or(default.prefix),
            address: self.server_address.unwrap_or(default.address),
        }
    }
}

/// The running servers as the load needs them to make its requests, such as the Host of HTTP.
pub(crate) fn against(targets: &[RunningServer]) -> Against {
    Against::Targets(targets.iter().map(|target| target.address.clone()).collect())
}

/// Changes the defaults of a flag: a command with many turns makes shorter runs.
pub(crate) fn in_turns(flag: Arg) -> Arg {
    match flag.get_id().as_str() {
        "duration" => flag.help("Length of the measurement [default: 2s, or no limit with --requests]"),
        "warmup" => flag.default_value("500ms"),
        _ => flag,
    }
}

/// Sets the default duration of a turn.
pub(crate) fn limit(load: &mut Request) {
    if load.timing.requests.is_none() && load.stages.is_none() {
        load.timing.duration.get_or_insert(DURATION_DEFAULT);
    }
}

fn mode_parser() -> impl TypedValueParser<Value = ModeName> {
    let every = PossibleValue::new(EVERY).help("All modes");
    let modes = MODES.iter().map(|mode| PossibleValue::new(mode.name).help(mode.summary));
    PossibleValuesParser::new(modes.chain([every])).map(|name| match Mode::by_name(&name) {
        Some(mode) => ModeName::One(mode),
        None => ModeName::Every,
    })
}
