//! Name the layers that a flow is made of, each with its inverse.

use std::sync::Arc;

use dfdx::tensor::Tape;

use super::{actnorm::ActNorm, coupling::Coupling, mixing::Mixing, rows::Rearranged};
use crate::{
    device::Device,
    error::Result,
    field::Field,
    ops::host,
    parameter::{Module, Parameter},
};

/// A map of rows that can be undone.
#[derive(Clone)]
pub(super) enum Layer<D: Device> {
    Coupling(Box<Coupling<D>>),
    Mixing(Box<Mixing<D>>),
    ActNorm(Box<ActNorm<D>>),
    /// Where each number comes from.
    Rearrange(Arc<[u32]>),
}

impl<D: Device> Layer<D> {
    /// From data towards noise.
    pub(super) fn forward<T: Tape<f32, D>>(
        &self,
        rows: Field<D, T>,
        condition: Option<&Field<D, T>>,
    ) -> Result<Field<D, T>> {
        match self {
            Self::Coupling(layer) => layer.forward(rows, condition),
            Self::Mixing(layer) => layer.forward(rows),
            Self::ActNorm(layer) => layer.forward(rows),
            Self::Rearrange(from) => {
                let width = from.len();
                host(vec![rows], &[], Rearranged { from: from.clone() }, width, [1; 3])
            }
        }
    }

    /// From noise towards data; the log-determinant falls by what the layer adds to it.
    pub(super) fn inverse(
        &self,
        device: &D,
        rows: Vec<f32>,
        condition: Option<&Field<D>>,
    ) -> Result<Vec<f32>> {
        Ok(match self {
            Self::Coupling(layer) => layer.inverse(device, rows, condition)?,
            Self::Mixing(layer) => layer.inverse(rows),
            Self::ActNorm(layer) => layer.inverse(rows),
            Self::Rearrange(from) => {
                let mut to = vec![0.0; rows.len()];
                for (row, to) in rows.chunks_exact(from.len()).zip(to.chunks_exact_mut(from.len())) {
                    row.iter()
                        .zip(&**from)
                        .for_each(|(value, from)| to[*from as usize] = *value);
                }
                to
            }
        })
    }
}

impl<D: Device> Module<D> for Layer<D> {
    fn parameters(&self) -> Vec<(String, &Parameter<D>)> {
        match self {
            Self::Coupling(layer) => layer.parameters(),
            Self::Mixing(layer) => layer.parameters(),
            Self::ActNorm(layer) => layer.parameters(),
            Self::Rearrange(_) => Vec::new(),
        }
    }
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>> {
        match self {
            Self::Coupling(layer) => layer.parameters_mut(),
            Self::Mixing(layer) => layer.parameters_mut(),
            Self::ActNorm(layer) => layer.parameters_mut(),
            Self::Rearrange(_) => Vec::new(),
        }
    }
}
