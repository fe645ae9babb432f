//! Transform square periodic real maps to Fourier space and back.

use std::fmt;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::{Fft, FftPlanner};

/// Plans for maps of `size` × `size` values, row after row.
///
/// A real map has ĝ(−n) = ĝ(n)*, so half of the modes say all: n_x = 0 … size/2, for each of them all n_y.
/// The half spectrum is stored n_x after n_x, so that the transforms along y are contiguous.
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
    /// n_x² + n_y² with both taken as their least absolute alias: |k| = (2π/L) √squared.
    pub squared: usize,
    /// How many modes of the full spectrum it stands for: itself, and its mirror image where that is not stored.
    pub multiplicity: usize,
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

    /// The modes of the half spectrum in the order of [`Fourier::forward`].
    pub(crate) fn modes(size: usize) -> impl Iterator<Item = Mode> {
        (0..=size / 2).flat_map(move |x| {
            // The columns n_x = 0 and, for an even size, n_x = size/2 hold their own mirror images (each a
            // mode at −n_y of the same column); all others have theirs in the half that is not stored.
            let multiplicity = if x == 0 || 2 * x == size { 1 } else { 2 };
            (0..size).map(move |y| {
                let y = y.min(size - y);
                Mode {
                    squared: x * x + y * y,
                    multiplicity,
                }
            })
        })
    }

    /// Σ_x g(x) exp(−i k·x), not normalised. `map` holds size² values.
    pub(crate) fn forward(&self, map: &[f64]) -> Vec<Complex<f64>> {
        let n = self.size;
        let mut half = vec![Complex::default(); (n / 2 + 1) * n];
        let (mut row, mut row_hat) = (self.rows.make_input_vec(), self.rows.make_output_vec());
        let mut scratch = self.rows.make_scratch_vec();
        for (y, values) in map.chunks_exact(n).enumerate() {
            row.copy_from_slice(values);
            self.rows
                .process_with_scratch(&mut row, &mut row_hat, &mut scratch)
                .expect("fails only for buffers of other lengths than the plan made itself");
            for (x, &mode) in row_hat.iter().enumerate() {
                half[x * n + y] = mode;
            }
        }
        self.columns.process(&mut half);
        half
    }

    /// The inverse of [`Fourier::forward`].
    pub(crate) fn inverse(&self, mut half: Vec<Complex<f64>>) -> Vec<f64> {
        let n = self.size;
        self.columns_back.process(&mut half);
        let mut map = vec![0.0; n * n];
        let mut row_hat = self.rows_back.make_input_vec();
        let mut scratch = self.rows_back.make_scratch_vec();
        let scale = 1.0 / (n * n) as f64;
        for (y, values) in map.chunks_exact_mut(n).enumerate() {
            for (x, mode) in row_hat.iter_mut().enumerate() {
                *mode = half[x * n + y] * scale;
            }
            // Real but for rounding, and the plan rejects the rounding.
            row_hat[0].im = 0.0;
            if n.is_multiple_of(2) {
                row_hat[n / 2].im = 0.0;
            }
            self.rows_back
                .process_with_scratch(&mut row_hat, values, &mut scratch)
                .expect("fails only for other lengths or an imaginary part where it was just set to zero");
        }
        map
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
    fn inverse_returns_the_map() {
        for n in [2, 5, 8, 15] {
            let (fourier, map) = (Fourier::new(n), map(n));
            let back = fourier.inverse(fourier.forward(&map));
            assert!(map.iter().zip(&back).all(|(a, b)| (a - b).abs() < ROUNDING));
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
            Fourier::modes(n).for_each(|mode| half[mode.squared] += mode.multiplicity);
            assert_eq!(half, full, "size {n}");
        }
    }
}
