//! Guess parameters from a field at once: mean and spread of the posterior, a baseline for everything else.

use armilla_samplers::rng::Stream;
use serde::{Deserialize, Serialize};

use super::check_widths;
use crate::{
    device::Device,
    error::{ModelError, Result},
    layers::{Conv, Embedding, GroupNorm},
    ops::{
        Activation, Resample,
        conv::geometry::{Geometry, Padding},
    },
    parameter::module,
    signal::Signal,
};

/// Sizes of a [`MomentNetwork`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MomentNetworkConfig {
    /// Channels of a field.
    pub channels: usize,
    /// Width at each level; each halves the sides.
    pub widths: Vec<usize>,
    /// Parameters to guess.
    pub parameters: usize,
    /// Width of the layer before the last.
    pub hidden: usize,
    /// Groups of the norms; 0 for none, so that the amplitude of a field is seen.
    pub groups: usize,
    /// Two for maps, three for volumes.
    pub dimensions: usize,
    /// What lies beyond the edge of a field.
    pub padding: Padding,
}

impl Default for MomentNetworkConfig {
    fn default() -> Self {
        Self {
            channels: 1,
            widths: vec![16, 32, 64, 128],
            parameters: 2,
            hidden: 128,
            groups: 0,
            dimensions: 2,
            padding: Padding::Circular,
        }
    }
}

/// `silu(norm(conv(x)))`, halving the sides.
#[derive(Debug, Clone)]
struct Level<D: Device> {
    conv: Conv<D>,
    norm: Option<GroupNorm<D>>,
}
module!(Level, |this| [("conv", this.conv), ("norm", this.norm)]);

/// A convolutional network whose 2·p outputs are mean and log-variance of p parameters (Jeffrey & Wandelt 2020,
/// arXiv 2011.05991): trained by squared errors it regresses, by their Gaussian likelihood it tells its spread.
///
/// ```
/// use armilla_models::{Cpu, Field, nets::{MomentNetwork, MomentNetworkConfig}};
/// use armilla_samplers::rng::{Purpose, stream};
/// let config = MomentNetworkConfig { widths: vec![4, 8], hidden: 16, ..Default::default() };
/// let device = Cpu::default();
/// let network = MomentNetwork::new(&device, config, &mut stream(1, Purpose::Weights, 0))?;
/// let x = Field::new(&device, vec![0.5; 3 * 64], 3, 1, [1, 8, 8])?;
/// let moments = network.forward(x)?;
/// assert_eq!((moments.batch(), moments.channels(), moments.positions()), (3, 4, 1));
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MomentNetwork<D: Device> {
    config: MomentNetworkConfig,
    levels: Vec<Level<D>>,
    head: Embedding<D>,
}
module!(MomentNetwork, |this| [
    ("levels", this.levels),
    ("head", this.head)
]);

impl<D: Device> MomentNetwork<D> {
    /// A network with random weights from `stream`.
    ///
    /// # Errors
    /// `Invalid` for sizes that make no sense, `Device` where memory is short.
    pub fn new(device: &D, config: MomentNetworkConfig, stream: &mut Stream) -> Result<Self> {
        check_widths(
            "MomentNetwork",
            &config.widths,
            &[config.channels, config.parameters, config.hidden],
        )?;
        let divided = |w: &usize| config.groups == 0 || w.is_multiple_of(config.groups);
        if !config.widths.iter().all(divided) || !(2..=3).contains(&config.dimensions) {
            return Err(ModelError::Invalid(format!(
                "MomentNetwork: widths that {} groups divide, and two or three dimensions: {config:?}",
                config.groups
            )));
        }
        let halving = Geometry::cube(config.dimensions, 4, 2, config.padding);
        let (mut levels, mut from) = (Vec::new(), config.channels);
        for &to in &config.widths {
            levels.push(Level {
                conv: Conv::new(device, [from, to], halving, config.dimensions, stream)?,
                norm: (config.groups > 0)
                    .then(|| GroupNorm::new(device, config.groups, to))
                    .transpose()?,
            });
            from = to;
        }
        let sizes = [from, config.hidden, 2 * config.parameters];
        let head = Embedding::new(device, sizes, ["0", "2"], Activation::Silu, stream)?;
        Ok(Self { config, levels, head })
    }

