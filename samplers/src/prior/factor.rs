//! Put one distribution of a prior on the real line.

use std::fmt::Debug;

use rand::Rng;

use crate::distribution::{Multivariate, Support, Univariate};
use crate::number::{Differentiable, Dual, Number, gradient};
use crate::posterior::Terms;
use crate::rng::{Purpose, stream};

/// The mass of a normal distribution below one standard deviation above its mean.
const ONE_SD: f64 = 0.841_344_746_068_542_9;
/// So many standard deviations is ln(ONE_SD / (1 − ONE_SD)): the map onto an interval is the logistic
/// function, and a uniform density should keep a scale of 1.
const LOGIT_OF_ONE_SD: f64 = 1.668_324_990_882_563_8;
/// So many draws tell centre and scale of a vector.
const SCALE_DRAWS: u64 = 200;

/// One distribution of a prior, of one number or several: `len()` numbers x, `dim()` numbers z. On the real
/// line it is centred and scaled so that z is of order one.
pub(crate) trait Factor: Debug + Send + Sync {
    fn len(&self) -> usize;
    fn dim(&self) -> usize;
    fn ln_density(&self, x: &[f64]) -> f64;
    fn sample(&self, rng: &mut dyn Rng, x: &mut [f64]);
    /// The least and the greatest value of each x.
    fn bounds(&self) -> (f64, f64);
    /// NaN of vectors.
    fn quantile(&self, p: f64) -> f64;
    fn is_logarithmic(&self) -> bool;
    /// Writes x, gives ln |dx/dz|.
    fn constrain(&self, z: &[f64], x: &mut [f64]) -> f64;
    fn unconstrain(&self, x: &[f64], z: &mut [f64]);
    /// Turns a gradient in x into one in z, adds the gradient of `terms` to it, and gives their value.
    fn pull_back(&self, terms: Terms, z: &[f64], in_x: &[f64], in_z: &mut [f64]) -> f64;
}

/// The distribution of one number.
#[derive(Debug)]
pub(super) struct Scalar<U> {
    distribution: U,
    support: Support,
    centre: f64,
    scale: f64,
}

impl<U: Univariate<Number = f64>> Scalar<U> {
    pub(super) fn new(distribution: U) -> Self {
        let support = distribution.support();
        let at = |p| support.unconstrain(distribution.quantile(p));
        let unit = match support {
            Support::Between(..) | Support::Decades(..) => LOGIT_OF_ONE_SD,
            _ => 1.0,
        };
        let scale = 0.5 * (at(ONE_SD) - at(1.0 - ONE_SD)) / unit;
        let (centre, scale) = usable(at(0.5), scale);
        Self {
            distribution,
            support,
            centre,
            scale,
        }
    }

    /// x and ln |dx/dz| at z.
    #[inline]
    fn map<N: Number>(&self, z: N) -> (N, N) {
        let (x, ln_jacobian) = self.support.cast().constrain(z * self.scale + self.centre);
        (x, ln_jacobian + self.scale.ln())
    }
}

/// A centre and a scale, where they are one: a strange distribution keeps the plain map.
fn usable(centre: f64, scale: f64) -> (f64, f64) {
    if !(centre.is_finite() && scale.is_finite() && scale > 0.0) {
        return (0.0, 1.0);
    }
    // What is off the centre by rounding alone is not off it.
    (if centre.abs() < 1e-14 * scale { 0.0 } else { centre }, scale)
}

impl<U: Univariate<Number = f64>> Factor for Scalar<U> {
    fn len(&self) -> usize {
        1
    }
    fn dim(&self) -> usize {
        1
    }
    fn ln_density(&self, x: &[f64]) -> f64 {
        self.distribution.ln_density(x[0])
    }
    fn sample(&self, rng: &mut dyn Rng, x: &mut [f64]) {
        x[0] = self.distribution.sample(rng);
    }
    fn bounds(&self) -> (f64, f64) {
        self.support.bounds()
    }
    fn quantile(&self, p: f64) -> f64 {
        self.distribution.quantile(p)
    }
    fn is_logarithmic(&self) -> bool {
        matches!(self.support, Support::Decades(..))
    }
    fn constrain(&self, z: &[f64], x: &mut [f64]) -> f64 {
        let ln_jacobian;
        (x[0], ln_jacobian) = self.map(z[0]);
        ln_jacobian
    }
    fn unconstrain(&self, x: &[f64], z: &mut [f64]) {
        z[0] = (self.support.unconstrain(x[0]) - self.centre) / self.scale;
    }
    fn pull_back(&self, terms: Terms, z: &[f64], in_x: &[f64], in_z: &mut [f64]) -> f64 {
        let (x, ln_jacobian) = self.map(Dual::<1>::variable(z[0], 0));
        let mut added = Dual::from(0.0);
        if terms != Terms::Likelihood {
            added += self.distribution.ln_density(x);
        }
        if terms == Terms::RealLine {
            added += ln_jacobian;
        }
        in_z[0] = in_x[0] * x.gradient[0] + added.gradient[0];
        added.value
    }
}

