//! A residual network for volumes of a latent space, with a time.

use armilla_samplers::rng::Stream;
use serde::{Deserialize, Serialize};

use super::{Conditioned, check_widths};
use crate::{
    device::Device,
    error::{ModelError, Result},
    layers::{Conv, Embedding, GroupNorm, embedding},
    ops::{
        Activation,
        conv::geometry::{Extent, Geometry, Padding},
    },
    parameter::module,
    signal::Signal,
};

/// Groups of the norms.
const GROUPS: usize = 8;

/// Sizes of a [`LatentVelocityEstimator`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LatentVelocityConfig {
    /// Channels of the latent space.
    pub in_channels: usize,
    /// Width of the blocks.
    pub base_channels: usize,
    /// Features of a time.
    pub time_dim: usize,
    /// Residual blocks.
    pub num_res_blocks: usize,
}

impl Default for LatentVelocityConfig {
    /// 1,378,752 parameters.
    fn default() -> Self {
        Self {
            in_channels: 128,
            base_channels: 64,
            time_dim: 128,
            num_res_blocks: 4,
        }
    }
}

/// `silu(x + norm(conv(silu(norm(conv(x))) + time)))`.
#[derive(Debug, Clone)]
struct Block<D: Device> {
    conv1: Conv<D>,
    norm1: GroupNorm<D>,
    time: Embedding<D>,
    conv2: Conv<D>,
    norm2: GroupNorm<D>,
}
module!(Block, |this| [
    ("conv1", this.conv1),
    ("norm1", this.norm1),
    ("time_mlp.mlp", this.time),
    ("conv2", this.conv2),
    ("norm2", this.norm2),
]);

impl<D: Device> Block<D> {
    fn forward<S: Signal<D>>(&self, x: S, time: &S) -> Result<S> {
        let told = self.time.forward(time.share())?;
        let h = self.conv1.forward(x.share())?;
        let h = self.norm1.forward(h, Activation::Silu, Some(told))?;
        let h = self
            .norm2
            .forward(self.conv2.forward(h)?, Activation::Identity, None)?;
        h.sum(x)?.activate(Activation::Silu)
    }
}

/// A 3-D residual network that estimates the velocity of a flow in a latent space. The default has 1,378,752
/// parameters and takes (batch, 128, 8, 16, 16), as any other extent.
///
/// ```
/// use armilla_models::{Cpu, Field, Module, nets::{Conditioned, LatentVelocityConfig, LatentVelocityEstimator}};
/// use armilla_samplers::rng::{Purpose, stream};
/// let config = LatentVelocityConfig { in_channels: 2, base_channels: 8, time_dim: 8, num_res_blocks: 1 };
/// let device = Cpu::default();
/// let network = LatentVelocityEstimator::new(&device, config, &mut stream(1, Purpose::Weights, 0))?;
/// let x = Field::new(&device, vec![0.5; 2 * 32], 1, 2, [2, 4, 4])?;
/// assert_eq!(network.forward(x, &[0.3], None)?.extent(), [2, 4, 4]);
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct LatentVelocityEstimator<D: Device> {
    config: LatentVelocityConfig,
    input_conv: Conv<D>,
    input_norm: GroupNorm<D>,
    blocks: Vec<Block<D>>,
    output_norm: GroupNorm<D>,
    output_conv: Conv<D>,
}
module!(LatentVelocityEstimator, |this| [
    ("input_conv", this.input_conv),
    ("input_norm", this.input_norm),
    ("res_blocks", this.blocks),
    ("output_norm", this.output_norm),
    ("output_conv", this.output_conv),
]);

impl<D: Device> LatentVelocityEstimator<D> {
    /// A network with random weights from `stream`.
    ///
    /// # Errors
    /// `Invalid` for sizes that make no sense, `Device` where memory is short.
    pub fn new(device: &D, config: LatentVelocityConfig, stream: &mut Stream) -> Result<Self> {
        let (outer, base) = (config.in_channels, config.base_channels);
        check_widths("LatentVelocityEstimator", &[base], &[outer, config.time_dim])?;
        if !base.is_multiple_of(GROUPS) {
            return Err(ModelError::Invalid(format!(
                "LatentVelocityEstimator: base_channels {base} cannot be divided into {GROUPS} groups"
            )));
        }
        let conv =
            |ends, stream: &mut _| Conv::new(device, ends, Geometry::same([3; 3], Padding::Zeros), 3, stream);
        let norm = || GroupNorm::new(device, GROUPS, base);
        let block = |stream: &mut _| -> Result<_> {
            let sizes = [config.time_dim, base, base];
            Ok(Block {
                conv1: conv([base, base], stream)?,
                norm1: norm()?,
                time: Embedding::new(device, sizes, ["0", "2"], Activation::Silu, stream)?,
                conv2: conv([base, base], stream)?,
                norm2: norm()?,
            })
        };
        Ok(Self {
            input_conv: conv([outer, base], stream)?,
            input_norm: norm()?,
            blocks: (0..config.num_res_blocks)
                .map(|_| block(stream))
                .collect::<Result<_>>()?,
            output_norm: norm()?,
            output_conv: conv([base, outer], stream)?,
            config,
        })
    }

    /// Its sizes.
    pub fn config(&self) -> &LatentVelocityConfig {
        &self.config
    }
}

impl<D: Device> Conditioned<D> for LatentVelocityEstimator<D> {
    fn condition_len(&self) -> usize {
        0
    }

    fn channels(&self) -> usize {
        self.config.in_channels
    }

    fn check_extent(&self, _: Extent) -> Result<()> {
        Ok(())
    }

    fn time_features(&self, times: &[f64]) -> Result<Vec<f32>> {
        embedding(times, self.config.time_dim)
    }

    fn pass<S: Signal<D>>(&self, x: S, time: S, _: Option<S>) -> Result<S> {
        let h = self.input_conv.forward(x)?;
        let mut h = self.input_norm.forward(h, Activation::Silu, None)?;
        for block in &self.blocks {
            h = block.forward(h, &time)?;
        }
        let h = self.output_norm.forward(h, Activation::Silu, None)?;
        Ok(self.output_conv.forward(h)?.keep(time))
    }
}
