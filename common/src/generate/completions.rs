//! Shell completions. clap_complete completes only the first value of a comma-separated list. This module changes its output
//! so that the shell completes every value.

use clap::{Arg, Command};
use clap_complete::{
    Generator,
    aot::{Bash, Fish, Zsh},
};

use super::Page;

/// A flag that accepts a comma-separated list of known values.
struct List {
    long: String,
    value_name: String,
    values: Vec<String>,
}

/// The completions for bash.
pub(super) fn bash(command: Command) -> Page {
    generate(Bash, command, |script, list| {
        let values = list.values.join(" ");
        // Each candidate keeps the text before the last comma.
        script.replace(
            &format!(r#"compgen -W "{values}" -- "${{cur}}""#),
            &format!(r#"compgen -P "${{cur%"${{cur##*,}}"}}" -W "{values}" -- "${{cur##*,}}""#),
        )
    })
}

/// The completions for zsh.
pub(super) fn zsh(command: Command) -> Page {
    generate(Zsh, command, |script, List { value_name, values, .. }| {
        let values = values.join(" ");
        replace_between(&script, &format!(":{value_name}:(("), "))'", |_| {
            format!(":{value_name}:_values -s , {value_name} {values}'")
        })
    })
}

/// The completions for fish.
pub(super) fn fish(command: Command) -> Page {
    generate(Fish, command, |script, List { long, values, .. }| {
        let values = values.join(" ");
        replace_between(&script, &format!(" -l {long} "), "\"\n", |between| {
            let (help, _values) = between.split_once(" -a \"").unwrap_or((between, ""));
            format!(
                " -l {long} {help} -a \"(__fish_complete_list , 'string split \\\" \\\" \\\"{values}\\\"')\"\n"
            )
        })
    })
}

fn generate(
    shell: impl Generator,
    mut command: Command,
    complete_list: impl Fn(String, &List) -> String,
) -> Page {
    let name = command.get_name().to_owned();
    let mut lists = Vec::new();
    find_lists(&command, &mut lists);
    let file = shell.file_name(&name);
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    let script = String::from_utf8(script).expect("a script is made of strings");
    let script = lists.iter().fold(script, &complete_list);
    Page { name: file, text: script.into_bytes() }
}

fn find_lists(command: &Command, lists: &mut Vec<List>) {
    for arg in command.get_arguments().filter(|arg| arg.get_value_delimiter() == Some(',')) {
        let list = list(arg).filter(|list| lists.iter().all(|other| other.long != list.long));
        lists.extend(list);
    }
    command.get_subcommands().for_each(|subcommand| find_lists(subcommand, lists));
}

fn list(arg: &Arg) -> Option<List> {
    let values = arg.get_possible_values();
    Some(List {
        long: arg.get_long()?.to_owned(),
        value_name: arg.get_value_names()?.first()?.to_string(),
        values: values.iter().map(|value| value.get_name().to_owned()).collect(),
    })
    .filter(|list| !list.values.is_empty())
}

/// Replaces each part of the text from `begin` to `end`.
fn replace_between(text: &str, begin: &str, end: &str, replace: impl Fn(&str) -> String) -> String {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(begin) {
        let Some((between, after)) = after.split_once(end) else { break };
        replaced.push_str(before);
        replaced.push_str(&replace(between));
        rest = after;
    }
    replaced + rest
}
