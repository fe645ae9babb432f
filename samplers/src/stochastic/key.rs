//! Fix the noise of an estimate by a number.

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

use crate::rng::{Purpose, Stream, stream};

/// What fixes all noise of an estimate. Two keys give independent noise, one key always the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NoiseKey(u64);

impl NoiseKey {
    /// The key with this number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// A fresh key, drawn by the sampler that wants a new estimate.
    pub fn draw(rng: &mut dyn Rng) -> Self {
        Self(rng.random())
    }

    /// Stream number `index` of random numbers under this key: an estimator of many parts (probes, objects,
    /// particles) may give each its own, in any order and on any thread.
    pub fn stream(self, index: u64) -> Stream {
        stream(self.0, Purpose::Noise, index)
    }

    /// The first `n` standard normal variables of stream 0.
    pub fn normals(self, n: usize) -> Vec<f64> {
        let mut rng = self.stream(0);
        (0..n).map(|_| rng.sample(StandardNormal)).collect()
    }
}
