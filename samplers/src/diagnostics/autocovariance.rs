//! Correlate chains with themselves at all lags at once, by Fourier transforms.

use std::f64::consts::PI;

use nalgebra::Complex;

/// The autocovariance at every lag below the length, with the length as its divisor, as a mean over the
/// chains, which are of equal length and have these means.
pub(super) fn autocovariances(chains: &[Vec<f64>], means: &[f64]) -> Vec<f64> {
    let n = chains.first().map_or(0, Vec::len);
    // Zeros as long as the chain keep its end from meeting its beginning.
    let size = (2 * n).next_power_of_two();
    let root = |k: usize| Complex::from_polar(1.0, -2.0 * PI * k as f64 / size as f64);
    let roots: Vec<Complex<f64>> = (0..size / 2).map(root).collect();
    let mut power = vec![Complex::new(0.0, 0.0); size];
    for (chain, mean) in chains.iter().zip(means) {
        let mut x = vec![Complex::new(0.0, 0.0); size];
        x.iter_mut().zip(chain).for_each(|(x, value)| x.re = value - mean);
        transform(&mut x, &roots);
        power
            .iter_mut()
            .zip(&x)
            .for_each(|(power, x)| power.re += x.norm_sqr());
    }
    // A power spectrum is even: its inverse transform is its transform over the size.
    transform(&mut power, &roots);
    let scale = 1.0 / (size as f64 * n as f64 * chains.len() as f64);
    power[..n].iter().map(|value| value.re * scale).collect()
}

/// The discrete Fourier transform of a power of two numbers (Cooley & Tukey 1965,
/// doi:10.1090/S0025-5718-1965-0178586-1), given the first half of the roots of unity.
fn transform(x: &mut [Complex<f64>], roots: &[Complex<f64>]) {
    let size = x.len();
    if size < 2 {
        return;
    }
    let bits = size.trailing_zeros();
    for i in 0..size {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            x.swap(i, j);
        }
    }
    let mut half = 1;
    while half < size {
        let stride = size / (2 * half);
        for block in x.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for ((a, b), root) in low.iter_mut().zip(high).zip(roots.iter().step_by(stride)) {
                let turned = *b * root;
                (*a, *b) = (*a + turned, *a - turned);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::super::{mean, tests::ar1};
    use super::*;

    #[test]
    fn agrees_with_the_sums_lag_by_lag() {
        for draws in [2, 3, 64, 500] {
            for phi in [-0.5, 0.9] {
                let mut chains = ar1(9, 3, draws, phi);
                chains[0].iter_mut().for_each(|x| *x += 100.0);
                let means: Vec<f64> = chains.iter().map(|chain| mean(chain)).collect();
                let found = autocovariances(&chains, &means);
                assert_eq!(found.len(), draws);
                for (lag, found) in found.into_iter().enumerate() {
                    let of_chain = |(chain, mean): (&Vec<f64>, &f64)| {
                        let products = chain.iter().zip(&chain[lag..]);
                        products.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / draws as f64
                    };
                    let expected = chains.iter().zip(&means).map(of_chain).sum::<f64>() / 3.0;
                    assert!(
                        (found - expected).abs() < 1e-13,
                        "{draws} {lag}: {found} {expected}"
                    );
                }
            }
        }
    }
}
