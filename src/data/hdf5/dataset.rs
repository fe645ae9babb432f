//! Read a dataset, whole or by rows.

use std::ops::Range;
use std::path::{Path, PathBuf};

use hdf5_pure::{Dataset, Datatype, Error as Inner};

use super::file::DatasetInfo;
use super::message;
use crate::{Error, Result};

/// gzip, the strongest of the compressors understood, packs at most 1032 to 1; a damaged header claims far more.
const MAX_RATIO: u64 = 2048;

/// As much may always be read at once, whatever the size of the file: chunks never written take no room in it.
const ALWAYS_ALLOWED: u64 = 1 << 30;

/// A dataset of an open file.
#[derive(Debug)]
pub struct Hdf5Dataset {
    file: PathBuf,
    info: DatasetInfo,
    shape: Vec<usize>,
    /// The bytes of one element as stored.
    element: u64,
    /// The most bytes that a sound file of this size can be asked for at once.
    most: u64,
    dataset: Dataset,
}

/// A number type that any float or integer dataset can be read as: `f32` and `f64`.
///
/// As `f64`, every float dataset and integers up to 2⁵³ keep their exact values.
pub trait Number: Copy + sealed::Sealed {
    #[doc(hidden)]
    fn whole(dataset: &Dataset) -> std::result::Result<Vec<Self>, Inner>;
    #[doc(hidden)]
    fn rows(dataset: &Dataset, start: u64, count: u64) -> std::result::Result<Vec<Self>, Inner>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Number for f32 {
    fn whole(dataset: &Dataset) -> std::result::Result<Vec<Self>, Inner> {
        dataset.read_f32()
    }
    fn rows(dataset: &Dataset, start: u64, count: u64) -> std::result::Result<Vec<Self>, Inner> {
        dataset.read_f32_rows(start, count)
    }
}

impl Number for f64 {
    fn whole(dataset: &Dataset) -> std::result::Result<Vec<Self>, Inner> {
        dataset.read_f64()
    }
    fn rows(dataset: &Dataset, start: u64, count: u64) -> std::result::Result<Vec<Self>, Inner> {
        dataset.read_f64_rows(start, count)
    }
}

impl Hdf5Dataset {
    pub(super) fn new(file: &Path, file_size: u64, info: DatasetInfo, dataset: Dataset) -> Result<Self> {
        let element = match dataset.element_size() {
            Ok(size) => size,
            Err(e) => return Err(message::of_dataset(file, &info.path, &e)),
        };
        let shape: Option<Vec<usize>> = info.shape.iter().map(|&n| usize::try_from(n).ok()).collect();
        let Some(shape) = shape else {
            let what = format!(
                "dataset `{}`: its shape {:?} is impossible",
                info.path, info.shape
            );
            return Err(Error::file(file, what));
        };
        let most = file_size.saturating_mul(MAX_RATIO).max(ALWAYS_ALLOWED);
        Ok(Self {
            file: file.to_owned(),
            info,
            shape,
            element,
            most,
            dataset,
        })
    }

    /// What is known of it.
    pub fn info(&self) -> &DatasetInfo {
        &self.info
    }

    /// The length of each axis, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of rows of its first axis; 1 for a single value.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Read all of it, in row-major order.
    ///
    /// # Errors
    ///
    /// A damaged file, a filter that is not supported, or elements that are not numbers.
    pub fn read<T: Number>(&self) -> Result<Vec<T>> {
        self.check_readable(self.rows())?;
        let values = T::whole(&self.dataset).map_err(|e| self.fail(&e))?;
        self.checked(values, self.rows())
    }

    /// Read rows `range` of its first axis, in row-major order, and nothing else.
    ///
    /// # Errors
    ///
    /// Rows that do not exist, and everything [`read`](Self::read) may return.
    pub fn read_rows<T: Number>(&self, range: Range<usize>) -> Result<Vec<T>> {
        let rows = self.rows();
        if range.end > rows || range.start > range.end {
            let what = if range.end.saturating_sub(range.start) == 1 {
                format!("there is no row {}", range.start)
            } else {
                format!("there are no rows {}..{}", range.start, range.end)
            };
            return Err(self.error(format!("{what}: it has {rows}, numbered from 0")));
        }
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let count = range.len();
        self.check_readable(count)?;
        let values = T::rows(&self.dataset, range.start as u64, count as u64).map_err(|e| self.fail(&e))?;
        self.checked(values, count)
    }

    /// An error about this dataset.
    pub fn error(&self, what: impl std::fmt::Display) -> Error {
        Error::file(&self.file, format!("dataset `{}`: {what}", self.info.path))
    }

    /// The number of elements in so many rows; a damaged shape may be empty along one axis and absurd along the others.
    fn elements(&self, rows: usize) -> usize {
        let inner = self.shape.iter().skip(1);
        inner.fold(rows, |product, &n| product.saturating_mul(n))
    }

    fn check_readable(&self, rows: usize) -> Result<()> {
        let numeric = matches!(
            self.dataset.datatype(),
            Ok(Datatype::FloatingPoint { .. } | Datatype::FixedPoint { .. })
        );
        if !numeric {
            return Err(self.error(format!("its elements are not numbers but {}", self.info.dtype)));
        }
        // Memory is asked for before the file is found to hold too little.
        let bytes = (self.elements(rows) as u64).saturating_mul(self.element);
        if bytes > self.most {
            return Err(self.error(format!(
                "its shape {:?} asks for {bytes} bytes at once, which a file of this size cannot hold: it is damaged, or \
                 mostly unwritten and to be read by fewer rows",
                self.shape
            )));
        }
        Ok(())
    }

    fn checked<T>(&self, values: Vec<T>, rows: usize) -> Result<Vec<T>> {
        let expected = self.elements(rows);
        if values.len() != expected {
            return Err(self.error(format!(
                "{} values were found where {} should be: the file is damaged",
                values.len(),
                expected
            )));
        }
        Ok(values)
    }

    fn fail(&self, error: &Inner) -> Error {
        use hdf5_pure::FormatError::UnsupportedFilter;
        if let Inner::Format(UnsupportedFilter(id)) = error {
            let recorded = self.info.filters.iter().find(|f| f.id == *id);
            let name = recorded.and_then(|f| f.name.as_deref());
            return self.error(message::unsupported_filter(*id, name));
        }
        message::of_dataset(&self.file, &self.info.path, error)
    }
}
