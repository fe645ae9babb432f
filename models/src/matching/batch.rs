//! Draw points on the path, what they are to be matched with, and the conditions they are seen under.

use std::ops::Range;

use armilla_samplers::rng::Stream;
use dfdx::tensor::Tape;
use rand::{RngExt, seq::SliceRandom};
use rand_distr::{Distribution, StandardNormal};

use super::{Augment, Coupling, Matching, assignment::assign, times::Times};
use crate::{
    device::Device,
    error::{ModelError, Result},
    field::Field,
    nets::Conditioned,
    ops::conv::geometry::Extent,
    path::{Path, Point, Target},
    predictor::network_time,
    train::{
        Batch, Examples, Fields, Source,
        symmetry::{symmetry, turn},
    },
};

/// Points on the path.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noised {
    /// Rows of `x_t`.
    pub x: Vec<f32>,
    /// The target of each number, times the square root of its row's weight.
    pub wanted: Vec<f32>,
    /// The path's coefficients in each row.
    pub points: Vec<Point>,
    /// What a squared error counts in each row.
    pub weights: Vec<f64>,
    /// Rows of conditions, as long as the network takes them.
    pub conditions: Vec<f32>,
}

/// What points are drawn from, and how.
#[derive(Clone)]
pub(crate) struct Drawing<'a> {
    examples: Examples<'a>,
    /// The noise that each example is coupled with, where that is given.
    noise: Option<&'a dyn Fields>,
    fields: usize,
    /// Numbers of a field, of its parameters, and of a condition as the network takes it.
    numbers: usize,
    parameters: usize,
    condition: usize,
    extent: Extent,
    times: Times,
    target: Target,
    coupling: Coupling,
    unconditional: f64,
    augment: Augment,
}

impl<'a> Drawing<'a> {
    /// Of `examples` (the `part` part), as `matching` says, for `network`.
    pub(crate) fn new<D: Device, N: Conditioned<D>>(
        matching: &Matching,
        network: &N,
        extent: Extent,
        (part, examples): (&str, Examples<'a>),
        noise: Option<&'a dyn Fields>,
    ) -> Result<Self> {
        network.check_extent(extent)?;
        let numbers = network.channels() * extent.iter().product::<usize>();
        let condition = network.condition_len();
        let null = matching.unconditional > 0.0;
        let (fields, parameters) = examples.sizes_for(part, numbers, condition, null)?;
        if let Some(noise) = noise
            && noise.numbers() != examples.fields.numbers()
        {
            let what = format!(
                "{} numbers of noise for {} of {part} fields",
                noise.numbers(),
                examples.fields.numbers()
            );
            return Err(ModelError::shape("train", what));
        }
        if matching.augment != Augment::None && (extent[0] != 1 || extent[1] != extent[2]) {
            let what = format!("fields of extent {extent:?} are not squares: set augment to none");
            return Err(ModelError::shape("train", what));
        }
        Ok(Self {
            examples,
            noise,
            fields,
            numbers,
            parameters,
            condition,
            extent,
            times: Times::new(
                &matching.path,
                matching.target,
                matching.weighting,
                matching.times,
            )?,
            target: matching.target,
            coupling: matching.coupling,
            unconditional: matching.unconditional,
            augment: matching.augment,
        })
    }

    /// The same for judging: as it is seen, under its condition.
    pub(crate) fn judged(mut self) -> Self {
        (self.unconditional, self.augment) = (0.0, Augment::None);
        self
    }

    pub(crate) fn fields(&self) -> usize {
        self.fields
    }

    pub(crate) fn numbers(&self) -> usize {
        self.numbers
    }

    pub(crate) fn coupling(&self) -> Coupling {
        self.coupling
    }

    pub(crate) fn path(&self) -> &Path {
        self.times.path()
    }

    pub(crate) fn draw(&self, picks: &[usize], stream: &mut Stream) -> Result<Noised> {
        let (rows, n) = (picks.len(), self.numbers);
        let mut strata: Vec<usize> = (0..rows).collect();
        strata.shuffle(stream);
        let mut x0 = self.examples.read(picks, n)?;
        let given = self.noise.map(|noise| noise.read(picks, n)).transpose()?;
        let coupled = given.is_some();
        let mut x1 = match given {
            Some(noise) => noise,
            None => (0..rows * n).map(|_| StandardNormal.sample(stream)).collect(),
        };
        if self.augment != Augment::None {
            let (side, periodic) = (self.extent[1], self.augment == Augment::Torus);
            for (x0, x1) in x0.chunks_exact_mut(n).zip(x1.chunks_exact_mut(n)) {
                let place = symmetry(side, periodic, stream);
                turn(x0, side, place);
                if coupled {
                    turn(x1, side, place);
                }
            }
        }
        if self.coupling == Coupling::OptimalTransport && !coupled {
            x1 = transported(&x0, &x1, n);
        }
        let mut batch = Noised {
            x: Vec::with_capacity(rows * n),
            wanted: Vec::with_capacity(rows * n),
            conditions: Vec::with_capacity(rows * self.condition),
            ..Noised::default()
        };
        let pairs = x0.chunks_exact(n).zip(x1.chunks_exact(n));
        for ((x0, x1), stratum) in pairs.zip(strata) {
            let p = (stratum as f64 + stream.random::<f64>()) / rows as f64;
            let (point, weight) = self.times.at(p);
            let root = weight.sqrt();
            for (x0, x1) in x0.iter().zip(x1) {
                let (x0, x1) = (f64::from(*x0), f64::from(*x1));
                batch.x.push((point.alpha * x0 + point.sigma * x1) as f32);
                batch
                    .wanted
                    .push((root * point.target(self.target, x0, x1)) as f32);
            }
            batch.points.push(point);
            batch.weights.push(weight);
        }
        for pick in picks {
            let dropped = self.unconditional > 0.0 && stream.random::<f64>() < self.unconditional;
            let sizes = [self.parameters, self.condition];
            self.examples.tell(*pick, sizes, dropped, &mut batch.conditions);
        }
        Ok(batch)
    }
}

/// The rows of `x1` in the order in which they lie closest to those of `x0`, all together.
pub(super) fn transported(x0: &[f32], x1: &[f32], n: usize) -> Vec<f32> {
    let rows = x0.len() / n;
    // Of ‖x0 − x1‖² only the product depends on the pairs.
    let mut cost = Vec::with_capacity(rows * rows);
    for a in x0.chunks_exact(n) {
        cost.extend(x1.chunks_exact(n).map(|b| {
            let product: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            -product
        }));
    }
    let order = assign(&cost, rows).into_iter();
    order
        .flat_map(|row| x1[row * n..(row + 1) * n].iter().copied())
        .collect()
}

impl Source for Drawing<'_> {
    type Batch = Noised;

