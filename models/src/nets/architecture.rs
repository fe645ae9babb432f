//! Choose a network at run time: from a description, or from the names and shapes of its weights.

use std::collections::BTreeMap;

use armilla_samplers::rng::{Purpose, stream};
use serde::{Deserialize, Serialize};

use super::{
    AttentionUnet, AttentionUnetConfig, Conditioned, ConditionedMlp, ConditionedMlpConfig,
    LatentVelocityConfig, LatentVelocityEstimator, SimpleUnet, SimpleUnetConfig,
};
use crate::{
    device::Device,
    error::Result,
    layers::BatchNorm,
    ops::conv::geometry::{Extent, Padding},
    parameter::{Module, Parameter},
    signal::Signal,
};

/// A network and its sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "network", rename_all = "snake_case")]
pub enum Architecture {
    /// See [`SimpleUnet`].
    SimpleUnet(SimpleUnetConfig),
    /// See [`AttentionUnet`].
    AttentionUnet(AttentionUnetConfig),
    /// See [`LatentVelocityEstimator`].
    LatentVelocityEstimator(LatentVelocityConfig),
    /// See [`ConditionedMlp`].
    ConditionedMlp(ConditionedMlpConfig),
}

/// Names and shapes of weights.
type Shapes<'a> = BTreeMap<&'a str, &'a [usize]>;

impl Architecture {
    /// What there is.
    pub const NAMES: [&'static str; 4] = [
        "SimpleUnet",
        "AttentionUnet",
        "LatentVelocityEstimator",
        "ConditionedMlp",
    ];

    /// Which it is.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SimpleUnet(_) => Self::NAMES[0],
            Self::AttentionUnet(_) => Self::NAMES[1],
            Self::LatentVelocityEstimator(_) => Self::NAMES[2],
            Self::ConditionedMlp(_) => Self::NAMES[3],
        }
    }

    /// The most channels that a layer has; somewhere they meet as many others.
    pub(crate) fn widest(&self) -> usize {
        let most = |base: usize, multiples: &[usize]| {
            base.saturating_mul(multiples.iter().copied().max().unwrap_or(1))
        };
        match self {
            Self::SimpleUnet(c) => most(c.base_channels, &c.channel_mults),
            Self::AttentionUnet(c) => most(c.dim, &c.dim_mults),
            Self::LatentVelocityEstimator(c) => c.base_channels,
            Self::ConditionedMlp(c) => {
                // The largest matrix, as if it were square.
                let ends = [c.channels];
                let sizes: Vec<usize> = ends.iter().chain(&c.widths).chain(&ends).copied().collect();
                let products = sizes.windows(2).map(|pair| pair[0].saturating_mul(pair[1]));
                products.max().unwrap_or(1).isqrt()
            }
        }
    }

    /// Reads the sizes off the shapes of the weights; `metadata` may tell `groups`, `padding` and `activation`.
    ///
    /// Only what is looked at is sure to fit: loading the weights checks the rest.
    pub fn recognise(shapes: &Shapes<'_>, metadata: &BTreeMap<String, String>) -> Option<Self> {
        let of = |name: &str, axis: usize| shapes.get(name)?.get(axis).copied();
        let list = |prefix: &str, suffix: &str| -> Vec<usize> {
            (0..)
                .map_while(|i| of(&format!("{prefix}.{i}.{suffix}"), 0))
                .collect()
        };
        let multiples = |widths: Vec<usize>, base: usize| -> Option<Vec<usize>> {
            let whole = base > 0 && !widths.is_empty() && widths.iter().all(|w| w.is_multiple_of(base));
            whole.then(|| widths.iter().map(|w| w / base).collect())
        };
        if let Some(base) = of("init_conv.weight", 0) {
            return Some(Self::SimpleUnet(SimpleUnetConfig {
                channels: of("init_conv.weight", 1)?,
                base_channels: base,
                channel_mults: multiples(list("downs", "res.block1.0.weight"), base)?,
                time_dim: of("time_mlp.1.weight", 1)?,
                cond_dim: of("cond_mlp.0.weight", 1)?,
            }));
        }
        if let Some(cond_dim) = of("conditional_embedding.0.weight", 1) {
            let dim = of("time_mlp.1.weight", 1)?;
            let told = AttentionUnetConfig::default();
            let padding = metadata.get("padding").map(String::as_str);
            return Some(Self::AttentionUnet(AttentionUnetConfig {
                channels: of("downs.0.0.block1.proj.weight", 1)?,
                dim,
                dim_mults: multiples(list("downs", "0.block1.proj.weight"), dim)?,
                cond_dim,
                groups: metadata
                    .get("groups")
                    .and_then(|g| g.parse().ok())
                    .unwrap_or(told.groups),
                padding: match padding {
                    Some("zeros") => Padding::Zeros,
                    _ => Padding::Circular,
                },
            }));
        }
        if shapes.keys().all(|name| name.starts_with("net."))
            && let Some(inputs) = of("net.0.weight", 1)
        {
            let layer = |i: usize| of(&format!("net.{}.weight", 2 * i), 0);
            let mut widths: Vec<usize> = (0..).map_while(layer).collect();
            let channels = widths.pop()?;
            let told = metadata.get("activation").cloned().map(serde_json::Value::from);
            return Some(Self::ConditionedMlp(ConditionedMlpConfig {
                channels,
                cond_dim: inputs.checked_sub(channels + 1)?,
                widths,
                activation: told
                    .and_then(|a| serde_json::from_value(a).ok())
                    .unwrap_or(ConditionedMlpConfig::default().activation),
            }));
        }
        let blocks = list("res_blocks", "conv1.weight");
        Some(Self::LatentVelocityEstimator(LatentVelocityConfig {
            in_channels: of("input_conv.weight", 1)?,
            base_channels: of("input_conv.weight", 0)?,
            time_dim: of("res_blocks.0.time_mlp.mlp.0.weight", 1)?,
            num_res_blocks: blocks.len(),
        }))
    }
}

