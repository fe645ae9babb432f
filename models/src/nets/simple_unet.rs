//! A U-Net of batch-normalised blocks for maps with a time and a condition.

use armilla_samplers::rng::Stream;
use serde::{Deserialize, Serialize};

use super::{Conditioned, check_widths};
use crate::{
    device::Device,
    error::{ModelError, Result},
    layers::{BatchNorm, Conv, ConvTransposed, Embedding, Linear, embedding},
    ops::{
        Activation,
        conv::geometry::{Extent, Geometry, Padding},
    },
    parameter::module,
    signal::Signal,
};

/// Sizes of a [`SimpleUnet`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimpleUnetConfig {
    /// Channels of a map, in and out.
    pub channels: usize,
    /// Width of the first level.
    pub base_channels: usize,
    /// Width of each level as a multiple of the first.
    pub channel_mults: Vec<usize>,
    /// Features of a time.
    pub time_dim: usize,
    /// Numbers of a condition.
    pub cond_dim: usize,
}

impl Default for SimpleUnetConfig {
    /// 146,229,505 parameters.
    fn default() -> Self {
        Self {
            channels: 1,
            base_channels: 128,
            channel_mults: vec![1, 2, 4, 8],
            time_dim: 256,
            cond_dim: 6,
        }
    }
}

impl SimpleUnetConfig {
    fn widths(&self) -> Vec<usize> {
        self.channel_mults
            .iter()
            .map(|m| m * self.base_channels)
            .collect()
    }
}

/// `relu(norm(conv(x)))` twice, time and condition added between, beside a shortcut.
#[derive(Debug, Clone)]
struct Block<D: Device> {
    conv1: Conv<D>,
    norm1: BatchNorm<D>,
    time: Linear<D>,
    condition: Linear<D>,
    conv2: Conv<D>,
    norm2: BatchNorm<D>,
    shortcut: Option<Conv<D>>,
}
module!(Block, |this| [
    ("block1.0", this.conv1),
    ("block1.1", this.norm1),
    ("time_mlp", this.time),
    ("cond_mlp", this.condition),
    ("block2.0", this.conv2),
    ("block2.1", this.norm2),
    ("shortcut", this.shortcut),
]);

impl<D: Device> Block<D> {
    fn new(device: &D, [from, to]: [usize; 2], features: usize, stream: &mut Stream) -> Result<Self> {
        let shortcut = |stream: &mut _| {
            Conv::new(
                device,
                [from, to],
                Geometry::cube(2, 1, 1, Padding::Zeros),
                2,
                stream,
            )
        };
        Ok(Self {
            conv1: Conv::new(
                device,
                [from, to],
                Geometry::cube(2, 3, 1, Padding::Zeros),
                2,
                stream,
            )?,
            norm1: BatchNorm::new(device, to)?,
            time: Linear::new(device, [features, to], stream)?,
            condition: Linear::new(device, [features, to], stream)?,
            conv2: Conv::new(
                device,
                [to, to],
                Geometry::cube(2, 3, 1, Padding::Zeros),
                2,
                stream,
            )?,
            norm2: BatchNorm::new(device, to)?,
            shortcut: (from != to).then(|| shortcut(stream)).transpose()?,
        })
    }

    fn forward<S: Signal<D>>(&self, x: S, time: &S, condition: &S) -> Result<S> {
        let told = self.time.forward(time.share())?;
        let told = told.sum(self.condition.forward(condition.share())?)?;
        let h = self.conv1.forward(x.share())?;
        let h = self.norm1.forward(h, Activation::Relu, Some(told))?;
        let h = self
            .norm2
            .forward(self.conv2.forward(h)?, Activation::Relu, None)?;
        match &self.shortcut {
            Some(shortcut) => h.sum(shortcut.forward(x)?),
            None => h.sum(x),
        }
    }
}

/// A block, and the way to the next coarser level.
#[derive(Debug, Clone)]
struct Down<D: Device> {
    block: Block<D>,
    down: Conv<D>,
}
module!(Down, |this| [("res", this.block), ("down", this.down)]);

/// The way to the next finer level, and a block.
#[derive(Debug, Clone)]
struct Up<D: Device> {
    up: ConvTransposed<D>,
    block: Block<D>,
}
module!(Up, |this| [("up", this.up), ("res", this.block)]);

