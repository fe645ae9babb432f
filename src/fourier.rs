//! Transform square and cubic periodic real fields to Fourier space and back.

use std::fmt;
use std::sync::Arc;

use rayon::prelude::*;
use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::{Fft, FftPlanner};

/// Lines that are transposed together: a cache line of complex numbers is half of that.
const TOGETHER: usize = 8;

/// Plans for maps of `size` × `size` values and grids of `size`³, x fastest.
///
/// A real field has ĝ(−n) = ĝ(n)*, so half of the modes say all: n_x = 0 … size/2, for each of them all n_y, and in a
/// grid for each of these all n_z. The half spectrum is stored in this order, so that the transforms along the last axis
/// are contiguous. A grid is transformed on all threads, with the same bits for any number of them; a map on this one.
pub(crate) struct Fourier {
    size: usize,
    rows: Arc<dyn RealToComplex<f64>>,
    rows_back: Arc<dyn ComplexToReal<f64>>,
    columns: Arc<dyn Fft<f64>>,
    columns_back: Arc<dyn Fft<f64>>,
}

impl fmt::Debug for Fourier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fourier")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// One stored mode of the half spectrum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode {
    /// n_x, n_y and n_z, each as its least absolute alias and size/2 without a sign: k = (2π/L) n.
    pub n: [isize; 3],
    /// How many modes of the full spectrum it stands for: itself, and its mirror image where that is not stored.
    pub multiplicity: usize,
}

impl Mode {
    /// n_x² + n_y² + n_z²: |k| = (2π/L) √squared.
    pub fn squared(self) -> usize {
        self.n.iter().map(|n| (n * n) as usize).sum()
    }
}

impl Fourier {
    pub(crate) fn new(size: usize) -> Self {
        let (mut real, mut complex) = (RealFftPlanner::new(), FftPlanner::new());
        Self {
            size,
            rows: real.plan_fft_forward(size),
            rows_back: real.plan_fft_inverse(size),
            columns: complex.plan_fft_forward(size),
            columns_back: complex.plan_fft_inverse(size),
        }
    }

    /// The modes of a map's half spectrum in the order of [`Fourier::forward`].
    pub(crate) fn modes(size: usize) -> impl Iterator<Item = Mode> {
        (0..=size / 2).flat_map(move |x| Self::modes_at(size, 1, x))
    }

    /// The modes of one n_x: `depth` is 1 for a map and the size for a grid.
    pub(crate) fn modes_at(size: usize, depth: usize, x: usize) -> impl Iterator<Item = Mode> {
        // The columns n_x = 0 and, for an even size, n_x = size/2 hold their own mirror images (each a
        // mode at −n_y, −n_z of the same column); all others have theirs in the half that is not stored.
        let multiplicity = if x == 0 || 2 * x == size { 1 } else { 2 };
        let signed = move |n: usize| {
            if 2 * n > size {
                n as isize - size as isize
            } else {
                n as isize
            }
        };
        (0..size).flat_map(move |y| {
            (0..depth).map(move |z| Mode {
                n: [x as isize, signed(y), signed(z)],
                multiplicity,
            })
        })
    }

    /// Σ_x g(x) exp(−i k·x), not normalised. `field` holds size² or size³ values.
    pub(crate) fn forward(&self, field: &[f64]) -> Vec<Complex<f64>> {
        let (n, half) = (self.size, self.size / 2 + 1);
        let mut planes = vec![Complex::default(); field.len() / n * half];
        let plane = |(plane, field): (&mut [Complex<f64>], &[f64])| {
            self.forward_plane(field, plane);
        };
        if field.len() == n * n {
            plane((&mut planes, field));
            return planes;
        }
        planes
            .par_chunks_exact_mut(half * n)
            .zip(field.par_chunks_exact(n * n))
            .for_each(plane);
        // From z, x, y to x, y, z.
        let mut modes = vec![Complex::default(); planes.len()];
        modes
            .par_chunks_exact_mut(n * n)
            .enumerate()
            .for_each(|(x, modes)| {
                for first in (0..n).step_by(TOGETHER) {
                    for y in 0..n {
                        for z in first..(first + TOGETHER).min(n) {
                            modes[y * n + z] = planes[(z * half + x) * n + y];
                        }
                    }
                }
                self.columns.process(modes);
            });
        modes
    }

    /// One map, into the order x, y.
    fn forward_plane(&self, map: &[f64], plane: &mut [Complex<f64>]) {
        let n = self.size;
        let (mut row, mut scratch) = (self.rows.make_input_vec(), self.rows.make_scratch_vec());
        let mut rows: Vec<_> = (0..TOGETHER).map(|_| self.rows.make_output_vec()).collect();
        for (first, values) in map.chunks(TOGETHER * n).enumerate() {
            let count = values.len() / n;
            for (values, row_hat) in values.chunks_exact(n).zip(&mut rows) {
                row.copy_from_slice(values);
                self.rows
                    .process_with_scratch(&mut row, row_hat, &mut scratch)
                    .expect("fails only for buffers of other lengths than the plan made itself");
            }
            for (x, column) in plane.chunks_exact_mut(n).enumerate() {
                let part = &mut column[first * TOGETHER..][..count];
                for (to, row_hat) in part.iter_mut().zip(&rows) {
                    *to = row_hat[x];
                }
            }
        }
        self.columns.process(plane);
    }

