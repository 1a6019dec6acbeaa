//! The folders of loadgen import downwards only, and no crate has an import cycle. Reads the sources as text.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// loadgen's folders, from the command line down to the load. Each may import from those after it.
const LOADGEN: &[&str] =
    &["args", "command", "live", "format", "judge", "result", "subject", "engine", "load", "protocol"];
/// The other crates have no order of folders, but no import cycle either.
const CRATES: &[(&str, &[&str])] = &[("common", &[]), ("loadgen", LOADGEN), ("server", &[])];

/// The imports of a crate: from module to module, each as its path from the crate's root.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn each_folder_imports_only_from_folders_below_it() {
    for (name, order) in CRATES {
        let place = |module: &str| order.iter().position(|room| *room == module.split("::").next().unwrap());
        for (module, imported) in imports(name).iter().flat_map(|(m, all)| all.iter().map(move |i| (m, i))) {
            if let (Some(importer), Some(imported_room)) = (place(module), place(imported)) {
                assert!(importer <= imported_room, "{name}: {module} imports {imported}, which is above it");
            }
        }
    }
}

#[test]
fn every_folder_of_loadgen_has_a_place_in_the_order() {
    for module in modules("loadgen").keys() {
        let room = module.split("::").next().unwrap();
        assert!(LOADGEN.contains(&room), "{module} is in no folder of the pipeline: see ARCHITECTURE.md");
    }
}

#[test]
fn no_crate_has_an_import_cycle() {
    for (name, _) in CRATES {
        let imports = imports(name);
        // A module without imports is in no cycle. Removes such modules until nothing changes. The rest is in a cycle, or
        // imports from one.
        let mut left = imports.clone();
        loop {
            let free: Vec<_> = left.iter().filter(|(_, to)| to.is_empty()).map(|(m, _)| m.clone()).collect();
            if free.is_empty() {
                break;
            }
            for module in free {
                left.remove(&module);
                for to in left.values_mut() {
                    to.remove(&module);
                }
            }
        }
        assert!(left.is_empty(), "{name} has a circle of imports among these: {left:#?}");
    }
}

#[test]
fn a_nested_import_is_read_completely() {
    let text =
        "use crate::{\n    a::{self, b::C},\n    d::E as F,\n};\nlet x = crate::g::h();\nuse super::i::J;\n";
    let expected = ["a", "a::b::C", "d::E", "g::h", "room::i::J"];
    assert_eq!(paths(text, "room::file"), expected.map(str::to_owned).into());
}

/// The source files of a crate by their module paths, without its roots and its files of tests.
fn modules(name: &str) -> BTreeMap<String, PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
    let mut found = BTreeMap::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a source folder can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let module = path.strip_prefix(&root).expect("it is below").with_extension("");
            let module = module.to_str().expect("a name in ASCII").replace('/', "::");
            if !["lib", "main"].contains(&module.as_str()) && !module.ends_with("tests") {
                found.insert(module, path);
            }
        }
    }
    found
}

fn imports(name: &str) -> Imports {
    let modules = modules(name);
    let known = |path: &String| {
        let parts: Vec<_> = path.split("::").collect();
        (1..=parts.len())
            .rev()
            .map(|length| parts[..length].join("::"))
            .find(|path| modules.contains_key(path))
    };
    // A module and its parts count as one.
    let is_inside = |one: &str, other: &str| one.starts_with(&format!("{other}::"));
    let of = |(module, file): (&String, &PathBuf)| {
        let text = fs::read_to_string(file).expect("a source file can be read");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let all = paths(code, module).iter().filter_map(known).collect::<BTreeSet<_>>();
        let others = all
            .into_iter()
            .filter(|other| other != module && !is_inside(other, module) && !is_inside(module, other));
        (module.clone(), others.collect())
    };
    modules.iter().map(of).collect()
}

/// The paths below `crate` that a module names, in imports and elsewhere. Comments do not count.
fn paths(code: &str, module: &str) -> BTreeSet<String> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code = code.lines().filter(is_code).collect::<Vec<_>>().join("\n");
    let parent = module.rsplit_once("::").map_or(String::new(), |(parent, _)| format!("{parent}::"));
    let mut found = BTreeSet::new();
    for (keyword, prefix) in [("crate::", ""), ("super::", parent.as_str())] {
        for (at, _) in code.match_indices(keyword) {
            let is_whole = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if is_whole {
                tree(&code[at + keyword.len()..], prefix, &mut found);
            }
        }
    }
    found
}

/// Reads one path, or a tree of paths in braces, and returns what follows it.
fn tree<'a>(text: &'a str, prefix: &str, found: &mut BTreeSet<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = tree(rest, prefix, found).trim_start();
            // `path as name` imports the path.
            if let Some((_, after)) = rest.strip_prefix("as ").map(|after| (0, after)) {
                rest = after.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_').trim_start();
            }
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            if rest.is_empty() {
                return rest;
            }
        }
    }
    let length = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(length);
    if name.is_empty() {
        return rest.get(1..).unwrap_or_default();
    }
    let path =
        if name == "self" { prefix.trim_end_matches("::").to_owned() } else { format!("{prefix}{name}") };
    match rest.strip_prefix("::") {
        Some(rest) if rest.starts_with('{') || rest.starts_with(|c: char| c.is_alphabetic() || c == '_') => {
            tree(rest, &format!("{path}::"), found)
        }
        _ => {
            found.insert(path);
            rest
        }
    }
}
