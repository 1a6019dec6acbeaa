//! Programs that failed once, in files. They are played again before new ones.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::PathBuf,
};

use super::{kind::Kind, program::Program};

/// The folder of the files, beside this one.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/blackbox/model/kept")
}

/// The kept programs of this kind, each with the name of its file.
///
/// # Panics
/// When a file is no program.
pub(super) fn load(kind: &Kind) -> Vec<(String, Program)> {
    let files = fs::read_dir(folder()).expect("the folder is a part of the sources");
    let names = files.map(|file| file.expect("the folder can be read").file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    let beginning = format!("{}.", kind.name);
    let is_one = |name: &String| name.starts_with(&beginning) && name.ends_with(".json");
    let read = |name: String| {
        let text = fs::read_to_string(folder().join(&name)).expect("the file can be read");
        let program = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        (name, program)
    };
    names.into_iter().filter(is_one).map(read).collect()
}

/// Writes the program to a file of its own. Returns the path.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn keep(kind: &Kind, program: &Program) -> io::Result<PathBuf> {
    let text = text(program);
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let path = folder().join(format!("{}.{:016x}.json", kind.name, hasher.finish()));
    fs::write(&path, text)?;
    Ok(path)
}

/// The program as the text of a file.
pub(super) fn text(program: &Program) -> String {
    let mut text = serde_json::to_string_pretty(program).expect("plain data has a text");
    text.push('\n');
    text
}
