//! Evaluate the velocity of a network with what its likelihood integrates, and pull derivatives back through both.

use dfdx::{
    shapes::Rank0,
    tensor::{OwnedTape, Tape, Tensor},
    tensor_ops::{Backward, SumTo, TryAdd, TryMul},
};

use crate::{
    device::Device,
    error::{ModelError, Result},
    field::{Field, Values},
    nets::Conditioned,
    ops::conv::geometry::Extent,
    path::Path,
    predictor::network_time,
    signal::Dual,
};

/// What each integral counts in the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shares {
    /// Of ∇·v.
    pub(super) divergence: f64,
    /// Of ‖v‖².
    pub(super) kinetic: f64,
    /// Of ‖∇v‖².
    pub(super) jacobian: f64,
}

/// The directions in which velocities are differentiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Directions {
    /// Along each number: all is exact.
    Axes,
    /// So many random ones for each row: all is so in the mean.
    Probes(usize),
}

impl Directions {
    /// How many there are, for rows of `numbers`.
    pub(super) fn count(self, numbers: usize) -> usize {
        match self {
            Self::Axes => numbers,
            Self::Probes(count) => count,
        }
    }
}

/// The flow of some rows under a network: `dx/dt = v`, and beside it the rate of the loss
/// `q = Σ_rows d ∇·v + k ‖v‖² + j ‖∇v‖²`.
///
/// Derivatives of `v` are taken forward, along directions; recorded on the tape, they can be differentiated once more in
/// reverse. So one tape gives the derivative of `⟨a, v⟩ + w q` in the points and in all weights.
pub(super) struct Augmented<'a, D: Device, N> {
    network: &'a N,
    extent: Extent,
    rows: usize,
    condition: Option<Field<D>>,
    /// The same with a row for each direction.
    spread_condition: Option<Field<D>>,
    /// Rows × directions.
    directions: Field<D>,
    count: usize,
    exact: bool,
    shares: Shares,
}

/// What is known about the points at one time.
pub(super) struct Pulled {
    pub(super) velocity: Vec<f64>,
    /// q.
    pub(super) rate: f64,
    /// The derivative of `⟨a, v⟩ + w q` in the points.
    pub(super) x: Vec<f64>,
    /// The same in each weight.
    pub(super) weights: Vec<Vec<f32>>,
}

impl<'a, D: Device, N: Conditioned<D>> Augmented<'a, D, N> {
    /// For so many rows: their conditions (rows × numbers), which may be empty, and their probes (rows × directions ×
    /// numbers), which are for directions that are no axes.
    pub(super) fn new(
        network: &'a N,
        device: &D,
        extent: Extent,
        (rows, conditions): (usize, &[f32]),
        (directions, probes): (Directions, &[f32]),
        shares: Shares,
    ) -> Result<Self> {
        let n = network.channels() * extent.iter().product::<usize>();
        let (count, values) = match directions {
            Directions::Axes => {
                let axes = (0..n * n).map(|i| f32::from(u8::from(i % (n + 1) == 0)));
                (n, axes.collect::<Vec<_>>().repeat(rows))
            }
            Directions::Probes(count) => (count, probes.to_vec()),
        };
        let conditioned = |times: usize| -> Result<Option<Field<D>>> {
            if conditions.is_empty() {
                return Ok(None);
            }
            let each = conditions.chunks_exact(conditions.len() / rows);
            let spread = each.flat_map(|c| c.repeat(times)).collect();
            Field::rows(device, spread, rows * times).map(Some)
        };
        Ok(Self {
            network,
            extent,
            rows,
            condition: conditioned(1)?,
            spread_condition: conditioned(count)?,
            directions: Field::new(device, values, rows * count, network.channels(), extent)?,
            count,
            exact: directions == Directions::Axes,
            shares,
        })
    }

    fn numbers(&self) -> usize {
        self.network.channels() * self.extent.iter().product::<usize>()
    }

    fn time(&self, t: f64) -> f64 {
        network_time(&Path::Linear, self.network.time_scale(), t)
    }

    /// What the mean over directions is multiplied by to become a sum over axes.
    fn share(&self) -> f64 {
        if self.exact { 1.0 } else { 1.0 / self.count as f64 }
    }

    /// v alone: nothing is recorded.
    pub(super) fn velocity(&self, x: &[f64], t: f64) -> Result<Vec<f64>> {
        let x = self.field(x, 1)?;
        let times = vec![self.time(t); self.rows];
        let velocity = self.network.forward(x, &times, self.condition.clone())?;
        Ok(velocity.to_vec().into_iter().map(f64::from).collect())
    }

    /// v, and q: nothing is recorded.
    pub(super) fn rate(&self, x: &[f64], t: f64) -> Result<(Vec<f64>, f64)> {
        let x = self.field(x, self.count)?;
        let (value, tangent) = self.along::<dfdx::tensor::NoneTape>(&x, t)?;
        let seeds = self.seeds(&value.to_vec(), &tangent.to_vec(), None);
        Ok((seeds.velocity, seeds.rate))
    }

