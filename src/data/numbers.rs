//! Read numbers that lie one after another in a file.
//!
//! That is what an `.npy` file and a contiguous HDF5 dataset are behind their headers. They are read by position rather
//! than mapped into memory: as fast, from any number of threads at once, and a file that shrinks meanwhile is an error
//! where a map would end the program.

use std::fs::File;
use std::io;
use std::ops::Range;

use bytemuck::Pod;

/// A number type that any float or integer dataset can be read as: `f32` and `f64`.
///
/// As `f64`, every float dataset and integers up to 2⁵³ keep their exact values.
pub trait Number: Pod + Send + Sync + sealed::Sealed {
    /// How this very type is stored by this machine.
    #[doc(hidden)]
    const NATIVE: Element;
    #[doc(hidden)]
    fn from_f64(value: f64) -> Self;
    #[doc(hidden)]
    fn from_i64(value: i64) -> Self;
    #[doc(hidden)]
    fn from_u64(value: u64) -> Self;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

macro_rules! number {
    ($type:ty, $kind:expr) => {
        impl Number for $type {
            const NATIVE: Element = Element {
                kind: $kind,
                big_endian: cfg!(target_endian = "big"),
            };
            fn from_f64(value: f64) -> Self {
                value as $type
            }
            fn from_i64(value: i64) -> Self {
                value as $type
            }
            fn from_u64(value: u64) -> Self {
                value as $type
            }
        }
    };
}

number!(f32, Kind::F32);
number!(f64, Kind::F64);

/// How a number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    pub(super) kind: Kind,
    pub(super) big_endian: bool,
}

/// What is stored, whatever the order of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
}

impl Element {
    /// The bytes of one number.
    pub(super) fn size(self) -> usize {
        match self.kind {
            Kind::I8 | Kind::U8 => 1,
            Kind::I16 | Kind::U16 => 2,
            Kind::F32 | Kind::I32 | Kind::U32 => 4,
            Kind::F64 | Kind::I64 | Kind::U64 => 8,
        }
    }

    /// Its name, as listings have it: `f32`, `u64`, `f64 (big-endian)`.
    pub(super) fn name(self) -> String {
        let name = match self.kind {
            Kind::F32 => "f32",
            Kind::F64 => "f64",
            Kind::I8 => "i8",
            Kind::I16 => "i16",
            Kind::I32 => "i32",
            Kind::I64 => "i64",
            Kind::U8 => "u8",
            Kind::U16 => "u16",
            Kind::U32 => "u32",
            Kind::U64 => "u64",
        };
        let order = if self.big_endian { " (big-endian)" } else { "" };
        format!("{name}{order}")
    }

    /// Turns `bytes`, as they are stored, into as many numbers as `out` takes.
    pub(super) fn decode<T: Number>(self, bytes: &[u8], out: &mut [T]) {
        macro_rules! each {
            ($type:ty, $wide:ty, $from:ident) => {{
                const SIZE: usize = size_of::<$type>();
                let (chunks, _) = bytes.as_chunks::<SIZE>();
                if self.big_endian {
                    for (x, b) in out.iter_mut().zip(chunks) {
                        *x = T::$from(<$wide>::from(<$type>::from_be_bytes(*b)));
                    }
                } else {
                    for (x, b) in out.iter_mut().zip(chunks) {
                        *x = T::$from(<$wide>::from(<$type>::from_le_bytes(*b)));
                    }
                }
            }};
        }
        match self.kind {
            Kind::F32 => each!(f32, f64, from_f64),
            Kind::F64 => each!(f64, f64, from_f64),
            Kind::I8 => each!(i8, i64, from_i64),
            Kind::I16 => each!(i16, i64, from_i64),
            Kind::I32 => each!(i32, i64, from_i64),
            Kind::I64 => each!(i64, i64, from_i64),
            Kind::U8 => each!(u8, u64, from_u64),
            Kind::U16 => each!(u16, u64, from_u64),
            Kind::U32 => each!(u32, u64, from_u64),
            Kind::U64 => each!(u64, u64, from_u64),
        }
    }
}

/// Rows of numbers of one type, from some place of a file on.
#[derive(Debug)]
pub(super) struct Numbers {
    file: File,
    start: u64,
    element: Element,
    row: usize,
}

impl Numbers {
    /// `rows` rows of `row` numbers each, which begin at byte `start`; nothing where the file, of `size` bytes, does not
    /// hold them all.
    pub(super) fn new(
        file: File,
        size: u64,
        start: u64,
        element: Element,
        rows: usize,
        row: usize,
    ) -> Option<Self> {
        let bytes = row.checked_mul(element.size())?.checked_mul(rows)?;
        let end = start.checked_add(u64::try_from(bytes).ok()?)?;
        (end <= size).then_some(Self {
            file,
            start,
            element,
            row,
        })
    }

