//! Resample and pool on the processor; every list is rows (batch · channels) of positions.

use rayon::prelude::*;

use super::{Resample, pooled};
use crate::{error::Result, ops::conv::geometry::Extent};

/// Writes each row of `x` resampled into `y`.
pub(crate) fn forward(map: &Resample, x: &[f32], y: &mut [f32]) {
    let [from, to] = sizes(map);
    assert_eq!(x.len() / from * to, y.len());
    y.par_chunks_exact_mut(to)
        .zip(x.par_chunks_exact(from))
        .for_each(|(y, x)| {
            for (y, span) in y.iter_mut().zip(map.starts.windows(2)) {
                *y = total(&map.terms, span, x);
            }
        });
}

/// Adds the transpose to `dx`: the gradient of x from that of y.
pub(crate) fn transpose(map: &Resample, dy: &[f32], dx: &mut [f32]) {
    let [from, to] = sizes(map);
    assert_eq!(dx.len() / from * to, dy.len());
    dx.par_chunks_exact_mut(from)
        .zip(dy.par_chunks_exact(to))
        .for_each(|(dx, dy)| {
            for (dx, span) in dx.iter_mut().zip(map.back_starts.windows(2)) {
                *dx += total(&map.back_terms, span, dy);
            }
        });
}

fn sizes(map: &Resample) -> [usize; 2] {
    [map.input, map.output].map(|extent| extent.iter().product())
}

fn total(terms: &[(u32, f32)], span: &[u32], x: &[f32]) -> f32 {
    terms[span[0] as usize..span[1] as usize]
        .iter()
        .map(|(at, weight)| weight * x[*at as usize])
        .sum()
}

/// Writes into `chosen` where the largest number of each block of `kernel` lies in its row, the first where several are; a NaN
/// counts as the largest.
///
/// # Errors
/// `Shape` for a field smaller than a block, or a block of zero.
pub(crate) fn choose_largest(x: &[f32], input: Extent, kernel: Extent, chosen: &mut [u32]) -> Result<()> {
    let output = pooled(input, kernel)?;
    let (from, to) = (input.iter().product::<usize>(), output.iter().product::<usize>());
    assert_eq!(x.len() / from * to, chosen.len());
    chosen
        .par_chunks_exact_mut(to)
        .zip(x.par_chunks_exact(from))
        .for_each(|(chosen, x)| {
            for (o, chosen) in chosen.iter_mut().enumerate() {
                let block = [
                    o / (output[1] * output[2]),
                    o / output[2] % output[1],
                    o % output[2],
                ];
                let first: [usize; 3] = std::array::from_fn(|axis| block[axis] * kernel[axis]);
                let mut best = None;
                for i in first[0]..first[0] + kernel[0] {
                    for j in first[1]..first[1] + kernel[1] {
                        for k in first[2]..first[2] + kernel[2] {
                            let at = (i * input[1] + j) * input[2] + k;
                            let better = |b: usize| x[at] > x[b] || (x[at].is_nan() && !x[b].is_nan());
                            if best.is_none_or(better) {
                                best = Some(at);
                            }
                        }
                    }
                }
                *chosen = best.unwrap_or(0) as u32;
            }
        });
    Ok(())
}

/// y = x at the chosen positions, rows of `from` to rows of `to`.
pub(crate) fn gather(x: &[f32], chosen: &[u32], [from, to]: [usize; 2], y: &mut [f32]) {
    assert!(chosen.len() == y.len() && x.len() / from * to == y.len());
    y.par_chunks_exact_mut(to)
        .zip(x.par_chunks_exact(from))
        .zip(chosen.par_chunks_exact(to))
        .for_each(|((y, x), chosen)| {
            for (y, at) in y.iter_mut().zip(chosen) {
                *y = x[*at as usize];
            }
        });
}

