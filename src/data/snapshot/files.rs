//! Find the files of snapshots by the names that simulations give them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::data::camels::text_files;
use crate::{Error, Result};

/// A simulation in a folder of simulations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulationFolder {
    /// The name of its folder, such as `LH_7`.
    pub name: String,
    /// The last snapshot there, the one of the highest number: a file, or the first of several.
    pub snapshot: PathBuf,
    /// The table that has its parameters under its name, where there is one.
    pub table: Option<PathBuf>,
}

/// The simulations below `folder`: folders that hold a snapshot, in the order of the numbers in their names. Their
/// parameters are in `table`, else in the only `CosmoAstroSeed_*.txt` of `folder`, if there is one.
///
/// # Errors
///
/// A folder that cannot be read, one without any, and several tables of which none is named.
pub fn simulation_folders(folder: impl AsRef<Path>, table: Option<&Path>) -> Result<Vec<SimulationFolder>> {
    let folder = folder.as_ref();
    let table = match table {
        Some(table) => Some(table.to_owned()),
        None => find_table(folder)?,
    };
    let mut found = Vec::new();
    for path in list(folder)? {
        if path.is_dir()
            && let Some(snapshot) = last_snapshot(&path)?
        {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let table = table.clone();
            found.push(SimulationFolder {
                name,
                snapshot,
                table,
            });
        }
    }
    if found.is_empty() {
        return Err(Error::file(
            folder,
            "no folder in it holds a snapshot (snapshot_###.hdf5, snap_###.hdf5 or snapdir_###/)",
        ));
    }
    found.sort_by_cached_key(|simulation| natural(&simulation.name));
    Ok(found)
}

/// The only table of the parameters of simulations in `folder`, if there is one.
fn find_table(folder: &Path) -> Result<Option<PathBuf>> {
    let mut found = text_files(folder, "CosmoAstroSeed_").map_err(|e| cannot_list(folder, &e))?;
    match found.len() {
        0 | 1 => Ok(found.pop()),
        count => Err(Error::file(
            folder,
            format!("it holds {count} tables of parameters; name one with --params"),
        )),
    }
}

/// The snapshot of the highest number in a folder, which may be a `snapdir_###` itself; whether it is sound is not asked.
pub(crate) fn last_snapshot(folder: &Path) -> Result<Option<PathBuf>> {
    let mut best: Option<(u64, PathBuf)> = None;
    let mut offer = |number: u64, path: PathBuf| {
        if best.as_ref().is_none_or(|(other, _)| number > *other) {
            best = Some((number, path));
        }
    };
    for path in list(folder)? {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if let Some(number) = name.strip_prefix("snapdir_").and_then(|n| n.parse().ok()) {
                let inner = list(&path)?;
                if let Some(file) = inner.into_iter().find(|file| first_part(file) == Some(number)) {
                    offer(number, file);
                }
            }
        } else if let Some(number) = first_part(&path) {
            offer(number, path);
        }
    }
    Ok(best.map(|(_, path)| path))
}

/// The number of a snapshot in the name of its file, where that is the only one or the first part.
fn first_part(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".hdf5")?;
    let number = name.strip_prefix("snapshot_").or(name.strip_prefix("snap_"))?;
    number.strip_suffix(".0").unwrap_or(number).parse().ok()
}

/// The files of the snapshot that `path` is one of, when there are `count`.
pub(super) fn parts(path: &Path, count: usize) -> Result<Vec<PathBuf>> {
    if count == 1 {
        return Ok(vec![path.to_owned()]);
    }
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let stem = name
        .strip_suffix(".hdf5")
        .and_then(|name| name.rsplit_once('.'))
        .filter(|(_, part)| part.parse::<usize>().is_ok());
    let Some((stem, _)) = stem else {
        return Err(Error::file(
            path,
            format!("it is one of {count} files, but has no number before .hdf5 by which to find the others"),
        ));
    };
    let files: Vec<PathBuf> = (0..count)
        .map(|part| path.with_file_name(format!("{stem}.{part}.hdf5")))
        .collect();
    match files.iter().position(|file| !file.is_file()) {
        None => Ok(files),
        Some(missing) => Err(Error::file(
            &files[missing],
            format!("no such file: the snapshot has {count}, 0 to {}", count - 1),
        )),
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let fail = |e| cannot_list(folder, &e);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        paths.push(entry.map_err(fail)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn cannot_list(folder: &Path, error: &std::io::Error) -> Error {
    Error::file(folder, format!("the folder cannot be read: {error}"))
}

/// A key that orders `LH_2` before `LH_10`.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut key = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (text, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(end);
        key.push((text.to_owned(), number.parse().unwrap_or(u64::MAX)));
        rest = tail;
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_names_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        for path in [
            "LH_10/snapshot_014.hdf5",
            "LH_10/snapshot_090.hdf5",
            "LH_10/groups_090.hdf5",
            "LH_2/snap_033.hdf5",
            "LH_1/snapdir_033/snap_033.0.hdf5",
            "LH_1/snapdir_033/snap_033.1.hdf5",
            "LH_1/snapdir_005/snap_005.0.hdf5",
            "extras/notes.txt",
        ] {
            make(path);
        }
        let found = simulation_folders(folder.path(), None).unwrap();
        let names: Vec<&str> = found.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["LH_1", "LH_2", "LH_10"]);
        assert!(found[0].snapshot.ends_with("snapdir_033/snap_033.0.hdf5"));
        assert!(found[1].snapshot.ends_with("snap_033.hdf5"));
        assert!(found[2].snapshot.ends_with("snapshot_090.hdf5"));
        assert_eq!(found[0].table, None);
        make("CosmoAstroSeed_one.txt");
        let found = simulation_folders(folder.path(), None).unwrap();
        assert!(
            found
                .iter()
                .all(|s| s.table.as_ref().unwrap().ends_with("CosmoAstroSeed_one.txt"))
        );
        make("CosmoAstroSeed_two.txt");
        let message = simulation_folders(folder.path(), None).unwrap_err().to_string();
        assert!(
            message.contains("2 tables") && message.contains("--params"),
            "{message}"
        );
        let named = folder.path().join("CosmoAstroSeed_two.txt");
        let found = simulation_folders(folder.path(), Some(&named)).unwrap();
        assert_eq!(found[1].table, Some(named));

        assert_eq!(parts(&found[0].snapshot, 2).unwrap().len(), 2);
        let message = parts(&found[0].snapshot, 3).unwrap_err().to_string();
        assert!(message.contains("snap_033.2.hdf5"), "{message}");
        assert!(parts(&found[1].snapshot, 2).is_err());
        let message = simulation_folders(folder.path().join("LH_2"), None)
            .unwrap_err()
            .to_string();
        assert!(message.contains("snapshot_###"), "{message}");
    }
}
