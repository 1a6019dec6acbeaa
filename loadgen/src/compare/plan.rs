//! What a comparison does: validated, and free of the command line's types.

use std::str::FromStr;

use server::mode::{MODES, Mode};

use crate::plan::{OwnServerPlan, Plan, PlanError};

/// The most rounds; their order and their reports are kept.
pub const ROUNDS_MAX: u64 = 1000;
/// What stands for the port in a command.
pub const PORT: &str = "{port}";

/// What a comparison does.
#[derive(Clone, Debug)]
pub struct ComparePlan {
    /// What is compared, at least one, each with a name of its own.
    pub contestants: Vec<Contestant>,
    /// The place of the one that the others are compared with.
    pub baseline: usize,
    /// From 1 to [`ROUNDS_MAX`].
    pub rounds: usize,
    /// Whether servers and load get CPUs of their own.
    pub pin: bool,
    /// The load, of which each server gets the same. It has no targets.
    pub load: Plan,
}

/// A server that takes part.
#[derive(Clone, Debug)]
pub struct Contestant {
    /// What it is called.
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
}

/// Somebody's server: a name and the words of a command, of which at least one holds the port's place.
///
/// ```
/// use loadgen::compare::plan::ServerCommand;
///
/// let server: ServerCommand = "nc=ncat -l 127.0.0.1 {port} --exec '/bin/cat -u'".parse()?;
/// assert_eq!(server.name, "nc");
/// assert_eq!(server.words_for(7).last().map(String::as_str), Some("/bin/cat -u"));
/// assert!("nc=ncat -l 8080".parse::<ServerCommand>().is_err());
/// # Ok::<(), loadgen::compare::plan::CommandError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerCommand {
    /// What it is called.
    pub name: String,
    words: Vec<String>,
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

/// Why a comparison that was asked for makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComparePlanError {
    /// The load makes none.
    #[error(transparent)]
    Load(#[from] PlanError),
    /// Two of the same name.
    #[error("'{0}' is there twice: each server needs a name of its own")]
    TwiceNamed(String),
    /// A server has the name of a mode, which would be mistaken for it.
    #[error("'{0}' is a mode of loadgen's own server: give the command another name")]
    NamedLikeMode(String),
    /// The baseline takes no part.
    #[error("--baseline {name} is not compared here: choose one of {names}")]
    UnknownBaseline {
        /// What was asked for.
        name: String,
        /// What there is.
        names: String,
    },
    /// More rounds than are kept.
    #[error("--rounds {0} is too much: the most is {ROUNDS_MAX}")]
    TooManyRounds(u64),
}

/// What was asked for, before it is known to make sense.
#[derive(Clone, Debug)]
pub struct CompareRequest {
    /// The load.
    pub load: Plan,
    /// Modes of loadgen's own server, in their order.
    pub modes: Vec<&'static Mode>,
    /// The `--work` of loadgen's own servers.
    pub work: Option<String>,
    /// The `--threads` of loadgen's own servers.
    pub server_threads: Option<u64>,
    /// Other servers, in their order. Where neither these nor modes are given, it is every mode.
    pub servers: Vec<ServerCommand>,
    /// The name of the one that the others are compared with; else the first.
    pub baseline: Option<String>,
    /// At least 1.
    pub rounds: u64,
    /// See [`ComparePlan::pin`].
    pub pin: bool,
}

impl ComparePlan {
    /// Makes a plan of what was asked for.
    ///
    /// # Errors
    /// When it makes no sense; the error says what to change.
    pub fn new(request: CompareRequest) -> Result<Self, ComparePlanError> {
        let contestants = contestants(&request)?;
        let names = || contestants.iter().map(|contestant| contestant.name.clone());
        let baseline = match request.baseline {
            None => 0,
            Some(name) => names().position(|other| other == name).ok_or_else(|| {
                let names = names().collect::<Vec<_>>().join(", ");
                ComparePlanError::UnknownBaseline { name, names }
            })?,
        };
        if request.rounds > ROUNDS_MAX {
            return Err(ComparePlanError::TooManyRounds(request.rounds));
        }
        let rounds = request.rounds as usize;
        Ok(Self { contestants, baseline, rounds, pin: request.pin, load: request.load })
    }
}

