//! Open files, and what is in them by its path.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hdf5_pure::{Dataset, Datatype, File, FormatError, Group, Source};

use super::attribute::{Attribute, Attributes, one_line};
use super::dataset::Hdf5Dataset;
use super::info::{DatasetInfo, Filter, short};
use super::message;
use super::soft_link::{self, Members, SoftLinks};
use crate::data::numbers::read_exact_at;
use crate::suggest::closest;
use crate::{Error, Result};

/// An open HDF5 file, read on demand.
///
/// ```no_run
/// use armilla::data::hdf5::Hdf5File;
///
/// let file = Hdf5File::open("maps.h5")?;
/// for dataset in file.datasets()? {
///     println!("{dataset}");
/// }
/// let tenth: Vec<f32> = file.dataset("maps")?.read_rows(10..11)?;
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug)]
pub struct Hdf5File {
    pub(super) path: PathBuf,
    size: u64,
    reader: Reader,
    pub(super) file: File,
    /// For the soft links, which are looked for when a path is not there without them.
    source: Positioned,
    members: OnceLock<Members>,
}

/// Who reads the numbers of a dataset; names, shapes and attributes are always read by this crate's own reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Reader {
    /// The one in Rust; in a build with the C library that one steps in for filters which the first does not know.
    #[default]
    Rust,
    /// The HDF5 C library.
    #[cfg(feature = "libhdf5")]
    C,
}

/// A file that any number of threads read at once.
#[derive(Debug)]
struct Positioned {
    file: fs::File,
    size: u64,
}

impl Source for Positioned {
    fn len(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::result::Result<(), FormatError> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            return Err(FormatError::UnexpectedEof {
                expected: usize::try_from(end.unwrap_or(u64::MAX)).unwrap_or(usize::MAX),
                available: usize::try_from(self.size).unwrap_or(usize::MAX),
            });
        }
        read_exact_at(&self.file, buffer, offset).map_err(|e| FormatError::Source(message::of_io(&e)))
    }
}

