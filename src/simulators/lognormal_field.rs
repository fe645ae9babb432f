//! Simulate a lognormal density on a periodic grid.

use armilla_samplers::rng::Stream;

use super::{FieldLikelihood, GaussianField, Simulator, Slab, SlabSpectrum};
use crate::{Error, Result};

/// A lognormal field (Coles & Jones 1991, 1991MNRAS.248....1C): values are the density over its mean,
/// 1 + δ = exp(g − σ_g²/2) > 0.
///
/// g is the field of [`GaussianField`] and σ_g² = L⁻² Σ_k P_2D(k) over the grid's modes, the mean mode included, so
/// that ⟨1 + δ⟩ = 1 over maps. The mean of a single map is random. Were it left out, Σ ln(1 + δ) would be
/// −N² σ_g²(θ)/2 exactly and one number of a map would give σ_g² away.
///
/// ```
/// use armilla::samplers::rng::{Purpose, stream};
/// use armilla::samplers::Likelihood;
/// use armilla::simulators::{LognormalField, Simulator, Slab};
///
/// let field = LognormalField::new(Slab { size: 16, ..Slab::default() })?;
/// let map = field.simulate(&[0.3, 0.8], &mut stream(1, Purpose::Simulation, 0))?;
/// assert!(map.iter().all(|value| *value > 0.0));
/// let likelihood = field.observe(&map)?;
/// assert!(likelihood.log_likelihood(&[0.3, 0.8])? > likelihood.log_likelihood(&[0.3, 2.0])?);
/// # Ok::<(), armilla::Error>(())
/// ```
#[derive(Debug)]
pub struct LognormalField {
    gaussian: GaussianField,
}

impl LognormalField {
    /// Prepares the spectrum of `slab`.
    ///
    /// # Errors
    /// As for [`SlabSpectrum::new`].
    pub fn new(slab: Slab) -> Result<Self> {
        Ok(Self {
            gaussian: GaussianField::new(slab)?,
        })
    }

    /// The spectrum of the Gaussian field g.
    pub fn spectrum(&self) -> &SlabSpectrum {
        self.gaussian.spectrum()
    }

    /// ln p(`map` | θ) as a function of θ, for a map of 1 + δ.
    ///
    /// # Errors
    /// Other than N² values, or one that is not positive and finite.
    pub fn observe(&self, map: &[f64]) -> Result<FieldLikelihood> {
        self.gaussian.check_length(map)?;
        // Written so that NaN fails.
        let wrong = |value: &f64| !(*value > 0.0 && value.is_finite());
        if let Some((i, value)) = map.iter().enumerate().find(|(_, value)| wrong(value)) {
            return Err(Error::Invalid(format!(
                "value {i} of the map is {value}; a lognormal field, 1 + δ, is positive and finite"
            )));
        }
        let logarithms: Vec<f64> = map.iter().map(|value| value.ln()).collect();
        Ok(self.gaussian.observe_logarithms(&logarithms))
    }
}

impl Simulator for LognormalField {
    fn parameter_names(&self) -> &[&'static str] {
        self.gaussian.parameter_names()
    }

    fn bounds(&self) -> &[[f64; 2]] {
        self.gaussian.bounds()
    }

    fn size(&self) -> usize {
        self.gaussian.size()
    }

    /// A map of 1 + δ.
    fn simulate(&self, theta: &[f64], stream: &mut Stream) -> Result<Vec<f64>> {
        let (mut map, variance) = self.gaussian.draw(theta, stream)?;
        map.iter_mut().for_each(|g| *g = (*g - 0.5 * variance).exp());
        Ok(map)
    }
}
