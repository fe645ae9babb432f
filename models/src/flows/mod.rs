//! Model densities by invertible networks: data go to noise, with the exact logarithm of the determinant, and noise goes
//! back to data.
//!
//! RealNVP, rational quadratic spline coupling, masked autoregressive flows and Glow; each with a condition if wanted.

mod actnorm;
mod affine;
mod build;
mod conditioner;
mod config;
mod coupling;
mod flow;
mod layer;
mod maximum_likelihood;
mod mixing;
mod rows;
mod spline;
#[cfg(test)]
mod tests;
mod transform;

pub use config::{FlowConfig, GlowConfig, MafConfig, RealNvpConfig, SplineConfig};
pub use flow::{Mapped, NormalizingFlow};
pub use maximum_likelihood::MaximumLikelihood;
