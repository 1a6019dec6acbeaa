//! Writing of files that are complete or untouched: the content is written to a new file in the same folder, which then
//! replaces the old file.
//!
//! Symlinks are followed. A file keeps its permissions; a read-only file is an error. A file is overwritten in place if a
//! replacement would lose its owner, its hard links or its access control list, or if its folder does not allow it.
//! Devices and pipes are written to.

mod place;
mod staged;

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use rustix::fs::{Access, access};

use self::{
    place::{PROC, Place, folder, resolve},
    staged::stage,
};

/// Checks before a run that a file of at least `bytes_min` bytes can be written at its end. It takes the same steps as
/// [`replace`], except those that would change something.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn check_writable(path: &Path, bytes_min: usize) -> anyhow::Result<()> {
    check(path, bytes_min).map_err(explained).with_context(|| cannot_write(path))
}

/// Writes these files. All steps that are likely to fail precede the replacement of the first file.
///
/// # Errors
/// When one of them cannot be written.
pub(crate) fn replace(files: &[(PathBuf, Vec<u8>)]) -> anyhow::Result<()> {
    let mut staged = Vec::new();
    for (path, content) in files {
        let file = stage(path, content).map_err(explained).with_context(|| cannot_write(path))?;
        staged.push((path, content, file));
    }
    for (path, content, file) in staged {
        file.finish(content).map_err(explained).with_context(|| cannot_write(path))?;
    }
    Ok(())
}

/// Opens a file to append to it, and creates it if it does not exist.
///
/// # Errors
/// When it cannot be written, or is read-only.
pub(crate) fn append(path: &Path) -> anyhow::Result<File> {
    let open = || match resolve(path)? {
        Place::Existing(path, metadata) => {
            refuse_read_only(&metadata)?;
            OpenOptions::new().append(true).open(path)
        }
        Place::New(path) | Place::Special(path) => OpenOptions::new().append(true).create(true).open(path),
    };
    open().map_err(explained).with_context(|| cannot_write(path))
}

/// Opens a file to write it from its start, and creates it if it does not exist. A file loses its content at once; a pipe waits
/// for its reader.
///
/// # Errors
/// When it cannot be written, or is read-only.
pub(crate) fn create(path: &Path) -> anyhow::Result<File> {
    let open = || match resolve(path)? {
        Place::Existing(path, metadata) => {
            let file = open_existing(&path, &metadata)?;
            file.set_len(0)?;
            Ok(file)
        }
        Place::New(path) => File::create(path),
        Place::Special(path) => OpenOptions::new().append(true).open(path),
    };
    open().map_err(|error| write_error(path, error))
}

/// The error of a write to this file.
pub(crate) fn write_error(path: &Path, error: io::Error) -> anyhow::Error {
    anyhow::Error::new(explained(error)).context(cannot_write(path))
}

/// Whether the path is standard output: `-`, `/dev/stdout` and so on. Standard output keeps its position in the file that
/// it is redirected to; a second descriptor of that file would start at its beginning.
pub(crate) fn is_standard_output(path: &Path) -> bool {
    let own = Path::new(PROC).join(std::process::id().to_string()).join("fd");
    let is_first = |path: &Path| {
        path.file_name().is_some_and(|name| name == "1")
            && folder(path).canonicalize().is_ok_and(|fd| fd == own)
    };
    path == Path::new("-") || matches!(resolve(path), Ok(Place::Special(path)) if is_first(&path))
}

/// Whether both paths lead to the same file.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    let place = |path| match resolve(path) {
        Ok(Place::New(path) | Place::Existing(path, _)) => {
            Some(folder(&path).canonicalize().ok()?.join(path.file_name()?))
        }
        Ok(Place::Special(_)) | Err(_) => None,
    };
    place(one).is_some_and(|one| place(other) == Some(one))
}

fn check(path: &Path, bytes_min: usize) -> io::Result<()> {
    let probe =
        |path: &Path| tempfile::tempfile_in(folder(path)).map_err(not_made)?.write_all(&vec![0; bytes_min]);
    match resolve(path)? {
        Place::Special(path) => Ok(access(path, Access::WRITE_OK)?),
        Place::New(path) => probe(&path),
        Place::Existing(path, metadata) => {
            open_existing(&path, &metadata)?;
            match probe(&path) {
                Err(error) if !is_forbidden(&error) => Err(error),
                _ => Ok(()),
            }
        }
    }
}

/// Opens a file for writing, without a change.
fn open_existing(path: &Path, metadata: &Metadata) -> io::Result<File> {
    refuse_read_only(metadata)?;
    OpenOptions::new().write(true).open(path)
}

