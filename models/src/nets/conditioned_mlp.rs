//! A perceptron for vectors with a time and perhaps a condition.

use armilla_samplers::rng::Stream;
use serde::{Deserialize, Serialize};

use super::{Conditioned, check_widths};
use crate::{
    device::Device,
    error::{ModelError, Result},
    layers::{BatchNorm, Linear},
    ops::{Activation, conv::geometry::Extent},
    parameter::{Module, Parameter},
    signal::Signal,
};

/// Sizes of a [`ConditionedMlp`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConditionedMlpConfig {
    /// Numbers of a vector, in and out.
    pub channels: usize,
    /// Numbers of a condition; 0 for none.
    pub cond_dim: usize,
    /// Widths of the hidden layers.
    pub widths: Vec<usize>,
    /// What follows each hidden layer.
    pub activation: Activation,
}

impl Default for ConditionedMlpConfig {
    /// 2-32-32-1: a number and its time, to a number.
    fn default() -> Self {
        Self {
            channels: 1,
            cond_dim: 0,
            widths: vec![32, 32],
            activation: Activation::Relu,
        }
    }
}

/// Linear maps with a function between them, of a vector, its time and its condition side by side.
///
/// ```
/// use armilla_models::{Cpu, Field, Module, nets::{Conditioned, ConditionedMlp, ConditionedMlpConfig}};
/// use armilla_samplers::rng::{Purpose, stream};
/// let device = Cpu::default();
/// let network = ConditionedMlp::new(&device, Default::default(), &mut stream(1, Purpose::Weights, 0))?;
/// assert_eq!(network.count(), 2 * 32 + 32 + 32 * 32 + 32 + 32 + 1);
/// let x = Field::rows(&device, vec![0.5, -0.5], 2)?;
/// assert_eq!(network.forward(x, &[0.1, 0.9], None)?.to_vec().len(), 2);
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct ConditionedMlp<D: Device> {
    config: ConditionedMlpConfig,
    layers: Vec<Linear<D>>,
}

impl<D: Device> ConditionedMlp<D> {
    /// A network with random weights from `stream`.
    ///
    /// # Errors
    /// `Invalid` for sizes that make no sense, `Device` where memory is short.
    pub fn new(device: &D, config: ConditionedMlpConfig, stream: &mut Stream) -> Result<Self> {
        check_widths(
            "ConditionedMlp",
            &config.widths,
            &[config.channels, config.cond_dim + 1],
        )?;
        let sizes: Vec<usize> = std::iter::once(config.channels + 1 + config.cond_dim)
            .chain(config.widths.iter().copied())
            .chain([config.channels])
            .collect();
        let layers = sizes
            .windows(2)
            .map(|ends| Linear::new(device, [ends[0], ends[1]], stream))
            .collect::<Result<_>>()?;
        Ok(Self { config, layers })
    }

    /// Its sizes.
    pub fn config(&self) -> &ConditionedMlpConfig {
        &self.config
    }
}

/// Numbered as in PyTorch's sequence of linear maps and functions: `net.0`, `net.2`, …
impl<D: Device> Module<D> for ConditionedMlp<D> {
    fn parameters(&self) -> Vec<(String, &Parameter<D>)> {
        let numbered = self.layers.iter().enumerate();
        numbered
            .flat_map(|(i, l)| {
                let named = l.parameters().into_iter();
                named.map(move |(n, p)| (format!("net.{}.{n}", 2 * i), p))
            })
            .collect()
    }
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>> {
        self.layers.parameters_mut()
    }
    fn batch_norms(&mut self) -> Vec<&mut BatchNorm<D>> {
        Vec::new()
    }
}

impl<D: Device> Conditioned<D> for ConditionedMlp<D> {
    fn condition_len(&self) -> usize {
        self.config.cond_dim
    }

    fn channels(&self) -> usize {
        self.config.channels
    }

    fn check_extent(&self, extent: Extent) -> Result<()> {
        match extent {
            [1, 1, 1] => Ok(()),
            _ => Err(ModelError::shape(
                "ConditionedMlp",
                format!("vectors have one position, not {extent:?}"),
            )),
        }
    }

    fn time_features(&self, times: &[f64]) -> Result<Vec<f32>> {
        Ok(times.iter().map(|t| *t as f32).collect())
    }

    fn time_scale(&self) -> f64 {
        1.0
    }

    fn pass<S: Signal<D>>(&self, x: S, time: S, condition: Option<S>) -> Result<S> {
        let mut h = x.concat(time)?;
        if let Some(condition) = condition {
            h = h.concat(condition)?;
        }
        for (i, layer) in self.layers.iter().enumerate() {
            h = layer.forward(h)?;
            if i + 1 < self.layers.len() {
                h = h.activate(self.config.activation)?;
            }
        }
        Ok(h)
    }
}
