//! Move some numbers by what a network says of others: coupling layers, and autoregressive ones.
//!
//! Coupling (Dinh et al. 2017, arXiv 1605.08803): the numbers that the network sees are not moved, so that the inverse
//! is one pass. Autoregressive (Papamakarios et al. 2017, arXiv 1705.07057): every number is moved by what those before
//! it say; the inverse is found number by number, in as many passes as there are numbers.

use std::sync::Arc;

use dfdx::tensor::Tape;

use super::{
    conditioner::Conditioner,
    rows::Shown,
    transform::{Moved, Transform},
};
use crate::{
    device::Device,
    error::Result,
    field::Field,
    ops::{conv::geometry::Extent, host},
    parameter::{Module, Parameter},
};

/// A layer that moves some numbers of each row.
#[derive(Clone)]
pub(super) struct Coupling<D: Device> {
    pub(super) transform: Transform,
    /// Numbers of a row, with the log-determinant.
    pub(super) width: usize,
    /// What the network sees, and what is moved.
    pub(super) seen: Arc<[u32]>,
    pub(super) places: Arc<[u32]>,
    /// Numbers of a condition.
    pub(super) condition: usize,
    /// Positions of what the network sees.
    pub(super) extent: Extent,
    pub(super) network: Conditioner<D>,
    /// In which pass of the inverse each number is found, from 1 on; empty where one pass finds all.
    pub(super) order: Vec<usize>,
}

impl<D: Device> Coupling<D> {
    fn moved(&self) -> Moved {
        Moved {
            transform: self.transform,
            width: self.width,
            places: self.places.clone(),
        }
    }

    /// What the network says of each row.
    fn parameters_at<T: Tape<f32, D>>(
        &self,
        rows: Field<D, T>,
        condition: Option<&Field<D, T>>,
    ) -> Result<Field<D, T>> {
        let shown = Shown {
            width: self.width,
            places: self.seen.clone(),
            condition: self.condition,
            positions: self.extent.iter().product(),
        };
        let channels = shown.channels();
        let mut fields = vec![rows];
        fields.extend(condition.map(Field::share));
        self.network
            .forward(host(fields, &[], shown, channels, self.extent)?)
    }

    pub(super) fn forward<T: Tape<f32, D>>(
        &self,
        rows: Field<D, T>,
        condition: Option<&Field<D, T>>,
    ) -> Result<Field<D, T>> {
        let said = self.parameters_at(rows.share(), condition)?;
        host(vec![rows, said], &[], self.moved(), self.width, [1; 3])
    }

    pub(super) fn inverse(
        &self,
        device: &D,
        rows: Vec<f32>,
        condition: Option<&Field<D>>,
    ) -> Result<Vec<f32>> {
        let batch = rows.len() / self.width;
        let inverse = |found: Vec<f32>| -> Result<Vec<f32>> {
            let found = Field::rows(device, found, batch)?;
            let said = self.parameters_at(found, condition)?.to_vec();
            Ok(self.moved().inverse(&rows, &said))
        };
        if self.order.is_empty() {
            return inverse(rows.clone());
        }
        let mut found = rows.clone();
        for pass in 1..=self.order.len() {
            let next = inverse(found.clone())?;
            // No number before its turn: it may not be finite until then, and 0·∞ would spoil those that are found.
            let now = |place: usize| self.order.get(place).is_none_or(|turn| *turn == pass);
            for (i, (found, next)) in found.iter_mut().zip(next).enumerate() {
                if now(i % self.width) {
                    *found = next;
                }
            }
        }
        Ok(found)
    }

    /// Numbers that a row takes at most.
    pub(super) fn widest(&self) -> usize {
        let positions: usize = self.extent.iter().product();
        let layers = self
            .network
            .parameters()
            .into_iter()
            .filter(|(_, p)| p.shape.len() == 1);
        let hidden = layers.map(|(_, p)| p.count() * positions).max().unwrap_or(0);
        hidden.max(self.width)
    }
}

impl<D: Device> Module<D> for Coupling<D> {
    fn parameters(&self) -> Vec<(String, &Parameter<D>)> {
        let named = self.network.parameters().into_iter();
        named.map(|(name, p)| (format!("network.{name}"), p)).collect()
    }
    fn parameters_mut(&mut self) -> Vec<&mut Parameter<D>> {
        self.network.parameters_mut()
    }
}
