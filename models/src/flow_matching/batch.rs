//! Draw noisy fields and their targets, and measure the loss on them.

use std::ops::Range;

use armilla_samplers::rng::Stream;
use dfdx::{
    tensor::{NoneTape, OwnedTape, Tensor},
    tensor_ops::{MeanTo, ReshapeTo, TryMul, TrySub},
};
use rand::{RngExt, seq::SliceRandom};
use rand_distr::{Distribution, StandardNormal};

use super::Examples;
use crate::{
    device::Device,
    error::{ModelError, Result},
    field::Field,
    ops::{self, conv::geometry::Padding},
    parameter::Module,
    path::{Time, TimeDistribution},
    train::{
        Batch, Source,
        symmetry::{symmetry, turn},
        taped,
    },
    velocity::{VelocityBasis, VelocityNetwork},
};

/// Noisy fields, their targets, times and parameters.
#[derive(Default)]
pub(super) struct FlowBatch {
    pub(super) x: Vec<f32>,
    pub(super) u: Vec<f32>,
    pub(super) times: Vec<Time>,
    parameters: Vec<f64>,
}

/// What batches are drawn from, and how.
#[derive(Clone, Copy)]
pub(super) struct Drawing<'a> {
    examples: Examples<'a>,
    side: usize,
    dim: usize,
    times: TimeDistribution,
    periodic: bool,
    augment: bool,
}

impl<'a> Drawing<'a> {
    pub(super) fn new<D: Device>(
        network: &VelocityNetwork<D>,
        examples: Examples<'a>,
        augment: bool,
    ) -> Self {
        Self {
            examples,
            side: network.side(),
            dim: network.bounds().len(),
            times: network.config().times,
            periodic: network.config().unet.padding == Padding::Circular,
            augment,
        }
    }

    pub(super) fn fields(&self) -> usize {
        self.examples.parameters.len() / self.dim
    }

    pub(super) fn draw(&self, picks: &[usize], stream: &mut Stream) -> Result<FlowBatch> {
        let (n, dim, side) = (self.side * self.side, self.dim, self.side);
        let mut strata: Vec<usize> = (0..picks.len()).collect();
        strata.shuffle(stream);
        let mut batch = FlowBatch::default();
        let mut fields = self.examples.read(picks, n)?;
        for ((pick, field), stratum) in picks.iter().zip(fields.chunks_exact_mut(n)).zip(strata) {
            let p = (stratum as f64 + stream.random::<f64>()) / picks.len() as f64;
            let time = Time::from_log_snr(self.times.quantile(p));
            if self.augment {
                turn(field, side, symmetry(side, self.periodic, stream));
            }
            for x0 in field {
                let (x, u) = time.mix(*x0, StandardNormal.sample(stream));
                batch.x.push(x);
                batch.u.push(u);
            }
            batch.times.push(time);
            let theta = &self.examples.parameters[pick * dim..(pick + 1) * dim];
            batch.parameters.extend(theta);
        }
        Ok(batch)
    }
}

impl Source for Drawing<'_> {
    type Batch = FlowBatch;

    fn examples(&self) -> usize {
        self.fields()
    }

    fn batch(&self, picks: &[usize], stream: &mut Stream) -> Result<FlowBatch> {
        self.draw(picks, stream)
    }
}

impl Batch for FlowBatch {
    fn rows(&self) -> usize {
        self.times.len()
    }

    fn part(&self, rows: Range<usize>) -> Self {
        let (n, dim) = (self.x.len() / self.rows(), self.parameters.len() / self.rows());
        let (fields, parameters) = (rows.start * n..rows.end * n, rows.start * dim..rows.end * dim);
        Self {
            x: self.x[fields.clone()].to_vec(),
            u: self.u[fields].to_vec(),
            times: self.times[rows].to_vec(),
            parameters: self.parameters[parameters].to_vec(),
        }
    }
}

impl FlowBatch {
    pub(super) fn inputs<D: Device>(&self, network: &VelocityNetwork<D>) -> Vec<f64> {
        let rows = self
            .times
            .iter()
            .zip(self.parameters.chunks_exact(network.bounds().len()));
        network
            .coefficients
            .inputs(rows.map(|(t, theta)| (t.log_snr, theta)))
    }

    pub(super) fn coefficients<D: Device>(&self, network: &VelocityNetwork<D>) -> Vec<f64> {
        network.coefficients.mlp.forward(self.inputs(network)).0
    }

    /// Mean of ‖v̂ − v‖² over fields and pixels, and its gradient in every weight of the network.
    pub(super) fn loss_and_gradients<D: Device>(
        self,
        network: &VelocityNetwork<D>,
    ) -> Result<(f64, Vec<Vec<f32>>)> {
        let mlp = &network.coefficients.mlp;
        let (c, kept) = mlp.forward(self.inputs(network));
        let (rows, n) = (self.times.len(), network.field_len());
        let device = &network.device;
        let tensor = |values: Vec<f32>, shape: (usize, usize)| -> Result<Tensor<_, f32, D, NoneTape>> {
            device
                .try_tensor_from_vec(values, shape)
                .map_err(ModelError::device)
        };
        let c = Field::rows(device, c.iter().map(|c| *c as f32).collect(), rows)?;
        // The error of v is that of u divided by σ.
        let scale = self
            .times
            .iter()
            .flat_map(|t| std::iter::repeat_n(1.0 / t.scale as f32, n))
            .collect();
        let (u, scale) = (tensor(self.u.clone(), (rows, n))?, tensor(scale, (rows, n))?);
        let basis = network.basis_maps::<OwnedTape<f32, D>>(self.x.clone(), &self.times)?;
        let mixed = ops::mix(basis, c.traced())?.into_values();
        let (loss, mut gradients) = taped(|| {
            let error = mixed.try_reshape_like(&(rows, n))?.try_sub(u)?.try_mul(scale)?;
            error.try_square()?.try_mean()
        })?;
        let mut all = network.unet.gradients(&mut gradients)?;
        let dc = gradients.get(c.values()).as_vec();
        let dc = dc.into_iter().map(f64::from).collect();
        let mut of_mlp = mlp.zero_gradient();
        mlp.backward(&kept, dc, Some(&mut of_mlp));
        all.extend(
            of_mlp
                .into_iter()
                .map(|g| g.into_iter().map(|g| g as f32).collect()),
        );
        Ok((loss, all))
    }
}