impl Hdf5File {
    /// Open the file at `path`, reading no more than its first few hundred bytes.
    ///
    /// # Errors
    ///
    /// A missing file, one that is not HDF5, and one that is shorter than it says it is.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Reader::default())
    }

    /// [`open`](Self::open), choosing who reads the numbers. The values are the same.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, reader: Reader) -> Result<Self> {
        let path = path.as_ref();
        let fail = |what: String| Err(Error::file(path, what));
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            Err(e) => return fail(message::of_io(&e)),
        };
        if meta.is_dir() {
            return fail("this is a folder, not a file".to_owned());
        }
        let size = meta.len();
        if size == 0 {
            return fail("the file is empty".to_owned());
        }
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(e) => return fail(message::of_io(&e)),
        };
        let again = file.try_clone();
        let file = match File::from_source(Positioned { file, size }) {
            Ok(file) => file,
            Err(e) => {
                if let Some(kind) = other_kind(path) {
                    return fail(format!("not an HDF5 file but {kind}"));
                }
                return Err(message::of_file(path, &e));
            }
        };
        // The superblock says where the file ends. A copy that was cut short still opens, and fails only where it is
        // read, or not at all; so say it now.
        let end = file.superblock().eof_address;
        if end > size && end != u64::MAX {
            return fail(format!(
                "the file is truncated: it has {size} bytes and should have {end}; copy or download it again"
            ));
        }
        let source = match again {
            Ok(file) => Positioned { file, size },
            Err(e) => return fail(message::of_io(&e)),
        };
        Ok(Self {
            path: path.to_owned(),
            size,
            reader,
            source,
            members: OnceLock::new(),
            file,
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The dataset at `path`, with or without a leading slash.
    ///
    /// # Errors
    ///
    /// A path that is not there: the message lists those that are and suggests the closest.
    pub fn dataset(&self, path: &str) -> Result<Hdf5Dataset> {
        let path = path.trim_matches('/');
        let mut found = self.file.dataset(path);
        let mut resolved = path.to_owned();
        if found.is_err() {
            resolved = soft_link::resolve(self.links(), path);
            if resolved != path {
                found = self.file.dataset(&resolved);
            }
        }
        match found {
            Ok(dataset) => {
                let info = self.info(&resolved, &dataset)?;
                Hdf5Dataset::new(&self.path, self.size, self.reader, info, dataset)
            }
            Err(e) => {
                // A damaged file may fail both ways; then what the listing says is the nearer truth.
                let paths = self.dataset_paths()?;
                if paths.iter().any(|p| p == path) {
                    return Err(message::of_dataset(&self.path, path, &e));
                }
                Err(Error::file(&self.path, no_such_dataset(path, &paths)))
            }
        }
    }

    /// The attributes of the group or dataset at `path`; the root group is `/`.
    ///
    /// # Errors
    ///
    /// A path that is not there, or a damaged file.
    pub fn attributes(&self, path: &str) -> Result<Attributes> {
        let fail = |e| message::of_file(&self.path, &e);
        let resolved = soft_link::resolve(self.links(), path.trim_matches('/'));
        let path = resolved.as_str();
        if path.is_empty() {
            return self.group_attributes(&self.file.root());
        }
        if let Ok(group) = self.file.group(path) {
            return self.group_attributes(&group);
        }
        match self.file.dataset(path) {
            Ok(dataset) => attributes(dataset.attrs(), dataset.attr_datatypes()).map_err(fail),
            Err(_) => Err(Error::file(
                &self.path,
                format!("there is no group or dataset `{}`", one_line(path)),
            )),
        }
    }

    pub(super) fn group_attributes(&self, group: &Group) -> Result<Attributes> {
        attributes(group.attrs(), group.attr_datatypes()).map_err(|e| message::of_file(&self.path, &e))
    }

    pub(super) fn members(&self) -> &Members {
        self.members
            .get_or_init(|| soft_link::find(&self.source, self.file.superblock()))
    }

    pub(super) fn links(&self) -> &SoftLinks {
        &self.members().links
    }

    pub(super) fn info(&self, path: &str, dataset: &Dataset) -> Result<DatasetInfo> {
        let fail = |e| message::of_dataset(&self.path, path, &e);
        Ok(DatasetInfo {
            path: path.to_owned(),
            shape: dataset.shape().map_err(fail)?,
            dtype: short(&dataset.datatype().map_err(fail)?),
            chunks: dataset.chunk_shape().map_err(fail)?,
            filters: dataset
                .filter_pipeline()
                .into_iter()
                .map(|filter| Filter {
                    id: filter.id,
                    name: message::filter_name(filter.id)
                        .map(str::to_owned)
                        .or(filter.name.map(|n| one_line(&n))),
                })
                .collect(),
            attributes: attributes(dataset.attrs(), dataset.attr_datatypes()).map_err(fail)?,
            link_to: None,
        })
    }
}

type Map<T> = std::collections::HashMap<String, T>;

fn attributes(
    values: std::result::Result<Map<hdf5_pure::AttrValue>, hdf5_pure::Error>,
    types: std::result::Result<Map<Datatype>, hdf5_pure::Error>,
) -> std::result::Result<Attributes, hdf5_pure::Error> {
    let values = values?;
    Ok(types?
        .into_iter()
        .map(|(name, datatype)| {
            let value = match values.get(&name) {
                Some(value) => Attribute::from_file(value),
                None => Attribute::unsupported(&datatype),
            };
            (name, value)
        })
        .collect())
}

fn no_such_dataset(path: &str, paths: &[String]) -> String {
    // A snapshot of many groups has more than a line can hold.
    const SHOWN: usize = 10;
    let path = one_line(path);
    if paths.is_empty() {
        return format!("there is no dataset `{path}`; the file holds none at all");
    }
    let mut list = paths
        .iter()
        .take(SHOWN)
        .map(|p| one_line(p))
        .collect::<Vec<_>>()
        .join(", ");
    if paths.len() > SHOWN {
        list += &format!(" and {} more", paths.len() - SHOWN);
    }
    let hint = match closest(&path, paths.iter().map(String::as_str)) {
        Some(name) => format!("; did you mean `{}`?", one_line(name)),
        None => String::new(),
    };
    format!("there is no dataset `{path}`; it holds {list}{hint}")
}

/// What a file that is not HDF5 is instead, as far as its first bytes tell.
fn other_kind(path: &Path) -> Option<&'static str> {
    let mut head = [0u8; 8];
    fs::File::open(path).ok()?.read_exact(&mut head).ok()?;
    match &head {
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Some("a NumPy array (.npy)"),
        [b'P', b'K', 3, 4, ..] => Some("a zip archive (perhaps NumPy's .npz)"),
        [0x1f, 0x8b, ..] => Some("compressed with gzip; decompress it first"),
        [b'C', b'D', b'F', 1 | 2, ..] => Some("NetCDF 3"),
        b"SIMPLE  " => Some("FITS"),
        _ => None,
    }
}
