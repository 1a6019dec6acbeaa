//! The servers that `compare` and `sweep` load: loadgen's own ones, other commands, and servers that are already running.

pub(crate) mod location;
pub(crate) mod running;
mod shell;

use std::{net::IpAddr, str::FromStr};

use common::Address;
use server::mode::{MODES, Mode};

use self::{location::Location, running::RunningServer, shell::ShellSyntax};
use crate::{
    load::{
        plan::{OwnServerPlan, Plan},
        request::{PlanError, echoed},
        tls::{TlsError, TlsPlan},
    },
    protocol::dialogue::{Dialogue, DialogueError, DialogueRequest},
};

/// The placeholder of the port in a command.
pub(crate) const PORT: &str = "{port}";
/// The placeholder of the address in a command.
const HOST: &str = "{host}";
/// The longest name of a server, in characters.
const NAME_LENGTH_MAX: usize = 40;

/// A server that `compare` or `sweep` loads.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// The name, which is unique among the candidates.
    pub name: String,
    /// How the server is started.
    pub launch: Launch,
    /// Its own requests and replies. None: those of the load.
    pub dialogue: Option<Dialogue>,
    /// Where it runs, if loadgen starts it.
    pub location: Location,
}

/// How a server is started.
#[derive(Clone, Debug)]
pub(crate) enum Launch {
    /// loadgen's own server.
    Own(OwnServerPlan),
    /// Another server, which loadgen starts with a command.
    Command(ServerCommand),
    /// A server that is already running. loadgen does not end it.
    Target(Address),
}

/// A server that loadgen starts with a command: a name, and words of which at least one contains [`PORT`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerCommand {
    /// The name.
    pub name: String,
    words: Vec<String>,
}

/// The servers that the command line selects.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerSelection {
    /// Modes of loadgen's own server, in their order.
    pub modes: Vec<&'static Mode>,
    /// The `--work` of loadgen's own servers.
    pub work: Option<String>,
    /// The `--threads` of loadgen's own servers.
    pub server_threads: Option<u64>,
    /// Servers that loadgen starts with a command, in their order.
    pub servers: Vec<ServerCommand>,
    /// Servers that are already running, in their order. If no server at all is given, every mode is selected.
    pub targets: Vec<RunningServer>,
    /// Where the servers run that loadgen starts.
    pub location: Location,
    /// The requests and replies of single servers, by name.
    pub dialogues: Vec<(String, DialogueRequest)>,
}

impl Candidate {
    /// The mode of loadgen's own server, or the command of another one with the words in front of it, or the address of a server
    /// that is already running.
    pub(crate) fn origin(&self) -> (Option<String>, Option<String>, Option<String>) {
        match &self.launch {
            Launch::Own(own) => (Some(own.mode.to_owned()), None, None),
            Launch::Command(command) => {
                let words = self.location.prefix.before(command.words.clone());
                (None, Some(shell_words::join(words)), None)
            }
            Launch::Target(target) => (None, None, Some(target.to_string())),
        }
    }

    /// The load of this server: the common one, with the server's own requests and replies.
    pub(crate) fn load(&self, common: Plan) -> Plan {
        match &self.dialogue {
            Some(dialogue) => Plan { dialogue: dialogue.clone(), ..common },
            None => common,
        }
    }
}

/// Checks that each server can be loaded with TLS, if there is a plan of it.
///
/// # Errors
/// When one of them cannot speak TLS, or has no name for its certificate.
pub(crate) fn check_tls(candidates: &[Candidate], plan: Option<&TlsPlan>) -> Result<(), TlsError> {
    let Some(plan) = plan else { return Ok(()) };
    candidates.iter().try_for_each(|candidate| match &candidate.launch {
        Launch::Own(_) => Err(TlsError::OwnServer { with_commands: true }),
        Launch::Target(target) => plan.name_of(target).map(drop),
        Launch::Command(_) => Ok(()),
    })
}

