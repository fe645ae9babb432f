//! Let a network that was trained along a path predict.

use std::ops::Range;

use super::{DifferentiablePredictor, Predictor};
use crate::{
    device::Device,
    error::{ModelError, Result},
    field::Field,
    nets::Conditioned,
    ops::conv::geometry::Extent,
    path::{Path, Target},
    signal::Dual,
};

/// At most so many numbers of examples go through a network at once.
const AT_ONCE: usize = 1 << 18;

/// A network, what it was trained for, and the condition that it is asked under.
///
/// A network that was also trained without conditions takes one number more than a condition has: it is 1, and the rest
/// 0, where there is none. The first layer's weights of that number are then a learned null embedding, and zeros stay a
/// valid condition. With guidance `w` the prediction is `(1 + w) p(x | c) − w p(x)` (Ho & Salimans 2022, arXiv
/// 2207.12598): 0 is the conditional model itself.
#[derive(Debug, Clone)]
pub struct NetworkPredictor<'a, D: Device, N> {
    network: &'a N,
    device: D,
    extent: Extent,
    path: Path,
    target: Target,
    /// One condition for all rows, or one for each.
    condition: Vec<f32>,
    /// How many rows have a condition of their own.
    rows: Option<usize>,
    guidance: f64,
    /// Whether a condition was given in full length: no number is left that says there is none.
    full: bool,
}

impl<'a, D: Device, N: Conditioned<D>> NetworkPredictor<'a, D, N> {
    /// `network` for fields of `extent`, trained to predict `target` on `path`; without a condition.
    ///
    /// # Errors
    /// `Shape` where fields of this extent cannot pass.
    pub fn new(network: &'a N, device: &D, extent: Extent, path: Path, target: Target) -> Result<Self> {
        network.check_extent(extent)?;
        let condition = null(network.condition_len());
        Ok(Self {
            network,
            device: device.clone(),
            extent,
            path,
            target,
            condition,
            rows: None,
            guidance: 0.0,
            full: false,
        })
    }

    /// The same, given `condition`, as it was in training. A network with a number for the null takes it without,
    /// and no condition at all is that null.
    ///
    /// # Errors
    /// `Shape` where the network takes conditions of another length.
    pub fn given(mut self, condition: &[f64]) -> Result<Self> {
        (self.condition, self.full) = self.taken(condition, condition.len())?;
        self.rows = None;
        Ok(self)
    }

    /// The same, each row of a batch given a condition of its own: `conditions` (rows × numbers).
    ///
    /// # Errors
    /// `Shape` where the network takes conditions of another length; when it predicts, for batches of other rows.
    pub fn given_each(mut self, conditions: &[f64], rows: usize) -> Result<Self> {
        let numbers = conditions.len() / rows.max(1);
        if rows * numbers != conditions.len() {
            let what = format!("{} numbers are not {rows} conditions", conditions.len());
            return Err(ModelError::shape("predictor", what));
        }
        (self.condition, self.full) = self.taken(conditions, numbers)?;
        self.rows = Some(rows);
        Ok(self)
    }

    /// The same, guided by `w`.
    ///
    /// Only for networks that were also trained without conditions: with others, whose conditions leave no number for
    /// the null, predictions are `Invalid`.
    pub fn guided(mut self, w: f64) -> Self {
        self.guidance = w;
        self
    }

    /// Conditions of `given` numbers each, as the network takes them, and whether they are as long.
    fn taken(&self, conditions: &[f64], given: usize) -> Result<(Vec<f32>, bool)> {
        let takes = self.network.condition_len();
        if given != takes && given + 1 != takes {
            let what = format!("a condition of {given} numbers, where the network takes {takes}");
            return Err(ModelError::shape("predictor", what));
        }
        if given == 0 {
            return Ok((null(takes), false));
        }
        let rows = conditions.len() / given;
        let row = |i: usize| {
            let told = conditions[i * given..(i + 1) * given].iter().map(|c| *c as f32);
            told.chain(std::iter::repeat(0.0)).take(takes)
        };
        Ok(((0..rows).flat_map(row).collect(), given == takes))
    }