    /// All of [`Pulled`], for `adjoint` the `a` of each number and `w`.
    pub(super) fn pull_back(&self, x: &[f64], t: f64, adjoint: &[f64], w: f64) -> Result<Pulled> {
        let n = self.numbers();
        let x = self.field(x, self.count)?;
        let (value, tangent) = self.along::<OwnedTape<f32, D>>(&x, t)?;
        let seeds = self.seeds(&value.to_vec(), &tangent.to_vec(), Some((adjoint, w)));
        // ⟨seeds, values⟩ + ⟨seeds, tangents⟩ has the derivative that is asked for, at this point.
        let tangent = weighted(tangent.into_values(), seeds.of_tangent)?;
        let value = weighted(value.retaped::<OwnedTape<f32, D>>().into_values(), seeds.of_value)?;
        let mut gradients = tangent
            .try_add(value)
            .and_then(Backward::try_backward)
            .map_err(ModelError::device)?;
        let mut of_x = vec![0.0; x.batch() * n];
        gradients.try_alloc_for(x.values()).map_err(ModelError::device)?;
        gradients.get(x.values()).copy_into(&mut of_x);
        let mut summed = vec![0.0; self.rows * n];
        for (sum, of_x) in summed.chunks_exact_mut(n).zip(of_x.chunks_exact(self.count * n)) {
            for of_x in of_x.chunks_exact(n) {
                sum.iter_mut().zip(of_x).for_each(|(s, d)| *s += f64::from(*d));
            }
        }
        Ok(Pulled {
            velocity: seeds.velocity,
            rate: seeds.rate,
            x: summed,
            weights: self.network.gradients(&mut gradients)?,
        })
    }

    /// Each row as often as said.
    fn field(&self, x: &[f64], times: usize) -> Result<Field<D>> {
        let n = self.numbers();
        let mut values = Vec::with_capacity(x.len() * times);
        for row in x.chunks_exact(n) {
            for _ in 0..times {
                values.extend(row.iter().map(|x| *x as f32));
            }
        }
        let device = self.directions.device();
        Field::new(
            device,
            values,
            self.rows * times,
            self.network.channels(),
            self.extent,
        )
    }

    /// The velocity, and its derivative along the directions with all that was recorded.
    fn along<T: Tape<f32, D>>(&self, x: &Field<D>, t: f64) -> Result<(Field<D>, Field<D, T>)> {
        let times = vec![self.time(t); x.batch()];
        let condition = self.spread_condition.as_ref();
        let condition = condition.map(|c| Dual::unmoved(c.retaped())).transpose()?;
        let both = Dual::new(x.retaped(), self.directions.retaped())?;
        Ok(self.network.forward(both, &times, condition)?.into_parts())
    }

    /// Velocity and rate from values and tangents; for some `(a, w)` the derivatives of `⟨a, v⟩ + w q` in both.
    fn seeds(&self, value: &[f32], tangent: &[f32], pulled: Option<(&[f64], f64)>) -> Seeds {
        let (n, share) = (self.numbers(), self.share());
        let Shares {
            divergence,
            kinetic,
            jacobian,
        } = self.shares;
        let directions = self.directions.to_vec();
        let mut seeds = Seeds {
            velocity: Vec::with_capacity(self.rows * n),
            rate: 0.0,
            of_value: Vec::new(),
            of_tangent: Vec::new(),
        };
        for row in value.chunks_exact(self.count * n) {
            seeds.velocity.extend(row[..n].iter().map(|v| f64::from(*v)));
        }
        let [mut trace, mut square] = [0.0, 0.0];
        for (t, e) in tangent.iter().zip(&directions) {
            trace += f64::from(t * e);
            square += f64::from(t * t);
        }
        let motion: f64 = seeds.velocity.iter().map(|v| v * v).sum();
        seeds.rate = kinetic * motion + share * (divergence * trace + jacobian * square);
        if let Some((adjoint, w)) = pulled {
            // A row's velocity is there once for each direction: the first stands for it.
            seeds.of_value = vec![0.0; value.len()];
            let first = seeds.of_value.chunks_exact_mut(self.count * n);
            let known = seeds.velocity.chunks_exact(n).zip(adjoint.chunks_exact(n));
            for (to, (v, a)) in first.zip(known) {
                for ((to, v), a) in to.iter_mut().zip(v).zip(a) {
                    *to = (a + 2.0 * w * kinetic * v) as f32;
                }
            }
            let [d, j] = [w * share * divergence, 2.0 * w * share * jacobian].map(|s| s as f32);
            let both = tangent.iter().zip(&directions);
            seeds.of_tangent = both.map(|(t, e)| d * e + j * t).collect();
        }
        seeds
    }
}

struct Seeds {
    velocity: Vec<f64>,
    rate: f64,
    of_value: Vec<f32>,
    of_tangent: Vec<f32>,
}

/// `Σ values · weights`.
fn weighted<D: Device, T: Tape<f32, D>>(
    values: Values<D, T>,
    weights: Vec<f32>,
) -> Result<Tensor<Rank0, f32, D, T>> {
    use dfdx::shapes::HasShape;
    let weights = values
        .device()
        .try_tensor_from_vec(weights, *values.shape())
        .map_err(ModelError::device)?;
    values
        .try_mul(weights)
        .and_then(|products| products.try_sum::<Rank0, _>())
        .map_err(ModelError::device)
}
