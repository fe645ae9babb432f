//! Write results into a folder, and leave nothing behind where that fails.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// A folder that is being filled. Unless it is kept, what was written into it disappears again with it.
///
/// ```
/// use armilla::pipeline::OutFolder;
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("a/b");
/// let mut out = OutFolder::create(&path)?;
/// std::fs::write(out.file("half.txt"), "half").unwrap();
/// drop(out);
/// assert!(!folder.path().join("a").exists());
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug)]
pub struct OutFolder {
    path: PathBuf,
    /// Folders that were not there before, outermost first.
    created: Vec<PathBuf>,
    /// Files handed out, whether they were there before or not.
    files: Vec<(PathBuf, bool)>,
    kept: bool,
}

impl OutFolder {
    /// The folder at `path`, made if it is not there, with those it lies in.
    ///
    /// # Errors
    ///
    /// A path that cannot be a folder.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let mut created: Vec<PathBuf> = path
            .ancestors()
            .filter(|p| !p.as_os_str().is_empty())
            .take_while(|p| !p.exists())
            .map(Path::to_owned)
            .collect();
        created.reverse();
        let folder = Self {
            path,
            created,
            files: Vec::new(),
            kept: false,
        };
        if folder.path.is_file() {
            return Err(Error::file(
                &folder.path,
                "this is a file; name a folder to write into",
            ));
        }
        fs::create_dir_all(&folder.path)
            .map_err(|e| Error::file(&folder.path, format!("the folder cannot be made: {e}")))?;
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the file `name` in it, which is about to be written.
    pub fn file(&mut self, name: &str) -> PathBuf {
        let path = self.path.join(name);
        if self.files.iter().all(|(known, _)| *known != path) {
            self.files.push((path.clone(), path.exists()));
        }
        path
    }

    /// Keep it, and return the files written.
    pub fn keep(mut self) -> Vec<PathBuf> {
        self.kept = true;
        std::mem::take(&mut self.files)
            .into_iter()
            .map(|(path, _)| path)
            .collect()
    }
}

impl Drop for OutFolder {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        // Nothing more can be done about what cannot be removed. A folder that others wrote into is not empty and stays.
        for (path, was_there) in &self.files {
            if !was_there {
                let _ = fs::remove_file(path);
            }
        }
        for folder in self.created.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_stays() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("old"), "1").unwrap();
        let mut out = OutFolder::create(folder.path()).unwrap();
        fs::write(out.file("old"), "2").unwrap();
        fs::write(out.file("new"), "2").unwrap();
        drop(out);
        assert!(folder.path().join("old").exists() && !folder.path().join("new").exists());

        let mut out = OutFolder::create(folder.path().join("x")).unwrap();
        let file = out.file("new");
        fs::write(&file, "2").unwrap();
        assert_eq!(out.keep(), std::slice::from_ref(&file));
        assert!(file.exists());
        assert!(
            OutFolder::create(&file)
                .unwrap_err()
                .to_string()
                .contains("this is a file")
        );
    }
}
