//! Bring numbers to zero mean and unit variance, then scale, shift and activate them.

pub(crate) mod cpu;
mod layer;
mod rows;

use crate::ops::activation::Activation;

/// The numbers that share one mean and one variance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// A sample's channels in so many groups of equal size, and their positions: Wu & He 2018, arXiv 1803.08494.
    Group(usize),
    /// A channel of all samples: Ioffe & Szegedy 2015, arXiv 1502.03167, as in training.
    Batch,
    /// None: mean and variance of each channel are known, as of `Batch` in evaluation.
    Given,
    /// The channels of one position of one sample: Ba et al. 2016, arXiv 1607.06450.
    Layer,
}

/// `y = f(γ_c (x − μ) / √(σ² + ε) + β_c) + e[b,c]` on `x` of shape (batch, channels, positions), with σ² biased.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm<'a> {
    /// What shares μ and σ².
    pub over: Over,
    /// (batch, channels, positions).
    pub shape: [usize; 3],
    /// ε.
    pub epsilon: f32,
    /// f.
    pub activation: Activation,
    /// γ of each channel.
    pub weight: &'a [f32],
    /// β of each channel.
    pub bias: &'a [f32],
}

impl Norm<'_> {
    /// How many means there are: (batch, groups), (channels) or (batch, positions) of them.
    pub fn sets(&self) -> usize {
        let [batch, channels, positions] = self.shape;
        match self.over {
            Over::Group(groups) => batch * groups,
            Over::Batch | Over::Given => channels,
            Over::Layer => batch * positions,
        }
    }
}
