//! Ask a trained network about noisy points: its velocity, noise, data or score, whichever it was trained for.
//!
//! A batch is flattened: rows of [`numbers`](Predictor::numbers) each, all at one time. So a solver, a sampler and a
//! likelihood see neither the network nor the shape of what it was trained on.

mod clipped;
mod network;

pub use clipped::Clipped;
pub use network::NetworkPredictor;
pub(crate) use network::network_time;

use crate::{
    error::Result,
    path::{Path, Target},
};

/// What knows, for points on a path, what led there.
pub trait Predictor {
    /// Numbers in one example.
    fn numbers(&self) -> usize;

    /// The path from data to noise.
    fn path(&self) -> &Path;

    /// What [`predict`](Self::predict) gives.
    fn target(&self) -> Target;

    /// The prediction for each row of `x` (rows × numbers) at the time `t`.
    ///
    /// # Errors
    /// `Shape` where `x` is not made of whole rows, `Device` where memory is short.
    fn predict(&self, x: &[f64], t: f64) -> Result<Vec<f64>>;

    /// The prediction as another target.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    fn predict_as(&self, to: Target, x: &[f64], t: f64) -> Result<Vec<f64>> {
        let mut values = self.predict(x, t)?;
        let point = self.path().at(t);
        point.convert([self.target(), to], x, &mut values);
        Ok(values)
    }

    /// `dx_t/dt` of the probability flow.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    fn velocity(&self, x: &[f64], t: f64) -> Result<Vec<f64>> {
        self.predict_as(Target::Velocity, x, t)
    }
}

/// A predictor with its derivative along a direction.
pub trait DifferentiablePredictor: Predictor {
    /// The prediction, and its derivative along `dx` (of the shape of `x`).
    ///
    /// # Errors
    /// As [`Predictor::predict`].
    fn predict_along(&self, x: &[f64], dx: &[f64], t: f64) -> Result<[Vec<f64>; 2]>;
}
