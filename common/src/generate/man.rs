//! Man pages: one for the program, and one for each of its commands.

use std::io;

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::Page;
use crate::manual::{Manual, Manuals, Names};

const SECTION: &str = "1";

/// The page of the program, and then the pages of its commands.
pub(super) fn pages(command: Command, manuals: Manuals) -> Vec<Page> {
    // A man page for `help` would be useless.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let program = command.get_name().to_owned();
    let source = format!("{program} {}", command.get_version().unwrap_or_default());
    let name_of = |subcommand: &Command| format!("{program}-{}", subcommand.get_name());
    let names: Vec<_> = command.get_subcommands().map(name_of).collect();
    let shown = Names { written: manuals.name, shown: program.clone() };
    let render = |command: &Command, title: &str, manual: Option<&Manual>, see_also: &[String]| {
        page(command, title, &source, manual.map(|manual| (manual, &shown)), see_also)
    };
    let mut pages = vec![render(&command, &program, Some(&manuals.program), &names)];
    for (subcommand, name) in command.get_subcommands().zip(&names) {
        let manual = manuals.find(subcommand.get_name());
        pages.push(render(subcommand, name, manual, std::slice::from_ref(&program)));
    }
    pages
}

fn page(
    command: &Command,
    title: &str,
    source: &str,
    manual: Option<(&Manual, &Names)>,
    see_also: &[String],
) -> Page {
    let man = Man::new(command.clone())
        .title(title)
        .section(SECTION)
        // Without a date, the same version generates the same pages.
        .date(" ")
        .source(source)
        .manual("User Commands");
    let mut text = render(&man, command).expect("writing into memory does not fail");
    let mut roff = Roff::new();
    if let Some((manual, names)) = manual {
        manual.write_roff(names, &mut roff);
    }
    if !see_also.is_empty() {
        roff.control("SH", ["SEE ALSO"]);
        let mut references = Vec::new();
        for (index, other) in see_also.iter().enumerate() {
            references.extend((index > 0).then(|| roman(", ")));
            references.extend([bold(other.as_str()), roman(format!("({SECTION})"))]);
        }
        roff.text(references);
    }
    roff.to_writer(&mut text).expect("writing into memory does not fail");
    Page { name: format!("{title}.{SECTION}"), text }
}

/// The sections that follow from the command's definition.
fn render(man: &Man, command: &Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    Ok(text)
}
