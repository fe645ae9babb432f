//! Simulate fields with a likelihood known exactly: [`GaussianField`], [`LognormalField`], their spectrum
//! [`SlabSpectrum`], and sets of them with [`latin_hypercube`] and [`simulate_set`].
//!
//! Both are maps of matter averaged over a [`Slab`], a function of θ = (Ω_m, σ_8) through the linear power
//! spectrum ([`crate::cosmology`]). [`FieldLikelihood`] is ln p(map | θ), so that a learned likelihood can be held
//! against the truth. [`Zeldovich`] makes particles instead, which go to a snapshot and from there to maps.

mod field_likelihood;
mod gaussian_field;
mod latin_hypercube;
mod lognormal_field;
mod simulate_set;
mod slab_spectrum;
mod zeldovich;

use armilla_samplers::rng::Stream;

pub use field_likelihood::FieldLikelihood;
pub use gaussian_field::GaussianField;
pub use latin_hypercube::latin_hypercube;
pub use lognormal_field::LognormalField;
pub use simulate_set::{SimulationSet, simulate_set};
pub use slab_spectrum::{Slab, SlabSpectrum};
pub use zeldovich::{Particles, Zeldovich};

use crate::Result;

/// Makes square maps from parameters.
pub trait Simulator: Send + Sync {
    /// The parameters' names, in the order in which θ holds them.
    fn parameter_names(&self) -> &[&'static str];

    /// The range \[low, high\] from which each parameter is meant to be drawn: the box of the prior.
    fn bounds(&self) -> &[[f64; 2]];

    /// Values along one side of a map.
    fn size(&self) -> usize;

    /// One map of `size()`² values, row after row. The same θ and stream give the same bits.
    ///
    /// # Errors
    /// θ that the simulator has no map for.
    fn simulate(&self, theta: &[f64], stream: &mut Stream) -> Result<Vec<f64>>;
}
