//! A velocity field that separates what is expensive from what depends on the parameters.
//!
//! ```text
//! u(x_t, t, θ) = Σ_j c_j(t, θ) h_j(x_t, t)
//! ```
//!
//! A large network sees the noisy field and gives the basis `h`; a small one sees the parameters and weighs it.
//! For a frozen noise the basis is computed once for an observation. Then every squared error is a
//! quadratic form in `c`, and a likelihood costs what the small network costs: microseconds instead of passes
//! through the large one. (The same split of branch and trunk as in Lu et al. 2021, arXiv 1910.03193.)

use std::sync::Arc;

use dfdx::tensor::{NoneTape, Tape};

use crate::{
    device::Device,
    error::{ModelError, Result},
    field::Field,
    nets::{Mlp, TIME_FEATURES, Unet, UnetConfig, time_features, unet::MOST_CHANNELS},
    parameter::Module,
    path::{Time, TimeDistribution},
    weights::Weights,
};

/// How many fields go through a network at once: 64, fewer where their basis would take over 256 MB.
pub(crate) fn rows_at_once<B: VelocityBasis>(network: &B) -> usize {
    const NUMBERS: usize = 1 << 26;
    (NUMBERS / (network.field_len() * network.coefficients().len()).max(1)).clamp(2, 64)
}

/// The basis of a separable velocity field.
pub trait VelocityBasis {
    /// What weighs the basis.
    type Coefficients: Coefficients;

    /// Numbers in a field.
    fn field_len(&self) -> usize;

    /// The functions `h` (rows × basis × field) at `x`, `x_t/σ` in rows of a field each, and their times.
    ///
    /// # Errors
    /// `Shape` where rows and times differ, `Device` where memory is short.
    fn basis(&self, x: Vec<f32>, times: &[Time]) -> Result<Vec<f32>>;

    /// The coefficients, to be kept without the basis.
    fn coefficients(&self) -> Self::Coefficients;

    /// The λ that it was trained on.
    fn log_snr_range(&self) -> [f64; 2];
}

/// How parameters weigh the basis of a separable velocity field.
pub trait Coefficients: Send + Sync {
    /// The number of parameters.
    fn dim(&self) -> usize;

    /// The number of basis functions.
    fn len(&self) -> usize;

    /// Whether there is no basis function.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the parameters lie where the field was trained.
    fn covers(&self, theta: &[f64]) -> bool;

    /// `c` (times × basis) at the parameters in physical units.
    fn at(&self, times: &[Time], theta: &[f64]) -> Vec<f64>;

    /// `c`, and a function from the gradient of a number in `c` to its gradient in θ.
    fn at_with_pullback(&self, times: &[Time], theta: &[f64]) -> (Vec<f64>, Pullback<'_>);
}

/// From a gradient in the coefficients to one in the parameters.
pub type Pullback<'a> = Box<dyn FnOnce(Vec<f64>) -> Vec<f64> + 'a>;

/// Coefficients by a perceptron of time features and parameters scaled to [−1, 1].
#[derive(Debug, Clone)]
pub struct CoefficientNetwork {
    pub(crate) mlp: Mlp,
    bounds: Arc<[[f64; 2]]>,
}

impl CoefficientNetwork {
    /// Time features and scaled parameters, one row per time and parameter vector.
    pub(crate) fn inputs<'a>(&self, rows: impl Iterator<Item = (f64, &'a [f64])>) -> Vec<f64> {
        let mut inputs = Vec::new();
        for (log_snr, theta) in rows {
            inputs.extend(time_features(log_snr));
            inputs.extend(
                theta
                    .iter()
                    .zip(&*self.bounds)
                    .map(|(x, [low, high])| (2.0 * x - low - high) / (high - low)),
            );
        }
        inputs
    }
}

impl Coefficients for CoefficientNetwork {
    fn dim(&self) -> usize {
        self.bounds.len()
    }

    fn len(&self) -> usize {
        self.mlp.outputs()
    }

    fn covers(&self, theta: &[f64]) -> bool {
        theta
            .iter()
            .zip(&*self.bounds)
            .all(|(x, [low, high])| (low..=high).contains(&x))
    }

    fn at(&self, times: &[Time], theta: &[f64]) -> Vec<f64> {
        self.mlp
            .forward(self.inputs(times.iter().map(|t| (t.log_snr, theta))))
            .0
    }

    fn at_with_pullback(&self, times: &[Time], theta: &[f64]) -> (Vec<f64>, Pullback<'_>) {
        let (c, kept) = self
            .mlp
            .forward(self.inputs(times.iter().map(|t| (t.log_snr, theta))));
        let pullback = move |dc| {
            let dx = self.mlp.backward(&kept, dc, None);
            let mut gradient = vec![0.0; self.dim()];
            for row in dx.chunks_exact(TIME_FEATURES + self.dim()) {
                for (g, d) in gradient.iter_mut().zip(&row[TIME_FEATURES..]) {
                    *g += d;
                }
            }
            gradient
                .iter_mut()
                .zip(&*self.bounds)
                .for_each(|(g, [low, high])| *g *= 2.0 / (high - low));
            gradient
        };
        (c, Box::new(pullback))
    }
}

