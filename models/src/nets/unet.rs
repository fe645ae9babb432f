//! See a noisy map at several resolutions: the part of a velocity network that does not know the parameters.

use armilla_samplers::rng::Stream;
use dfdx::{
    shapes::HasShape,
    tensor::{Merge, Tape, WithEmptyTape},
};
use serde::{Deserialize, Serialize};

use super::{
    TIME_FEATURES,
    layers::{Conv2d, Linear, Module, Parameter, ResidualBlock, module, silu, silu_maps},
    time_features,
};
use crate::{
    device::{Device, Maps},
    error::{ModelError, Result},
    ops::{Direction, add, conv2d::Padding, pixel_shuffle},
};

/// Wider layers are mistakes.
pub(crate) const MOST_CHANNELS: usize = 4096;

/// Sizes of a [`Unet`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnetConfig {
    /// Channels at each resolution, finest first; each next one has half the side.
    pub channels: Vec<usize>,
    /// Width of the time embedding.
    pub time_dim: usize,
    /// Maps that come out: functions of the input among which a condition chooses.
    pub outputs: usize,
    /// What lies beyond the edge of a map.
    pub padding: Padding,
}

impl Default for UnetConfig {
    fn default() -> Self {
        Self {
            channels: vec![8, 16, 32],
            time_dim: 64,
            outputs: 16,
            padding: Padding::Circular,
        }
    }
}

/// A U-Net (Ronneberger et al. 2015, arXiv 1505.04597) of residual blocks, modulated by time.
///
/// Resolution changes by moving 2 × 2 blocks of pixels to channels and back, so that nothing is lost and a
/// periodic map stays periodic.
#[derive(Debug, Clone)]
pub struct Unet<D: Device> {
    config: UnetConfig,
    embed1: Linear<D>,
    embed2: Linear<D>,
    stem: Conv2d<D>,
    down: Vec<ResidualBlock<D>>,
    reduce: Vec<Conv2d<D>>,
    middle: ResidualBlock<D>,
    expand: Vec<Conv2d<D>>,
    up: Vec<ResidualBlock<D>>,
    head: Conv2d<D>,
}
module!(Unet, |this| [
    ("embed1", this.embed1),
    ("embed2", this.embed2),
    ("stem", this.stem),
    ("down", this.down),
    ("reduce", this.reduce),
    ("middle", this.middle),
    ("expand", this.expand),
    ("up", this.up),
    ("head", this.head),
]);

impl<D: Device> Unet<D> {
    /// A network with random weights from `stream`.
    ///
    /// # Errors
    /// `Invalid` for sizes of zero or more than eight resolutions.
    pub fn new(device: &D, config: UnetConfig, stream: &mut Stream) -> Result<Self> {
        let c = &config.channels;
        let fits = |n: &usize| (1..=MOST_CHANNELS).contains(n);
        if !(1..=8).contains(&c.len())
            || !c.iter().all(fits)
            || !fits(&config.time_dim)
            || !fits(&config.outputs)
        {
            return Err(ModelError::Invalid(format!(
                "a U-Net needs one to eight numbers of channels, a time_dim and outputs, all from 1 to {MOST_CHANNELS}: {config:?}"
            )));
        }
        let (padding, time_dim, levels) = (config.padding, config.time_dim, c.len());
        let block =
            |channels, stream: &mut _| ResidualBlock::new(device, channels, time_dim, padding, stream);
        let pointwise = |sizes, stream: &mut _| Conv2d::new(device, sizes, 1, padding, false, stream);
        Ok(Self {
            embed1: Linear::new(device, [TIME_FEATURES, time_dim], stream)?,
            embed2: Linear::new(device, [time_dim, time_dim], stream)?,
            stem: Conv2d::new(device, [1, c[0]], 3, padding, false, stream)?,
            down: c.iter().map(|&n| block(n, stream)).collect::<Result<_>>()?,
            reduce: (1..levels)
                .map(|i| pointwise([4 * c[i - 1], c[i]], stream))
                .collect::<Result<_>>()?,
            middle: block(c[levels - 1], stream)?,
            expand: (1..levels)
                .map(|i| pointwise([c[i], 4 * c[i - 1]], stream))
                .collect::<Result<_>>()?,
            up: (1..levels)
                .map(|i| block(c[i - 1], stream))
                .collect::<Result<_>>()?,
            head: Conv2d::new(device, [c[0], config.outputs], 3, padding, false, stream)?,
            config,
        })
    }

    /// Its sizes.
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// Whether maps of this side can be halved as often as needed.
    ///
    /// # Errors
    /// `Shape` where not: it says what sides can.
    pub fn check_side(&self, side: usize) -> Result<()> {
        let factor = 1 << (self.config.channels.len() - 1);
        if side == 0 || !side.is_multiple_of(factor) || side / factor < 2 {
            return Err(ModelError::shape(
                "unet",
                format!(
                    "maps of side {side} cannot be halved {} times: use a multiple of {factor} from {} on, or fewer channels in the list",
                    self.config.channels.len() - 1,
                    2 * factor
                ),
            ));
        }
        Ok(())
    }

    /// (batch, 1, side, side) maps with unit variance and their log signal-to-noise ratios →
    /// (batch, outputs, side, side).
    ///
    /// # Errors
    /// `Shape` where the side cannot be halved often enough or the batches differ.
    pub fn forward<T: Tape<f32, D> + Merge<T>>(&self, x: Maps<D, T>, log_snr: &[f64]) -> Result<Maps<D, T>> {
        let (batch, _, height, width) = *x.shape();
        self.check_side(height)?;
        self.check_side(width)?;
        if log_snr.len() != batch {
            return Err(ModelError::shape(
                "unet",
                format!("{} times for {batch} maps", log_snr.len()),
            ));
        }
        let features = log_snr
            .iter()
            .flat_map(|&l| time_features(l))
            .map(|f| f as f32)
            .collect();
        let features = x
            .device()
            .try_tensor_from_vec(features, (batch, TIME_FEATURES))
            .map_err(ModelError::device)?;
        let time = silu(self.embed1.forward(features.retaped::<T>())?)?;
        let time = silu(self.embed2.forward(time)?)?;
        // The tape of the embedding rides along with the first block; the others get an empty one.
        let share = time.with_empty_tape();
        let mut first = Some(time);
        let mut time = || first.take().unwrap_or_else(|| share.with_empty_tape());

        let mut h = self.stem.forward(x)?;
        let mut skips = Vec::new();
        for (i, block) in self.down.iter().enumerate() {
            h = block.forward(h, time())?;
            if let Some(reduce) = self.reduce.get(i) {
                skips.push(h.with_empty_tape());
                h = reduce.forward(pixel_shuffle(h, Direction::Down)?)?;
            }
        }
        h = self.middle.forward(h, time())?;
        for (i, skip) in skips.into_iter().enumerate().rev() {
            h = pixel_shuffle(self.expand[i].forward(h)?, Direction::Up)?;
            h = add(h, skip)?;
            h = self.up[i].forward(h, time())?;
        }
        self.head.forward(silu_maps(h)?)
    }
}
