//! Read, write, split and normalise fields and the parameters behind them.
//!
//! [`MapSet`] holds maps and the parameters of the simulations they come from, [`Split`] divides them by simulation,
//! [`FieldTransform`] brings pixels and [`UnitBox`] parameters to the scale that networks learn best on.

mod camels;
mod dataset;
mod field;
pub mod hdf5;
mod normalise;
mod split;

pub use camels::{camels_names, camels_range};
pub use dataset::{MapPaths, MapSet, Origin, read_map};
pub use field::FieldTransform;
pub use normalise::UnitBox;
pub use split::{Fractions, Split};
