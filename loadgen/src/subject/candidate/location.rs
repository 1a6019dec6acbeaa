//! Where the servers run that loadgen starts: on this machine, or on another host by a command in front of theirs.

use std::{
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
};

use super::shell::{self, ShellSyntax};

/// The program that joins the words of a command for a shell on the other host (ssh(1)).
const SSH: &str = "ssh";

/// A script for the other host. It runs a server in a process group of its own, ends it at the end of standard input, as when
/// the connection is lost, and ends with it.
const UNTIL_INPUT_ENDS: &str = "exec 3<&0; setsid \"$@\" </dev/null 3<&- & server=$!; \
                                { cat <&3; kill -TERM -$server; sleep 2; kill -KILL -$server; } >/dev/null 2>&1 & guard=$!; \
                                exec 3<&-; wait $server; status=$?; kill $guard 2>/dev/null; exit $status";

/// Where servers run, and where they listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    /// The words in front of a server's command.
    pub prefix: CommandPrefix,
    /// The address at which servers listen, as the load reaches it.
    pub address: IpAddr,
}

/// The words in front of a server's command, such as `ip netns exec far`. Empty if the server's command is started itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CommandPrefix(Vec<String>);

/// The reason why a text is not a [`CommandPrefix`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PrefixError {
    /// It has no words.
    #[error("the command is missing: write it as in 'ip netns exec far' or 'ssh far'")]
    Empty,
    /// A quote is not closed.
    #[error("a quote is not closed: quotes and backslashes have the same meaning as in a shell")]
    OpenQuote,
    /// It contains shell syntax.
    #[error("it contains {0}, but no shell is used: write env {0} for a variable, or quote the part")]
    ShellSyntax(String),
}

impl Default for Location {
    fn default() -> Self {
        Self { prefix: CommandPrefix::default(), address: Ipv4Addr::LOCALHOST.into() }
    }
}

impl Location {
    /// Whether another command starts the servers, so they may run on another host.
    pub(crate) fn has_prefix(&self) -> bool {
        !self.prefix.0.is_empty()
    }
}

impl CommandPrefix {
    /// Whether a connection lies between the command and the server: the signals that end the one do not reach the other.
    pub(crate) fn is_ssh(&self) -> bool {
        self.0.iter().any(|word| word.rsplit('/').next() == Some(SSH))
    }

    /// The whole command of a server. Behind `ssh`, its words are quoted for the shell of the other host.
    pub(crate) fn before(&self, words: Vec<String>) -> Vec<String> {
        let words: Vec<_> = match self.is_ssh() {
            true => words.iter().map(|word| shell_words::quote(word).into_owned()).collect(),
            false => words,
        };
        [self.0.clone(), words].concat()
    }

    /// The whole command of a server that does not look at its standard input. Behind `ssh`, a script ends it with the standard
    /// input of the whole command.
    pub(crate) fn guarding(&self, words: Vec<String>) -> Vec<String> {
        let script = ["sh", "-c", UNTIL_INPUT_ENDS, "sh"].map(str::to_owned).to_vec();
        self.before(if self.is_ssh() { [script, words].concat() } else { words })
    }
}

impl FromStr for CommandPrefix {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = shell_words::split(text).map_err(|_| PrefixError::OpenQuote)?;
        if words.is_empty() {
            return Err(PrefixError::Empty);
        }
        match shell::find(text, &words) {
            Some(ShellSyntax::Assignment(part) | ShellSyntax::Other(part)) => {
                Err(PrefixError::ShellSyntax(part))
            }
            None => Ok(Self(words)),
        }
    }
}

/// Parses the address at which servers listen.
///
/// # Errors
/// When it is no address to which a client can connect.
pub(crate) fn parse_server_address(text: &str) -> Result<IpAddr, String> {
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => {
            Err("write the address by which this machine reaches the server's host".to_owned())
        }
        Ok(address) => Ok(address),
        Err(_) => Err("write an IP address, as in 10.0.0.2, without a port".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(prefix: &str, words: &[&str]) -> Vec<String> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        prefix.parse::<CommandPrefix>().unwrap().before(words)
    }

    #[test]
    fn a_prefix_stands_before_the_command_and_behind_ssh_the_command_is_quoted() {
        assert_eq!(
            before("ip netns exec far", &["serve", "two words"]),
            ["ip", "netns", "exec", "far", "serve", "two words"]
        );
        assert_eq!(
            before("/usr/bin/ssh -o 'User=me' far", &["serve", "two words", "$HOME"]),
            ["/usr/bin/ssh", "-o", "User=me", "far", "serve", "'two words'", "'$HOME'"]
        );
        assert_eq!(CommandPrefix::default().before(vec!["a b".to_owned()]), ["a b"]);
    }

    #[test]
    fn a_prefix_that_cannot_be_started_is_refused() {
        for (text, error) in [
            (" ", PrefixError::Empty),
            ("ssh 'far", PrefixError::OpenQuote),
            ("A=1 ssh far", PrefixError::ShellSyntax("A=1".to_owned())),
            ("ssh far &&", PrefixError::ShellSyntax("&&".to_owned())),
        ] {
            assert_eq!(text.parse::<CommandPrefix>().unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn servers_listen_at_an_address_that_can_be_reached() {
        assert_eq!(parse_server_address("10.0.0.2"), Ok(IpAddr::from([10, 0, 0, 2])));
        assert!(parse_server_address("fd00::2").is_ok());
        for text in ["0.0.0.0", "::", "far", "10.0.0.2:80", ""] {
            assert!(parse_server_address(text).is_err(), "{text}");
        }
    }
}
