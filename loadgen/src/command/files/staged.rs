//! The content of a file that is ready to be put in place.

use std::{
    fs::{File, Metadata, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{FallocateFlags, fallocate, getxattr},
    io::Errno,
};
use tempfile::NamedTempFile;

use super::{
    is_forbidden, not_made, open_existing,
    place::{Place, folder, resolve},
};

/// The permissions of a new file, before the umask is taken away.
const NEW_FILE_MODE: u32 = 0o666;
/// The attribute that holds an access control list (acl(5), xattr(7)).
const ACL: &str = "system.posix_acl_access";

/// A file to write, after all steps that may fail and lose nothing.
pub(super) enum Staged {
    /// The content is in a temporary file in the same folder, which only has to be renamed. The last field is the existing
    /// file, to be overwritten if the system forbids the rename.
    Beside(NamedTempFile, PathBuf, Option<File>),
    /// The existing file, with enough space for the content.
    InPlace(File),
    /// A device or a pipe, which can fail only when it is written.
    Special(PathBuf),
}

pub(super) fn stage(path: &Path, content: &[u8]) -> io::Result<Staged> {
    match resolve(path)? {
        Place::Special(path) => Ok(Staged::Special(path)),
        Place::New(path) => {
            let mode = Permissions::from_mode(NEW_FILE_MODE);
            let file = tempfile::Builder::new().permissions(mode).tempfile_in(folder(&path));
            let file = file.map_err(not_made)?;
            Ok(Staged::Beside(filled(file, content)?, path, None))
        }
        Place::Existing(path, metadata) => {
            let existing = open_existing(&path, &metadata)?;
            match beside(&path, &metadata) {
                Ok(Some(file)) => Ok(Staged::Beside(filled(file, content)?, path, Some(existing))),
                Err(error) if !is_forbidden(&error) => Err(error),
                Ok(None) | Err(_) => {
                    reserve(&existing, content.len())?;
                    Ok(Staged::InPlace(existing))
                }
            }
        }
    }
}

impl Staged {
    pub(super) fn finish(self, content: &[u8]) -> io::Result<()> {
        match self {
            Self::Beside(file, path, existing) => match (file.persist(path), existing) {
                // The folder is sticky, or the file is a mount point: it can be overwritten, but not replaced.
                (Err(refused), Some(existing)) if is_forbidden(&refused.error) => {
                    reserve(&existing, content.len())?;
                    overwrite(&existing, content)
                }
                (persisted, _) => persisted.map(drop).map_err(|refused| refused.error),
            },
            Self::InPlace(file) => overwrite(&file, content),
            // Without truncation: another process may have written to the open descriptor before.
            Self::Special(path) => OpenOptions::new().append(true).open(path)?.write_all(content),
        }
    }
}

/// An empty file in the same folder that can replace the existing file. None if the replacement would lose something.
fn beside(path: &Path, metadata: &Metadata) -> io::Result<Option<NamedTempFile>> {
    let file = NamedTempFile::new_in(folder(path)).map_err(not_made)?;
    let made = file.as_file().metadata()?;
    // The call fails if the file has no list.
    let has_acl = getxattr(path, ACL, &mut [0_u8; 0]).is_ok();
    let is_alike = (made.uid(), made.gid()) == (metadata.uid(), metadata.gid());
    if !is_alike || metadata.nlink() > 1 || has_acl {
        return Ok(None);
    }
    file.as_file().set_permissions(metadata.permissions())?;
    Ok(Some(file))
}

fn filled(mut file: NamedTempFile, content: &[u8]) -> io::Result<NamedTempFile> {
    file.as_file_mut().write_all(content)?;
    // Some file systems report only now that they are full.
    file.as_file().sync_all()?;
    Ok(file)
}

/// Reserves the space for the content before the old content is overwritten.
fn reserve(file: &File, bytes: usize) -> io::Result<()> {
    if file.metadata()?.len() >= bytes as u64 {
        return Ok(());
    }
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, bytes as u64) {
        // Some file systems do not support it.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        reserved => Ok(reserved?),
    }
}

fn overwrite(file: &File, content: &[u8]) -> io::Result<()> {
    file.write_all_at(content, 0)?;
    file.set_len(content.len() as u64)?;
    file.sync_all()
}