/// What is needed to rebuild a [`VelocityNetwork`], but for its weights.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VelocityConfig {
    /// The network that sees the field.
    pub unet: UnetConfig,
    /// Widths of the hidden layers of the one that sees the parameters.
    pub coefficient_widths: Vec<usize>,
    /// The times trained on.
    pub times: TimeDistribution,
}

impl Default for VelocityConfig {
    fn default() -> Self {
        Self {
            unet: UnetConfig::default(),
            coefficient_widths: vec![64, 64],
            times: TimeDistribution::default(),
        }
    }
}

/// A U-Net for the basis and a perceptron for the coefficients, for periodic square fields of one channel.
#[derive(Debug, Clone)]
pub struct VelocityNetwork<D: Device> {
    pub(crate) device: D,
    pub(crate) unet: Unet<D>,
    pub(crate) coefficients: CoefficientNetwork,
    config: VelocityConfig,
    side: usize,
}

impl<D: Device> VelocityNetwork<D> {
    /// A network with random weights for fields of `side` × `side`, conditional on parameters within `bounds`.
    ///
    /// # Errors
    /// `Invalid` or `Shape` where the sizes make no sense; the text says which.
    pub fn new(
        device: &D,
        config: VelocityConfig,
        side: usize,
        bounds: &[[f64; 2]],
        seed: u64,
    ) -> Result<Self> {
        use armilla_samplers::rng::{Purpose, stream};
        if bounds.is_empty()
            || bounds
                .iter()
                .any(|[low, high]| !(low < high && (high - low).is_finite()))
        {
            return Err(ModelError::Invalid(format!(
                "parameter bounds must be finite and increase: {bounds:?}"
            )));
        }
        let [low, high] = config.times.range;
        let times = &config.times;
        let looked_at = times.density(times.centre.clamp(low, high));
        let finite = [low, high, times.centre, times.scale, looked_at]
            .iter()
            .all(|v| v.is_finite());
        let widths = config
            .coefficient_widths
            .iter()
            .all(|w| (1..=MOST_CHANNELS).contains(w));
        if !(finite && low < high && times.scale > 0.0 && looked_at > 0.0 && widths) {
            return Err(ModelError::Invalid(format!(
                "times need a finite range that increases around the centre and a positive scale, coefficient_widths numbers from 1 to {MOST_CHANNELS}: {config:?}"
            )));
        }
        let unet = Unet::new(
            device,
            config.unet.clone(),
            &mut stream(seed, Purpose::Weights, 0),
        )?;
        unet.check_side(side)?;
        let mut sizes = vec![TIME_FEATURES + bounds.len()];
        sizes.extend(&config.coefficient_widths);
        sizes.push(config.unet.outputs);
        let mlp = Mlp::new(&sizes, &mut stream(seed, Purpose::Weights, 1));
        let coefficients = CoefficientNetwork {
            mlp,
            bounds: bounds.into(),
        };
        Ok(Self {
            device: device.clone(),
            unet,
            coefficients,
            config,
            side,
        })
    }

    /// Its settings.
    pub fn config(&self) -> &VelocityConfig {
        &self.config
    }

    /// Side of a field.
    pub fn side(&self) -> usize {
        self.side
    }

    /// Bounds of the parameters.
    pub fn bounds(&self) -> &[[f64; 2]] {
        &self.coefficients.bounds
    }

    /// A copy of all weights: `unet.…` and `coefficients.…`.
    pub fn weights(&self) -> Weights {
        let mut all = self.unet.weights().prefixed("unet");
        all.0
            .extend(self.coefficients.mlp.weights().prefixed("coefficients").0);
        all
    }

    /// Replaces all weights.
    ///
    /// # Errors
    /// `Invalid` where names or shapes differ: a checkpoint of another architecture.
    pub fn load(&mut self, weights: &Weights) -> Result<()> {
        weights.matched(self.weights().shapes())?;
        let part = |prefix: &str| {
            let strip = |w: &crate::weights::Weight| {
                w.name.strip_prefix(prefix).map(|name| crate::weights::Weight {
                    name: name.into(),
                    ..w.clone()
                })
            };
            Weights(weights.0.iter().filter_map(strip).collect())
        };
        self.unet.load(&part("unet."))?;
        self.coefficients.mlp.load(&part("coefficients."))
    }

    /// The basis on the device, on the tape of `T`.
    pub(crate) fn basis_maps<T: Tape<f32, D>>(&self, x: Vec<f32>, times: &[Time]) -> Result<Field<D, T>> {
        let x = Field::new(&self.device, x, times.len(), 1, [1, self.side, self.side])?;
        let log_snr: Vec<f64> = times.iter().map(|t| t.log_snr).collect();
        self.unet.forward(x.retaped::<T>(), &log_snr)
    }
}

impl<D: Device> VelocityBasis for VelocityNetwork<D> {
    type Coefficients = CoefficientNetwork;

    fn field_len(&self) -> usize {
        self.side * self.side
    }

    fn basis(&self, x: Vec<f32>, times: &[Time]) -> Result<Vec<f32>> {
        Ok(self.basis_maps::<NoneTape>(x, times)?.to_vec())
    }

    fn coefficients(&self) -> CoefficientNetwork {
        self.coefficients.clone()
    }

    fn log_snr_range(&self) -> [f64; 2] {
        self.config.times.range
    }
}
