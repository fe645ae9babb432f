//! Tell a network what time it is.

use armilla_samplers::rng::Stream;

use super::Linear;
use crate::{
    device::Device,
    error::{ModelError, Result},
    ops::Activation,
    parameter::{Module, Parameter},
    signal::Signal,
};

/// Sines, then cosines, of each time at `dim / 2` frequencies from 1 to 1e-4 (Vaswani et al. 2017, arXiv 1706.03762):
/// (times, dim), row by row. Computed in double precision.
///
/// # Errors
/// `Invalid` where `dim` is odd or below four.
///
/// ```
/// let rows = armilla_models::layers::embedding(&[0.0], 4)?;
/// assert_eq!(rows, [0.0, 0.0, 1.0, 1.0]);
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
pub fn embedding(times: &[f64], dim: usize) -> Result<Vec<f32>> {
    if dim < 4 || !dim.is_multiple_of(2) {
        return Err(ModelError::Invalid(format!(
            "a time embedding has an even number of features from 4 on, not {dim}"
        )));
    }
    let half = dim / 2;
    let frequency = |i: usize| (-(i as f64) * 1e4f64.ln() / (half - 1) as f64).exp();
    let features = |t: f64| {
        let sines = (0..half).map(move |i| (t * frequency(i)).sin() as f32);
        sines.chain((0..half).map(move |i| (t * frequency(i)).cos() as f32))
    };
    Ok(times.iter().flat_map(|&t| features(t)).collect())
}

/// Two linear maps with a function between them, called as PyTorch numbers them in a sequence.
#[derive(Debug, Clone)]
pub struct Embedding<D: Device> {
    layers: [Linear<D>; 2],
    names: [&'static str; 2],
    f: Activation,
}

impl<D: Device> Embedding<D> {
    /// From `sizes[0]` features over `sizes[1]` to `sizes[2]`.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn new(
        device: &D,
        sizes: [usize; 3],
        names: [&'static str; 2],
        f: Activation,
        stream: &mut Stream,
    ) -> Result<Self> {
        Ok(Self {
            layers: [
                Linear::new(device, [sizes[0], sizes[1]], stream)?,
                Linear::new(device, [sizes[1], sizes[2]], stream)?,
            ],
            names,
            f,
        })
    }

    /// What the rows say, in the network's words.
    ///
    /// # Errors
    /// `Shape` where the rows do not fit.
    pub fn forward<S: Signal<D>>(&self, rows: S) -> Result<S> {
        let [first, second] = &self.layers;
        second.forward(first.forward(rows)?.activate(self.f)?)
    }
}

impl<D: Device> Module<D> for Embedding<D> {
    fn parameters(&self) -> Vec<(String, &Parameter<D>)> {
        let parts = self.names.iter().zip(&self.layers);
        parts
            .flat_map(|(name, l)| {
                l.parameters()
                    .into_iter()
                    .map(move |(n, p)| (format!("{name}.{n}"), p))
            })
            .collect()
    }
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>> {
        self.layers.iter_mut().flat_map(Module::parameters_mut).collect()
    }
}
