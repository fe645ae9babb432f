//! Write a network once, and have its values, its gradients and its derivatives along a direction.
//!
//! A layer is generic over what flows through it: a [`Field`] gives the value; a [`Dual`], a field with its tangent,
//! gives the derivative along a direction too (forward mode). Both are recorded where they carry a tape, so that a
//! derivative along a direction can itself be differentiated: what a divergence in a training loss needs.

use dfdx::tensor::Tape;

use crate::{
    device::Device,
    error::Result,
    field::Field,
    ops::{
        self, Activation, Attention, Direction, Over, Resample,
        conv::geometry::{Extent, Geometry},
    },
    parameter::Parameter,
};

/// What flows through a network.
pub trait Signal<D: Device>: Sized {
    /// Batch, channels and extent.
    fn shape(&self) -> (usize, usize, Extent);
    /// The same signal once more, without what was recorded.
    fn share(&self) -> Self;
    /// The same signal, and with it what was recorded for `other`.
    fn keep(self, other: Self) -> Self;
    /// Rows of numbers that depend on nothing.
    ///
    /// # Errors
    /// `Shape` where the numbers do not fill the rows, `Device` where memory is short.
    fn constant(device: &D, rows: Vec<f32>, batch: usize) -> Result<Self>;
    /// Where it lives.
    fn device(&self) -> D;
    /// See [`ops::conv()`].
    ///
    /// # Errors
    /// As there.
    fn conv(self, weight: &Parameter<D>, bias: Option<&Parameter<D>>, geometry: Geometry) -> Result<Self>;
    /// See [`ops::conv_transposed`].
    ///
    /// # Errors
    /// As there.
    fn conv_transposed(
        self,
        weight: &Parameter<D>,
        bias: Option<&Parameter<D>>,
        geometry: Geometry,
    ) -> Result<Self>;
    /// See [`ops::normalise`].
    ///
    /// # Errors
    /// As there.
    fn normalise(
        self,
        weight: &Parameter<D>,
        bias: &Parameter<D>,
        shift: Option<Self>,
        over: Over,
        f: Activation,
    ) -> Result<Self>;
    /// See [`ops::rescale`].
    ///
    /// # Errors
    /// As there.
    fn rescale(self, by: [&Parameter<D>; 4], shift: Option<Self>, f: Activation) -> Result<Self>;
    /// See [`ops::activate`].
    ///
    /// # Errors
    /// As there.
    fn activate(self, f: Activation) -> Result<Self>;
    /// See [`ops::attend`].
    ///
    /// # Errors
    /// As there.
    fn attend(self, heads: usize, kind: Attention) -> Result<Self>;
    /// See [`ops::sum`].
    ///
    /// # Errors
    /// As there.
    fn sum(self, other: Self) -> Result<Self>;
    /// See [`ops::shift`].
    ///
    /// # Errors
    /// As there.
    fn shift(self, rows: Self) -> Result<Self>;
    /// See [`ops::concat`].
    ///
    /// # Errors
    /// As there.
    fn concat(self, other: Self) -> Result<Self>;
    /// See [`ops::resample()`].
    ///
    /// # Errors
    /// As there.
    fn resample(self, map: &Resample) -> Result<Self>;
    /// See [`ops::max_pool`].
    ///
    /// # Errors
    /// As there.
    fn max_pool(self, kernel: Extent) -> Result<Self>;
    /// See [`ops::modulated_silu()`].
    ///
    /// # Errors
    /// As there.
    fn modulated_silu(self, scale_shift: Self) -> Result<Self>;
    /// See [`ops::pixel_shuffle()`].
    ///
    /// # Errors
    /// As there.
    fn pixel_shuffle(self, direction: Direction) -> Result<Self>;
    /// See [`ops::mix()`].
    ///
    /// # Errors
    /// As there.
    fn mix(self, weights: Self) -> Result<Self>;
    /// Mean and unbiased variance of the values in each channel, over batch and positions.
    ///
    /// # Errors
    /// Out of memory on the device.
    fn moments(&self) -> Result<[Vec<f32>; 2]>;
}