/// Root can write every file, but a read-only file is meant to stay unchanged.
fn refuse_read_only(metadata: &Metadata) -> io::Result<()> {
    match metadata.permissions().readonly() {
        true => Err(io::Error::new(io::ErrorKind::PermissionDenied, "the file is read-only")),
        false => Ok(()),
    }
}

/// Whether the system forbids the replacement of the file, but perhaps not its overwriting.
fn is_forbidden(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
    matches!(error.kind(), PermissionDenied | ReadOnlyFilesystem | ResourceBusy)
}

/// The error of a temporary file that could not be created, without its meaningless name.
fn not_made(error: io::Error) -> io::Error {
    use io::ErrorKind::{NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match error.kind() {
        NotFound => io::Error::new(NotFound, "its folder does not exist"),
        PermissionDenied => io::Error::new(PermissionDenied, "its folder does not allow new files"),
        kind @ (QuotaExceeded | ReadOnlyFilesystem | StorageFull) => kind.into(),
        _ => error,
    }
}

fn explained(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::FileTooLarge => {
            io::Error::other("the file-size limit of this process is too low: raise it (ulimit -f)")
        }
        _ => error,
    }
}

fn cannot_write(path: &Path) -> String {
    format!("{} cannot be written", path.display())
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, Permissions},
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    };

    use super::*;

    fn write(path: &Path, content: &str) -> anyhow::Result<()> {
        replace(&[(path.to_owned(), content.as_bytes().to_vec())])
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn if_one_file_cannot_be_written_none_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let [kept, fresh] = ["kept", "fresh"].map(|name| folder.path().join(name));
        fs::write(&kept, "before").unwrap();
        let files = |other: PathBuf| [(kept.clone(), b"after".to_vec()), (other, b"new".to_vec())];
        let error = replace(&files("/nowhere/at/all".into())).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
        assert_eq!(fs::read(&kept).unwrap(), b"before");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        replace(&files(fresh.clone())).unwrap();
        assert_eq!([fs::read(&kept).unwrap(), fs::read(&fresh).unwrap()], [&b"after"[..], b"new"]);
    }

    #[test]
    fn a_symlink_is_followed_even_to_a_file_that_does_not_exist_yet() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("deep")).unwrap();
        fs::write(at("deep/target"), "before").unwrap();
        symlink("deep/target", at("link")).unwrap();
        symlink(at("link"), at("link-to-link")).unwrap();
        symlink("deep/missing", at("dangling")).unwrap();
        symlink("circle", at("circle")).unwrap();
        for (link, target) in [("link-to-link", "deep/target"), ("dangling", "deep/missing")] {
            check_writable(&at(link), 0).unwrap();
            write(&at(link), "after").unwrap();
            assert_eq!(fs::read_to_string(at(target)).unwrap(), "after");
            assert!(at(link).symlink_metadata().unwrap().is_symlink(), "{link}");
        }
        for result in [check_writable(&at("circle"), 0), write(&at("circle"), "x")] {
            assert!(format!("{:#}", result.unwrap_err()).contains("symlinks"));
        }
        assert!(is_same(&at("link"), &at("deep/target")) && is_same(&at("a"), &at("deep/../a")));
        assert!(!is_same(&at("link"), &at("deep/other")));
    }

    #[test]
    fn a_file_keeps_its_permissions_and_a_read_only_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for permissions in [0o600, 0o640, 0o666] {
            fs::write(&path, "before").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(permissions)).unwrap();
            write(&path, "after").unwrap();
            assert_eq!((mode(&path), fs::read_to_string(&path).unwrap().as_str()), (permissions, "after"));
        }
        fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
        for result in [check_writable(&path, 0), write(&path, "x"), append(&path).map(drop)] {
            let error = format!("{:#}", result.unwrap_err());
            assert!(error.contains("read-only") && error.contains("file"), "{error}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "after");
    }

    #[test]
    fn a_file_with_hard_links_is_overwritten_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
        fs::write(&one, "before, and longer than after").unwrap();
        fs::hard_link(&one, &other).unwrap();
        for content in ["after", "after, and longer than before once more"] {
            write(&one, content).unwrap();
            assert_eq!(fs::read_to_string(&other).unwrap(), content);
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn the_check_finds_files_that_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "").unwrap();
        let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for path in [at("new"), at("file"), "/dev/null".into()] {
            check_writable(&path, 10_000).unwrap();
        }
        for (path, reason) in [
            (folder.path().to_owned(), "it is a folder"),
            ("/nowhere/new".into(), "its folder does not exist"),
            (at("new/"), "no such folder"),
            (at("file/below"), "Not a directory"),
            (at("socket"), "socket"),
            (at(&"x".repeat(256)), "too long"),
            (PathBuf::new(), "empty"),
        ] {
            let error = format!("{:#}", check_writable(&path, 0).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
        drop(socket);
    }
}
