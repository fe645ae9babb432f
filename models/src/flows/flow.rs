//! Map data to noise and back, with the density that follows.

use armilla_samplers::rng::{Purpose, stream};
use dfdx::tensor::{NoneTape, Tape};
use rand_distr::{Distribution, StandardNormal};

use super::{build, config::FlowConfig, layer::Layer, rows};
use crate::{
    device::Device,
    error::{ModelError, Result},
    field::Field,
    likelihoods::NoiseKey,
    parameter::module,
};

/// Rows where a flow has led them.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapped {
    /// Noise, or data: rows, one after the other.
    pub values: Vec<f32>,
    /// For each row the logarithm of |det| of the Jacobian of the map that led there. It is summed over layers in single
    /// precision: good to about 1e-6 of the sum of what the layers add.
    pub log_determinants: Vec<f64>,
}

/// An invertible network, and with it a density: that of the data that it maps to noise of a standard normal
/// distribution.
///
/// Vectors are rows of numbers, images are flattened. Data should have about zero mean and unit variance.
///
/// ```
/// use armilla_models::{Cpu, flows::{FlowConfig, NormalizingFlow, RealNvpConfig}};
/// let config = FlowConfig::RealNvp(RealNvpConfig { numbers: 2, ..Default::default() });
/// let flow = NormalizingFlow::new(&Cpu::default(), config, 1)?;
/// // Untrained, it is the identity: the density is that of the noise.
/// let log_density = flow.log_density(&[0.0, 0.0], None)?;
/// assert!((log_density[0] + (2.0 * std::f64::consts::PI).ln()).abs() < 1e-6);
/// let x = flow.sample(3, None, 7)?;
/// let z = flow.to_noise(&x, None)?;
/// let back = flow.to_data(&z.values, None)?;
/// assert!(x.iter().zip(&back.values).all(|(a, b)| (a - b).abs() < 1e-4));
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
#[derive(Clone)]
pub struct NormalizingFlow<D: Device> {
    pub(super) device: D,
    config: FlowConfig,
    pub(super) layers: Vec<Layer<D>>,
}
module!(NormalizingFlow, |this| [("layers", this.layers)]);

impl<D: Device> NormalizingFlow<D> {
    /// A flow with random weights.
    ///
    /// # Errors
    /// `Invalid` for sizes that make no sense, `Device` where memory is short.
    pub fn new(device: &D, config: FlowConfig, seed: u64) -> Result<Self> {
        config.check()?;
        Ok(Self {
            device: device.clone(),
            layers: build::layers(device, &config, seed)?,
            config,
        })
    }

    /// Its sizes.
    pub fn config(&self) -> &FlowConfig {
        &self.config
    }

    /// ln p(x | condition) of each row of `x`. The condition is one for each row, or one for all.
    ///
    /// # Errors
    /// `Shape` where rows or conditions do not fit, `Invalid` where a number is not finite.
    pub fn log_density(&self, x: &[f32], condition: Option<&[f32]>) -> Result<Vec<f64>> {
        let mut densities = Vec::new();
        self.forward_in_parts("log_density", x, condition, |rows| {
            densities.extend(
                rows.chunks_exact(self.config.numbers() + 1)
                    .map(rows::log_density),
            );
        })?;
        Ok(densities)
    }

    /// The noise that each row of `x` is mapped to.
    ///
    /// # Errors
    /// As [`log_density`](Self::log_density).
    pub fn to_noise(&self, x: &[f32], condition: Option<&[f32]>) -> Result<Mapped> {
        let mut mapped = Mapped::none();
        self.forward_in_parts("to_noise", x, condition, |rows| {
            mapped.take(rows, self.config.numbers())
        })?;
        Ok(mapped)
    }

    /// The data that each row of the noise `z` comes from.
    ///
    /// # Errors
    /// As [`log_density`](Self::log_density).
    pub fn to_data(&self, z: &[f32], condition: Option<&[f32]>) -> Result<Mapped> {
        let mut mapped = Mapped::none();
        self.in_parts("to_data", z, condition, |mut rows, condition| {
            for layer in self.layers.iter().rev() {
                rows = layer.inverse(&self.device, rows, condition.as_ref())?;
            }
            mapped.take(&rows, self.config.numbers());
            Ok(())
        })?;
        Ok(mapped)
    }

