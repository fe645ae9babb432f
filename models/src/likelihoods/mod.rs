//! Read a trained velocity field as a likelihood of its parameters.

pub mod evidence_bound;
pub mod reconstruction;
pub mod surrogate;

pub use evidence_bound::EvidenceBound;
pub use reconstruction::Reconstruction;
pub use surrogate::Surrogate;

/// Fixes times and noise: with one key, a likelihood is a deterministic function of its parameters.
pub type NoiseKey = u64;