impl<D: Device, T: Tape<f32, D>> Signal<D> for Field<D, T> {
    fn shape(&self) -> (usize, usize, Extent) {
        (self.batch(), self.channels(), self.extent())
    }
    fn share(&self) -> Self {
        Field::share(self)
    }
    fn keep(self, other: Self) -> Self {
        self.with_tape(other.split().1)
    }
    fn constant(device: &D, rows: Vec<f32>, batch: usize) -> Result<Self> {
        Ok(Field::rows(device, rows, batch)?.retaped())
    }
    fn device(&self) -> D {
        Field::device(self).clone()
    }
    fn conv(self, weight: &Parameter<D>, bias: Option<&Parameter<D>>, geometry: Geometry) -> Result<Self> {
        ops::conv(self, weight, bias, geometry)
    }
    fn conv_transposed(
        self,
        weight: &Parameter<D>,
        bias: Option<&Parameter<D>>,
        geometry: Geometry,
    ) -> Result<Self> {
        ops::conv_transposed(self, weight, bias, geometry)
    }
    fn normalise(
        self,
        weight: &Parameter<D>,
        bias: &Parameter<D>,
        shift: Option<Self>,
        over: Over,
        f: Activation,
    ) -> Result<Self> {
        ops::normalise(self, weight, bias, shift, over, f)
    }
    fn rescale(self, by: [&Parameter<D>; 4], shift: Option<Self>, f: Activation) -> Result<Self> {
        ops::rescale(self, by, shift, f)
    }
    fn activate(self, f: Activation) -> Result<Self> {
        ops::activate(self, f)
    }
    fn attend(self, heads: usize, kind: Attention) -> Result<Self> {
        ops::attend(self, heads, kind)
    }
    fn sum(self, other: Self) -> Result<Self> {
        ops::sum(self, other)
    }
    fn shift(self, rows: Self) -> Result<Self> {
        ops::shift(self, rows)
    }
    fn concat(self, other: Self) -> Result<Self> {
        ops::concat(self, other)
    }
    fn resample(self, map: &Resample) -> Result<Self> {
        ops::resample(self, map)
    }
    fn max_pool(self, kernel: Extent) -> Result<Self> {
        ops::max_pool(&self.share(), self, kernel)
    }
    fn modulated_silu(self, scale_shift: Self) -> Result<Self> {
        ops::modulated_silu(self, scale_shift)
    }
    fn pixel_shuffle(self, direction: Direction) -> Result<Self> {
        ops::pixel_shuffle(self, direction)
    }
    fn mix(self, weights: Self) -> Result<Self> {
        ops::mix(self, weights)
    }
    fn moments(&self) -> Result<[Vec<f32>; 2]> {
        D::moments(self.values())
    }
}

/// A field and its derivative along a direction.
#[derive(Debug, Clone)]
pub struct Dual<D: Device, T = dfdx::tensor::NoneTape> {
    value: Field<D, T>,
    tangent: Field<D, T>,
}

impl<D: Device, T: Tape<f32, D>> Dual<D, T> {
    /// A field and a direction of the same shape.
    ///
    /// # Errors
    /// `Shape` where the shapes differ.
    pub fn new(value: Field<D, T>, tangent: Field<D, T>) -> Result<Self> {
        ops::same_shape("dual", &value, &tangent)?;
        Ok(Self { value, tangent })
    }

    /// A field that does not depend on the direction.
    ///
    /// # Errors
    /// Out of memory on the device.
    pub fn unmoved(value: Field<D, T>) -> Result<Self> {
        let zeros = vec![0.0; value.batch() * value.channels() * value.positions()];
        let (batch, channels, extent) = (value.batch(), value.channels(), value.extent());
        let tangent = Field::new(value.device(), zeros, batch, channels, extent)?.retaped();
        Ok(Self { value, tangent })
    }

    /// The field and its derivative; what was recorded goes with the derivative.
    pub fn into_parts(self) -> (Field<D>, Field<D, T>) {
        let (value, tape) = self.value.split();
        (value, self.tangent.with_tape(tape))
    }
}