    fn examples(&self) -> usize {
        self.fields
    }

    fn batch(&self, picks: &[usize], stream: &mut Stream) -> Result<Noised> {
        self.draw(picks, stream)
    }
}

impl Batch for Noised {
    fn rows(&self) -> usize {
        self.points.len()
    }

    fn part(&self, rows: Range<usize>) -> Self {
        let part = |values: &[f32]| {
            let n = values.len() / self.rows();
            values[rows.start * n..rows.end * n].to_vec()
        };
        Self {
            x: part(&self.x),
            wanted: part(&self.wanted),
            points: self.points[rows.clone()].to_vec(),
            weights: self.weights[rows.clone()].to_vec(),
            conditions: part(&self.conditions),
        }
    }
}

impl Noised {
    /// The times as `network` is told them.
    pub(crate) fn network_times<D: Device, N: Conditioned<D>>(&self, network: &N, path: &Path) -> Vec<f64> {
        let scale = network.time_scale();
        let times = self.points.iter().map(|p| network_time(path, scale, p.t));
        times.collect()
    }

    /// The conditions on the device, where there are any.
    pub(crate) fn condition<D: Device>(&self, device: &D) -> Result<Option<Field<D>>> {
        match self.conditions.is_empty() {
            true => Ok(None),
            false => Field::rows(device, self.conditions.clone(), self.rows()).map(Some),
        }
    }

    /// What the network says of the points.
    pub(crate) fn predict<D: Device, T: Tape<f32, D>, N: Conditioned<D>>(
        &self,
        network: &N,
        device: &D,
        extent: Extent,
        path: &Path,
    ) -> Result<Field<D, T>> {
        let x = Field::new(device, self.x.clone(), self.rows(), network.channels(), extent)?;
        let condition = self.condition(device)?.map(|c| c.retaped::<T>());
        network.forward(x.retaped::<T>(), &self.network_times(network, path), condition)
    }
}
