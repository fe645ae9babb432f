//! Summarise fields and compare sets of them: [`power_spectrum`] and [`SpectrumEstimator`] for spectra in two and three
//! dimensions, [`PixelDistribution`], and [`reduced_chi_squared`] between summaries of generated and true fields.

mod chi_squared;
mod pixel_distribution;
mod power_spectrum;

pub use chi_squared::{ReducedChiSquared, reduced_chi_squared};
pub use pixel_distribution::PixelDistribution;
pub use power_spectrum::{CrossSpectrum, PowerSpectrum, SpectrumEstimator, density_contrast, power_spectrum};