    /// Its sizes.
    pub fn config(&self) -> &MomentNetworkConfig {
        &self.config
    }

    /// (batch, channels, extent) → (batch, 2 · parameters, 1): means, then log-variances.
    ///
    /// # Errors
    /// `Shape` where the channels differ or a side is too small to be halved at each level.
    pub fn forward<S: Signal<D>>(&self, x: S) -> Result<S> {
        let mut h = x;
        for level in &self.levels {
            h = level.conv.forward(h)?;
            h = match &level.norm {
                Some(norm) => norm.forward(h, Activation::Silu, None)?,
                None => h.activate(Activation::Silu)?,
            };
        }
        let extent = h.shape().2;
        self.head
            .forward(h.resample(&Resample::average_pool(extent, extent)?)?)
    }
}

#[cfg(test)]
mod tests {
    use armilla_samplers::rng::{Purpose, stream};
    use dfdx::tensor::Cpu;

    use super::*;
    use crate::{Dual, Field, nets::Autoencoder, ops::testing::numbers};

    /// Central differences of single precision.
    const NEAR: f32 = 1e-2;

    /// The derivative along a direction against differences.
    fn check(
        x: Field<Cpu>,
        forward: impl Fn(Field<Cpu>) -> Field<Cpu>,
        dual: impl Fn(Dual<Cpu>) -> Dual<Cpu>,
    ) {
        let values = x.to_vec();
        let along = numbers(values.len(), 7);
        let field = |v: Vec<f32>| Field::new(x.device(), v, x.batch(), x.channels(), x.extent()).unwrap();
        let (_, found) = dual(Dual::new(x.clone(), field(along.clone())).unwrap()).into_parts();
        const STEP: f32 = 3e-3;
        let moved =
            |h: f32| forward(field(values.iter().zip(&along).map(|(x, t)| x + h * t).collect())).to_vec();
        let expected: Vec<f32> = moved(STEP)
            .iter()
            .zip(moved(-STEP))
            .map(|(a, b)| (a - b) / (2.0 * STEP))
            .collect();
        let scale = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        assert!(scale > 0.0);
        for (found, expected) in found.to_vec().iter().zip(&expected) {
            assert!((found - expected).abs() < NEAR * scale, "{found} {expected}");
        }
    }

    #[test]
    fn baselines_have_derivatives_along_directions_in_two_and_three_dimensions() {
        let device = Cpu::default();
        for (dimensions, extent) in [(2, [1, 8, 8]), (3, [4, 8, 8])] {
            let count = extent.iter().product::<usize>();
            let x = Field::new(&device, numbers(2 * count, 1), 2, 1, extent).unwrap();
            let config = MomentNetworkConfig {
                widths: vec![8, 8],
                groups: 4,
                dimensions,
                ..Default::default()
            };
            let network = MomentNetwork::new(&device, config, &mut stream(1, Purpose::Weights, 0)).unwrap();
            check(
                x.clone(),
                |x| network.forward(x).unwrap(),
                |x| network.forward(x).unwrap(),
            );
            let config = crate::nets::AutoencoderConfig {
                widths: vec![8, 8],
                latent_channels: 4,
                dimensions,
                ..Default::default()
            };
            let network = Autoencoder::new(&device, config, &mut stream(1, Purpose::Weights, 0)).unwrap();
            check(
                x,
                |x| network.decode(network.encode(x).unwrap()).unwrap(),
                |x| network.decode(network.encode(x).unwrap()).unwrap(),
            );
        }
        let config = MomentNetworkConfig {
            dimensions: 4,
            ..Default::default()
        };
        assert!(MomentNetwork::new(&device, config, &mut stream(1, Purpose::Weights, 0)).is_err());
    }
}
