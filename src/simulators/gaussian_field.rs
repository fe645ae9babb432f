//! Simulate a Gaussian density contrast on a periodic grid.

use std::sync::Arc;

use armilla_samplers::rng::Stream;
use rand::RngExt;
use rand_distr::StandardNormal;

use super::{FieldLikelihood, Simulator, Slab, SlabSpectrum};
use crate::cosmology::{BOUNDS, PARAMETER_NAMES};
use crate::fourier::Fourier;
use crate::{Error, Result};

/// A Gaussian random field with the linear spectrum of a slab: values are the density contrast δ.
///
/// White noise is multiplied by √λ in Fourier space (see [`SlabSpectrum`] for λ, units and what is left out), so the
/// field has exactly the covariance that [`FieldLikelihood`] takes. The mean of a map is random as well, with
/// variance P_2D(0)/L². Being Gaussian, δ may fall below −1; [`LognormalField`](super::LognormalField) does not.
///
/// ```
/// use armilla::samplers::rng::{Purpose, stream};
/// use armilla::samplers::{DifferentiableLikelihood, Likelihood};
/// use armilla::simulators::{GaussianField, Simulator, Slab};
///
/// let field = GaussianField::new(Slab { size: 16, ..Slab::default() })?;
/// let map = field.simulate(&[0.3, 0.8], &mut stream(1, Purpose::Simulation, 0))?;
/// let likelihood = field.observe(&map)?;
/// let mut gradient = [0.0; 2];
/// let value = likelihood.value_and_gradient(&[0.3, 0.8], &mut gradient)?;
/// assert_eq!(value, likelihood.log_likelihood(&[0.3, 0.8])?);
/// assert!(value > likelihood.log_likelihood(&[0.3, 2.0])?);
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug)]
pub struct GaussianField {
    spectrum: Arc<SlabSpectrum>,
    fourier: Fourier,
}

impl GaussianField {
    /// Prepares the spectrum of `slab`.
    ///
    /// # Errors
    /// As for [`SlabSpectrum::new`].
    pub fn new(slab: Slab) -> Result<Self> {
        Ok(Self {
            spectrum: Arc::new(SlabSpectrum::new(slab)?),
            fourier: Fourier::new(slab.size),
        })
    }

    /// The spectrum of the field.
    pub fn spectrum(&self) -> &SlabSpectrum {
        &self.spectrum
    }

    /// ln p(`map` | θ) as a function of θ.
    ///
    /// # Errors
    /// Other than N² values, or one that is not finite.
    pub fn observe(&self, map: &[f64]) -> Result<FieldLikelihood> {
        self.check_length(map)?;
        if let Some((i, value)) = map.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Error::Invalid(format!(
                "value {i} of the map is {value}; a Gaussian field has finite values"
            )));
        }
        Ok(FieldLikelihood::new(&self.spectrum, &self.fourier, map, false))
    }

    /// ln p of the lognormal map whose logarithms, of the right number and finite, are `logarithms`.
    pub(super) fn observe_logarithms(&self, logarithms: &[f64]) -> FieldLikelihood {
        FieldLikelihood::new(&self.spectrum, &self.fourier, logarithms, true)
    }

    pub(super) fn check_length(&self, map: &[f64]) -> Result<()> {
        let size = self.size();
        if map.len() != size * size {
            return Err(Error::Invalid(format!(
                "the map has {} values; a field of size {size} has {size} × {size} = {}",
                map.len(),
                size * size
            )));
        }
        Ok(())
    }

    /// A field, and the variance σ_g² it was drawn with.
    pub(super) fn draw(&self, theta: &[f64], stream: &mut Stream) -> Result<(Vec<f64>, f64)> {
        let power = self.spectrum.power(theta)?;
        let variance = self.spectrum.sum_over_modes(&power);
        let eigenvalue = self.spectrum.eigenvalue();
        let roots: Vec<f64> = power.iter().map(|p| (eigenvalue * p).sqrt()).collect();
        // White noise has the symmetries of a real field already, whatever the parity of N.
        let noise: Vec<f64> = (0..self.size() * self.size())
            .map(|_| stream.sample(StandardNormal))
            .collect();
        let mut modes = self.fourier.forward(&noise);
        for (mode, &i) in modes.iter_mut().zip(self.spectrum.index()) {
            *mode *= roots[i as usize];
        }
        Ok((self.fourier.inverse(modes), variance))
    }
}

impl Simulator for GaussianField {
    fn parameter_names(&self) -> &[&'static str] {
        &PARAMETER_NAMES
    }

    fn bounds(&self) -> &[[f64; 2]] {
        &BOUNDS
    }

    fn size(&self) -> usize {
        self.spectrum.slab().size
    }

    /// A map of δ.
    fn simulate(&self, theta: &[f64], stream: &mut Stream) -> Result<Vec<f64>> {
        Ok(self.draw(theta, stream)?.0)
    }
}
