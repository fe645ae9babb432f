//! Compress fields to a coarser field of more channels, and back: the latent spaces of generative models.

use armilla_samplers::rng::Stream;
use serde::{Deserialize, Serialize};

use super::check_widths;
use crate::{
    device::Device,
    error::{ModelError, Result},
    layers::{Conv, ConvTransposed, GroupNorm},
    ops::{
        Activation,
        conv::geometry::{Extent, Geometry, Padding},
    },
    parameter::module,
    signal::Signal,
};

/// Sizes of an [`Autoencoder`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoencoderConfig {
    /// Channels of a field.
    pub channels: usize,
    /// Width at each level; each halves the sides.
    pub widths: Vec<usize>,
    /// Channels of the latent field.
    pub latent_channels: usize,
    /// Groups of the norms.
    pub groups: usize,
    /// Two for maps, three for volumes.
    pub dimensions: usize,
    /// What lies beyond the edge of a field, on the way to the latent space.
    pub padding: Padding,
}

impl Default for AutoencoderConfig {
    /// Volumes of (1, 64, 128, 128) to (128, 8, 16, 16).
    fn default() -> Self {
        Self {
            channels: 1,
            widths: vec![16, 32, 64],
            latent_channels: 128,
            groups: 8,
            dimensions: 3,
            padding: Padding::Zeros,
        }
    }
}

/// `silu(norm(way(x)))`, and another convolution likewise.
#[derive(Debug, Clone)]
struct Level<D: Device, W> {
    way: W,
    norm1: GroupNorm<D>,
    conv: Conv<D>,
    norm2: GroupNorm<D>,
}

impl<D: Device, W> Level<D, W> {
    fn after<S: Signal<D>>(&self, way: S) -> Result<S> {
        let h = self.norm1.forward(way, Activation::Silu, None)?;
        self.norm2.forward(self.conv.forward(h)?, Activation::Silu, None)
    }
}

type Down<D> = Level<D, Conv<D>>;
type Up<D> = Level<D, ConvTransposed<D>>;
module!(Down, |this| [
    ("way", this.way),
    ("norm1", this.norm1),
    ("conv", this.conv),
    ("norm2", this.norm2),
]);
module!(Up, |this| [
    ("way", this.way),
    ("norm1", this.norm1),
    ("conv", this.conv),
    ("norm2", this.norm2),
]);

/// A convolutional autoencoder for maps or volumes (Hinton & Salakhutdinov 2006, doi 10.1126/science.1127647).
///
/// ```
/// use armilla_models::{Cpu, Field, nets::{Autoencoder, AutoencoderConfig}};
/// use armilla_samplers::rng::{Purpose, stream};
/// let config = AutoencoderConfig { widths: vec![8], latent_channels: 4, ..Default::default() };
/// let device = Cpu::default();
/// let network = Autoencoder::new(&device, config, &mut stream(1, Purpose::Weights, 0))?;
/// let x = Field::new(&device, vec![0.5; 8 * 8 * 8], 1, 1, [8, 8, 8])?;
/// let latent = network.encode(x)?;
/// assert_eq!((latent.channels(), latent.extent()), (4, [4, 4, 4]));
/// assert_eq!(network.decode(latent)?.extent(), [8, 8, 8]);
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Autoencoder<D: Device> {
    config: AutoencoderConfig,
    downs: Vec<Down<D>>,
    to_latent: Conv<D>,
    from_latent: Conv<D>,
    ups: Vec<Up<D>>,
    last: Conv<D>,
}
module!(Autoencoder, |this| [
    ("encoder.levels", this.downs),
    ("encoder.to_latent", this.to_latent),
    ("decoder.from_latent", this.from_latent),
    ("decoder.levels", this.ups),
    ("decoder.last", this.last),
]);

impl<D: Device> Autoencoder<D> {
    /// A network with random weights from `stream`.
    ///
    /// # Errors
    /// `Invalid` for sizes that make no sense, `Device` where memory is short.
    pub fn new(device: &D, config: AutoencoderConfig, stream: &mut Stream) -> Result<Self> {
        check_widths(
            "Autoencoder",
            &config.widths,
            &[config.channels, config.latent_channels],
        )?;
        let divided = |w: &usize| config.groups > 0 && w.is_multiple_of(config.groups);
        if !config.widths.iter().all(divided) || !(2..=3).contains(&config.dimensions) {
            return Err(ModelError::Invalid(format!(
                "Autoencoder: widths that {} groups divide, and two or three dimensions: {config:?}",
                config.groups
            )));
        }
        let (dimensions, padding) = (config.dimensions, config.padding);
        let conv = |ends, kernel, stride, stream: &mut _| {
            Conv::new(
                device,
                ends,
                Geometry::cube(dimensions, kernel, stride, padding),
                dimensions,
                stream,
            )
        };
        let norm = |width| GroupNorm::new(device, config.groups, width);
        let (mut downs, mut from) = (Vec::new(), config.channels);
        for &to in &config.widths {
            downs.push(Level {
                way: conv([from, to], 4, 2, stream)?,
                norm1: norm(to)?,
                conv: conv([to, to], 3, 1, stream)?,
                norm2: norm(to)?,
            });
            from = to;
        }
        let to_latent = conv([from, config.latent_channels], 1, 1, stream)?;
        let from_latent = conv([config.latent_channels, from], 1, 1, stream)?;
        let mut ups = Vec::new();
        for &to in config.widths.iter().rev() {
            let finer = Geometry::cube(dimensions, 4, 2, Padding::Zeros);
            ups.push(Level {
                way: ConvTransposed::new(device, [from, to], finer, dimensions, stream)?,
                norm1: norm(to)?,
                conv: conv([to, to], 3, 1, stream)?,
                norm2: norm(to)?,
            });
            from = to;
        }
        Ok(Self {
            downs,
            to_latent,
            from_latent,
            ups,
            last: conv([from, config.channels], 3, 1, stream)?,
            config,
        })
    }

    /// Its sizes.
    pub fn config(&self) -> &AutoencoderConfig {
        &self.config
    }

    /// (batch, channels, extent) → (batch, latent channels, extent with each side halved at each level).
    ///
    /// # Errors
    /// `Shape` where the channels differ or a side cannot be halved as often.
    pub fn encode<S: Signal<D>>(&self, x: S) -> Result<S> {
        self.check(x.shape().2)?;
        let mut h = x;
        for level in &self.downs {
            h = level.after(level.way.forward(h)?)?;
        }
        self.to_latent.forward(h)
    }

    /// The way back.
    ///
    /// # Errors
    /// `Shape` where the channels are not those of the latent field.
    pub fn decode<S: Signal<D>>(&self, latent: S) -> Result<S> {
        let mut h = self.from_latent.forward(latent)?;
        for level in &self.ups {
            h = level.after(level.way.forward(h)?)?;
        }
        self.last.forward(h)
    }

    fn check(&self, extent: Extent) -> Result<()> {
        let factor = 1 << self.config.widths.len();
        let (sides, flat) = match self.config.dimensions {
            3 => (&extent[..], true),
            _ => (&extent[1..], extent[0] == 1),
        };
        if flat && sides.iter().all(|side| side.is_multiple_of(factor)) {
            return Ok(());
        }
        let what = format!(
            "a field of {extent:?} for {} dimensions with sides divisible by {factor}",
            self.config.dimensions
        );
        Err(ModelError::shape("Autoencoder", what))
    }
}