/// The reason why the selected servers cannot be loaded together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SelectionError {
    /// Two servers have the same name.
    #[error("'{0}' is given twice: each server needs its own name")]
    TwiceNamed(String),
    /// Another server has the name of a mode, so the report would be ambiguous.
    #[error("'{0}' is a mode of loadgen's own server: give the other server another name")]
    NamedLikeMode(String),
    /// A dialogue belongs to no server.
    #[error("--dialogue {name}: there is no server of this name: the servers are {names}")]
    UnknownDialogue {
        /// The given name.
        name: String,
        /// The names of the servers.
        names: String,
    },
    /// A server has two dialogues.
    #[error("--dialogue {0} is given twice: give all flags of a server in one --dialogue")]
    TwoDialogues(String),
    /// A dialogue is not possible.
    #[error("--dialogue {name}: {error}")]
    Dialogue {
        /// The server's name.
        name: String,
        /// What is wrong.
        error: DialogueError,
    },
    /// A location, and only servers that are already running.
    #[error(
        "--server-prefix and --server-address are for servers that loadgen starts, but all servers are already running: \
         add --modes or --server, or remove the flag"
    )]
    LocatesNoServer,
}

/// The reason why a text is not a [`ServerCommand`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    /// The name is missing.
    #[error("the name is missing: write NAME=COMMAND, as in 'mine=./my-server {PORT}'")]
    NoName,
    /// The name does not fit into a table.
    #[error("the name '{0}' must have 1 to {NAME_LENGTH_MAX} printable characters")]
    BadName(String),
    /// The command is missing.
    #[error("the command after '{0}=' is missing: write NAME=COMMAND, as in 'mine=./my-server {PORT}'")]
    NoCommand(String),
    /// A quote is not closed.
    #[error(
        "a quote in the command of {0} is not closed: quotes and backslashes have the same meaning as in a shell"
    )]
    OpenQuote(String),
    /// It sets a variable, which only a shell does.
    #[error(
        "the command of {name} begins with {assignment}, but no shell is used: write env {assignment} ..., or sh -c \
         '...'"
    )]
    Assignment {
        /// The server's name.
        name: String,
        /// The assignment before the command.
        assignment: String,
    },
    /// It contains shell syntax.
    #[error(
        "the command of {name} contains {part}, but no shell is used: write sh -c '...', or quote the part \
         that the server gets unchanged"
    )]
    ShellSyntax {
        /// The server's name.
        name: String,
        /// The word with the shell syntax.
        part: String,
    },
    /// The placeholder of the port is missing.
    #[error(
        "the command of {0} does not contain {PORT}: write it in place of the port, and loadgen replaces it with a free \
         one"
    )]
    NoPort(String),
}

impl ServerSelection {
    /// The selected servers, each with its own name.
    ///
    /// # Errors
    /// When two servers have the same name, or a dialogue is not possible.
    pub(crate) fn candidates(&self) -> Result<Vec<Candidate>, SelectionError> {
        let every = self.modes.is_empty() && self.servers.is_empty() && self.targets.is_empty();
        let modes = if every { MODES.iter().collect() } else { self.modes.clone() };
        let candidate = |name: &str, launch| Candidate {
            name: name.to_owned(),
            launch,
            dialogue: None,
            location: self.location.clone(),
        };
        let own = modes.iter().map(|mode| {
            let plan =
                OwnServerPlan { mode: mode.name, work: self.work.clone(), threads: self.server_threads };
            candidate(mode.name, Launch::Own(plan))
        });
        let commands =
            self.servers.iter().map(|server| candidate(&server.name, Launch::Command(server.clone())));
        let running =
            self.targets.iter().map(|target| candidate(&target.name, Launch::Target(target.address.clone())));
        let mut candidates: Vec<_> = own.chain(commands).chain(running).collect();
        let is_started = |candidate: &Candidate| !matches!(candidate.launch, Launch::Target(_));
        if self.location != Location::default() && !candidates.iter().any(is_started) {
            return Err(SelectionError::LocatesNoServer);
        }
        for (place, Candidate { name, launch, .. }) in candidates.iter().enumerate() {
            if !matches!(launch, Launch::Own(_)) && Mode::by_name(name).is_some() {
                return Err(SelectionError::NamedLikeMode(name.clone()));
            }
            if candidates[..place].iter().any(|other| other.name == *name) {
                return Err(SelectionError::TwiceNamed(name.clone()));
            }
        }
        for (name, request) in &self.dialogues {
            let Some(place) = candidates.iter().position(|candidate| candidate.name == *name) else {
                let names = candidates.iter().map(|candidate| candidate.name.as_str());
                let names = names.collect::<Vec<_>>().join(", ");
                return Err(SelectionError::UnknownDialogue { name: name.clone(), names });
            };
            let dialogue = Dialogue::new(request.clone())
                .map_err(|error| SelectionError::Dialogue { name: name.clone(), error })?;
            if candidates[place].dialogue.replace(dialogue).is_some() {
                return Err(SelectionError::TwoDialogues(name.clone()));
            }
        }
        Ok(candidates)
    }
}

