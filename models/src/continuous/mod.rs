//! Read and train flows that are continuous in time, by the instantaneous change of variables.
//!
//! A velocity `v` that carries data (t = 0) to noise (t = 1) changes the log density along its way by `−∇·v` (Chen et al.
//! 2018, arXiv 1806.07366). So [`log_density`] reads the density that any trained predictor stands for, and [`Ffjord`]
//! trains a velocity by maximum likelihood.

mod augmented;
mod ffjord;
mod log_density;
mod reverse;
#[cfg(test)]
mod tests;
mod trace;

pub use ffjord::Ffjord;
pub use log_density::{LogDensities, log_density};
pub use reverse::Gradient;
pub use trace::Trace;
