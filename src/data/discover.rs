//! Find the maps and the parameters in an HDF5 file that does not say where they are.

use super::hdf5::{DatasetInfo, Hdf5Dataset, Hdf5File};
use crate::{Error, Result};

/// Whether it could be looked for; what is there by a soft link is there under its own name too.
fn is_float(dataset: &DatasetInfo) -> bool {
    dataset.dtype.starts_with('f') && dataset.link_to.is_none()
}

/// The dataset of the maps of a file that does not say which.
pub(super) fn find_maps(file: &Hdf5File) -> Result<String> {
    let datasets = file.datasets()?;
    for usual in ["maps", "grids"] {
        if datasets.iter().any(|d| d.path == usual) {
            return Ok(usual.into());
        }
    }
    let fields = datasets.iter().filter(|d| {
        let inner = d.shape.get(1..).unwrap_or_default();
        is_float(d) && matches!(inner.len(), 2 | 3) && inner.iter().all(|&n| n == inner[0] && n > 1)
    });
    only(file, "maps", fields)?.ok_or_else(|| {
        Error::file(
            file.path(),
            format!(
                "no dataset has the shape of maps (maps, N, N) or grids (grids, N, N, N); it holds {}",
                list(datasets.iter())
            ),
        )
    })
}

/// The dataset of the parameters of `count` maps in a file that does not say which; nothing if there is none.
pub(super) fn find_parameters(file: &Hdf5File, maps: &Hdf5Dataset, count: usize) -> Result<Option<String>> {
    let datasets = file.datasets()?;
    if datasets.iter().any(|d| d.path == "params") {
        return Ok(Some("params".into()));
    }
    // Where the maps are there may be several sets, each with its own.
    let fits = |d: &&DatasetInfo| {
        let rows = d.shape.first().copied().unwrap_or(0);
        is_float(d)
            && d.shape.len() == 2
            && d.path != maps.info().path
            && rows > 0
            && (count as u64).is_multiple_of(rows)
    };
    only(file, "params", datasets.iter().filter(fits))
}

/// The path of the only one of `candidates`.
fn only<'a>(
    file: &Hdf5File,
    option: &str,
    candidates: impl Iterator<Item = &'a DatasetInfo>,
) -> Result<Option<String>> {
    let candidates: Vec<&DatasetInfo> = candidates.collect();
    match candidates[..] {
        [] => Ok(None),
        [one] => Ok(Some(one.path.clone())),
        _ => Err(Error::file(
            file.path(),
            format!(
                "several datasets could be the {option}: {}; name one with --{option}",
                list(candidates.iter().copied())
            ),
        )),
    }
}

fn list<'a>(datasets: impl Iterator<Item = &'a DatasetInfo>) -> String {
    const SHOWN: usize = 10;
    let all: Vec<String> = datasets.map(DatasetInfo::to_string).collect();
    match all.len() {
        0 => "nothing".into(),
        n if n > SHOWN => format!("{} and {} more", all[..SHOWN].join(", "), n - SHOWN),
        _ => all.join(", "),
    }
}
