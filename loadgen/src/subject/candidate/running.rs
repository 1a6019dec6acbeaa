//! A server that is already running, as the command line names it.

use std::str::FromStr;

use common::Address;

use super::NAME_LENGTH_MAX;

/// A server that is already running: its address, and a name of its own or that address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunningServer {
    /// The name.
    pub name: String,
    /// The address.
    pub address: Address,
}

impl FromStr for RunningServer {
    type Err = String;

    /// Reads `ADDRESS` or `NAME=ADDRESS`. An address may contain `=`, so a name contains no character that begins one.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text.split_once('=').filter(|(name, _)| !name.contains([':', '/', '%', '[']));
        let (name, address) = match named {
            Some((name, address)) => (Some(name.trim()), address.trim()),
            None => (None, text),
        };
        let address: Address = address.parse().map_err(|error| format!("{error}"))?;
        let name = name.map_or_else(|| address.to_string(), str::to_owned);
        match name.chars().count() {
            1..=NAME_LENGTH_MAX if !name.contains(char::is_control) => Ok(Self { name, address }),
            _ if named.is_none() => Ok(Self { name, address }),
            _ => Err(format!("a name has 1 to {NAME_LENGTH_MAX} printable characters: write NAME=ADDRESS")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_server_has_a_name_or_its_address() {
        let read = |text: &str| {
            let RunningServer { name, address } = text.parse().unwrap();
            (name, address.to_string())
        };
        let pair = |name: &str, address: &str| (name.to_owned(), address.to_owned());
        assert_eq!(read("10.0.0.2:80"), pair("10.0.0.2:80", "10.0.0.2:80"));
        assert_eq!(read("far=10.0.0.2:80"), pair("far", "10.0.0.2:80"));
        assert_eq!(read("the far one = far.example:80"), pair("the far one", "far.example:80"));
        assert_eq!(read("unix:/run/a=b"), pair("unix:/run/a=b", "unix:/run/a=b"));
        for text in ["=10.0.0.2:80", "far=", "far", "a\nb=10.0.0.2:80"] {
            assert!(text.parse::<RunningServer>().is_err(), "{text:?}");
        }
    }
}
