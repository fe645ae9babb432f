//! See a noisy map at several resolutions: the part of a velocity network that does not know the parameters.

use armilla_samplers::rng::Stream;
use serde::{Deserialize, Serialize};

use super::{TIME_FEATURES, time_features};
use crate::{
    device::Device,
    error::{ModelError, Result},
    layers::{Conv, Linear},
    ops::{
        Activation, Direction,
        conv::geometry::{Geometry, Padding},
    },
    parameter::module,
    signal::Signal,
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

/// A convolution of `kernel` × `kernel` that keeps height and width.
fn plane<D: Device>(
    device: &D,
    ends: [usize; 2],
    kernel: usize,
    padding: Padding,
    stream: &mut Stream,
) -> Result<Conv<D>> {
    Conv::new(
        device,
        ends,
        Geometry::same([1, kernel, kernel], padding),
        2,
        stream,
    )
}

/// x + conv(silu(modulated conv(silu(x)))): keeps the channels, and starts as the identity.
///
/// Without normalisation, on purpose: the amplitude of a field is what tells its parameters.
#[derive(Debug, Clone)]
struct Block<D: Device> {
    conv1: Conv<D>,
    conv2: Conv<D>,
    modulation: Linear<D>,
}
module!(Block, |this| [
    ("conv1", this.conv1),
    ("conv2", this.conv2),
    ("modulation", this.modulation),
]);

impl<D: Device> Block<D> {
    fn new(
        device: &D,
        channels: usize,
        time_dim: usize,
        padding: Padding,
        stream: &mut Stream,
    ) -> Result<Self> {
        Ok(Self {
            conv1: plane(device, [channels; 2], 3, padding, stream)?,
            conv2: plane(device, [channels; 2], 3, padding, stream)?.starting_at_zero(),
            modulation: Linear::new(device, [time_dim, 2 * channels], stream)?,
        })
    }

    fn forward<S: Signal<D>>(&self, x: S, time: &S) -> Result<S> {
        let skip = x.share();
        let h = self.conv1.forward(x.activate(Activation::Silu)?)?;
        let h = h.modulated_silu(self.modulation.forward(time.share())?)?;
        self.conv2.forward(h)?.sum(skip)
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
    stem: Conv<D>,
    down: Vec<Block<D>>,
    reduce: Vec<Conv<D>>,
    middle: Block<D>,
    expand: Vec<Conv<D>>,
    up: Vec<Block<D>>,
    head: Conv<D>,
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
        let block = |channels, stream: &mut _| Block::new(device, channels, time_dim, padding, stream);
        let pointwise = |sizes, stream: &mut _| plane(device, sizes, 1, padding, stream);
        Ok(Self {
            embed1: Linear::new(device, [TIME_FEATURES, time_dim], stream)?,
            embed2: Linear::new(device, [time_dim, time_dim], stream)?,
            stem: plane(device, [1, c[0]], 3, padding, stream)?,
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
            head: plane(device, [c[0], config.outputs], 3, padding, stream)?,
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

    /// Maps of one channel with unit variance and their log signal-to-noise ratios → maps of `outputs` channels.
    ///
    /// # Errors
    /// `Shape` where the sides cannot be halved often enough or there is not a ratio for each map.
    pub fn forward<S: Signal<D>>(&self, x: S, log_snr: &[f64]) -> Result<S> {
        let (batch, _, [_, height, width]) = x.shape();
        self.check_side(height)?;
        self.check_side(width)?;
        if log_snr.len() != batch {
            let what = format!("{} times for {batch} maps", log_snr.len());
            return Err(ModelError::shape("unet", what));
        }
        let features = log_snr.iter().flat_map(|&l| time_features(l));
        let features = S::constant(&x.device(), features.map(|f| f as f32).collect(), batch)?;
        let time = self.embed1.forward(features)?.activate(Activation::Silu)?;
        let time = self.embed2.forward(time)?.activate(Activation::Silu)?;

        let mut h = self.stem.forward(x)?;
        let mut skips = Vec::new();
        for (i, block) in self.down.iter().enumerate() {
            h = block.forward(h, &time)?;
            if let Some(reduce) = self.reduce.get(i) {
                skips.push(h.share());
                h = reduce.forward(h.pixel_shuffle(Direction::Down)?)?;
            }
        }
        h = self.middle.forward(h, &time)?;
        for (i, skip) in skips.into_iter().enumerate().rev() {
            h = self.expand[i]
                .forward(h)?
                .pixel_shuffle(Direction::Up)?
                .sum(skip)?;
            h = self.up[i].forward(h, &time)?;
        }
        // What was recorded of the times goes with the result.
        Ok(self.head.forward(h.activate(Activation::Silu)?)?.keep(time))
    }
}

#[cfg(test)]
mod tests {
    use armilla_samplers::rng::{Purpose, stream};
    use dfdx::tensor::{Cpu, OwnedTape};

    use super::*;
    use crate::{
        Dual, Field, Module,
        ops::testing::{difference, numbers, probe},
        weights::Weights,
    };

    type Traced = Field<Cpu, OwnedTape<f32, Cpu>>;
    const SIDE: usize = 4;
    /// Step of central differences in single precision, and how far they are from derivatives then.
    const STEP: f32 = 3e-3;
    const NEAR: f32 = 2e-3;

    /// Weights that are not zero where a network starts with zeros.
    fn moved(weights: &Weights, step: f32) -> Weights {
        let mut all = weights.clone();
        for (seed, weight) in all.0.iter_mut().enumerate() {
            let along = numbers(weight.values.len(), 100 + seed as u64);
            weight
                .values
                .iter_mut()
                .zip(along)
                .for_each(|(w, a)| *w += step * a);
        }
        all
    }

    fn network() -> Unet<Cpu> {
        let config = UnetConfig {
            channels: vec![3, 4],
            time_dim: 5,
            outputs: 2,
            padding: Padding::Circular,
        };
        let mut network = Unet::new(&Cpu::default(), config, &mut stream(1, Purpose::Weights, 0)).unwrap();
        let weights = moved(&network.weights(), 0.3);
        network.load(&weights).unwrap();
        network
    }

    fn maps(values: Vec<f32>) -> Field<Cpu> {
        Field::new(&Cpu::default(), values, 2, 1, [1, SIDE, SIDE]).unwrap()
    }

    fn rows(values: Vec<f32>) -> Field<Cpu> {
        Field::rows(&Cpu::default(), values, 2).unwrap()
    }

    /// A velocity: what comes out of the network, weighed.
    fn velocity<S: Signal<Cpu>>(network: &Unet<Cpu>, x: S, c: S) -> S {
        network.forward(x, &[-2.0, 1.0]).unwrap().mix(c).unwrap()
    }

    /// The velocity along a direction of maps and coefficients.
    fn tangent(network: &Unet<Cpu>) -> Traced {
        let dual = |x: Field<Cpu>, dx: Field<Cpu>| Dual::new(x.traced(), dx.traced()).unwrap();
        let x = dual(maps(numbers(32, 1)), maps(numbers(32, 2)));
        let c = dual(rows(numbers(4, 3)), rows(numbers(4, 4)));
        velocity(network, x, c).into_parts().1
    }

    #[test]
    fn the_derivative_along_a_direction_is_a_limit_of_differences() {
        let network = network();
        let at = |step: f32| {
            let along = |count, seed| -> Vec<f32> {
                let direction = numbers(count, seed + 1);
                let there = numbers(count, seed).into_iter().zip(direction);
                there.map(|(x, d)| x + step * d).collect()
            };
            velocity(&network, maps(along(32, 1)), rows(along(4, 3))).to_vec()
        };
        let slope = |(a, b): (f32, f32)| (a - b) / (2.0 * STEP);
        let expected: Vec<f32> = at(STEP).into_iter().zip(at(-STEP)).map(slope).collect();
        assert!(difference(&tangent(&network).to_vec(), &expected) < NEAR);
    }

    #[test]
    fn values_and_tangents_have_gradients_in_every_weight() {
        let value = |network: &Unet<Cpu>| {
            velocity(
                network,
                maps(numbers(32, 1)).traced(),
                rows(numbers(4, 3)).traced(),
            )
        };
        for run in [&value as &dyn Fn(&Unet<Cpu>) -> Traced, &tangent] {
            let mut network = network();
            let weights = network.weights();
            let (_, mut gradients) = probe(run(&network).into_values());
            let gradients = network.gradients(&mut gradients).unwrap();
            let weighed = numbers(32, 77);
            let mut loss = |step: f32| -> f32 {
                network.load(&moved(&weights, step)).unwrap();
                let y = run(&network).to_vec();
                y.iter().zip(&weighed).map(|(y, p)| y * p).sum()
            };
            let expected = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
            let along = |(seed, g): (usize, &Vec<f32>)| -> f32 {
                let direction = numbers(g.len(), 100 + seed as u64);
                g.iter().zip(direction).map(|(g, d)| g * d).sum()
            };
            let parts: Vec<f32> = gradients.iter().enumerate().map(along).collect();
            let (found, scale) = (
                parts.iter().sum::<f32>(),
                parts.iter().map(|p| p.abs()).sum::<f32>(),
            );
            assert!((found - expected).abs() < NEAR * scale, "{found} {expected}");
            // The way to the times: its tape is another's.
            assert!(gradients[0].iter().all(|g| *g != 0.0));
        }
    }
}
