//! Trade resolution for channels and back, without losing a number.

pub(crate) mod cpu;

use dfdx::{
    shapes::{Axes6, Dtype, HasShape},
    tensor::Tape,
    tensor_ops::{PermuteTo, ReshapeTo},
};

use super::activation::contiguous;
use crate::{
    device::Device,
    error::{ModelError, Result},
    field::{Field, Values},
    ops::conv::geometry::Extent,
};

/// Which way a shuffle by a factor of two goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// C channels of H × W → 4C of H/2 × W/2: channel `4c + 2k + l` holds the positions (2i+k, 2j+l).
    Down,
    /// 4C channels of H × W → C of 2H × 2W, the inverse.
    Up,
}

impl Direction {
    /// The other way: the inverse, and the way of gradients.
    pub fn inverse(self) -> Self {
        match self {
            Self::Down => Self::Up,
            Self::Up => Self::Down,
        }
    }

    fn extent(self, [depth, height, width]: Extent) -> Extent {
        match self {
            Self::Down => [depth, height / 2, width / 2],
            Self::Up => [depth, 2 * height, 2 * width],
        }
    }

    /// Channels and positions that become of those of a field.
    pub(crate) fn sizes(self, channels: usize, positions: usize) -> [usize; 2] {
        match self {
            Self::Down => [4 * channels, positions / 4],
            Self::Up => [channels / 4, 4 * positions],
        }
    }

    /// Rows, of all depths together, and width of the finer of the two fields.
    pub(crate) fn fine(self, extent: Extent) -> [usize; 2] {
        let [depth, height, width] = match self {
            Self::Down => extent,
            Self::Up => self.extent(extent),
        };
        [depth * height, width]
    }
}

/// Moves 2 × 2 blocks of height and width to channels or back (Shi et al. 2016, arXiv 1609.05158; PyTorch's order).
///
/// # Errors
/// `Shape` where height or width is odd (`Down`) or the channels are no multiple of four (`Up`).
///
/// ```
/// use armilla_models::{Cpu, Field, ops::{Direction, pixel_shuffle}};
/// let x = Field::new(&Cpu::default(), vec![1.0, 2.0, 3.0, 4.0], 1, 1, [1, 2, 2])?;
/// let y = pixel_shuffle(x, Direction::Down)?;
/// assert_eq!((y.channels(), y.extent()), (4, [1, 1, 1]));
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
pub fn pixel_shuffle<D: Device, T: Tape<f32, D>>(
    x: Field<D, T>,
    direction: Direction,
) -> Result<Field<D, T>> {
    let (channels, extent) = (x.channels(), x.extent());
    let fits = match direction {
        Direction::Down => extent[1].is_multiple_of(2) && extent[2].is_multiple_of(2),
        Direction::Up => channels.is_multiple_of(4),
    };
    if !fits {
        return Err(ModelError::shape(
            "pixel_shuffle",
            format!("{channels} channels of {extent:?} cannot go {direction:?}"),
        ));
    }
    let y = D::pixel_shuffle(contiguous(x)?, extent, direction)?;
    Ok(Field::of(y, direction.extent(extent)))
}

/// [`pixel_shuffle`] of dfdx's operations: what any device can run.
///
/// # Errors
/// Out of memory on the device.
pub fn composed<E: Dtype, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Values<D, T, E>,
    extent: Extent,
    direction: Direction,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let (b, c, positions) = *x.shape();
    let [rows, width] = direction.fine(extent);
    let (rows, width) = (rows / 2, width / 2);
    let [channels, positions] = direction.sizes(c, positions);
    let shape = (b, channels, positions);
    match direction {
        Direction::Down => x
            .try_reshape_like(&(b, c, rows, 2usize, width, 2usize))?
            .try_permute::<_, Axes6<0, 1, 3, 5, 2, 4>>()?
            .try_reshape_like(&shape),
        Direction::Up => x
            .try_reshape_like(&(b, channels, 2usize, 2usize, rows, width))?
            .try_permute::<_, Axes6<0, 1, 4, 2, 5, 3>>()?
            .try_reshape_like(&shape),
    }
}

#[cfg(test)]
mod tests {
    use dfdx::tensor::{Cpu, Trace};

    use super::*;
    use crate::ops::testing::{gradient, numbers, probe, tensor};

    #[test]
    fn kernel_equals_composed_form_and_up_undoes_down() {
        for (channels, extent, direction) in [
            (3, [1, 4, 6], Direction::Down),
            (8, [1, 3, 5], Direction::Up),
            (2, [3, 2, 4], Direction::Down),
            (4, [2, 1, 3], Direction::Up),
        ] {
            let x = tensor((2, channels, extent.iter().product::<usize>()), 1);
            let (y, g) = probe(Cpu::pixel_shuffle(x.leaky_trace(), extent, direction).unwrap());
            let (y2, g2) = probe(composed(x.leaky_trace(), extent, direction).unwrap());
            assert_eq!(y, y2);
            assert_eq!(gradient(&g, &x), gradient(&g2, &x));
            let there = pixel_shuffle(Field::of(x, extent), direction).unwrap();
            let back = pixel_shuffle(there, direction.inverse()).unwrap();
            assert_eq!(back.extent(), extent);
            assert_eq!(back.to_vec(), numbers(back.to_vec().len(), 1));
        }
    }

    #[test]
    fn odd_sides_and_channels_are_refused() {
        let odd =
            |channels, extent: Extent| Field::of(tensor((1, channels, extent.iter().product()), 1), extent);
        assert!(pixel_shuffle(odd(1, [1, 3, 4]), Direction::Down).is_err());
        assert!(pixel_shuffle(odd(6, [1, 2, 2]), Direction::Up).is_err());
    }
}
