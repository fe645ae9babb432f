//! Move 2 × 2 blocks of positions on the processor: a copy.

use rayon::prelude::*;

use super::Direction;

/// Both ways walk the fine plane of `rows` × `width` in order; planes of all depths lie below each other in it.
pub(crate) fn shuffle(
    x: &[f32],
    [rows, width]: [usize; 2],
    direction: Direction,
    set: impl Fn(&mut f32, f32) + Sync,
    y: &mut [f32],
) {
    let (positions, coarse) = (rows * width, rows * width / 4);
    x.par_chunks_exact(positions)
        .zip(y.par_chunks_exact_mut(positions))
        .for_each(|(x, y)| {
            for row in 0..rows {
                let fine = row * width;
                let base = row % 2 * 2 * coarse + row / 2 * (width / 2);
                for j in 0..width / 2 {
                    for l in 0..2 {
                        let (f, c) = (fine + 2 * j + l, base + l * coarse + j);
                        match direction {
                            Direction::Down => set(&mut y[c], x[f]),
                            Direction::Up => set(&mut y[f], x[c]),
                        }
                    }
                }
            }
        });
}
