//! Trade resolution for channels and back, without losing a number.

pub(crate) mod cpu;

use dfdx::{
    shapes::{Axes6, HasShape},
    tensor::Tape,
    tensor_ops::{PermuteTo, ReshapeTo},
};

use crate::{
    device::{Device, Maps},
    error::{ModelError, Result},
    ops::not_empty,
};

/// Which way a shuffle by a factor of two goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// (B, C, H, W) → (B, 4C, H/2, W/2): channel `4c + 2k + l` holds the pixels (2i+k, 2j+l).
    Down,
    /// (B, 4C, H, W) → (B, C, 2H, 2W), the inverse.
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

    fn shape(self, (b, c, h, w): (usize, usize, usize, usize)) -> (usize, usize, usize, usize) {
        match self {
            Self::Down => (b, 4 * c, h / 2, w / 2),
            Self::Up => (b, c / 4, 2 * h, 2 * w),
        }
    }
}

/// Moves 2 × 2 blocks of pixels to channels or back (Shi et al. 2016, arXiv 1609.05158; PyTorch's order).
///
/// # Errors
/// `Shape` where height or width is odd (`Down`) or the channels are no multiple of four (`Up`).
///
/// ```
/// use armilla_models::ops::{Direction, pixel_shuffle};
/// use dfdx::prelude::*;
/// let device = Cpu::default();
/// let x = device.tensor_from_vec(vec![1.0, 2.0, 3.0, 4.0], (1, 1, 2, 2));
/// let y = pixel_shuffle(x, Direction::Down)?;
/// assert_eq!(*y.shape(), (1, 4, 1, 1));
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
pub fn pixel_shuffle<D: Device, T: Tape<f32, D>>(x: Maps<D, T>, direction: Direction) -> Result<Maps<D, T>> {
    let shape = *x.shape();
    not_empty("pixel_shuffle", shape, 1)?;
    let fits = match direction {
        Direction::Down => shape.2.is_multiple_of(2) && shape.3.is_multiple_of(2),
        Direction::Up => shape.1.is_multiple_of(4),
    };
    if !fits {
        return Err(ModelError::shape(
            "pixel_shuffle",
            format!("{shape:?} cannot go {direction:?}"),
        ));
    }
    D::pixel_shuffle(x.try_contiguous().map_err(ModelError::device)?, direction)
}

/// The same of dfdx's operations: what any device can run.
///
/// # Errors
/// Out of memory on the device.
pub fn composed<D: Device, T: Tape<f32, D>>(x: Maps<D, T>, direction: Direction) -> Result<Maps<D, T>> {
    let (b, c, h, w) = *x.shape();
    let shape = direction.shape((b, c, h, w));
    let run = || -> std::result::Result<_, D::Err> {
        match direction {
            Direction::Down => x
                .try_reshape_like(&(b, c, h / 2, 2usize, w / 2, 2usize))?
                .try_permute::<_, Axes6<0, 1, 3, 5, 2, 4>>()?
                .try_reshape_like(&shape),
            Direction::Up => x
                .try_reshape_like(&(b, c / 4, 2usize, 2usize, h, w))?
                .try_permute::<_, Axes6<0, 1, 4, 2, 5, 3>>()?
                .try_reshape_like(&shape),
        }
    };
    run().map_err(ModelError::device)
}

#[cfg(test)]
mod tests {
    use dfdx::tensor::Trace;

    use super::*;
    use crate::ops::testing::{gradient, numbers, probe, tensor};

    #[test]
    fn kernel_equals_composed_form_and_up_undoes_down() {
        for (shape, direction) in [((2, 3, 4, 6), Direction::Down), ((2, 8, 3, 5), Direction::Up)] {
            let x = tensor(shape, 1);
            let (y, g) = probe(pixel_shuffle(x.leaky_trace(), direction).unwrap());
            let (y2, g2) = probe(composed(x.leaky_trace(), direction).unwrap());
            assert_eq!(y, y2);
            assert_eq!(gradient(&g, &x), gradient(&g2, &x));
            let there = pixel_shuffle(x, direction).unwrap();
            let back = pixel_shuffle(there, direction.inverse()).unwrap();
            assert_eq!(
                crate::device::values(&back),
                numbers(
                    back.shape().0 * back.shape().1 * back.shape().2 * back.shape().3,
                    1
                )
            );
        }
        assert!(pixel_shuffle(tensor((1, 1, 3, 4), 1), Direction::Down).is_err());
    }
}
