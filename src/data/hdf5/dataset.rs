//! Read a dataset, whole or by rows.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hdf5_pure::{Chunk, Dataset, Datatype, DatatypeByteOrder, Error as Inner, FloatingPointLayout, Layout};
use rayon::prelude::*;

#[cfg(feature = "libhdf5")]
use super::c_library;
use super::file::Reader;
use super::info::DatasetInfo;
use super::message;
use crate::data::npy::no_such_rows;
use crate::data::numbers::{Element, Kind, Number, Numbers};
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
    /// The type of the elements, if it is one that machines compute with.
    standard: Option<Element>,
    /// The most bytes that a sound file of this size can be asked for at once.
    most: u64,
    file_size: u64,
    /// Whether all its chunks lie in the file, once that was asked.
    sound: OnceLock<bool>,
    dataset: Dataset,
    storage: Storage,
}

/// How its elements are got at.
#[derive(Debug)]
enum Storage {
    /// They lie one after another.
    Plain(Numbers),
    /// In chunks of so many rows, or otherwise.
    Other(usize),
    /// The C library knows.
    #[cfg(feature = "libhdf5")]
    C(c_library::Dataset),
}

impl Hdf5Dataset {
    pub(super) fn new(
        file: &Path,
        file_size: u64,
        reader: Reader,
        info: DatasetInfo,
        dataset: Dataset,
    ) -> Result<Self> {
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
        let standard = dataset.datatype().ok().and_then(|datatype| standard(&datatype));
        let storage = match reader {
            #[cfg(feature = "libhdf5")]
            Reader::C => Storage::C(c_library::Dataset::open(file, &info.path)?),
            #[cfg(feature = "libhdf5")]
            Reader::Rust if info.filters.iter().any(|f| !message::is_understood(f.id)) => {
                Storage::C(c_library::Dataset::open(file, &info.path)?)
            }
            Reader::Rust => {
                match standard.and_then(|element| plain(file, file_size, &shape, element, &dataset)) {
                    Some(numbers) => Storage::Plain(numbers),
                    None => {
                        let band = info.chunks.as_ref().and_then(|c| c.first().copied());
                        Storage::Other(band.and_then(|n| usize::try_from(n).ok()).unwrap_or(0))
                    }
                }
            }
        };
        Ok(Self {
            file: file.to_owned(),
            info,
            shape,
            element,
            standard,
            most,
            file_size,
            sound: OnceLock::new(),
            dataset,
            storage,
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
        self.read_rows(0..self.rows())
    }

    /// Read rows `range` of its first axis, in row-major order, and nothing else: of a chunked dataset the chunks that hold
    /// them, several at a time.
    ///
    /// # Errors
    ///
    /// Rows that do not exist, and everything [`read`](Self::read) may return.
    pub fn read_rows<T: Number>(&self, range: Range<usize>) -> Result<Vec<T>> {
        self.check_rows(&range)?;
        let mut out = vec![T::zeroed(); self.elements(range.len())];
        self.read_into(range, &mut out)?;
        Ok(out)
    }

    /// [`read_rows`](Self::read_rows) into `out`, which must be as long as they are.
    pub(in crate::data) fn read_into<T: Number>(&self, range: Range<usize>, out: &mut [T]) -> Result<()> {
        self.check_rows(&range)?;
        if out.len() != self.elements(range.len()) {
            return Err(self.error(format!("{} values do not hold rows {range:?}", out.len())));
        }
        if out.is_empty() {
            return Ok(());
        }
        match &self.storage {
            Storage::Plain(numbers) => numbers
                .read(range, out)
                .map_err(|e| self.error(message::of_io(&e))),
            #[cfg(feature = "libhdf5")]
            Storage::C(dataset) => dataset
                .read(range, &self.shape, out)
                .map_err(|what| self.error(what)),
            Storage::Other(0) => self.check_chunks().and_then(|()| self.decode(range, out)),
            Storage::Other(band) => {
                self.check_chunks()?;
                let row = out.len() / range.len();
                // No chunk is decompressed twice: parts end where chunks do.
                let mut parts = Vec::new();
                let (mut rest, mut start) = (out, range.start);
                while start < range.end {
                    let end = (start / band + 1).saturating_mul(*band).min(range.end);
                    let (part, behind) = rest.split_at_mut((end - start) * row);
                    parts.push((start..end, part));
                    (rest, start) = (behind, end);
                }
                match parts.len() {
                    1 => parts
                        .into_iter()
                        .try_for_each(|(rows, part)| self.decode(rows, part)),
                    _ => parts
                        .into_par_iter()
                        .try_for_each(|(rows, part)| self.decode(rows, part)),
                }
            }
        }
    }

    /// Whether all its chunks lie in the file: room is made for a chunk before the file is found to end.
    fn check_chunks(&self) -> Result<()> {
        let inside = |chunk: &Chunk| {
            let end = chunk.address.checked_add(chunk.storage_size);
            end.is_some_and(|end| end <= self.file_size)
        };
        // What has no chunks has none outside, and an index that cannot be read is told by whoever reads through it.
        let all_inside = || {
            self.dataset
                .chunks()
                .map_or(true, |chunks| chunks.iter().all(inside))
        };
        if *self.sound.get_or_init(all_inside) {
            Ok(())
        } else {
            Err(self.error("one of its chunks lies beyond the end of the file: it is damaged"))
        }
    }

    fn decode<T: Number>(&self, rows: Range<usize>, out: &mut [T]) -> Result<()> {
        let (start, count) = (rows.start as u64, rows.len() as u64);
        let damaged = |found: usize| {
            self.error(format!(
                "{found} values were found where {} should be: the file is damaged",
                out.len()
            ))
        };
        let Some(element) = self.standard else {
            let values = self.dataset.read_f64_rows(start, count);
            let values = values.map_err(|e| self.fail(&e))?;
            if values.len() != out.len() {
                return Err(damaged(values.len()));
            }
            out.iter_mut()
                .zip(values)
                .for_each(|(out, x)| *out = T::from_f64(x));
            return Ok(());
        };
        let bytes = self
            .dataset
            .read_raw_rows(start, count)
            .map_err(|e| self.fail(&e))?;
        if bytes.len() != out.len() * element.size() {
            return Err(damaged(bytes.len() / element.size()));
        }
        element.decode(&bytes, out);
        Ok(())
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

    /// Whether a file of this size can hold numbers of this shape: asked before anything is made for them.
    pub(crate) fn check_size(&self) -> Result<()> {
        self.check_rows(&(0..self.rows()))
    }

    fn check_rows(&self, range: &Range<usize>) -> Result<()> {
        if range.end > self.rows() || range.start > range.end {
            return Err(self.error(no_such_rows(range, self.rows())));
        }
        let numeric = matches!(
            self.dataset.datatype(),
            Ok(Datatype::FloatingPoint { .. } | Datatype::FixedPoint { .. })
        );
        if !numeric {
            return Err(self.error(format!("its elements are not numbers but {}", self.info.dtype)));
        }
        // Memory is asked for before the file is found to hold too little.
        let bytes = (self.elements(range.len()) as u64).saturating_mul(self.element.max(8));
        if bytes > self.most {
            return Err(self.error(format!(
                "its shape {:?} asks for {bytes} bytes at once, which a file of this size cannot hold: it is damaged, or \
                 mostly unwritten and to be read by fewer rows",
                self.shape
            )));
        }
        Ok(())
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

/// The numbers of a dataset that lie one after another in the file as this machine could hold them.
fn plain(path: &Path, size: u64, shape: &[usize], element: Element, dataset: &Dataset) -> Option<Numbers> {
    let Ok(Layout::Contiguous {
        address: Some(address),
        ..
    }) = dataset.layout()
    else {
        return None;
    };
    let rows = shape.first().copied().unwrap_or(1);
    let row = shape
        .iter()
        .skip(1)
        .try_fold(1usize, |product, &n| product.checked_mul(n))?;
    Numbers::new(File::open(path).ok()?, size, address, element, rows, row)
}

/// The element type, if it is one that machines compute with: all bits are used, in the usual places.
fn standard(datatype: &Datatype) -> Option<Element> {
    let order = |order: &DatatypeByteOrder| match order {
        DatatypeByteOrder::LittleEndian => Some(false),
        DatatypeByteOrder::BigEndian => Some(true),
        DatatypeByteOrder::Vax => None,
    };
    let (kind, big_endian) = match datatype {
        Datatype::FloatingPoint {
            size,
            byte_order,
            layout,
        } => {
            let kind = match size {
                4 if *layout == FloatingPointLayout::IEEE754_BINARY32 => Kind::F32,
                8 if *layout == FloatingPointLayout::IEEE754_BINARY64 => Kind::F64,
                _ => return None,
            };
            (kind, order(byte_order)?)
        }
        Datatype::FixedPoint {
            size,
            byte_order,
            layout,
        } => {
            if layout.bit_offset != 0 || u32::from(layout.bit_precision) != 8 * size {
                return None;
            }
            let kind = match (size, layout.signed) {
                (1, true) => Kind::I8,
                (2, true) => Kind::I16,
                (4, true) => Kind::I32,
                (8, true) => Kind::I64,
                (1, false) => Kind::U8,
                (2, false) => Kind::U16,
                (4, false) => Kind::U32,
                (8, false) => Kind::U64,
                _ => return None,
            };
            (kind, order(byte_order)?)
        }
        _ => return None,
    };
    Some(Element { kind, big_endian })
}
