//! Write files so that a reader finds all of the new file or none of it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// Write the file at `path` through `fill`: beside it under a temporary name first, then renamed.
///
/// # Errors
///
/// Whatever `fill` returns, and every failure to create, write or rename. The temporary file is then gone and what was
/// at `path` is untouched.
///
/// ```
/// use std::io::Write;
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("a.txt");
/// armilla::atomic::write_atomically(&path, |out| {
///     out.write_all(b"whole").map_err(|e| armilla::Error::file("a.txt", e))
/// })
/// .unwrap();
/// assert_eq!(std::fs::read(&path).unwrap(), b"whole");
/// ```
pub fn write_atomically(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
) -> Result<()> {
    let path = path.as_ref();
    let (mut temporary, file) = Temporary::create(path)?;
    let mut out = BufWriter::new(file);
    fill(&mut out)?;
    out.flush()
        .and_then(|()| out.get_ref().sync_all())
        .map_err(|e| Error::file(path, cannot_write(&e)))?;
    drop(out);
    fs::rename(&temporary.path, path).map_err(|e| Error::file(path, cannot_write(&e)))?;
    temporary.kept = true;
    Ok(())
}

/// The words for a failed write, with the advice that fits it.
pub(crate) fn cannot_write(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => {
            "the disk is full; nothing was written, free some space and try again".to_owned()
        }
        io::ErrorKind::PermissionDenied => "no permission to write here".to_owned(),
        io::ErrorKind::IsADirectory => "this is a folder; name a file to write inside it".to_owned(),
        _ => format!("cannot be written: {error}"),
    }
}

/// A file that is removed unless it was renamed, also when a panic unwinds.
struct Temporary {
    path: PathBuf,
    kept: bool,
}

impl Temporary {
    fn create(target: &Path) -> Result<(Self, File)> {
        // Two threads of one process may write the same target: the counter keeps their temporary files apart.
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let name = match target.file_name() {
            Some(name) if !target.is_dir() => name,
            _ => {
                return Err(Error::file(
                    target,
                    "this is a folder; name a file to write inside it",
                ));
            }
        };
        let mut hidden = OsString::from(".");
        hidden.push(name);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        hidden.push(format!(".{}-{count}.part", std::process::id()));
        let path = target.with_file_name(hidden);
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => Ok((Self { path, kept: false }, file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let folder = target.parent().unwrap_or(Path::new("."));
                Err(Error::file(
                    target,
                    format!("the folder {} does not exist; create it first", folder.display()),
                ))
            }
            Err(e) => Err(Error::file(target, cannot_write(&e))),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing more can be done about a file that cannot even be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        fs::write(&path, "old").unwrap();
        let result = write_atomically(&path, |out| {
            out.write_all(b"half").unwrap();
            Err(Error::Invalid("stop".into()))
        });
        assert!(result.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn missing_folders_and_folders_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("no/file");
        let message = write_atomically(&inside, |_| Ok(())).unwrap_err().to_string();
        assert!(message.contains("does not exist"), "{message}");
        let message = write_atomically(folder.path(), |_| Ok(()))
            .unwrap_err()
            .to_string();
        assert!(message.contains("this is a folder"), "{message}");
    }
}
