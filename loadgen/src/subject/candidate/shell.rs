//! Finds shell syntax in a command that runs without a shell. Pure.

/// The names of shells. Their scripts may contain any syntax.
const SHELLS: [&str; 7] = ["ash", "bash", "dash", "fish", "ksh", "sh", "zsh"];

/// Shell syntax, as written in the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ShellSyntax {
    /// An assignment of a variable: `NAME=value`.
    Assignment(String),
    /// An operator, an expansion or a substitution.
    Other(String),
}

/// The quoting at a position of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unquoted,
    Single,
    Double,
}

/// Finds the first shell syntax. Quoted text is no shell syntax, except a `$` or a backtick in double quotes: a shell expands
/// these too. A command that starts a shell may have them, as that shell expands them.
pub(super) fn find(command: &str, words: &[String]) -> Option<ShellSyntax> {
    let first = command.split_whitespace().next().unwrap_or_default();
    if is_assignment(first) {
        return Some(ShellSyntax::Assignment(first.to_owned()));
    }
    let starts_shell = words.iter().any(|word| SHELLS.contains(&word.rsplit('/').next().unwrap_or_default()));
    let mut state = State::Unquoted;
    let mut at_start = true;
    let mut chars = command.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let next = chars.peek().map(|(_, next)| *next);
        let is_syntax = match (state, c) {
            (State::Single, '\'') | (State::Double, '"') => {
                state = State::Unquoted;
                false
            }
            (State::Single, _) => false,
            (_, '\\') => {
                chars.next();
                false
            }
            (State::Unquoted, '\'') => {
                state = State::Single;
                false
            }
            (State::Unquoted, '"') => {
                state = State::Double;
                false
            }
            (State::Unquoted, '|' | '&' | ';' | '<' | '>' | '(' | ')' | '`') => true,
            (State::Unquoted, '~') => at_start,
            (State::Unquoted, '$') => is_expanded(next),
            (State::Double, '`') => !starts_shell,
            (State::Double, '$') => !starts_shell && is_expanded(next),
            _ => false,
        };
        if is_syntax {
            return Some(ShellSyntax::Other(word_around(command, at).to_owned()));
        }
        at_start = state == State::Unquoted && c.is_whitespace();
    }
    None
}

fn is_assignment(word: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    word.split_once('=').is_some_and(|(name, _)| is_name(name))
}

/// Whether a shell expands a `$` before this character.
fn is_expanded(next: Option<char>) -> bool {
    next.is_some_and(|next| next.is_ascii_alphanumeric() || "_{(@*#?$!-".contains(next))
}

fn word_around(command: &str, at: usize) -> &str {
    let start = command[..at].rfind(char::is_whitespace).map_or(0, |space| space + 1);
    let end = command[at..].find(char::is_whitespace).map_or(command.len(), |space| at + space);
    // A space of several bytes leaves `start` inside it.
    command.get(start..end).unwrap_or(&command[at..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(command: &str) -> Option<ShellSyntax> {
        find(command, &shell_words::split(command).unwrap())
    }

    #[test]
    fn shell_syntax_is_found_where_a_shell_would_find_it() {
        for (command, part) in [
            ("./serve {port} && true", "&&"),
            ("cd /srv; ./serve {port}", "/srv;"),
            ("./serve {port} | tee log", "|"),
            ("./serve {port} > log", ">"),
            ("./serve {port} 2>/dev/null", "2>/dev/null"),
            ("./serve {port} <input", "<input"),
            ("./serve {port} &", "&"),
            ("(./serve {port})", "(./serve"),
            ("$HOME/serve {port}", "$HOME/serve"),
            ("./serve --to=${PLACE} {port}", "--to=${PLACE}"),
            ("./serve $(nproc) {port}", "$(nproc)"),
            ("./serve `nproc` {port}", "`nproc`"),
            ("~/serve {port}", "~/serve"),
            ("./serve \"$HOME\" {port}", "\"$HOME\""),
            ("./serve \"`nproc`\" {port}", "\"`nproc`\""),
        ] {
            assert_eq!(found(command), Some(ShellSyntax::Other(part.to_owned())), "{command}");
        }
        for command in ["X=1 ./serve {port}", "_A1='two words' ./serve {port}"] {
            let first = command.split(' ').next().unwrap().to_owned();
            assert_eq!(found(command), Some(ShellSyntax::Assignment(first)), "{command}");
        }
    }

    #[test]
    fn quoted_text_and_scripts_of_a_shell_are_not_found() {
        for command in [
            "./serve --port={port} --name=x",
            "./serve 'a && b > $HOME `c` (d)' {port}",
            "./serve \"a && b > c\" {port}",
            "./serve a\\&b \\$HOME \"\\$HOME\" {port}",
            "./serve 5$ \"5$\" a~ {port}",
            "env X=1 ./serve {port}",
            "./X=1 {port}",
            "sh -c 'cd $HOME && exec ./serve {port}'",
            "sh -c \"cd $HOME && exec ./serve {port}\"",
            "env X=1 /bin/bash -c \"exec ./serve `nproc` {port}\"",
        ] {
            assert_eq!(found(command), None, "{command}");
        }
    }
}
