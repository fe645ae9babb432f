//! Put the layers of each flow together.

use std::sync::Arc;

use armilla_samplers::rng::{Purpose, stream};
use rand::seq::SliceRandom;

use super::{
    actnorm::ActNorm,
    affine::Affine,
    conditioner::Conditioner,
    config::{FlowConfig, GlowConfig, MafConfig},
    coupling::Coupling,
    layer::Layer,
    mixing::{Mixing, rotation},
    spline::Spline,
    transform::Transform,
};
use crate::{device::Device, error::Result};

/// The layers of a flow with random weights.
pub(super) fn layers<D: Device>(device: &D, config: &FlowConfig, seed: u64) -> Result<Vec<Layer<D>>> {
    let affine = |bound| Transform::Affine(Affine { bound });
    match config {
        FlowConfig::RealNvp(c) => {
            let halves = Halves {
                numbers: c.numbers,
                condition: c.cond_dim,
                widths: &c.widths,
                transform: affine(c.bound),
                mixing: false,
            };
            halves.layers(device, c.layers, seed)
        }
        FlowConfig::Spline(c) => {
            let (bins, bound) = (c.bins, c.bound);
            let halves = Halves {
                numbers: c.numbers,
                condition: c.cond_dim,
                widths: &c.widths,
                transform: Transform::Spline(Spline { bins, bound }),
                mixing: c.mixing,
            };
            halves.layers(device, c.layers, seed)
        }
        FlowConfig::Maf(c) => (0..c.layers)
            .map(|i| autoregressive(device, c, i, seed))
            .collect(),
        FlowConfig::Glow(c) => glow(device, c, seed),
    }
}

/// Coupling layers for vectors, each of which moves one half by the other.
struct Halves<'a> {
    numbers: usize,
    condition: usize,
    widths: &'a [usize],
    transform: Transform,
    mixing: bool,
}

impl Halves<'_> {
    fn layers<D: Device>(&self, device: &D, count: usize, seed: u64) -> Result<Vec<Layer<D>>> {
        let (n, width) = (self.numbers, self.numbers + 1);
        let mut layers = Vec::new();
        for i in 0..count {
            if self.mixing {
                let one: Vec<f64> = (0..n * n).map(|k| f64::from(u8::from(k / n == k % n))).collect();
                layers.push(Layer::Mixing(Box::new(Mixing::new(device, width, 1, &one)?)));
            }
            let [moved, seen] = halves(n, i);
            let ends = [
                (seen.len() + self.condition).max(1),
                moved.len() * self.transform.parameters(),
            ];
            let mut stream = stream(seed, Purpose::Weights, i as u64);
            layers.push(Layer::Coupling(Box::new(Coupling {
                transform: self.transform,
                width,
                seen,
                places: moved,
                condition: self.condition,
                extent: [1; 3],
                network: Conditioner::perceptron(device, ends, self.widths, &mut stream)?,
                order: Vec::new(),
            })));
        }
        Ok(layers)
    }
}

/// What layer `i` moves, and by what: random halves, the other way round in every second layer. They follow from the
/// sizes alone, so that weights fit whatever the seed was that they started from.
fn halves(numbers: usize, i: usize) -> [Arc<[u32]>; 2] {
    if numbers == 1 {
        return [Arc::new([0]), Arc::new([])];
    }
    let mut all: Vec<u32> = (0..numbers as u32).collect();
    all.shuffle(&mut stream(0, Purpose::Split, (i / 2) as u64));
    let (first, second) = all.split_at_mut(numbers.div_ceil(2));
    first.sort_unstable();
    second.sort_unstable();
    let [first, second]: [Arc<[u32]>; 2] = [(&*first).into(), (&*second).into()];
    if i.is_multiple_of(2) {
        [first, second]
    } else {
        [second, first]
    }
}

fn autoregressive<D: Device>(device: &D, c: &MafConfig, i: usize, seed: u64) -> Result<Layer<D>> {
    let n = c.numbers;
    let order: Vec<usize> = if i.is_multiple_of(2) {
        (1..=n).collect()
    } else {
        (1..=n).rev().collect()
    };
    let transform = Transform::Affine(Affine { bound: c.bound });
    let mut stream = stream(seed, Purpose::Weights, i as u64);
    let all: Arc<[u32]> = (0..n as u32).collect();
    let each = transform.parameters();
    Ok(Layer::Coupling(Box::new(Coupling {
        transform,
        width: n + 1,
        seen: all.clone(),
        places: all,
        condition: c.cond_dim,
        extent: [1; 3],
        network: Conditioner::masked(device, &order, c.cond_dim, each, &c.widths, &mut stream)?,
        order,
    })))
}

/// At each level: squeeze, then steps of norm, mixing and coupling; then half of the channels leave, moved to a normal
/// distribution by what the other half says of them. They stay where they are, behind those that go on.
fn glow<D: Device>(device: &D, c: &GlowConfig, seed: u64) -> Result<Vec<Layer<D>>> {
    let ([mut height, mut breadth], mut channels) = (c.sides, c.channels);
    let width = channels * height * breadth + 1;
    let transform = Transform::Affine(Affine { bound: c.bound });
    let mut layers = Vec::new();
    for level in 0..c.levels {
        layers.push(Layer::Rearrange(squeeze(channels, [height, breadth], width)));
        (channels, height, breadth) = (4 * channels, height / 2, breadth / 2);
        let (positions, half) = (height * breadth, channels / 2);
        let coupling = |layer: usize| -> Result<Layer<D>> {
            let mut stream = stream(seed, Purpose::Weights, layer as u64);
            let ends = [half + c.cond_dim, half * transform.parameters()];
            let middle = (half * positions) as u32;
            Ok(Layer::Coupling(Box::new(Coupling {
                transform,
                width,
                seen: (0..middle).collect(),
                places: (middle..2 * middle).collect(),
                condition: c.cond_dim,
                extent: [1, height, breadth],
                network: Conditioner::convolutions(device, ends, c.hidden, c.padding, &mut stream)?,
                order: Vec::new(),
            })))
        };
        for _ in 0..c.steps {
            layers.push(Layer::ActNorm(Box::new(ActNorm::new(
                device, width, channels, positions,
            )?)));
            let matrix = rotation(channels, &mut stream(seed, Purpose::Weights, layers.len() as u64));
            layers.push(Layer::Mixing(Box::new(Mixing::new(
                device, width, positions, &matrix,
            )?)));
            layers.push(coupling(layers.len())?);
        }
        if level + 1 < c.levels {
            layers.push(coupling(layers.len())?);
            channels = half;
        }
    }
    Ok(layers)
}

/// Where each number of the squeezed image comes from: blocks of 2×2 pixels become four channels.
pub(super) fn squeeze(channels: usize, [height, breadth]: [usize; 2], width: usize) -> Arc<[u32]> {
    let (h, w) = (height / 2, breadth / 2);
    let squeezed = (0..channels * height * breadth).map(|k| {
        let (channel, y, x) = (k / (h * w), k / w % h, k % w);
        let (old, corner) = (channel / 4, channel % 4);
        ((old * height + 2 * y + corner / 2) * breadth + 2 * x + corner % 2) as u32
    });
    squeezed
        .chain((channels * height * breadth) as u32..width as u32)
        .collect()
}
