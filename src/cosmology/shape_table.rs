//! Tabulate the shape of the spectrum so that every integral over it is a row of fixed weights.

use std::f64::consts::PI;

use super::{Rule, SPECTRAL_INDEX, Transfer};
use crate::Result;

/// The smallest wavenumber. What lies below is 1e-9 of any integral here, as the shape rises like k^n_s.
pub(crate) const K_MIN: f64 = 1e-6;
/// The radius of σ_8 in Mpc/h.
const RADIUS: f64 = 8.0;
/// The window of σ_8 is followed over this many half waves; beyond, k R > 314, it has fallen to 1e-10.
const HALF_WAVES: usize = 100;
/// Distance of the nodes in ln k.
const STEP: f64 = 0.05;
/// Nodes that take part in an interpolation: Lagrange's polynomial of degree 7, off by 3e-8 at this distance where
/// the horizon of sound bends S most.
const STENCIL: usize = 8;

/// The unnormalised spectrum S(k) = k^n_s T²(k) at nodes equidistant in ln k.
///
/// Between the nodes S is a polynomial in ln k, so any integral ∫ w(k) S(k) dk is Σ_j W_j S(k_j) with weights W
/// that do not depend on θ. The derivative in θ of what is computed is then the same sum over ∂S/∂θ, exactly.
#[derive(Debug)]
pub(crate) struct ShapeTable {
    /// k and k^n_s at each node.
    nodes: Vec<(f64, f64)>,
    /// Weights of σ²(R) for a spectrum S.
    variance: Vec<f64>,
}

impl ShapeTable {
    /// A table up to at least `k_max` h/Mpc.
    pub(crate) fn new(k_max: f64) -> Self {
        let window_end = PI * HALF_WAVES as f64 / RADIUS;
        let steps = ((k_max.max(window_end) / K_MIN).ln() / STEP).ceil() as usize;
        let nodes = (0..=steps)
            .map(|j| K_MIN * (STEP * j as f64).exp())
            .map(|k| (k, k.powf(SPECTRAL_INDEX)))
            .collect();
        let mut table = Self {
            nodes,
            variance: Vec::new(),
        };

        let mut variance = table.row();
        let rule = Rule::new();
        let first = rule.logarithmic(K_MIN, PI / RADIUS);
        let rest = rule.linear(PI / RADIUS, window_end, HALF_WAVES - 1);
        for (k, weight) in first.chain(rest) {
            let window = top_hat(k * RADIUS);
            table.add(
                &mut variance,
                k,
                weight * k * k * window * window / (2.0 * PI * PI),
            );
        }
        table.variance = variance;
        table
    }

    /// How many nodes there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// An empty row of weights.
    pub(crate) fn row(&self) -> Vec<f64> {
        vec![0.0; self.len()]
    }

    /// Adds `weight` · S(`k`) to what `row` computes.
    pub(crate) fn add(&self, row: &mut [f64], k: f64, weight: f64) {
        let position = (k / K_MIN).ln() / STEP;
        // The stencil lies around the position, and within the table at its ends.
        let start = (position.max(0.0) as usize)
            .saturating_sub(STENCIL / 2 - 1)
            .min(self.len() - STENCIL);
        let t = position - start as f64;
        for (i, entry) in row[start..start + STENCIL].iter_mut().enumerate() {
            let mut basis = weight;
            for j in (0..STENCIL).filter(|&j| j != i) {
                basis *= (t - j as f64) / (i as f64 - j as f64);
            }
            *entry += basis;
        }
    }

    /// S at the nodes, and ∂S/∂Ω_m where `SLOPE` asks for it (the second vector is empty otherwise).
    ///
    /// # Errors
    /// `omega_m` out of range.
    pub(crate) fn shape<const SLOPE: bool>(&self, omega_m: f64) -> Result<(Vec<f64>, Vec<f64>)> {
        let transfer = Transfer::new(omega_m)?;
        let mut shape = Vec::with_capacity(self.len());
        let mut slopes = Vec::with_capacity(if SLOPE { self.len() } else { 0 });
        for &(k, tilt) in &self.nodes {
            let (value, slope) = transfer.at(k);
            shape.push(tilt * value * value);
            if SLOPE {
                slopes.push(2.0 * tilt * value * slope);
            }
        }
        Ok((shape, slopes))
    }

    /// σ²(8 Mpc/h) of the spectrum S; for the slopes of S the slope of that.
    pub(crate) fn variance(&self, shape: &[f64]) -> f64 {
        self.variance.iter().zip(shape).map(|(w, s)| w * s).sum()
    }
}

/// The Fourier transform of a ball of unit volume, 3 (sin x − x cos x)/x³.
pub(crate) fn top_hat(x: f64) -> f64 {
    if x < 0.1 {
        // The closed form cancels; the next term of the series is x⁸/1330560.
        let x2 = x * x;
        1.0 - x2 / 10.0 + x2 * x2 / 280.0 - x2 * x2 * x2 / 15120.0
    } else {
        3.0 * (x.sin() - x * x.cos()) / (x * x * x)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolation_is_as_accurate_as_it_says() {
        // Measured 3e-8; the slope in Ω_m bends more than S does.
        const TOLERANCE: f64 = 5e-8;
        let table = ShapeTable::new(50.0);
        let mut worst = [0.0; 2];
        for omega_m in [0.1, 0.3, 0.5] {
            let (shape, slopes) = table.shape::<true>(omega_m).unwrap();
            let transfer = Transfer::new(omega_m).unwrap();
            for i in 0..2000 {
                let k = K_MIN * (50.0f64 / K_MIN).powf(i as f64 / 1999.0);
                let mut row = table.row();
                table.add(&mut row, k, 1.0);
                let dot = |v: &[f64]| row.iter().zip(v).map(|(w, s)| w * s).sum::<f64>();
                let (t, t_slope) = transfer.at(k);
                let tilt = k.powf(SPECTRAL_INDEX);
                worst[0] = f64::max(worst[0], (dot(&shape) / (tilt * t * t) - 1.0).abs());
                let slope = 2.0 * tilt * t * t_slope;
                worst[1] = f64::max(worst[1], (dot(&slopes) - slope).abs() * omega_m / (tilt * t * t));
            }
        }
        println!("value {:e}, slope {:e}", worst[0], worst[1]);
        assert!(worst[0] < TOLERANCE && worst[1] < 5.0 * TOLERANCE);
    }

    #[test]
    fn the_window_is_continuous() {
        // Both forms lose the digits that x³ = 1e-3 cancels.
        assert!((top_hat(0.1 - 1e-12) - top_hat(0.1)).abs() < 1e-12);
    }
}
