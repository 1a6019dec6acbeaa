//! The servers that take part where several get their turns: loadgen's own, somebody's, and such as are there already.

use std::str::FromStr;

use common::Address;
use server::mode::{MODES, Mode};

use crate::plan::OwnServerPlan;

/// What stands for the port in a command.
pub const PORT: &str = "{port}";

/// A server that takes part.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// What it is called; no other has this name.
    pub name: String,
    /// How it is started.
    pub launch: Launch,
}

/// How a server is started.
#[derive(Clone, Debug)]
pub enum Launch {
    /// It is one of loadgen's own.
    Own(OwnServerPlan),
    /// It is somebody's.
    Command(ServerCommand),
    /// It is there already, and stays.
    Target(Address),
}

/// Somebody's server: a name and the words of a command, of which at least one holds the port's place.
///
/// ```
/// use loadgen::contestant::ServerCommand;
///
/// let server: ServerCommand = "nc=ncat -l 127.0.0.1 {port} --exec '/bin/cat -u'".parse()?;
/// assert_eq!(server.name, "nc");
/// assert_eq!(server.words_for(7).last().map(String::as_str), Some("/bin/cat -u"));
/// assert!("nc=ncat -l 8080".parse::<ServerCommand>().is_err());
/// # Ok::<(), loadgen::contestant::CommandError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCommand {
    /// What it is called.
    pub name: String,
    words: Vec<String>,
}

/// Who was asked to take part.
#[derive(Clone, Debug, Default)]
pub struct Invitation {
    /// Modes of loadgen's own server, in their order.
    pub modes: Vec<&'static Mode>,
    /// The `--work` of loadgen's own servers.
    pub work: Option<String>,
    /// The `--threads` of loadgen's own servers.
    pub server_threads: Option<u64>,
    /// Somebody's servers, in their order.
    pub servers: Vec<ServerCommand>,
    /// Servers that are there already, in their order. Where neither these nor others are given, it is every mode.
    pub targets: Vec<Address>,
}

/// Why those who were asked cannot take part together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContestantsError {
    /// Two of the same name.
    #[error("'{0}' is there twice: each server needs a name of its own")]
    TwiceNamed(String),
    /// A server has the name of a mode, which would be mistaken for it.
    #[error("'{0}' is a mode of loadgen's own server: give the command another name")]
    NamedLikeMode(String),
}

/// Why a text is not a [`ServerCommand`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no name.
    #[error("it has no name: write NAME=COMMAND, as in 'mine=./my-server {PORT}'")]
    NoName,
    /// The name would not fit into a table.
    #[error("the name '{0}' is not one of 1 to 40 printable characters")]
    BadName(String),
    /// There is no command.
    #[error("no command stands behind '{0}=': write NAME=COMMAND, as in 'mine=./my-server {PORT}'")]
    NoCommand(String),
    /// A quote has no end.
    #[error(
        "the command of {0} has a quote without its end: quotes and backslashes are read as a shell reads them"
    )]
    OpenQuote(String),
    /// It would listen nobody knows where.
    #[error(
        "the command of {0} does not say {PORT}: write it where the server is told its port, and loadgen puts a free \
         one there"
    )]
    NoPort(String),
}

impl Invitation {
    /// Those who take part, each with a name of its own.
    ///
    /// # Errors
    /// When two would have the same name.
    pub fn contestants(&self) -> Result<Vec<Contestant>, ContestantsError> {
        let every = self.modes.is_empty() && self.servers.is_empty() && self.targets.is_empty();
        let modes = if every { MODES.iter().collect() } else { self.modes.clone() };
        let own = modes.iter().map(|mode| Contestant {
            name: mode.name.to_owned(),
            launch: Launch::Own(OwnServerPlan {
                mode: mode.name,
                work: self.work.clone(),
                threads: self.server_threads,
            }),
        });
        let theirs = self
            .servers
            .iter()
            .map(|server| Contestant { name: server.name.clone(), launch: Launch::Command(server.clone()) });
        let there = self
            .targets
            .iter()
            .map(|target| Contestant { name: target.to_string(), launch: Launch::Target(target.clone()) });
        let contestants: Vec<_> = own.chain(theirs).chain(there).collect();
        for (place, Contestant { name, launch }) in contestants.iter().enumerate() {
            if matches!(launch, Launch::Command(_)) && Mode::by_name(name).is_some() {
                return Err(ContestantsError::NamedLikeMode(name.clone()));
            }
            if contestants[..place].iter().any(|other| other.name == *name) {
                return Err(ContestantsError::TwiceNamed(name.clone()));
            }
        }
        Ok(contestants)
    }
}

impl ServerCommand {
    /// The command's words with this port in its place.
    pub fn words_for(&self, port: u16) -> Vec<String> {
        self.words.iter().map(|word| word.replace(PORT, &port.to_string())).collect()
    }

    /// The command as it could be typed.
    pub fn command_line(&self) -> String {
        shell_words::join(&self.words)
    }
}

impl FromStr for ServerCommand {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, command) = text.split_once('=').ok_or(CommandError::NoName)?;
        let name = name.trim().to_owned();
        match name.chars().count() {
            0 => return Err(CommandError::NoName),
            1..=40 if !name.contains(char::is_control) => {}
            _ => return Err(CommandError::BadName(name.escape_default().to_string())),
        }
        let Ok(words) = shell_words::split(command) else { return Err(CommandError::OpenQuote(name)) };
        if words.is_empty() {
            return Err(CommandError::NoCommand(name));
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
    fn a_command_is_read_as_a_shell_reads_it_and_the_port_stands_wherever_it_is_asked_for() {
        let command = server("my server = ./serve 'two words' -p{port} {port} a\\ b");
        assert_eq!(command.name, "my server");
        assert_eq!(command.words_for(80), ["./serve", "two words", "-p80", "80", "a b"]);
        assert_eq!(command.command_line(), "./serve 'two words' -p{port} {port} 'a b'");
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
            ("x=serve 8080", CommandError::NoPort(named)),
        ] {
            assert_eq!(text.parse::<ServerCommand>().unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn a_server_that_is_there_goes_by_its_address() {
        let target: Address = "127.0.0.1:80".parse().unwrap();
        let invitation = Invitation { targets: vec![target.clone()], ..Invitation::default() };
        let contestants = invitation.contestants().unwrap();
        assert_eq!((contestants.len(), contestants[0].name.as_str()), (1, "127.0.0.1:80"));
        let twice = Invitation { targets: vec![target.clone(), target], ..Invitation::default() };
        assert_eq!(twice.contestants().unwrap_err(), ContestantsError::TwiceNamed("127.0.0.1:80".to_owned()));
    }
}
