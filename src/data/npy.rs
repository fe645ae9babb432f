//! Read NumPy's `.npy` files by rows, without reading the rest.
//!
//! Format versions 1 to 3 (numpy.lib.format): floats and integers of either byte order, in C order. A file may be larger
//! than memory; what its header says is checked against its size before anything is read.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::hdf5::message_of_io;
use super::numbers::{Element, Kind, Number, Numbers};
use crate::{Error, Result};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// NumPy refuses longer headers too, unless told otherwise.
const LONGEST_HEADER: usize = 10_000;

/// An open `.npy` file.
///
/// ```no_run
/// use armilla::data::NpyFile;
///
/// let file = NpyFile::open("Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy")?;
/// assert_eq!(file.shape(), [15_000, 256, 256]);
/// let tenth: Vec<f32> = file.read_rows(10..11)?;
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug)]
pub struct NpyFile {
    path: PathBuf,
    shape: Vec<usize>,
    element: Element,
    numbers: Numbers,
}

impl NpyFile {
    /// Open the file at `path`, reading no more than its header.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, is no `.npy` file, is shorter than its header says, or holds something else than
    /// numbers in C order.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let of_io = |e: io::Error| Error::file(path, message_of_io(&e));
        let fail = |what: String| Err(Error::file(path, what));
        let meta = std::fs::metadata(path).map_err(of_io)?;
        if meta.is_dir() {
            return fail("this is a folder, not a file".into());
        }
        let mut file = File::open(path).map_err(of_io)?;
        let header = match read_header(&mut file) {
            Ok(header) => header,
            Err(e) => return fail(e),
        };
        let parsed = match Header::parse(&header.text) {
            Ok(parsed) => parsed,
            Err(e) => return fail(e),
        };
        let Header { element, shape } = parsed;
        let rows = shape.first().copied().unwrap_or(1);
        let row = shape
            .iter()
            .skip(1)
            .try_fold(1usize, |product, &n| product.checked_mul(n));
        let numbers = row.and_then(|row| Numbers::new(file, meta.len(), header.end, element, rows, row));
        let Some(numbers) = numbers else {
            return fail(format!(
                "the file is truncated or damaged: its {} bytes cannot hold {shape:?} numbers of {} bytes",
                meta.len(),
                element.size()
            ));
        };
        Ok(Self {
            path: path.to_owned(),
            shape,
            element,
            numbers,
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The length of each axis, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of rows of its first axis; 1 for a single value.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// The element type in short: `f32`, `u64`, `f64 (big-endian)`.
    pub fn dtype(&self) -> String {
        self.element.name()
    }

    /// Read rows `range` of its first axis, in row-major order, and nothing else.
    ///
    /// # Errors
    ///
    /// Rows that do not exist, and a file that cannot be read any more.
    pub fn read_rows<T: Number>(&self, range: Range<usize>) -> Result<Vec<T>> {
        let rows = self.rows();
        if range.end > rows || range.start > range.end {
            return Err(self.error(no_such_rows(&range, rows)));
        }
        // That many fit in the file, and so in memory's addresses.
        let row: usize = self.shape.iter().skip(1).product();
        let mut out = vec![T::zeroed(); range.len() * row];
        self.read_into(range, &mut out)?;
        Ok(out)
    }

    /// [`read_rows`](Self::read_rows) into `out`, which must be as long as they are.
    pub(super) fn read_into<T: Number>(&self, range: Range<usize>, out: &mut [T]) -> Result<()> {
        self.numbers
            .read(range, out)
            .map_err(|e| self.error(message_of_io(&e)))
    }

    /// An error about this file.
    pub fn error(&self, what: impl ToString) -> Error {
        Error::file(&self.path, what)
    }
}

/// The words for rows that are not among `rows`.
pub(super) fn no_such_rows(range: &Range<usize>, rows: usize) -> String {
    let what = if range.end.saturating_sub(range.start) == 1 {
        format!("there is no row {}", range.start)
    } else {
        format!("there are no rows {}..{}", range.start, range.end)
    };
    format!("{what}: it has {rows}, numbered from 0")
}

/// The text of a header, and where the numbers begin behind it.
struct RawHeader {
    text: String,
    end: u64,
}

fn read_header(file: &mut File) -> std::result::Result<RawHeader, String> {
    let short = |e: io::Error| match e.kind() {
        io::ErrorKind::UnexpectedEof => "not a NumPy file, or cut off in its header".to_owned(),
        _ => message_of_io(&e),
    };
    let mut start = [0u8; 8];
    file.read_exact(&mut start).map_err(short)?;
    if start[..6] != *MAGIC {
        return Err("not a NumPy file (it does not begin as .npy files do)".into());
    }
    let version = start[6];
    let length = match version {
        1 => {
            let mut length = [0u8; 2];
            file.read_exact(&mut length).map_err(short)?;
            usize::from(u16::from_le_bytes(length))
        }
        2 | 3 => {
            let mut length = [0u8; 4];
            file.read_exact(&mut length).map_err(short)?;
            u32::from_le_bytes(length) as usize
        }
        _ => {
            return Err(format!(
                "it is written in version {version} of NumPy's format; 1 to 3 are known"
            ));
        }
    };
    if length > LONGEST_HEADER {
        return Err(format!(
            "its header of {length} bytes is too long: the file is damaged"
        ));
    }
    let mut text = vec![0u8; length];
    file.read_exact(&mut text).map_err(short)?;
    let text =
        String::from_utf8(text).map_err(|_| "its header is no text: the file is damaged".to_owned())?;
    let before = if version == 1 { 10 } else { 12 };
    Ok(RawHeader {
        text,
        end: before + length as u64,
    })
}

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    element: Element,
    shape: Vec<usize>,
}

impl Header {
    /// From the text of a Python dictionary such as `{'descr': '<f4', 'fortran_order': False, 'shape': (30, 64, 64), }`.
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let damaged = |what: &str| format!("its header has no readable {what}: the file is damaged");
        let value = |key: &str| -> Option<&str> {
            let (_, rest) = text.split_once(&format!("'{key}'"))?;
            Some(rest.trim_start().strip_prefix(':')?.trim_start())
        };
        let descr = value("descr").ok_or_else(|| damaged("element type"))?;
        if descr.starts_with('[') {
            return Err("it holds records, not plain numbers".into());
        }
        let quoted = descr
            .strip_prefix('\'')
            .and_then(|rest| rest.split_once('\''))
            .ok_or_else(|| damaged("element type"))?;
        let element = element(quoted.0)?;
        let fortran = value("fortran_order").ok_or_else(|| damaged("order"))?;
        let shape = value("shape").ok_or_else(|| damaged("shape"))?;
        let inner = shape
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(')'))
            .ok_or_else(|| damaged("shape"))?;
        let lengths: Option<Vec<usize>> = inner
            .0
            .split(',')
            .map(str::trim)
            .filter(|n| !n.is_empty())
            .map(|n| n.trim_end_matches('L').parse().ok())
            .collect();
        let shape = lengths.ok_or_else(|| damaged("shape"))?;
        // With one axis longer than 1 both orders are the same.
        if fortran.starts_with("True") && shape.iter().filter(|&&n| n > 1).count() > 1 {
            return Err(
                "it is in Fortran order, whose rows are not together; save it with np.ascontiguousarray first".into(),
            );
        }
        Ok(Self { element, shape })
    }
}

