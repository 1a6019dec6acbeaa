//! Files that are there as a whole or not at all.

use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use tempfile::NamedTempFile;

/// Tells before a run whether a file can be written there.
///
/// # Errors
/// When it cannot.
pub fn check_writable(path: &Path) -> anyhow::Result<()> {
    if path.is_dir() {
        bail!("nothing can be written to {}: it is a folder", path.display());
    }
    if is_special(path) {
        return Ok(());
    }
    let probe = tempfile::tempfile_in(folder(path));
    probe.map(drop).with_context(|| format!("nothing can be written to {}", path.display()))
}

/// Writes these files with these contents. What can fail is done for all of them before the first is replaced.
///
/// # Errors
/// When one cannot be written.
pub fn replace(files: &[(PathBuf, Vec<u8>)]) -> anyhow::Result<()> {
    let failed = |path: &Path| format!("{} cannot be written", path.display());
    let mut beside = Vec::new();
    for (path, content) in files.iter().filter(|(path, _)| !is_special(path)) {
        beside.push((path, write_beside(path, content).with_context(|| failed(path))?));
    }
    for (path, file) in beside {
        file.persist(path).with_context(|| failed(path))?;
    }
    for (path, content) in files.iter().filter(|(path, _)| is_special(path)) {
        fs::write(path, content).with_context(|| failed(path))?;
    }
    Ok(())
}

/// A device or a pipe is written to, not replaced.
fn is_special(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| !metadata.is_file())
}

fn write_beside(path: &Path, content: &[u8]) -> io::Result<NamedTempFile> {
    let readable = Permissions::from_mode(0o644);
    let mut file = tempfile::Builder::new().permissions(readable).tempfile_in(folder(path))?;
    file.write_all(content)?;
    Ok(file)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_one_file_cannot_be_written_none_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [kept, fresh] = ["kept", "fresh"].map(|name| folder.path().join(name));
        fs::write(&kept, "before").unwrap();
        let files = |other: PathBuf| [(kept.clone(), b"after".to_vec()), (other, b"new".to_vec())];
        let failed = replace(&files("/nowhere/at/all".into())).unwrap_err();
        assert!(failed.to_string().contains("/nowhere/at/all"), "{failed}");
        assert_eq!(fs::read(&kept).unwrap(), b"before");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left there");
        replace(&files(fresh.clone())).unwrap();
        assert_eq!([fs::read(&kept).unwrap(), fs::read(&fresh).unwrap()], [&b"after"[..], b"new"]);
    }

    #[test]
    fn what_cannot_be_written_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_writable(&folder.path().join("new")).is_ok());
        assert!(check_writable(Path::new("/dev/null")).is_ok());
        for (path, said) in [(folder.path(), "folder"), (Path::new("/nowhere/new"), "/nowhere/new")] {
            let refused = check_writable(path).unwrap_err().to_string();
            assert!(refused.contains(said), "{refused}");
        }
    }
}