impl<D: Device, T: Tape<f32, D>> Signal<D> for Dual<D, T> {
    fn shape(&self) -> (usize, usize, Extent) {
        self.value.shape()
    }
    fn share(&self) -> Self {
        Self {
            value: self.value.share(),
            tangent: self.tangent.share(),
        }
    }
    fn keep(self, other: Self) -> Self {
        Self {
            value: self.value.keep(other.value),
            tangent: self.tangent.keep(other.tangent),
        }
    }
    fn constant(device: &D, rows: Vec<f32>, batch: usize) -> Result<Self> {
        Self::unmoved(Field::constant(device, rows, batch)?)
    }
    fn device(&self) -> D {
        self.value.device().clone()
    }
    fn conv(self, weight: &Parameter<D>, bias: Option<&Parameter<D>>, geometry: Geometry) -> Result<Self> {
        Ok(Self {
            value: self.value.conv(weight, bias, geometry)?,
            tangent: self.tangent.conv(weight, None, geometry)?,
        })
    }
    fn conv_transposed(
        self,
        weight: &Parameter<D>,
        bias: Option<&Parameter<D>>,
        geometry: Geometry,
    ) -> Result<Self> {
        Ok(Self {
            value: self.value.conv_transposed(weight, bias, geometry)?,
            tangent: self.tangent.conv_transposed(weight, None, geometry)?,
        })
    }
    fn normalise(
        self,
        weight: &Parameter<D>,
        bias: &Parameter<D>,
        shift: Option<Self>,
        over: Over,
        f: Activation,
    ) -> Result<Self> {
        let tangent = ops::normalise_tangent(self.value.share(), self.tangent, weight, over)?;
        let value = self
            .value
            .normalise(weight, bias, None, over, Activation::Identity)?;
        let bent = Self { value, tangent }.activate(f)?;
        match shift {
            Some(shift) => bent.shift(shift),
            None => Ok(bent),
        }
    }
    fn rescale(self, by: [&Parameter<D>; 4], shift: Option<Self>, f: Activation) -> Result<Self> {
        let tangent = ops::rescale_tangent(self.tangent, by)?;
        let value = self.value.rescale(by, None, Activation::Identity)?;
        let bent = Self { value, tangent }.activate(f)?;
        match shift {
            Some(shift) => bent.shift(shift),
            None => Ok(bent),
        }
    }
    fn activate(self, f: Activation) -> Result<Self> {
        Ok(Self {
            tangent: ops::activate_tangent(self.value.share(), self.tangent, f)?,
            value: self.value.activate(f)?,
        })
    }
    fn attend(self, heads: usize, kind: Attention) -> Result<Self> {
        Ok(Self {
            tangent: ops::attend_tangent(self.value.share(), self.tangent, heads, kind)?,
            value: self.value.attend(heads, kind)?,
        })
    }
    fn sum(self, other: Self) -> Result<Self> {
        Ok(Self {
            value: self.value.sum(other.value)?,
            tangent: self.tangent.sum(other.tangent)?,
        })
    }
    fn shift(self, rows: Self) -> Result<Self> {
        Ok(Self {
            value: self.value.shift(rows.value)?,
            tangent: self.tangent.shift(rows.tangent)?,
        })
    }
    fn concat(self, other: Self) -> Result<Self> {
        Ok(Self {
            value: self.value.concat(other.value)?,
            tangent: self.tangent.concat(other.tangent)?,
        })
    }
    fn resample(self, map: &Resample) -> Result<Self> {
        Ok(Self {
            value: self.value.resample(map)?,
            tangent: self.tangent.resample(map)?,
        })
    }
    fn max_pool(self, kernel: Extent) -> Result<Self> {
        Ok(Self {
            tangent: ops::max_pool(&self.value, self.tangent, kernel)?,
            value: self.value.max_pool(kernel)?,
        })
    }
    fn modulated_silu(self, rows: Self) -> Result<Self> {
        let fields = [self.value.share(), self.tangent];
        Ok(Self {
            tangent: ops::modulated_silu_tangent(fields, [rows.value.share(), rows.tangent])?,
            value: self.value.modulated_silu(rows.value)?,
        })
    }
    fn pixel_shuffle(self, direction: Direction) -> Result<Self> {
        Ok(Self {
            value: self.value.pixel_shuffle(direction)?,
            tangent: self.tangent.pixel_shuffle(direction)?,
        })
    }
    fn mix(self, weights: Self) -> Result<Self> {
        let moved = self.tangent.mix(weights.value.share())?;
        Ok(Self {
            tangent: moved.sum(self.value.share().mix(weights.tangent)?)?,
            value: self.value.mix(weights.value)?,
        })
    }
    fn moments(&self) -> Result<[Vec<f32>; 2]> {
        self.value.moments()
    }
}