/// NumPy's name of an element type, such as `<f4`.
fn element(descr: &str) -> std::result::Result<Element, String> {
    let kind = match descr.get(1..) {
        Some("f4") => Kind::F32,
        Some("f8") => Kind::F64,
        Some("i1") => Kind::I8,
        Some("i2") => Kind::I16,
        Some("i4") => Kind::I32,
        Some("i8") => Kind::I64,
        Some("u1") => Kind::U8,
        Some("u2") => Kind::U16,
        Some("u4") => Kind::U32,
        Some("u8") => Kind::U64,
        _ => return Err(unknown(descr)),
    };
    let big_endian = match descr.as_bytes().first() {
        Some(b'>') => true,
        Some(b'<' | b'|') => false,
        Some(b'=') => cfg!(target_endian = "big"),
        _ => return Err(unknown(descr)),
    };
    // One byte has no order, whatever its flag says.
    let big_endian = big_endian && !matches!(kind, Kind::I8 | Kind::U8);
    Ok(Element { kind, big_endian })
}

fn unknown(descr: &str) -> String {
    let shown: String = descr.chars().filter(|c| !c.is_control()).take(20).collect();
    format!("its elements are `{shown}`; floats of 4 or 8 bytes and integers are read")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_of(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        if version == 1 {
            bytes.extend((header.len() as u16).to_le_bytes());
        } else {
            bytes.extend((header.len() as u32).to_le_bytes());
        }
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn opened(bytes: &[u8]) -> Result<NpyFile> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        std::fs::write(&path, bytes).unwrap();
        NpyFile::open(&path)
    }

    const PLAIN: &str = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }";

    #[test]
    fn versions_orders_and_rows() {
        let values = [1f32, 2.0, 3.0, 4.0, 5.0, 6.0];
        let little: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let big: Vec<u8> = values.iter().flat_map(|x| x.to_be_bytes()).collect();
        for version in 1..=3 {
            for (descr, data) in [("<f4", &little), (">f4", &big)] {
                let file = opened(&file_of(version, &PLAIN.replace("<f4", descr), data)).unwrap();
                assert_eq!((file.shape(), file.rows()), (&[3, 2][..], 3));
                assert_eq!(file.read_rows::<f32>(1..3).unwrap(), values[2..]);
                assert_eq!(file.read_rows::<f64>(0..1).unwrap(), [1.0, 2.0]);
                assert_eq!(file.read_rows::<f64>(3..3).unwrap(), [0f64; 0]);
                let message = file.read_rows::<f32>(3..4).unwrap_err().to_string();
                assert!(
                    message.contains("no row 3") && message.contains("it has 3"),
                    "{message}"
                );
            }
        }
        let single = opened(&file_of(1, &PLAIN.replace("(3, 2)", "()"), &little)).unwrap();
        assert_eq!(single.read_rows::<f64>(0..1).unwrap(), [1.0]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let data = [0u8; 24];
        let with = |from: &str, to: &str| file_of(1, &PLAIN.replace(from, to), &data);
        let long = "9".repeat(30);
        for (bytes, words) in [
            (with("False", "True"), "Fortran order"),
            (with("<f4", "<c8"), "`<c8`"),
            (with("'<f4'", "[('a', '<f4')]"), "records"),
            (with("(3, 2)", "(4, 2)"), "[4, 2]"),
            (
                with("(3, 2)", "(18446744073709551615, 18446744073709551615)"),
                "cannot hold",
            ),
            (with("(3, 2)", &format!("({long}, 2)")), "shape"),
            (with("(3, 2)", "3"), "shape"),
            (with("descr", "desc"), "element type"),
            (file_of(9, PLAIN, &data), "version 9"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(), "too long"),
            (b"\x93NUM".to_vec(), "not a NumPy file"),
            (b"something else".to_vec(), "not a NumPy file"),
        ] {
            let message = opened(&bytes).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
            assert_eq!(message.lines().count(), 1);
        }
        assert!(
            NpyFile::open("no such file")
                .unwrap_err()
                .to_string()
                .contains("no such file")
        );
    }

    #[test]
    fn no_damage_panics() {
        let whole = file_of(1, PLAIN, &[0u8; 24]);
        for i in 0..whole.len() - 24 {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[i] ^= flip;
                if let Ok(file) = opened(&damaged) {
                    let _ = file.read_rows::<f32>(0..file.rows());
                }
            }
            assert!(opened(&whole[..i]).is_err());
        }
    }
}
