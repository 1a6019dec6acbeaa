//! The command line of this process in shell syntax. A result holds it, so that the run can be repeated.

use std::{
    borrow::Cow,
    env,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

use clap::Args as _;

use crate::load::part;

/// The command line of this process, after the variables that configure loadgen's own server, and those that give `--part`.
pub(crate) fn command_line() -> String {
    let known = server::args::Args::augment_args(clap::Command::new("server"));
    let names = known.get_arguments().filter_map(|flag| flag.get_env());
    // loadgen removes these two from the environment of the server.
    let names = names.filter(|name| *name != "SERVER_LISTEN" && *name != "SERVER_MODE");
    let variables = names.filter_map(|name| Some((name.to_owned(), env::var_os(name)?)));
    let variables = variables.chain(part_variables());
    line(variables, env::args_os())
}

/// The variables that give the part of a load: that of the flag, and those of the engine if the flag asks for them.
fn part_variables() -> Vec<(OsString, OsString)> {
    let set = |name: &str| Some((OsString::from(name), env::var_os(name)?));
    let flag = set(part::VARIABLE);
    let asks = |word: &OsString| {
        word.to_str().is_some_and(|word| word.strip_prefix("--part=").unwrap_or(word).starts_with("auto"))
    };
    let is_auto = env::args_os().any(|word| asks(&word)) || flag.iter().any(|(_, value)| asks(value));
    let of_engine = part::ENGINE_VARIABLES.iter().filter(|_| is_auto).filter_map(|name| set(name));
    flag.into_iter().chain(of_engine).collect()
}

fn line(
    variables: impl Iterator<Item = (OsString, OsString)>,
    words: impl Iterator<Item = OsString>,
) -> String {
    let assign = |(name, value): (OsString, OsString)| format!("{}={}", name.display(), quoted(&value));
    let all = variables.map(assign).chain(words.map(|word| quoted(&word)));
    all.collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    match word.to_str().map(shell_words::quote) {
        // A shell expands `{a,b}` to several words.
        Some(Cow::Borrowed(plain)) if plain.contains('{') => format!("'{plain}'"),
        Some(word) => word.into_owned(),
        // JSON cannot hold bytes that are not UTF-8. This quoting is POSIX since 2024, and older in bash and zsh.
        None => format!("$'{}'", word.as_bytes().escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_is_quoted_so_that_a_shell_reads_the_same_words() {
        let words: [&[u8]; 7] = [
            b"./load gen",
            b"run",
            b"--slo",
            b"p99<5ms",
            b"",
            b"--server=x=serve '{port}' {1,2} $HOME",
            b"{a,b}",
        ];
        let words = words.map(|word| OsStr::from_bytes(word).to_owned());
        let line =
            line([("SERVER_WORK".into(), "sleep:1ms x".into())].into_iter(), words.clone().into_iter());
        assert_eq!(
            line,
            r#"SERVER_WORK='sleep:1ms x' './load gen' run --slo 'p99<5ms' '' '--server=x=serve '\''{port}'\'' {1,2} $HOME' '{a,b}'"#
        );
        let read = shell_words::split(&line).unwrap();
        assert_eq!(read[1..], words.map(|word| word.into_string().unwrap()));
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_escaped() {
        assert_eq!(quoted(OsStr::from_bytes(b"a\xff'\n")), r"$'a\xff\'\n'");
    }
}
