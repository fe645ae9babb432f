//! Write new files, all or nothing.

use std::collections::BTreeMap;
use std::path::Path;

use hdf5_pure::{DatasetBuilder, Error as Inner, FileBuilder, GroupBuilder};

use super::attribute::{Attribute, Attributes};
use crate::atomic::{cannot_write, write_atomically};
use crate::{Error, Result};

/// A file to be written: datasets, whose paths may name groups, and attributes of datasets, groups and the file.
///
/// ```
/// use armilla::data::hdf5::{Hdf5File, NewFile, Values};
///
/// let folder = tempfile::tempdir().unwrap();
/// let path = folder.path().join("new.h5");
/// let mut new = NewFile::new();
/// new.dataset("fields/density", &[2, 3], Values::F32(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))?;
/// new.attribute("fields/density", "unit", "Msun/h")?;
/// new.write(&path)?;
/// let file = Hdf5File::open(&path)?;
/// let dataset = file.dataset("fields/density")?;
/// assert_eq!(dataset.read_rows::<f64>(1..2)?, [3.0, 4.0, 5.0]);
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct NewFile<'a> {
    datasets: BTreeMap<String, NewDataset<'a>>,
    groups: BTreeMap<String, Attributes>,
    attributes: Attributes,
}

/// The elements of a dataset to be written, in row-major order.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Values<'a> {
    /// 32-bit floats.
    F32(&'a [f32]),
    /// 64-bit floats.
    F64(&'a [f64]),
    /// 64-bit integers.
    I64(&'a [i64]),
}

impl Values<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }
}

#[derive(Debug)]
struct NewDataset<'a> {
    shape: Vec<u64>,
    values: Values<'a>,
    attributes: Attributes,
}

/// A group on its way into the file: HDF5 wants its members before itself.
#[derive(Default)]
struct Folder<'a> {
    datasets: Vec<(&'a str, &'a NewDataset<'a>)>,
    folders: BTreeMap<&'a str, Folder<'a>>,
    attributes: Option<&'a Attributes>,
}

/// Whether the path `a` lies in the group `b`.
fn inside(a: &str, b: &str) -> bool {
    a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'))
}

fn sound(path: &str) -> bool {
    path.split('/').all(|name| !name.is_empty() && name != ".")
}

impl<'a> NewFile<'a> {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Add a dataset; groups that its path names are made.
    ///
    /// # Errors
    ///
    /// A shape that does not fit the values, or a path that is empty or taken.
    pub fn dataset(&mut self, path: &str, shape: &[usize], values: Values<'a>) -> Result<()> {
        let expected = shape
            .iter()
            .try_fold(1usize, |product, &n| product.checked_mul(n));
        if expected != Some(values.len()) {
            return Err(Error::Invalid(format!(
                "dataset `{path}`: the shape {shape:?} does not fit {} values",
                values.len()
            )));
        }
        let dataset = NewDataset {
            shape: shape.iter().map(|&n| n as u64).collect(),
            values,
            attributes: Attributes::new(),
        };
        let path = path.trim_matches('/');
        let in_the_way = |other: &String| other == path || inside(other, path);
        let taken = self.datasets.keys().any(|d| in_the_way(d) || inside(path, d))
            || self.groups.keys().any(in_the_way);
        if taken || !sound(path) {
            return Err(Error::Invalid(format!(
                "dataset `{path}`: this path is empty or already taken"
            )));
        }
        self.datasets.insert(path.to_owned(), dataset);
        Ok(())
    }

    /// Add a group, which may stay without datasets: what holds only attributes.
    ///
    /// # Errors
    ///
    /// A path that is empty or that of a dataset.
    pub fn group(&mut self, path: &str) -> Result<()> {
        let path = path.trim_matches('/');
        if !sound(path) || self.datasets.keys().any(|d| d == path || inside(path, d)) {
            return Err(Error::Invalid(format!(
                "group `{path}`: this path is empty or that of a dataset"
            )));
        }
        self.groups.entry(path.to_owned()).or_default();
        Ok(())
    }

    /// Add an attribute to the dataset or group at `path`, or to the file itself with the path `/`.
    ///
    /// # Errors
    ///
    /// A path that was not added, or a value of [`Attribute::Other`].
    pub fn attribute(&mut self, path: &str, name: &str, value: impl Into<Attribute>) -> Result<()> {
        let value = value.into();
        if value.to_file().is_none() {
            return Err(Error::Invalid(format!(
                "attribute `{name}` cannot be written: {value}"
            )));
        }
        let path = path.trim_matches('/');
        let attributes = if path.is_empty() {
            &mut self.attributes
        } else {
            match (self.datasets.get_mut(path), self.groups.get_mut(path)) {
                (Some(dataset), _) => &mut dataset.attributes,
                (None, Some(attributes)) => attributes,
                (None, None) => {
                    return Err(Error::Invalid(format!(
                        "attribute `{name}`: there is no dataset or group `{path}` to put it on"
                    )));
                }
            }
        };
        attributes.insert(name.to_owned(), value);
        Ok(())
    }

    /// Write the file at `path`; on any error nothing is left there that was not there before.
    ///
    /// # Errors
    ///
    /// A folder that does not exist, a full disk, and the like.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let mut top = Folder::default();
        for (full, dataset) in &self.datasets {
            let mut folder = &mut top;
            let mut names = full.split('/').peekable();
            while let Some(name) = names.next() {
                if names.peek().is_none() {
                    folder.datasets.push((name, dataset));
                } else {
                    folder = folder.folders.entry(name).or_default();
                }
            }
        }
        for (full, attributes) in &self.groups {
            let folder = full
                .split('/')
                .fold(&mut top, |folder, name| folder.folders.entry(name).or_default());
            folder.attributes = Some(attributes);
        }
        let mut builder = FileBuilder::new();
        for (name, value) in &self.attributes {
            if let Some(value) = value.to_file() {
                builder.set_attr(name, value);
            }
        }
        for (name, dataset) in &top.datasets {
            fill(builder.create_dataset(name), dataset);
        }
        for (name, folder) in &top.folders {
            let mut group = builder.create_group(name);
            fill_group(&mut group, folder);
            builder.add_group(group.finish());
        }
        write_atomically(path, |out| {
            builder.finish_to(out).map_err(|e| match e {
                Inner::Io(e) => Error::file(path, cannot_write(&e)),
                other => Error::file(path, format!("cannot be written: {other}")),
            })
        })
    }
}

fn fill_group(group: &mut GroupBuilder, folder: &Folder<'_>) {
    for (name, value) in folder.attributes.into_iter().flatten() {
        if let Some(value) = value.to_file() {
            group.set_attr(name, value);
        }
    }
    for (name, dataset) in &folder.datasets {
        fill(group.create_dataset(name), dataset);
    }
    for (name, inner) in &folder.folders {
        let mut child = group.create_group(name);
        fill_group(&mut child, inner);
        group.add_group(child.finish());
    }
}

fn fill(builder: &mut DatasetBuilder, dataset: &NewDataset<'_>) {
    match dataset.values {
        Values::F32(values) => builder.with_f32_data(values),
        Values::F64(values) => builder.with_f64_data(values),
        Values::I64(values) => builder.with_i64_data(values),
    };
    builder.with_shape(&dataset.shape);
    for (name, value) in &dataset.attributes {
        if let Some(value) = value.to_file() {
            builder.set_attr(name, value);
        }
    }
}