    /// Rows, in parts that fit the memory, through `pass`.
    fn in_parts(
        &self,
        x: &[f64],
        dx: Option<&[f64]>,
        pass: impl Fn(Field<D>, Option<Field<D>>, Range<usize>) -> Result<[Vec<f32>; 2]>,
    ) -> Result<[Vec<f64>; 2]> {
        let n = self.numbers();
        if n == 0 || !x.len().is_multiple_of(n) || dx.is_some_and(|dx| dx.len() != x.len()) {
            let what = format!("{} numbers do not make rows of {n}", x.len());
            return Err(ModelError::shape("predictor", what));
        }
        if let Some(rows) = self.rows
            && rows != x.len() / n
        {
            let what = format!("{} rows, where {rows} were given conditions", x.len() / n);
            return Err(ModelError::shape("predictor", what));
        }
        let step = n * (AT_ONCE / n).max(1);
        let mut all = [Vec::with_capacity(x.len()), Vec::new()];
        for first in (0..x.len()).step_by(step) {
            let here = first..(first + step).min(x.len());
            let rows = here.len() / n;
            let field = |x: &[f64]| {
                let values = x[here.clone()].iter().map(|x| *x as f32).collect();
                Field::new(&self.device, values, rows, self.network.channels(), self.extent)
            };
            let parts = pass(field(x)?, dx.map(field).transpose()?, first / n..first / n + rows)?;
            for (all, part) in all.iter_mut().zip(parts) {
                all.extend(part.into_iter().map(f64::from));
            }
        }
        Ok(all)
    }

    /// The conditions of `rows`: each its own, or all the same.
    fn condition(&self, condition: &[f32], rows: Range<usize>) -> Result<Option<Field<D>>> {
        let (takes, count) = (self.network.condition_len(), rows.len());
        if takes == 0 {
            return Ok(None);
        }
        let conditions = match condition.len() == takes {
            true => condition.repeat(count),
            false => condition[rows.start * takes..rows.end * takes].to_vec(),
        };
        Field::rows(&self.device, conditions, count).map(Some)
    }

    /// The condition and, where guided, the null, each with its weight.
    fn parts(&self) -> Result<Vec<(f32, Vec<f32>)>> {
        let w = self.guidance as f32;
        if w == 0.0 || self.condition.is_empty() {
            return Ok(vec![(1.0, self.condition.clone())]);
        }
        if self.full {
            return Err(ModelError::Invalid(format!(
                "guidance is {w}, and the network was not trained without conditions: train it with unconditional above 0, or set guidance to 0"
            )));
        }
        let null = null(self.network.condition_len());
        Ok(vec![(1.0 + w, self.condition.clone()), (-w, null)])
    }
}

/// What says that there is no condition, to a network that takes so many numbers.
fn null(takes: usize) -> Vec<f32> {
    let mut null = vec![0.0; takes];
    if let Some(last) = null.last_mut() {
        *last = 1.0;
    }
    null
}

/// The time that a network is told: for chains the index of the level that they are trained with, from 0 on.
pub(crate) fn network_time(path: &Path, scale: f64, t: f64) -> f64 {
    match path {
        Path::Chain(chain) => scale / 1000.0 * (chain.steps() as f64 * t - 1.0),
        _ => scale * t,
    }
}

impl<D: Device, N: Conditioned<D>> Predictor for NetworkPredictor<'_, D, N> {
    fn numbers(&self) -> usize {
        self.network.channels() * self.extent.iter().product::<usize>()
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn target(&self) -> Target {
        self.target
    }

    fn predict(&self, x: &[f64], t: f64) -> Result<Vec<f64>> {
        let time = network_time(&self.path, self.network.time_scale(), t);
        let [values, _] = self.in_parts(x, None, |x, _, rows| {
            let mut sum: Vec<f32> = Vec::new();
            for (weight, condition) in self.parts()? {
                let condition = self.condition(&condition, rows.clone())?;
                let mut part = self
                    .network
                    .forward(x.clone(), &vec![time; rows.len()], condition)?
                    .to_vec();
                part.iter_mut().for_each(|p| *p *= weight);
                match sum.is_empty() {
                    true => sum = part,
                    false => sum.iter_mut().zip(part).for_each(|(s, p)| *s += p),
                }
            }
            Ok([sum, Vec::new()])
        })?;
        Ok(values)
    }
}

impl<D: Device, N: Conditioned<D>> DifferentiablePredictor for NetworkPredictor<'_, D, N> {
    fn predict_along(&self, x: &[f64], dx: &[f64], t: f64) -> Result<[Vec<f64>; 2]> {
        let time = network_time(&self.path, self.network.time_scale(), t);
        self.in_parts(x, Some(dx), |x, dx, rows| {
            let mut sums = [Vec::new(), Vec::new()];
            for (weight, condition) in self.parts()? {
                let condition = self
                    .condition(&condition, rows.clone())?
                    .map(Dual::unmoved)
                    .transpose()?;
                let Some(dx) = dx.clone() else {
                    return Err(ModelError::shape(
                        "predictor",
                        "no direction to differentiate along",
                    ));
                };
                let both =
                    self.network
                        .forward(Dual::new(x.clone(), dx)?, &vec![time; rows.len()], condition)?;
                let (value, tangent) = both.into_parts();
                for (sum, part) in sums.iter_mut().zip([value.to_vec(), tangent.to_vec()]) {
                    sum.resize(part.len(), 0.0);
                    sum.iter_mut().zip(part).for_each(|(s, p)| *s += weight * p);
                }
            }
            Ok(sums)
        })
    }
}