/// Any of the networks.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // a program holds a few of them
pub enum Network<D: Device> {
    /// See [`SimpleUnet`].
    SimpleUnet(SimpleUnet<D>),
    /// See [`AttentionUnet`].
    AttentionUnet(AttentionUnet<D>),
    /// See [`LatentVelocityEstimator`].
    LatentVelocityEstimator(LatentVelocityEstimator<D>),
    /// See [`ConditionedMlp`].
    ConditionedMlp(ConditionedMlp<D>),
}

macro_rules! each {
    ($self:expr, $network:ident => $do:expr) => {
        match $self {
            Network::SimpleUnet($network) => $do,
            Network::AttentionUnet($network) => $do,
            Network::LatentVelocityEstimator($network) => $do,
            Network::ConditionedMlp($network) => $do,
        }
    };
}

impl<D: Device> Network<D> {
    /// A network with random weights.
    ///
    /// # Errors
    /// `Invalid` for sizes that make no sense, `Device` where memory is short.
    pub fn new(device: &D, architecture: &Architecture, seed: u64) -> Result<Self> {
        let stream = &mut stream(seed, Purpose::Weights, 0);
        Ok(match architecture.clone() {
            Architecture::SimpleUnet(config) => Self::SimpleUnet(SimpleUnet::new(device, config, stream)?),
            Architecture::AttentionUnet(config) => {
                Self::AttentionUnet(AttentionUnet::new(device, config, stream)?)
            }
            Architecture::LatentVelocityEstimator(config) => {
                Self::LatentVelocityEstimator(LatentVelocityEstimator::new(device, config, stream)?)
            }
            Architecture::ConditionedMlp(config) => {
                Self::ConditionedMlp(ConditionedMlp::new(device, config, stream)?)
            }
        })
    }

    /// Which it is, and its sizes.
    pub fn architecture(&self) -> Architecture {
        match self {
            Self::SimpleUnet(n) => Architecture::SimpleUnet(n.config().clone()),
            Self::AttentionUnet(n) => Architecture::AttentionUnet(n.config().clone()),
            Self::LatentVelocityEstimator(n) => Architecture::LatentVelocityEstimator(n.config().clone()),
            Self::ConditionedMlp(n) => Architecture::ConditionedMlp(n.config().clone()),
        }
    }
}

impl<D: Device> Module<D> for Network<D> {
    fn parameters(&self) -> Vec<(String, &Parameter<D>)> {
        each!(self, n => n.parameters())
    }
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>> {
        each!(self, n => n.parameters_mut())
    }
    fn batch_norms(&mut self) -> Vec<&mut BatchNorm<D>> {
        each!(self, n => n.batch_norms())
    }
}

impl<D: Device> Conditioned<D> for Network<D> {
    fn condition_len(&self) -> usize {
        each!(self, n => n.condition_len())
    }
    fn channels(&self) -> usize {
        each!(self, n => n.channels())
    }
    fn check_extent(&self, extent: Extent) -> Result<()> {
        each!(self, n => n.check_extent(extent))
    }
    fn time_features(&self, times: &[f64]) -> Result<Vec<f32>> {
        each!(self, n => n.time_features(times))
    }
    fn time_scale(&self) -> f64 {
        each!(self, n => n.time_scale())
    }
    fn pass<S: Signal<D>>(&self, x: S, time: S, condition: Option<S>) -> Result<S> {
        each!(self, n => n.pass(x, time, condition))
    }
}
