//! Read, write, split and normalise fields and the parameters behind them.
//!
//! [`MapSet`] holds maps, in memory or in files, and the parameters of the simulations they come from; [`FieldFile`]
//! reads the maps or grids of one file. [`Snapshot`] reads particles, [`Deposit`] makes maps and grids of them;
//! [`Catalogue`] reads groups and subhalos. [`Split`] divides maps by simulation, [`FieldTransform`] brings pixels and
//! [`UnitBox`] parameters to the scale that networks learn best on.

mod camels;
mod dataset;
mod deposit;
mod discover;
mod field;
mod field_file;
pub mod hdf5;
mod normalise;
mod npy;
mod numbers;
mod open_set;
mod parameters;
mod snapshot;
mod split;

pub use camels::{CamelsName, ParameterInfo, ParameterTable, Shape, camels_names, camels_range, read_info};
pub use dataset::{MapSet, Origin, SetFile};
pub use deposit::{Axis, Deposit, Masses, Scheme};
pub use field::{FieldScaling, FieldTransform, Scale};
pub use field_file::{FieldFile, MapPaths};
pub use normalise::UnitBox;
pub use npy::NpyFile;
pub use numbers::Number;
pub(crate) use snapshot::last_snapshot;
pub use snapshot::{
    Catalogue, Column, Header, NewSnapshot, SimulationFolder, Snapshot, Species, simulation_folders,
};
pub use split::{Fractions, Split};
