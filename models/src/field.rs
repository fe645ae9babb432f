//! Hold a batch of fields as a network sees them: channels at positions, in one, two or three dimensions.

use dfdx::{
    shapes::HasShape,
    tensor::{NoneTape, PutTape, SplitTape, Tape, Tensor, WithEmptyTape},
};

use crate::{
    device::Device,
    error::{ModelError, Result},
    ops::conv::geometry::Extent,
};

/// (batch, channels, positions).
pub type Values<D, T = NoneTape, E = f32> = Tensor<(usize, usize, usize), E, D, T>;
/// The values of a weight, whatever its shape.
pub type Flat<D, T = NoneTape, E = f32> = Tensor<(usize,), E, D, T>;

/// A batch of fields: (batch, channels, depth · height · width), the width running fastest.
///
/// Rows of numbers are fields of one position, so that a linear map is a pointwise convolution and one set of
/// operations serves vectors, maps and volumes.
///
/// ```
/// use armilla_models::{Cpu, Field};
/// let maps = Field::new(&Cpu::default(), vec![0.0; 2 * 3 * 4 * 4], 2, 3, [1, 4, 4])?;
/// assert_eq!((maps.batch(), maps.channels(), maps.extent()), (2, 3, [1, 4, 4]));
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Field<D: Device, T = NoneTape> {
    values: Values<D, T>,
    extent: Extent,
}

impl<D: Device> Field<D> {
    /// A field on `device` from numbers on the host.
    ///
    /// # Errors
    /// `Shape` where the numbers do not fill it or there are none, `Device` where memory is short.
    pub fn new(device: &D, values: Vec<f32>, batch: usize, channels: usize, extent: Extent) -> Result<Self> {
        let shape = (batch, channels, extent.iter().product::<usize>());
        if values.is_empty() || values.len() != shape.0 * shape.1 * shape.2 {
            let what = format!(
                "{} numbers do not fill {batch} fields of {channels} channels and extent {extent:?}",
                values.len()
            );
            return Err(ModelError::shape("field", what));
        }
        let values = device
            .try_tensor_from_vec(values, shape)
            .map_err(ModelError::device)?;
        Ok(Self { values, extent })
    }

    /// Rows of numbers: fields of one position.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn rows(device: &D, values: Vec<f32>, batch: usize) -> Result<Self> {
        let channels = values.len() / batch.max(1);
        Self::new(device, values, batch, channels, [1; 3])
    }

    /// The same field at the start of a tape: what follows is recorded.
    pub fn traced(&self) -> Field<D, dfdx::tensor::OwnedTape<f32, D>> {
        self.retaped()
    }

    /// The same field with an empty tape of any kind.
    pub(crate) fn retaped<T: Tape<f32, D>>(&self) -> Field<D, T> {
        Field::of(self.values.retaped(), self.extent)
    }
}

impl<D: Device, T> Field<D, T> {
    /// Gives values their extent.
    pub(crate) fn of(values: Values<D, T>, extent: Extent) -> Self {
        debug_assert_eq!(values.shape().2, extent.iter().product::<usize>());
        Self { values, extent }
    }

    /// Fields in the batch.
    pub fn batch(&self) -> usize {
        self.values.shape().0
    }

    /// Channels of a field.
    pub fn channels(&self) -> usize {
        self.values.shape().1
    }

    /// Positions of a channel.
    pub fn positions(&self) -> usize {
        self.values.shape().2
    }

    /// Depth, height and width.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// Where it lives.
    pub fn device(&self) -> &D {
        self.values.device()
    }

    /// The tensor.
    pub fn values(&self) -> &Values<D, T> {
        &self.values
    }

    /// The tensor, with its tape.
    pub fn into_values(self) -> Values<D, T> {
        self.values
    }

    /// The numbers, on the host.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut host = vec![0.0; self.batch() * self.channels() * self.positions()];
        self.values.copy_into(&mut host);
        host
    }

    /// The same numbers as fields of another extent with as many positions.
    ///
    /// # Errors
    /// `Shape` where the positions differ.
    pub fn with_extent(self, extent: Extent) -> Result<Self> {
        if extent.iter().product::<usize>() != self.positions() {
            let what = format!("{:?} cannot be seen as {extent:?}", self.extent);
            return Err(ModelError::shape("field", what));
        }
        Ok(Self { extent, ..self })
    }
}

impl<D: Device, T: Tape<f32, D>> Field<D, T> {
    /// The same field without its tape, which stays where it is.
    pub fn share(&self) -> Self {
        Self {
            values: self.values.with_empty_tape(),
            extent: self.extent,
        }
    }

    /// The field, and what was recorded.
    pub fn split(self) -> (Field<D>, T) {
        let (values, tape) = self.values.split_tape();
        let extent = self.extent;
        (Field { values, extent }, tape)
    }

    /// Adds what was recorded elsewhere.
    pub fn with_tape(self, other: T) -> Self {
        let (values, tape) = self.values.split_tape();
        let values = values.put_tape(tape.merge(other));
        Self { values, ..self }
    }
}
