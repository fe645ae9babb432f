//! Say what all samplers have in common.

use crate::error::SampleError;
use crate::run::{Run, RunOptions};

/// Turns a target into a [`Run`]. What the target must offer is written in the implementation: a sampler
/// that needs gradients cannot be handed a target without.
pub trait Sampler<T: ?Sized> {
    /// Samples `target`. The same options give the same bits, whatever the number of threads.
    ///
    /// # Errors
    /// `SampleError` where the settings make no sense, no starting point was found, or the target failed
    /// before anything was drawn.
    fn sample(&self, target: &T, run: &RunOptions) -> Result<Run, SampleError>;
}