/// Adds `dy` to `dx` at the chosen positions: `gather`'s transpose.
pub(crate) fn scatter(dy: &[f32], chosen: &[u32], [from, to]: [usize; 2], dx: &mut [f32]) {
    assert!(chosen.len() == dy.len() && dx.len() / from * to == dy.len());
    dx.par_chunks_exact_mut(from)
        .zip(dy.par_chunks_exact(to))
        .zip(chosen.par_chunks_exact(to))
        .for_each(|((dx, dy), chosen)| {
            for (dy, at) in dy.iter().zip(chosen) {
                dx[*at as usize] += dy;
            }
        });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::{close, numbers, on_threads};

    /// Rounding of a few f32 operations.
    const NEAR: f64 = 1e-6;

    fn run(map: &Resample, x: &[f32]) -> Vec<f32> {
        let [from, to] = sizes(map);
        let mut y = vec![9.0; x.len() / from * to];
        forward(map, x, &mut y);
        y
    }

    fn at(x: &[f32], [_, h, w]: Extent, [i, j, k]: [usize; 3]) -> f64 {
        x[(i * h + j) * w + k] as f64
    }

    fn places([d, h, w]: Extent) -> impl Iterator<Item = [usize; 3]> {
        (0..d * h * w).map(move |p| [p / (h * w), p / w % h, p % w])
    }

    #[test]
    fn nearest_and_average_match_loops() {
        let (input, factor) = ([2, 3, 4], [2, 1, 3]);
        let map = Resample::nearest_up(input, factor).unwrap();
        assert_eq!(map.output, [4, 3, 12]);
        let x = numbers(24, 1);
        let expected: Vec<f64> = places(map.output)
            .map(|p| at(&x, input, std::array::from_fn(|a| p[a] / factor[a])))
            .collect();
        close(&run(&map, &x), &expected, 0.0);

        let (input, kernel) = ([4, 5, 6], [2, 2, 3]);
        let map = Resample::average_pool(input, kernel).unwrap();
        assert_eq!(map.output, [2, 2, 2]);
        let x = numbers(120, 2);
        let expected: Vec<f64> = places(map.output)
            .map(|o| {
                let block =
                    places(kernel).map(|k| at(&x, input, std::array::from_fn(|a| o[a] * kernel[a] + k[a])));
                block.sum::<f64>() / 12.0
            })
            .collect();
        close(&run(&map, &x), &expected, NEAR);
    }

    #[test]
    fn linear_interpolates_between_middles_of_cells() {
        // PyTorch's interpolate(scale_factor=2, mode="linear"), align_corners=False.
        let map = Resample::linear_up([1, 1, 3], [1, 1, 2]).unwrap();
        close(
            &run(&map, &[0.0, 4.0, 8.0]),
            &[0.0, 1.0, 3.0, 5.0, 7.0, 8.0],
            NEAR,
        );
        let (input, factor) = ([2, 3, 4], [3, 2, 2]);
        let map = Resample::linear_up(input, factor).unwrap();
        let x = numbers(24, 3);
        let expected: Vec<f64> = places(map.output)
            .map(|o| {
                // Tents around the middles, those at the edges open outwards.
                let weight = |a: usize, i: usize| {
                    let middle = (o[a] as f64 + 0.5) / factor[a] as f64 - 0.5;
                    let middle = middle.clamp(0.0, input[a] as f64 - 1.0);
                    (1.0 - (middle - i as f64).abs()).max(0.0)
                };
                places(input)
                    .map(|p| (0..3).map(|a| weight(a, p[a])).product::<f64>() * at(&x, input, p))
                    .sum()
            })
            .collect();
        close(&run(&map, &x), &expected, NEAR);
    }

    #[test]
    fn transpose_is_the_adjoint() {
        for map in [
            Resample::nearest_up([2, 3, 4], [2, 2, 2]).unwrap(),
            Resample::linear_up([2, 3, 4], [2, 1, 3]).unwrap(),
            Resample::average_pool([4, 6, 9], [2, 2, 4]).unwrap(),
        ] {
            let [from, to] = sizes(&map);
            let (x, dy) = (numbers(3 * from, 1), numbers(3 * to, 2));
            let mut dx = vec![0.5; x.len()];
            transpose(&map, &dy, &mut dx);
            let product =
                |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| *a as f64 * *b as f64).sum::<f64>();
            let moved: Vec<f32> = dx.iter().map(|v| v - 0.5).collect();
            let (left, right) = (product(&run(&map, &x), &dy), product(&x, &moved));
            assert!(
                (left - right).abs() < 1e-5 * left.abs().max(1.0),
                "{left} {right}"
            );
        }
    }

    #[test]
    fn largest_is_chosen_gathered_and_scattered() {
        let (input, kernel) = ([2, 4, 5], [1, 2, 2]);
        let x = numbers(80, 4);
        let sizes = [40, 16 / 2];
        let [mut y, mut chosen] = [vec![0.0; 16], vec![]];
        let mut picked = vec![0; 16];
        choose_largest(&x, input, kernel, &mut picked).unwrap();
        gather(&x, &picked, sizes, &mut y);
        let output = pooled(input, kernel).unwrap();
        for row in x.chunks(40) {
            chosen.extend(places(output).map(|o| {
                let block =
                    places(kernel).map(|k| at(row, input, std::array::from_fn(|a| o[a] * kernel[a] + k[a])));
                block.fold(f64::NEG_INFINITY, f64::max) as f32
            }));
        }
        assert_eq!(y, chosen);
        let mut dx = vec![1.0; 80];
        scatter(&y, &picked, sizes, &mut dx);
        for (i, (dx, x)) in dx.iter().zip(&x).enumerate() {
            let is = picked[i / 40 * 8..][..8].contains(&((i % 40) as u32));
            assert_eq!(*dx, if is { 1.0 + x } else { 1.0 });
        }
    }

    #[test]
    fn threads_do_not_change_bits() {
        let map = Resample::linear_up([4, 8, 8], [2, 2, 2]).unwrap();
        let x = numbers(6 * 256, 1);
        let both = || {
            let y = run(&map, &x);
            let mut dx = vec![0.0; x.len()];
            transpose(&map, &y, &mut dx);
            [y, dx].concat()
        };
        assert_eq!(on_threads(1, both), on_threads(5, both));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Resample::nearest_up([1, 0, 4], [1, 2, 2]).is_err());
        assert!(Resample::linear_up([1, 4, 4], [1, 0, 2]).is_err());
        assert!(Resample::average_pool([1, 4, 4], [1, 8, 2]).is_err());
        assert!(choose_largest(&[1.0], [1, 1, 1], [1, 2, 1], &mut []).is_err());
    }
}