/// A U-Net (Ronneberger et al. 2015, arXiv 1505.04597) with batch norms, zero padding, and a time and a condition
/// in each block. The default has 146,229,505 parameters.
///
/// Times lie in \[0, 1\]; maps have sides that can be halved once for each level.
///
/// ```
/// use armilla_models::{Cpu, Field, Module, nets::{Conditioned, SimpleUnet, SimpleUnetConfig}};
/// use armilla_samplers::rng::{Purpose, stream};
/// let config = SimpleUnetConfig { base_channels: 4, channel_mults: vec![1, 2], time_dim: 8, ..Default::default() };
/// let device = Cpu::default();
/// let network = SimpleUnet::new(&device, config, &mut stream(1, Purpose::Weights, 0))?;
/// let x = Field::new(&device, vec![0.5; 64], 1, 1, [1, 8, 8])?;
/// let condition = Field::rows(&device, vec![0.1; 6], 1)?;
/// let y = network.forward(x, &[0.3], Some(condition))?;
/// assert_eq!((y.channels(), y.extent()), (1, [1, 8, 8]));
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct SimpleUnet<D: Device> {
    config: SimpleUnetConfig,
    time: Embedding<D>,
    condition: Embedding<D>,
    init_conv: Conv<D>,
    downs: Vec<Down<D>>,
    mid: Block<D>,
    ups: Vec<Up<D>>,
    final_conv1: Conv<D>,
    final_conv2: Conv<D>,
}
module!(SimpleUnet, |this| [
    ("time_mlp", this.time),
    ("cond_mlp", this.condition),
    ("init_conv", this.init_conv),
    ("downs", this.downs),
    ("mid", this.mid),
    ("ups", this.ups),
    ("final_conv.0", this.final_conv1),
    ("final_conv.2", this.final_conv2),
]);

impl<D: Device> SimpleUnet<D> {
    /// A network with random weights from `stream`.
    ///
    /// # Errors
    /// `Invalid` for sizes that make no sense, `Device` where memory is short.
    pub fn new(device: &D, config: SimpleUnetConfig, stream: &mut Stream) -> Result<Self> {
        let widths = config.widths();
        check_widths(
            "SimpleUnet",
            &widths,
            &[config.channels, config.time_dim, config.cond_dim],
        )?;
        let (base, features, last) = (config.base_channels, config.time_dim, widths[widths.len() - 1]);
        let mut downs = Vec::new();
        let mut from = base;
        let time = Embedding::new(device, [features; 3], ["1", "3"], Activation::Relu, stream)?;
        let sizes = [config.cond_dim, features, features];
        let condition = Embedding::new(device, sizes, ["0", "2"], Activation::Relu, stream)?;
        let init_conv = Conv::new(
            device,
            [config.channels, base],
            Geometry::cube(2, 3, 1, Padding::Zeros),
            2,
            stream,
        )?;
        for &to in &widths {
            downs.push(Down {
                block: Block::new(device, [from, to], features, stream)?,
                down: Conv::new(
                    device,
                    [to, to],
                    Geometry::cube(2, 4, 2, Padding::Zeros),
                    2,
                    stream,
                )?,
            });
            from = to;
        }
        let mid = Block::new(device, [last, last], features, stream)?;
        let mut ups = Vec::new();
        for &to in widths.iter().rev() {
            ups.push(Up {
                up: ConvTransposed::new(
                    device,
                    [from, from],
                    Geometry::cube(2, 4, 2, Padding::Zeros),
                    2,
                    stream,
                )?,
                block: Block::new(device, [from + to, to], features, stream)?,
            });
            from = to;
        }
        Ok(Self {
            time,
            condition,
            init_conv,
            downs,
            mid,
            ups,
            final_conv1: Conv::new(
                device,
                [from, from],
                Geometry::cube(2, 3, 1, Padding::Zeros),
                2,
                stream,
            )?,
            final_conv2: Conv::new(
                device,
                [from, config.channels],
                Geometry::cube(2, 1, 1, Padding::Zeros),
                2,
                stream,
            )?,
            config,
        })
    }

    /// Its sizes.
    pub fn config(&self) -> &SimpleUnetConfig {
        &self.config
    }
}

impl<D: Device> Conditioned<D> for SimpleUnet<D> {
    fn condition_len(&self) -> usize {
        self.config.cond_dim
    }

    fn channels(&self) -> usize {
        self.config.channels
    }

    fn check_extent(&self, extent: Extent) -> Result<()> {
        let factor = 1 << self.config.channel_mults.len();
        let [depth, height, width] = extent;
        if depth == 1 && height.is_multiple_of(factor) && width.is_multiple_of(factor) {
            return Ok(());
        }
        let what = format!("a map of {extent:?} needs depth 1 and sides divisible by {factor}");
        Err(ModelError::shape("SimpleUnet", what))
    }

    fn time_features(&self, times: &[f64]) -> Result<Vec<f32>> {
        embedding(times, self.config.time_dim)
    }

    fn pass<S: Signal<D>>(&self, x: S, time: S, condition: Option<S>) -> Result<S> {
        let Some(condition) = condition else {
            return Err(ModelError::shape("SimpleUnet", "the condition is missing"));
        };
        let time = self.time.forward(time)?;
        let condition = self.condition.forward(condition)?;
        let mut h = self.init_conv.forward(x)?;
        let mut skips = Vec::new();
        for level in &self.downs {
            h = level.block.forward(h, &time, &condition)?;
            skips.push(h.share());
            h = level.down.forward(h)?;
        }
        h = self.mid.forward(h, &time, &condition)?;
        for (level, skip) in self.ups.iter().zip(skips.into_iter().rev()) {
            h = level.up.forward(h)?.concat(skip)?;
            h = level.block.forward(h, &time, &condition)?;
        }
        let h = self.final_conv1.forward(h)?.activate(Activation::Relu)?;
        // What was recorded of time and condition goes with the result.
        Ok(self.final_conv2.forward(h)?.keep(time).keep(condition))
    }
}
