//! Add maps on the processor, in parallel.

use dfdx::{
    shapes::HasShape,
    tensor::{Cpu, PutTape, SplitTape, Tape, TensorFromVec},
};
use rayon::prelude::*;

use crate::{
    device::{Maps, values},
    error::{ModelError, Result},
    ops::take_gradient,
};

/// Numbers that a thread adds at once.
const CHUNK: usize = 1 << 14;

pub(crate) fn add<T: Tape<f32, Cpu>>(a: Maps<Cpu, T>, b: Maps<Cpu, T>) -> Result<Maps<Cpu, T>> {
    let shape = *a.shape();
    let (a, tape) = a.split_tape();
    let (b, b_tape) = b.split_tape();
    let mut tape = tape.merge(b_tape);
    let mut y = values(&a).to_vec();
    add_to(&mut y, values(&b));
    let y = a
        .device()
        .try_tensor_from_vec(y, shape)
        .map_err(ModelError::device)?;
    if T::OWNS_TAPE {
        let (a, b, y_ghost) = (a.ghost(), b.ghost(), y.ghost());
        tape.add_backward_op(move |gradients| {
            let dy = take_gradient!(gradients, &y_ghost);
            add_to(gradients.get_or_alloc_mut(&a)?, &dy);
            add_to(gradients.get_or_alloc_mut(&b)?, &dy);
            Ok(())
        });
    }
    Ok(y.put_tape(tape))
}

fn add_to(sum: &mut [f32], other: &[f32]) {
    sum.par_chunks_mut(CHUNK)
        .zip(other.par_chunks(CHUNK))
        .for_each(|(sum, other)| sum.iter_mut().zip(other).for_each(|(s, o)| *s += o));
}
