//! The attention U-Net of Diffusion-HMC, for periodic maps with a time and a condition.

use armilla_samplers::rng::Stream;
use serde::{Deserialize, Serialize};

use super::{Conditioned, check_widths};
use crate::{
    device::Device,
    error::{ModelError, Result},
    layers::{Conv, ConvTransposed, Embedding, FullAttention, GroupNorm, Linear, LinearAttention, embedding},
    ops::{
        Activation,
        conv::geometry::{Extent, Geometry, Padding},
    },
    parameter::module,
    signal::Signal,
};

/// Heads of each attention.
const HEADS: usize = 4;

/// Sizes of an [`AttentionUnet`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttentionUnetConfig {
    /// Channels of a map, in and out.
    pub channels: usize,
    /// Width of the first level, and features of a time.
    pub dim: usize,
    /// Width of each level as a multiple of the first.
    pub dim_mults: Vec<usize>,
    /// Numbers of a condition.
    pub cond_dim: usize,
    /// Groups of the norms.
    pub groups: usize,
    /// What lies beyond the edge of a map.
    pub padding: Padding,
}

impl Default for AttentionUnetConfig {
    /// 31,265,503 parameters.
    fn default() -> Self {
        Self {
            channels: 1,
            dim: 64,
            dim_mults: vec![1, 2, 4, 8],
            cond_dim: 2,
            groups: 8,
            padding: Padding::Circular,
        }
    }
}

/// Everything that the blocks of one network share.
struct Plan<'a, D: Device> {
    device: &'a D,
    config: &'a AttentionUnetConfig,
}

/// `silu(norm(conv(x)))` twice, time and condition added between, beside a shortcut.
#[derive(Debug, Clone)]
struct Block<D: Device> {
    time: Linear<D>,
    condition: Linear<D>,
    conv1: Conv<D>,
    norm1: GroupNorm<D>,
    conv2: Conv<D>,
    norm2: GroupNorm<D>,
    shortcut: Option<Conv<D>>,
}
module!(Block, |this| [
    ("mlp.1", this.time),
    ("cond_mlp.1", this.condition),
    ("block1.proj", this.conv1),
    ("block1.norm", this.norm1),
    ("block2.proj", this.conv2),
    ("block2.norm", this.norm2),
    ("res_conv", this.shortcut),
]);

impl<D: Device> Block<D> {
    fn new(plan: &Plan<D>, [from, to]: [usize; 2], stream: &mut Stream) -> Result<Self> {
        let (device, config) = (plan.device, plan.config);
        let conv = |ends, kernel, stream: &mut _| {
            Conv::new(
                device,
                ends,
                Geometry::cube(2, kernel, 1, config.padding),
                2,
                stream,
            )
        };
        Ok(Self {
            time: Linear::new(device, [4 * config.dim, to], stream)?,
            condition: Linear::new(device, [config.cond_dim, to], stream)?,
            conv1: conv([from, to], 3, stream)?,
            norm1: GroupNorm::new(device, config.groups, to)?,
            conv2: conv([to, to], 3, stream)?,
            norm2: GroupNorm::new(device, config.groups, to)?,
            shortcut: (from != to).then(|| conv([from, to], 1, stream)).transpose()?,
        })
    }

    /// `time` and `condition` have been through their function.
    fn forward<S: Signal<D>>(&self, x: S, time: &S, condition: &S) -> Result<S> {
        let told = self.time.forward(time.share())?;
        let told = told.sum(self.condition.forward(condition.share())?)?;
        let h = self.conv1.forward(x.share())?;
        let h = self.norm1.forward(h, Activation::Silu, Some(told))?;
        let h = self
            .norm2
            .forward(self.conv2.forward(h)?, Activation::Silu, None)?;
        match &self.shortcut {
            Some(shortcut) => h.sum(shortcut.forward(x)?),
            None => h.sum(x),
        }
    }
}

/// Two blocks, attention, and the way to the next level.
#[derive(Debug, Clone)]
struct Level<D: Device, W> {
    block1: Block<D>,
    block2: Block<D>,
    attention: LinearAttention<D>,
    way: W,
}