fn contestants(request: &CompareRequest) -> Result<Vec<Contestant>, ComparePlanError> {
    let every = request.modes.is_empty() && request.servers.is_empty();
    let modes = if every { MODES.iter().collect() } else { request.modes.clone() };
    let own = modes.iter().map(|mode| Contestant {
        name: mode.name.to_owned(),
        launch: Launch::Own(OwnServerPlan {
            mode: mode.name,
            work: request.work.clone(),
            threads: request.server_threads,
        }),
    });
    let theirs = request
        .servers
        .iter()
        .map(|server| Contestant { name: server.name.clone(), launch: Launch::Command(server.clone()) });
    let contestants: Vec<_> = own.chain(theirs).collect();
    for (place, Contestant { name, launch }) in contestants.iter().enumerate() {
        if matches!(launch, Launch::Command(_)) && Mode::by_name(name).is_some() {
            return Err(ComparePlanError::NamedLikeMode(name.clone()));
        }
        if contestants[..place].iter().any(|other| other.name == *name) {
            return Err(ComparePlanError::TwiceNamed(name.clone()));
        }
    }
    Ok(contestants)
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
    use crate::plan::tests::request;

    fn plan(change: impl FnOnce(&mut CompareRequest)) -> Result<ComparePlan, ComparePlanError> {
        let mut request = CompareRequest {
            load: Plan::new(request(), 2).unwrap(),
            modes: Vec::new(),
            work: None,
            server_threads: None,
            servers: Vec::new(),
            baseline: None,
            rounds: 5,
            pin: false,
        };
        change(&mut request);
        ComparePlan::new(request)
    }

    fn server(text: &str) -> ServerCommand {
        text.parse().unwrap()
    }

    fn names(plan: &ComparePlan) -> Vec<&str> {
        plan.contestants.iter().map(|contestant| contestant.name.as_str()).collect()
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
    fn where_nothing_is_named_every_mode_takes_part_and_the_first_is_the_baseline() {
        let every: Vec<_> = MODES.iter().map(|mode| mode.name).collect();
        let plan = plan(|_| ()).unwrap();
        assert_eq!((names(&plan), plan.baseline), (every, 0));
    }

    #[test]
    fn what_is_named_takes_part_in_its_order() {
        let (first, last) = (&MODES[0], &MODES[MODES.len() - 1]);
        let servers = vec![server("y=a {port}"), server("x=b {port}")];
        let only = plan(|request| request.servers = servers.clone()).unwrap();
        assert_eq!(names(&only), ["y", "x"]);
        let mixed = plan(|request| {
            request.servers = servers;
            request.modes = vec![last, first];
            request.baseline = Some("x".to_owned());
        });
        let mixed = mixed.unwrap();
        assert_eq!((names(&mixed), mixed.baseline), (vec![last.name, first.name, "y", "x"], 3));
    }

    #[test]
    fn each_mistake_has_its_own_error() {
        let mode = &MODES[0];
        let twice = plan(|request| request.servers = vec![server("x=a {port}"), server("x=b {port}")]);
        assert_eq!(twice.unwrap_err(), ComparePlanError::TwiceNamed("x".to_owned()));
        let twice = plan(|request| request.modes = vec![mode, mode]);
        assert_eq!(twice.unwrap_err(), ComparePlanError::TwiceNamed(mode.name.to_owned()));
        let like = plan(|request| request.servers = vec![server(&format!("{}=a {{port}}", mode.name))]);
        assert_eq!(like.unwrap_err(), ComparePlanError::NamedLikeMode(mode.name.to_owned()));
        let unknown = plan(|request| {
            request.modes = vec![mode];
            request.baseline = Some("z".to_owned());
        });
        let names = mode.name.to_owned();
        assert_eq!(unknown.unwrap_err(), ComparePlanError::UnknownBaseline { name: "z".to_owned(), names });
        let rounds = plan(|request| request.rounds = ROUNDS_MAX + 1);
        assert_eq!(rounds.unwrap_err(), ComparePlanError::TooManyRounds(ROUNDS_MAX + 1));
    }
}
