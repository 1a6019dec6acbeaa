//! The file that a path leads to.

use std::{
    fs::Metadata,
    io,
    os::unix::{ffi::OsStrExt, fs::FileTypeExt},
    path::{Path, PathBuf},
};

/// The maximum number of symlinks, as in the kernel (path_resolution(7)).
const LINKS_MAX: usize = 40;
/// The file system with the links to open descriptors. Such a link leads to an open file, not to a path.
pub(super) const PROC: &str = "/proc";

/// The target of a path.
pub(super) enum Place {
    /// A file that does not exist yet.
    New(PathBuf),
    /// A regular file.
    Existing(PathBuf, Metadata),
    /// A device, a pipe or an open descriptor, which is written to and not replaced.
    Special(PathBuf),
}

/// Follows the symlinks of a path, as the kernel does.
pub(super) fn resolve(path: &Path) -> io::Result<Place> {
    if path.as_os_str().is_empty() {
        return Err(io::Error::other("the path is empty"));
    }
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return new(path),
            Err(error) => return Err(error),
            Ok(link) if link.is_symlink() && is_descriptor(&path) => return Ok(Place::Special(path)),
            Ok(link) if link.is_symlink() => path = folder(&path).join(path.read_link()?),
            Ok(metadata) if metadata.is_dir() => return Err(io::Error::other("it is a folder")),
            Ok(metadata) if metadata.is_file() => return Ok(Place::Existing(path, metadata)),
            Ok(metadata) if metadata.file_type().is_socket() => {
                return Err(io::Error::other("it is a socket"));
            }
            Ok(_) => return Ok(Place::Special(path)),
        }
    }
    Err(io::Error::other("too many symlinks, or a cycle of symlinks"))
}

fn new(path: PathBuf) -> io::Result<Place> {
    match path.as_os_str().as_bytes().last() {
        Some(b'/') => Err(io::Error::other("there is no such folder")),
        _ => Ok(Place::New(path)),
    }
}

fn is_descriptor(path: &Path) -> bool {
    folder(path).canonicalize().is_ok_and(|folder| folder.starts_with(PROC))
}

pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