impl<D: Device, W> Level<D, W> {
    fn forward<S: Signal<D>>(&self, x: S, time: &S, condition: &S) -> Result<S> {
        let h = self.block1.forward(x, time, condition)?;
        let h = self.block2.forward(h, time, condition)?;
        self.attention.forward(h)
    }
}

type Down<D> = Level<D, Option<Conv<D>>>;
type Up<D> = Level<D, ConvTransposed<D>>;
module!(Down, |this| [
    ("0", this.block1),
    ("1", this.block2),
    ("2", this.attention),
    ("3", this.way),
]);
module!(Up, |this| [
    ("0", this.block1),
    ("1", this.block2),
    ("2", this.attention),
    ("3", this.way),
]);

/// The U-Net of Diffusion-HMC (Mudur et al. 2024, arXiv 2405.05255): two residual blocks and linear attention at each
/// level, full attention at the coarsest, group norms, circular padding. The default has 31,265,503 parameters.
///
/// Times are steps, 0 to 999 in the paper; maps have sides that can be halved once for each level after the first.
///
/// ```
/// use armilla_models::{Cpu, Field, Module, nets::{AttentionUnet, AttentionUnetConfig, Conditioned}};
/// use armilla_samplers::rng::{Purpose, stream};
/// let config = AttentionUnetConfig { dim: 8, dim_mults: vec![1, 2], ..Default::default() };
/// let device = Cpu::default();
/// let network = AttentionUnet::new(&device, config, &mut stream(1, Purpose::Weights, 0))?;
/// let x = Field::new(&device, vec![0.5; 64], 1, 1, [1, 8, 8])?;
/// let condition = Field::rows(&device, vec![0.3, 0.8], 1)?;
/// let y = network.forward(x, &[499.0], Some(condition))?;
/// assert_eq!((y.channels(), y.extent()), (1, [1, 8, 8]));
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct AttentionUnet<D: Device> {
    config: AttentionUnetConfig,
    time: Embedding<D>,
    condition: Embedding<D>,
    downs: Vec<Down<D>>,
    mid_block1: Block<D>,
    mid_attention: FullAttention<D>,
    mid_block2: Block<D>,
    ups: Vec<Up<D>>,
    final_block: Block<D>,
    final_conv: Conv<D>,
}
module!(AttentionUnet, |this| [
    ("time_mlp", this.time),
    ("conditional_embedding", this.condition),
    ("downs", this.downs),
    ("mid_block1", this.mid_block1),
    ("mid_attn", this.mid_attention),
    ("mid_block2", this.mid_block2),
    ("ups", this.ups),
    ("final_conv.0", this.final_block),
    ("final_conv.1", this.final_conv),
]);