    /// The inverse of [`Fourier::forward`].
    pub(crate) fn inverse(&self, mut modes: Vec<Complex<f64>>) -> Vec<f64> {
        let (n, half) = (self.size, self.size / 2 + 1);
        let mut field = vec![0.0; modes.len() / half * n];
        if field.len() == n * n {
            self.inverse_plane(&mut modes, &mut field, 1.0 / (n * n) as f64);
            return field;
        }
        modes
            .par_chunks_exact_mut(n * n)
            .for_each(|modes| self.columns_back.process(modes));
        let scale = 1.0 / (n * n * n) as f64;
        field
            .par_chunks_mut(TOGETHER * n * n)
            .enumerate()
            .for_each(|(group, field)| {
                let first = group * TOGETHER;
                let count = field.len() / (n * n);
                let mut planes = vec![Complex::default(); count * half * n];
                for (xy, line) in modes.chunks_exact(n).enumerate() {
                    for (z, mode) in line[first..first + count].iter().enumerate() {
                        planes[z * half * n + xy] = *mode;
                    }
                }
                let planes = planes.chunks_exact_mut(half * n);
                for (plane, field) in planes.zip(field.chunks_exact_mut(n * n)) {
                    self.inverse_plane(plane, field, scale);
                }
            });
        field
    }

    fn inverse_plane(&self, plane: &mut [Complex<f64>], map: &mut [f64], scale: f64) {
        let n = self.size;
        self.columns_back.process(plane);
        let mut rows: Vec<_> = (0..TOGETHER).map(|_| self.rows_back.make_input_vec()).collect();
        let mut scratch = self.rows_back.make_scratch_vec();
        for (first, values) in map.chunks_mut(TOGETHER * n).enumerate() {
            let count = values.len() / n;
            for (x, column) in plane.chunks_exact(n).enumerate() {
                let part = &column[first * TOGETHER..][..count];
                for (mode, row_hat) in part.iter().zip(&mut rows) {
                    row_hat[x] = mode * scale;
                }
            }
            for (values, row_hat) in values.chunks_exact_mut(n).zip(&mut rows) {
                // Real but for rounding, and the plan rejects the rounding.
                row_hat[0].im = 0.0;
                if n.is_multiple_of(2) {
                    row_hat[n / 2].im = 0.0;
                }
                self.rows_back
                    .process_with_scratch(row_hat, values, &mut scratch)
                    .expect(
                        "fails only for other lengths or an imaginary part where it was just set to zero",
                    );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounding of two short transforms.
    const ROUNDING: f64 = 1e-13;

    fn map(n: usize) -> Vec<f64> {
        (0..n * n).map(|i| ((i * i) as f64 * 0.37).sin() + 0.2).collect()
    }

    #[test]
    fn forward_is_the_sum_of_its_definition() {
        for n in [4, 5] {
            let map = map(n);
            let half = Fourier::new(n).forward(&map);
            for kx in 0..=n / 2 {
                for ky in 0..n {
                    let sum: Complex<f64> = (0..n * n)
                        .map(|i| {
                            let phase = (kx * (i % n) + ky * (i / n)) as f64 / n as f64;
                            Complex::from_polar(map[i], -std::f64::consts::TAU * phase)
                        })
                        .sum();
                    assert!((half[kx * n + ky] - sum).norm() < ROUNDING * (n * n) as f64);
                }
            }
        }
    }

    #[test]
    fn grids_are_transformed_as_their_definition_says() {
        for n in [4, 5, 9] {
            let grid: Vec<f64> = (0..n * n * n)
                .map(|i| ((i * i) as f64 * 0.37).sin() + 0.2)
                .collect();
            let modes = Fourier::new(n).forward(&grid);
            let kinds = (0..=n / 2).flat_map(|x| Fourier::modes_at(n, n, x));
            for (found, kind) in modes.iter().zip(kinds).step_by(7) {
                let sum: Complex<f64> = (0..n * n * n)
                    .map(|i| {
                        let place = [i % n, i / n % n, i / (n * n)];
                        let phase: isize = (0..3).map(|a| kind.n[a] * place[a] as isize).sum();
                        Complex::from_polar(grid[i], -std::f64::consts::TAU * phase as f64 / n as f64)
                    })
                    .sum();
                assert!((found - sum).norm() < ROUNDING * (n * n * n) as f64);
            }
        }
    }

    #[test]
    fn inverse_returns_the_field() {
        for n in [2, 5, 8, 15] {
            let fourier = Fourier::new(n);
            for dimension in [2, 3] {
                let field: Vec<f64> = (0..n.pow(dimension)).map(|i| (i as f64 * 0.7).cos()).collect();
                let back = fourier.inverse(fourier.forward(&field));
                assert!(field.iter().zip(&back).all(|(a, b)| (a - b).abs() < ROUNDING));
            }
        }
    }

    #[test]
    fn every_mode_of_the_full_spectrum_is_counted_once() {
        for n in [2, 3, 4, 5, 8, 9] {
            let mut full = vec![0; 2 * n * n];
            for i in 0..n * n {
                let (x, y) = ((i % n).min(n - i % n), (i / n).min(n - i / n));
                full[x * x + y * y] += 1;
            }
            let mut half = vec![0; 2 * n * n];
            Fourier::modes(n).for_each(|mode| half[mode.squared()] += mode.multiplicity);
            assert_eq!(half, full, "size {n}");
        }
    }
}