/// The distribution of several numbers.
#[derive(Debug)]
pub(super) struct Vector<M> {
    distribution: M,
    centre: Vec<f64>,
    scale: Vec<f64>,
    ln_scale: f64,
}

impl<M: Multivariate<Number = f64>> Vector<M> {
    /// Centre and scale are moments of draws: those of z, of which only the draws are known.
    pub(super) fn new(distribution: M) -> Self {
        let support = distribution.support();
        let dim = support.dim();
        let mut vector = Self {
            distribution,
            centre: vec![0.0; dim],
            scale: vec![1.0; dim],
            ln_scale: 0.0,
        };
        let mut rng = stream(0, Purpose::Start, u64::MAX);
        let (mut x, mut z) = (vec![0.0; support.len()], vec![0.0; dim]);
        let (mut mean, mut square) = (vec![0.0; dim], vec![0.0; dim]);
        for count in 1..=SCALE_DRAWS {
            vector.distribution.sample(&mut rng, &mut x);
            support.unconstrain(&x, &mut z);
            for ((mean, square), z) in mean.iter_mut().zip(&mut square).zip(&z) {
                let off = z - *mean;
                *mean += off / count as f64;
                *square += off * (z - *mean);
            }
        }
        for (i, (mean, square)) in mean.iter().zip(&square).enumerate() {
            (vector.centre[i], vector.scale[i]) = usable(*mean, (square / SCALE_DRAWS as f64).sqrt());
        }
        vector.ln_scale = vector.scale.iter().map(|scale| scale.ln()).sum();
        vector
    }

    fn map<N: Number>(&self, z: &[N], x: &mut [N]) -> N {
        let scales = self.centre.iter().zip(&self.scale);
        let z: Vec<N> = z
            .iter()
            .zip(scales)
            .map(|(&z, (centre, scale))| z * *scale + *centre)
            .collect();
        self.distribution.support().constrain(&z, x) + self.ln_scale
    }
}

impl<M: Multivariate<Number = f64>> Factor for Vector<M> {
    fn len(&self) -> usize {
        self.distribution.len()
    }
    fn dim(&self) -> usize {
        self.centre.len()
    }
    fn ln_density(&self, x: &[f64]) -> f64 {
        self.distribution.ln_density(x)
    }
    fn sample(&self, rng: &mut dyn Rng, x: &mut [f64]) {
        self.distribution.sample(rng, x);
    }
    fn bounds(&self) -> (f64, f64) {
        self.distribution.support().bounds()
    }
    fn quantile(&self, _p: f64) -> f64 {
        f64::NAN
    }
    fn is_logarithmic(&self) -> bool {
        false
    }
    fn constrain(&self, z: &[f64], x: &mut [f64]) -> f64 {
        self.map(z, x)
    }
    fn unconstrain(&self, x: &[f64], z: &mut [f64]) {
        self.distribution.support().unconstrain(x, z);
        for ((z, centre), scale) in z.iter_mut().zip(&self.centre).zip(&self.scale) {
            *z = (*z - centre) / scale;
        }
    }
    fn pull_back(&self, terms: Terms, z: &[f64], in_x: &[f64], in_z: &mut [f64]) -> f64 {
        gradient(
            &Pulled {
                vector: self,
                terms,
                in_x,
            },
            z,
            in_z,
        )
    }
}

/// What is added to the log likelihood, with the gradient of the likelihood made part of its own.
struct Pulled<'a, M> {
    vector: &'a Vector<M>,
    terms: Terms,
    in_x: &'a [f64],
}

impl<M: Multivariate<Number = f64>> Differentiable for Pulled<'_, M> {
    fn evaluate<N: Number>(&self, z: &[N]) -> N {
        let mut x = vec![N::from(0.0); self.in_x.len()];
        let ln_jacobian = self.vector.map(z, &mut x);
        // Linear in x, and 0 here: only the derivatives of the likelihood are wanted.
        let mut sum: N = x
            .iter()
            .zip(self.in_x)
            .map(|(x, &slope)| x.chain(0.0, slope))
            .sum();
        if self.terms != Terms::Likelihood {
            sum += self.vector.distribution.ln_density(&x);
        }
        if self.terms == Terms::RealLine {
            sum += ln_jacobian;
        }
        sum
    }
}