    /// Reads `rows`, which must be there, into `out`, which must be as long as they are.
    pub(super) fn read<T: Number>(&self, rows: Range<usize>, out: &mut [T]) -> io::Result<()> {
        debug_assert_eq!(out.len(), rows.len() * self.row);
        let size = self.element.size();
        let start = self.start + (rows.start * self.row * size) as u64;
        if self.element == T::NATIVE {
            return read_exact_at(&self.file, bytemuck::cast_slice_mut(out), start);
        }
        // A part of it that stays in the cache.
        const PART: usize = 1 << 16;
        let mut bytes = vec![0; (out.len() * size).min(PART)];
        let mut at = start;
        for out in out.chunks_mut(PART / size) {
            let bytes = &mut bytes[..out.len() * size];
            read_exact_at(&self.file, bytes, at)?;
            self.element.decode(bytes, out);
            at += bytes.len() as u64;
        }
        Ok(())
    }
}

/// Fills `bytes` from byte `start` of `file` on, wherever its cursor is.
#[cfg(unix)]
pub(super) fn read_exact_at(file: &File, bytes: &mut [u8], start: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, start)
}

/// Fills `bytes` from byte `start` of `file` on. It moves the cursor, which nobody here asks for.
#[cfg(windows)]
pub(super) fn read_exact_at(file: &File, mut bytes: &mut [u8], mut start: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, start) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                bytes = &mut bytes[n..];
                start += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_and_order_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        macro_rules! check {
            ($type:ty, $kind:expr, $values:expr) => {
                let values: Vec<$type> = $values;
                for big_endian in [false, true] {
                    let order = |x: &$type| {
                        if big_endian {
                            x.to_be_bytes()
                        } else {
                            x.to_le_bytes()
                        }
                    };
                    let mut bytes = vec![7u8; 3];
                    bytes.extend(values.iter().flat_map(order));
                    std::fs::write(&path, &bytes).unwrap();
                    let element = Element {
                        kind: $kind,
                        big_endian,
                    };
                    let open = |size| Numbers::new(File::open(&path).unwrap(), size, 3, element, 3, 2);
                    let numbers = open(bytes.len() as u64).unwrap();
                    let mut out = [0f64; 4];
                    numbers.read(1..3, &mut out).unwrap();
                    let expected: Vec<f64> = values[2..].iter().map(|&x| x as f64).collect();
                    assert_eq!(out[..], expected);
                    let mut out = [0f32; 4];
                    numbers.read(1..3, &mut out).unwrap();
                    let expected: Vec<f32> = values[2..].iter().map(|&x| x as f32).collect();
                    assert_eq!(out[..], expected);
                    assert!(open(bytes.len() as u64 - 1).is_none());
                }
            };
        }
        check!(f32, Kind::F32, vec![1.5, -2.0, 3.25, 1e30, -1e-30, 0.1]);
        check!(f64, Kind::F64, vec![1.5, -2.0, 3.25, 1e30, -1e-30, 0.1]);
        check!(i8, Kind::I8, vec![1, -2, 3, -4, 127, -128]);
        check!(i16, Kind::I16, vec![1, -2, 3, -4, 32767, -32768]);
        check!(i32, Kind::I32, vec![1, -2, 3, -4, i32::MAX, i32::MIN]);
        check!(i64, Kind::I64, vec![1, -2, 3, -4, i64::MAX, i64::MIN]);
        check!(u8, Kind::U8, vec![1, 2, 3, 4, 5, 255]);
        check!(u16, Kind::U16, vec![1, 2, 3, 4, 5, 65535]);
        check!(u32, Kind::U32, vec![1, 2, 3, 4, 5, u32::MAX]);
        check!(u64, Kind::U64, vec![1, 2, 3, 4, 5, u64::MAX]);
    }

    #[test]
    fn long_rows_are_read_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers");
        let values: Vec<f64> = (0..40_000).map(f64::from).collect();
        std::fs::write(&path, bytemuck::cast_slice::<f64, u8>(&values)).unwrap();
        let element = f64::NATIVE;
        let numbers = Numbers::new(File::open(&path).unwrap(), 320_000, 0, element, 2, 20_000).unwrap();
        let mut out = vec![0f32; 40_000];
        numbers.read(0..2, &mut out).unwrap();
        assert!(out.iter().zip(&values).all(|(&a, &b)| f64::from(a) == b));
        // A file that shrinks while it is read.
        std::fs::write(&path, [0; 10]).unwrap();
        assert!(numbers.read(0..2, &mut out).is_err());
    }
}
