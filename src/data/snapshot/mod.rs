//! Read the particles and the catalogues of simulations, and write snapshots.
//!
//! [`Snapshot`] finds the files of a snapshot in the layouts of CAMELS and hands out its particles, part after part;
//! [`Catalogue`] reads the columns of a group or subhalo catalogue by name; [`NewSnapshot`] writes one.
//! Lengths are in Mpc/h and masses in M☉/h, whatever the files have; those that do not say are taken to be in Gadget's
//! kpc/h and 10¹⁰ M☉/h.

mod catalogue;
mod files;
mod header;
mod read;
mod units;
mod write;

pub use catalogue::{Catalogue, Column};
pub(crate) use files::last_snapshot;
pub use files::{SimulationFolder, simulation_folders};
pub use header::{Header, Species};
pub use read::Snapshot;
pub use write::NewSnapshot;
