//! What the networks of generative models have in common: a noisy field, its time and perhaps a condition go in, a
//! field of the same shape comes out.

use super::MOST_CHANNELS;
use crate::{
    device::Device,
    error::{ModelError, Result},
    ops::conv::geometry::Extent,
    parameter::Module,
    signal::Signal,
};

/// A network that sees a field, its time and a condition.
pub trait Conditioned<D: Device>: Module<D> {
    /// Numbers of a condition; 0 where there is none.
    fn condition_len(&self) -> usize;

    /// Channels of the field, in and out.
    fn channels(&self) -> usize;

    /// Whether fields of this extent can pass.
    ///
    /// # Errors
    /// `Shape` where not: it says which can.
    fn check_extent(&self, extent: Extent) -> Result<()>;

    /// What the network is told of each time: rows of features.
    ///
    /// # Errors
    /// `Invalid` where the number of features makes no sense.
    fn time_features(&self, times: &[f64]) -> Result<Vec<f32>>;

    /// What times from 0 to 1 are multiplied by before [`time_features`](Self::time_features) sees them: embeddings are
    /// made for a thousand steps.
    fn time_scale(&self) -> f64 {
        1000.0
    }

    /// The network itself, from features of the time on.
    ///
    /// # Errors
    /// `Shape` where the parts do not fit.
    fn pass<S: Signal<D>>(&self, x: S, time: S, condition: Option<S>) -> Result<S>;

    /// (batch, channels, extent), a time and a condition for each → (batch, channels, extent).
    ///
    /// With a [`Field`](crate::Field) it gives the value; with a [`Dual`](crate::Dual) the derivative along a direction
    /// in field and condition too.
    ///
    /// # Errors
    /// `Shape` where times, condition, channels or extent do not fit: it names both.
    fn forward<S: Signal<D>>(&self, x: S, times: &[f64], condition: Option<S>) -> Result<S> {
        let (batch, channels, extent) = x.shape();
        self.check_extent(extent)?;
        let told = condition.as_ref().map_or(0, |c| c.shape().1);
        let rows = condition.as_ref().map_or(batch, |c| c.shape().0);
        if channels != self.channels()
            || told != self.condition_len()
            || rows != batch
            || times.len() != batch
        {
            let what = format!(
                "{batch} fields of {channels} channels, {} times and {rows} conditions of {told} numbers, where the network takes {} channels and conditions of {}",
                times.len(),
                self.channels(),
                self.condition_len()
            );
            return Err(ModelError::shape("network", what));
        }
        let time = S::constant(&x.device(), self.time_features(times)?, batch)?;
        self.pass(x, time, condition)
    }
}

/// Widths that a network can have.
pub(super) fn check_widths(network: &str, widths: &[usize], others: &[usize]) -> Result<()> {
    let fits = |n: &usize| (1..=MOST_CHANNELS).contains(n);
    if (1..=8).contains(&widths.len()) && widths.iter().chain(others).all(fits) {
        return Ok(());
    }
    Err(ModelError::Invalid(format!(
        "{network}: one to eight levels and sizes from 1 to {MOST_CHANNELS}, not {widths:?} and {others:?}"
    )))
}