/// Checks that each of loadgen's own servers can answer in the protocol of its load, of which `common` is the default.
///
/// # Errors
/// [`PlanError::OwnServerProtocol`].
pub(crate) fn check_protocols(candidates: &[Candidate], common: &Dialogue) -> Result<(), PlanError> {
    let own = candidates.iter().filter(|candidate| matches!(candidate.launch, Launch::Own(_)));
    own.map(|own| own.dialogue.as_ref().unwrap_or(common)).try_for_each(|dialogue| echoed(dialogue.protocol))
}

impl ServerCommand {
    /// The words of the command, with this address and port.
    pub(crate) fn words_for(&self, host: IpAddr, port: u16) -> Vec<String> {
        let (host, port) = (host.to_string(), port.to_string());
        self.words.iter().map(|word| word.replace(PORT, &port).replace(HOST, &host)).collect()
    }
}

impl FromStr for ServerCommand {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, command) = text.split_once('=').ok_or(CommandError::NoName)?;
        let name = name.trim().to_owned();
        match name.chars().count() {
            0 => return Err(CommandError::NoName),
            1..=NAME_LENGTH_MAX if !name.contains(char::is_control) => {}
            _ => return Err(CommandError::BadName(name.escape_default().to_string())),
        }
        let Ok(words) = shell_words::split(command) else { return Err(CommandError::OpenQuote(name)) };
        if words.is_empty() {
            return Err(CommandError::NoCommand(name));
        }
        match shell::find(command, &words) {
            Some(ShellSyntax::Assignment(assignment)) => {
                return Err(CommandError::Assignment { name, assignment });
            }
            Some(ShellSyntax::Other(part)) => return Err(CommandError::ShellSyntax { name, part }),
            None => {}
        }
        if !words.iter().any(|word| word.contains(PORT)) {
            return Err(CommandError::NoPort(name));
        }
        Ok(Self { name, words })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> ServerCommand {
        text.parse().unwrap()
    }

    #[test]
    fn quotes_are_read_as_in_a_shell_and_the_port_replaces_each_placeholder() {
        let command = server("my server = ./serve 'two words' -p{port} {host}:{port} a\\ b");
        assert_eq!(command.name, "my server");
        let words = command.words_for(IpAddr::from([10, 0, 0, 2]), 80);
        assert_eq!(words, ["./serve", "two words", "-p80", "10.0.0.2:80", "a b"]);
        let location = Location { prefix: "taskset -c 0".parse().unwrap(), ..Location::default() };
        let candidate =
            Candidate { name: String::new(), launch: Launch::Command(command), dialogue: None, location };
        let line = candidate.origin().1.unwrap();
        assert_eq!(line, "taskset -c 0 ./serve 'two words' -p{port} {host}:{port} 'a b'");
    }

    #[test]
    fn a_command_that_cannot_be_started_is_refused() {
        let named = "x".to_owned();
        for (text, error) in [
            ("serve {port}", CommandError::NoName),
            ("=serve {port}", CommandError::NoName),
            ("a\nb=serve {port}", CommandError::BadName("a\\nb".to_owned())),
            ("x=", CommandError::NoCommand(named.clone())),
            ("x=serve '{port}", CommandError::OpenQuote(named.clone())),
            ("x=serve 8080", CommandError::NoPort(named.clone())),
            (
                "x=A=1 serve {port}",
                CommandError::Assignment { name: named.clone(), assignment: "A=1".to_owned() },
            ),
            ("x=serve {port} && true", CommandError::ShellSyntax { name: named, part: "&&".to_owned() }),
        ] {
            assert_eq!(text.parse::<ServerCommand>().unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn a_running_server_has_its_address_as_its_name() {
        let target: RunningServer = "127.0.0.1:80".parse().unwrap();
        let selection = ServerSelection { targets: vec![target.clone()], ..ServerSelection::default() };
        let candidates = selection.candidates().unwrap();
        assert_eq!((candidates.len(), candidates[0].name.as_str()), (1, "127.0.0.1:80"));
        let twice = ServerSelection { targets: vec![target.clone(), target], ..ServerSelection::default() };
        assert_eq!(twice.candidates().unwrap_err(), SelectionError::TwiceNamed("127.0.0.1:80".to_owned()));
    }
}
