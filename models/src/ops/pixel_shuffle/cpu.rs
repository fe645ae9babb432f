//! Move 2 × 2 blocks of pixels on the processor: a copy forward, the opposite copy back.

use dfdx::{
    shapes::HasShape,
    tensor::{Cpu, PutTape, SplitTape, Tape, TensorFromVec},
};

use super::Direction;
use crate::{
    device::{Maps, values},
    error::{ModelError, Result},
    ops::{add_gradient, take_gradient},
};

pub(crate) fn pixel_shuffle<T: Tape<f32, Cpu>>(
    x: Maps<Cpu, T>,
    direction: Direction,
) -> Result<Maps<Cpu, T>> {
    let shape = *x.shape();
    let out = direction.shape(shape);
    // Height and width of the finer side, whichever that is.
    let (height, width) = if direction == Direction::Down {
        (shape.2, shape.3)
    } else {
        (out.2, out.3)
    };
    let (x, mut tape) = x.split_tape();
    let y = shuffle(values(&x), height, width, direction);
    let y = x
        .device()
        .try_tensor_from_vec(y, out)
        .map_err(ModelError::device)?;
    if T::OWNS_TAPE {
        let (x, y_ghost) = (x.ghost(), y.ghost());
        tape.add_backward_op(move |gradients| {
            let dy = take_gradient!(gradients, &y_ghost);
            add_gradient!(gradients, &x, shuffle(&dy, height, width, direction.inverse()));
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

/// Both ways walk the fine map of `height` × `width` in order.
fn shuffle(x: &[f32], height: usize, width: usize, direction: Direction) -> Vec<f32> {
    let (pixels, coarse) = (height * width, height * width / 4);
    let mut y = vec![0.0; x.len()];
    for map in 0..x.len() / pixels {
        for row in 0..height {
            let fine = map * pixels + row * width;
            let base = map * pixels + row % 2 * 2 * coarse + row / 2 * (width / 2);
            for j in 0..width / 2 {
                for l in 0..2 {
                    let (f, c) = (fine + 2 * j + l, base + l * coarse + j);
                    match direction {
                        Direction::Down => y[c] = x[f],
                        Direction::Up => y[f] = x[c],
                    }
                }
            }
        }
    }
    y
}
