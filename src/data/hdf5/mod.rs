//! Read and write HDF5 files, without a C library unless one is asked for.
//!
//! [`Hdf5File`] lists what a file holds and hands out each [`Hdf5Dataset`], which is read whole or by rows of its first
//! axis, as the number type asked for. Only what is asked for is read: a file may be larger than memory. [`NewFile`]
//! writes one, all or nothing. Contiguous, compact and chunked datasets, gzip, shuffle, fletcher32, scale-offset and
//! LZF are understood; the Blosc family is named in the error, and read in a build with the feature `libhdf5`, where
//! the C library steps in ([`Reader`]).

mod attribute;
#[cfg(feature = "libhdf5")]
mod c_library;
mod dataset;
mod file;
mod info;
mod listing;
mod message;
mod soft_link;
mod write;

pub use attribute::{Attribute, Attributes};
pub use dataset::Hdf5Dataset;
pub use file::{Hdf5File, Reader};
pub use info::{DatasetInfo, Filter, GroupInfo};
pub(in crate::data) use message::of_io as message_of_io;
pub use write::{NewFile, Values};
