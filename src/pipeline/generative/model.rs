//! Build a generative model of any method on a device, and draw from it.

use armilla_models::flows::NormalizingFlow;
use armilla_models::generate::generate_rows;
use armilla_models::likelihoods::NoiseKey;
use armilla_models::nets::Network;
use armilla_models::ops::conv::geometry::Extent;
use armilla_models::path::Target;
use armilla_models::predictor::{Clipped, NetworkPredictor, Predictor};
use armilla_models::weights::Weights;
use armilla_models::{Device, DeviceChoice, Module, OnDevice};

use super::{Body, GenerativeCard, GenerativeModel, Sampling};
use crate::{Error, Result};

/// Maps that were drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// Their pixels in physical units, map after map.
    pub maps: Vec<f32>,
    /// How often the network was asked about all maps of a point, in the mean over points; 1 for an exact model.
    pub evaluations: usize,
}

/// Pixels that are drawn at once: a solver keeps several times as many in double precision. Solvers whose steps look at all
/// maps look at these.
const AT_ONCE: usize = 1 << 20;

/// A model on a device.
#[allow(clippy::large_enum_variant)] // a program holds one or two of them
pub(super) enum Model<D: Device> {
    Network(Network<D>, Extent),
    Layers(NormalizingFlow<D>),
}

/// The model with weights that mean nothing.
pub(super) fn untrained<D: Device>(device: &D, card: &GenerativeCard) -> Result<Model<D>> {
    Ok(match &card.architecture {
        Body::Network(architecture) => {
            let extent = extent(architecture, card.side);
            let network = Network::new(device, architecture, card.seed)?;
            armilla_models::nets::Conditioned::<D>::check_extent(&network, extent)?;
            Model::Network(network, extent)
        }
        Body::Layers(layers) => Model::Layers(NormalizingFlow::new(device, layers.clone(), card.seed)?),
    })
}

/// What a network sees of maps of `side` pixels: a perceptron sees a vector.
fn extent(architecture: &armilla_models::nets::Architecture, side: usize) -> Extent {
    match architecture {
        armilla_models::nets::Architecture::ConditionedMlp(_) => [1, 1, 1],
        _ => [1, side, side],
    }
}

impl<D: Device> Model<D> {
    pub fn load(&mut self, weights: &Weights) -> Result<()> {
        match self {
            Self::Network(network, _) => network.load(weights)?,
            Self::Layers(flow) => flow.load(weights)?,
        }
        Ok(())
    }

    /// For drawing alone: what is derived of the weights is kept from then on.
    pub fn freeze(&mut self) {
        match self {
            Self::Network(network, _) => network.freeze(true),
            Self::Layers(flow) => flow.freeze(true),
        }
    }

    pub fn weights(&self) -> Weights {
        match self {
            Self::Network(network, _) => network.weights(),
            Self::Layers(flow) => flow.weights(),
        }
    }

    /// `count` maps at `theta`, and how often the network was asked.
    pub fn draw(
        &self,
        device: &D,
        card: &GenerativeCard,
        theta: &[f64],
        count: usize,
        sampling: Option<Sampling>,
        key: NoiseKey,
    ) -> Result<(Vec<f32>, usize)> {
        let condition = card.parameters.to_unit(theta);
        let (z, evaluations): (Vec<f32>, usize) = match self {
            Self::Layers(flow) => {
                let condition: Vec<f32> = condition.iter().map(|c| *c as f32).collect();
                (flow.sample(count, Some(&condition), key)?, 1)
            }
            Self::Network(network, extent) => {
                let (Some(path), Some(target), Some(sampling)) = (&card.path, card.target, sampling) else {
                    return Err(Error::Invalid(format!(
                        "the run of method {} has no path, target or solver",
                        card.config.method
                    )));
                };
                let predictor = NetworkPredictor::new(network, device, *extent, path.clone(), target)?
                    .given(&condition)?
                    .guided(sampling.guidance);
                let clipped;
                let predictor: &dyn Predictor = match (target, card.range) {
                    // Of these the data follow by a division that makes errors near the noise large.
                    (Target::Noise | Target::Score, Some(range)) => {
                        clipped = Clipped::new(&predictor, range);
                        &clipped
                    }
                    _ => &predictor,
                };
                let at_once = (AT_ONCE / predictor.numbers()).max(1);
                let (mut z, mut evaluations) = (Vec::new(), 0);
                for from in (0..count).step_by(at_once) {
                    let rows = from..from + at_once.min(count - from);
                    let made = generate_rows(predictor, rows, sampling.solver, sampling.steps, key)?;
                    z.extend(made.values.iter().map(|z| *z as f32));
                    evaluations = evaluations.max(made.evaluations);
                }
                (z, evaluations)
            }
        };
        Ok((card.transform.invert(&z), evaluations))
    }
}

/// Draws `count` maps at each of `thetas` on the device that is chosen.
pub(super) fn generate_on(
    model: &GenerativeModel,
    device: DeviceChoice,
    thetas: &[Vec<f64>],
    count: usize,
    sampling: Option<Sampling>,
    seed: u64,
) -> Result<Generated> {
    struct Job<'a>(&'a GenerativeModel, &'a [Vec<f64>], usize, Option<Sampling>, u64);
    impl OnDevice for Job<'_> {
        type Output = Result<Generated>;
        fn run<D: Device>(self, device: D) -> Self::Output {
            let Self(model, thetas, count, sampling, seed) = self;
            let card = &model.card;
            let mut network = untrained(&device, card)?;
            network.load(&model.weights)?;
            network.freeze();
            let (mut maps, mut evaluations) = (Vec::new(), 0);
            for (i, theta) in thetas.iter().enumerate() {
                let key = seed.wrapping_add((i as u64) << 32);
                let (part, asked) = network.draw(&device, card, theta, count, sampling, key)?;
                maps.extend(part);
                evaluations += asked;
            }
            Ok(Generated {
                maps,
                evaluations: evaluations / thetas.len().max(1),
            })
        }
    }
    if count == 0 || thetas.is_empty() {
        return Err(Error::Invalid(
            "there is no map to generate: the count must be 1 at least".to_owned(),
        ));
    }
    let parameters = &model.card.parameters;
    for theta in thetas {
        if theta.len() != parameters.0.len() {
            return Err(Error::Invalid(format!(
                "{} parameters are given, and the model takes {}: {}",
                theta.len(),
                parameters.0.len(),
                parameters.names().join(", ")
            )));
        }
        parameters.check(theta, "the map to generate")?;
    }
    let draw = || device.run(Job(model, thetas, count, sampling, seed));
    // On a thread of the pool: kernels that ask it from outside wait for a switch of threads each time.
    let made = rayon::join(draw, || ()).0??;
    match made.maps.iter().find(|pixel| !pixel.is_finite()) {
        None => Ok(made),
        Some(pixel) => {
            let what = match sampling {
                Some(_) => "take more steps or another sampler, or train the model longer",
                None => "train the model longer, or with a smaller learning rate",
            };
            Err(Error::Invalid(format!("a generated pixel is {pixel}: {what}")))
        }
    }
}
