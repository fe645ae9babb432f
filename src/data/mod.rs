//! Read, write, split and normalise fields and the parameters behind them.

pub mod hdf5;
