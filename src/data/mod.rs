//! Read, write, split and normalise fields and the parameters behind them.
//!
//! [`Snapshot`] reads particles, [`Deposit`] makes maps and grids of them; [`Catalogue`] reads groups and subhalos.
//! [`MapSet`] holds maps and the parameters of the simulations they come from, [`Split`] divides them by simulation,
//! [`FieldTransform`] brings pixels and [`UnitBox`] parameters to the scale that networks learn best on.

mod camels;
mod dataset;
mod deposit;
mod field;
pub mod hdf5;
mod normalise;
mod snapshot;
mod split;

pub use camels::{camels_names, camels_range};
pub use dataset::{MapPaths, MapSet, Origin, read_map};
pub use deposit::{Axis, Deposit, Masses, Scheme};
pub use field::FieldTransform;
pub use normalise::UnitBox;
pub use snapshot::{
    Catalogue, Column, Header, NewSnapshot, SimulationFolder, Snapshot, Species, simulation_folders,
};
pub use split::{Fractions, Split};
