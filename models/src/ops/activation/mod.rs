//! Bend numbers one by one: the activations of networks with their first two derivatives.

pub(crate) mod cpu;

use serde::{Deserialize, Serialize};

/// What a layer does to each of its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x.
    Identity,
    /// max(x, 0), with slope 0 at 0.
    Relu,
    /// x / (1 + exp(−x)): Elfwing et al. 2017, arXiv 1702.03118.
    Silu,
    /// x · Φ(x) with Φ the normal distribution, exactly, not by tanh: Hendrycks & Gimpel 2016, arXiv 1606.08415.
    Gelu,
    /// 1 / (1 + exp(−x)).
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
}