    /// `count` draws of the density. Each follows from the key, its place and its condition alone.
    ///
    /// # Errors
    /// As [`log_density`](Self::log_density).
    pub fn sample(&self, count: usize, condition: Option<&[f32]>, key: NoiseKey) -> Result<Vec<f32>> {
        let numbers = self.config.numbers();
        let mut z: Vec<f32> = Vec::with_capacity(count * numbers);
        for row in 0..count {
            let mut stream = stream(key, Purpose::Noise, row as u64);
            z.extend((0..numbers).map(|_| -> f32 { StandardNormal.sample(&mut stream) }));
        }
        Ok(self.to_data(&z, condition)?.values)
    }

    /// All layers, from data to noise.
    pub(super) fn pass<T: Tape<f32, D>>(
        &self,
        mut rows: Field<D, T>,
        condition: Option<&Field<D, T>>,
    ) -> Result<Field<D, T>> {
        for layer in &self.layers {
            rows = layer.forward(rows, condition)?;
        }
        Ok(rows)
    }

    /// Rows with their log-determinants, and conditions, on the device.
    pub(super) fn fields(&self, x: &[f32], condition: Vec<f32>) -> Result<(Field<D>, Option<Field<D>>)> {
        let rows = rows::with_log_determinant(x, self.config.numbers());
        let count = x.len() / self.config.numbers();
        let condition = match condition.is_empty() {
            true => None,
            false => Some(Field::rows(&self.device, condition, count)?),
        };
        Ok((Field::rows(&self.device, rows, count)?, condition))
    }

    /// How many rows go through the layers at once: what they take stays below 256 MB.
    pub(super) fn rows_at_once(&self) -> usize {
        const NUMBERS: usize = 1 << 26;
        let widest = |layer: &Layer<D>| match layer {
            Layer::Coupling(coupling) => coupling.widest(),
            _ => 1,
        };
        let widest = self.layers.iter().map(widest).max().unwrap_or(1);
        (NUMBERS / (8 * widest.max(self.config.numbers() + 1))).clamp(1, 4096)
    }

    fn forward_in_parts(
        &self,
        operation: &'static str,
        x: &[f32],
        condition: Option<&[f32]>,
        mut each: impl FnMut(&[f32]),
    ) -> Result<()> {
        self.in_parts(operation, x, condition, |rows, condition| {
            let count = rows.len() / (self.config.numbers() + 1);
            let rows = Field::rows(&self.device, rows, count)?;
            each(&self.pass::<NoneTape>(rows, condition.as_ref())?.to_vec());
            Ok(())
        })
    }

    /// Hands rows and their conditions to `each`, as many at once as fit.
    fn in_parts(
        &self,
        operation: &'static str,
        values: &[f32],
        condition: Option<&[f32]>,
        mut each: impl FnMut(Vec<f32>, Option<Field<D>>) -> Result<()>,
    ) -> Result<()> {
        let (numbers, told) = (self.config.numbers(), self.config.cond_dim());
        let rows = values.len() / numbers;
        let given = condition.map_or(0, <[f32]>::len);
        if rows * numbers != values.len() || (given != told && given != told * rows) {
            let what = format!(
                "{} numbers with {given} of conditions, where a row has {numbers} and a condition {told}: one for each row, or one for all",
                values.len()
            );
            return Err(ModelError::shape(operation, what));
        }
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            let what = format!("{operation}: row {} holds {}", at / numbers, values[at]);
            return Err(ModelError::Invalid(what));
        }
        let condition = condition.unwrap_or_default();
        if let Some(value) = condition.iter().find(|v| !v.is_finite()) {
            return Err(ModelError::Invalid(format!(
                "{operation}: a condition holds {value}"
            )));
        }
        let at_once = self.rows_at_once();
        for (part, values) in values.chunks(at_once * numbers).enumerate() {
            let count = values.len() / numbers;
            let told_here = match condition.len() == told {
                true => condition.repeat(count),
                false => condition[part * at_once * told..][..count * told].to_vec(),
            };
            let told_here = match told_here.is_empty() {
                true => None,
                false => Some(Field::rows(&self.device, told_here, count)?),
            };
            each(rows::with_log_determinant(values, numbers), told_here)?;
        }
        Ok(())
    }
}

impl Mapped {
    fn none() -> Self {
        Self {
            values: Vec::new(),
            log_determinants: Vec::new(),
        }
    }

    fn take(&mut self, rows: &[f32], numbers: usize) {
        for row in rows.chunks_exact(numbers + 1) {
            self.values.extend_from_slice(&row[..numbers]);
            self.log_determinants.push(f64::from(row[numbers]));
        }
    }
}