impl<D: Device> AttentionUnet<D> {
    /// A network with random weights from `stream`.
    ///
    /// # Errors
    /// `Invalid` for sizes that make no sense, `Device` where memory is short.
    pub fn new(device: &D, config: AttentionUnetConfig, stream: &mut Stream) -> Result<Self> {
        let widths: Vec<usize> = config.dim_mults.iter().map(|m| m * config.dim).collect();
        check_widths("AttentionUnet", &widths, &[config.channels, config.cond_dim])?;
        if config.groups == 0 || widths.iter().any(|w| !w.is_multiple_of(config.groups)) {
            return Err(ModelError::Invalid(format!(
                "AttentionUnet: widths {widths:?} cannot be divided into {} groups",
                config.groups
            )));
        }
        let plan = Plan {
            device,
            config: &config,
        };
        let (features, last, levels) = (4 * config.dim, widths[widths.len() - 1], widths.len());
        let time = Embedding::new(
            device,
            [config.dim, features, features],
            ["1", "3"],
            Activation::Gelu,
            stream,
        )?;
        let sizes = [config.cond_dim, 5 * config.cond_dim, features];
        let condition = Embedding::new(device, sizes, ["0", "2"], Activation::Gelu, stream)?;
        let mut downs = Vec::new();
        let mut from = config.channels;
        for (i, &to) in widths.iter().enumerate() {
            let coarser = Geometry::cube(2, 4, 2, config.padding);
            downs.push(Level {
                block1: Block::new(&plan, [from, to], stream)?,
                block2: Block::new(&plan, [to, to], stream)?,
                attention: LinearAttention::new(device, to, HEADS, stream)?,
                way: (i + 1 < levels)
                    .then(|| Conv::new(device, [to, to], coarser, 2, stream))
                    .transpose()?,
            });
            from = to;
        }
        let mid_block1 = Block::new(&plan, [last, last], stream)?;
        let mid_attention = FullAttention::new(device, last, HEADS, stream)?;
        let mid_block2 = Block::new(&plan, [last, last], stream)?;
        let mut ups = Vec::new();
        for pair in widths.windows(2).rev() {
            let (to, from) = (pair[0], pair[1]);
            ups.push(Level {
                block1: Block::new(&plan, [2 * from, to], stream)?,
                block2: Block::new(&plan, [to, to], stream)?,
                attention: LinearAttention::new(device, to, HEADS, stream)?,
                // PyTorch pads transposed convolutions with zeros only.
                way: ConvTransposed::new(
                    device,
                    [to, to],
                    Geometry::cube(2, 4, 2, Padding::Zeros),
                    2,
                    stream,
                )?,
            });
        }
        Ok(Self {
            time,
            condition,
            downs,
            mid_block1,
            mid_attention,
            mid_block2,
            ups,
            final_block: Block::new(&plan, [widths[0], widths[0]], stream)?,
            final_conv: Conv::new(
                device,
                [widths[0], config.channels],
                Geometry::cube(2, 1, 1, config.padding),
                2,
                stream,
            )?,
            config,
        })
    }

    /// Its sizes.
    pub fn config(&self) -> &AttentionUnetConfig {
        &self.config
    }
}

impl<D: Device> Conditioned<D> for AttentionUnet<D> {
    fn condition_len(&self) -> usize {
        self.config.cond_dim
    }

    fn channels(&self) -> usize {
        self.config.channels
    }

    fn check_extent(&self, extent: Extent) -> Result<()> {
        let factor = 1 << (self.config.dim_mults.len() - 1);
        let [depth, height, width] = extent;
        if depth == 1 && height.is_multiple_of(factor) && width.is_multiple_of(factor) {
            return Ok(());
        }
        let what = format!("a map of {extent:?} needs depth 1 and sides divisible by {factor}");
        Err(ModelError::shape("AttentionUnet", what))
    }

    fn time_features(&self, times: &[f64]) -> Result<Vec<f32>> {
        embedding(times, self.config.dim)
    }

    fn pass<S: Signal<D>>(&self, x: S, time: S, condition: Option<S>) -> Result<S> {
        let Some(raw) = condition else {
            return Err(ModelError::shape("AttentionUnet", "the condition is missing"));
        };
        let told = self.condition.forward(raw.share())?;
        let time = self.time.forward(time)?.sum(told)?.activate(Activation::Silu)?;
        let condition = raw.activate(Activation::Silu)?;
        let mut h = x;
        let mut skips = Vec::new();
        for level in &self.downs {
            h = level.forward(h, &time, &condition)?;
            skips.push(h.share());
            if let Some(way) = &level.way {
                h = way.forward(h)?;
            }
        }
        h = self.mid_block1.forward(h, &time, &condition)?;
        h = self.mid_attention.forward(h)?;
        h = self.mid_block2.forward(h, &time, &condition)?;
        // What the finest level saw is not looked at again.
        for (level, skip) in self.ups.iter().zip(skips.into_iter().rev()) {
            h = level.forward(h.concat(skip)?, &time, &condition)?;
            h = level.way.forward(h)?;
        }
        h = self.final_block.forward(h, &time, &condition)?;
        Ok(self.final_conv.forward(h)?.keep(time).keep(condition))
    }
}
