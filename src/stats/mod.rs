//! Summarise maps: [`power_spectrum`].

mod power_spectrum;

pub use power_spectrum::{PowerSpectrum, density_contrast, power_spectrum};
