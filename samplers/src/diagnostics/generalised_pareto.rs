//! Fit the generalised Pareto distribution to a tail.

/// Fewer values fit any tail.
const FEWEST_VALUES: usize = 5;

/// The prior on k: as if ten of the values had said one half (Vehtari et al. 2024, arXiv
/// 1507.02646).
const PRIOR_VALUES: f64 = 10.0;
const PRIOR_K: f64 = 0.5;

/// The distribution on x > 0 whose tail is x^(-1/k), or ends at -σ/k where k is negative.
#[derive(Debug)]
pub(super) struct GeneralisedPareto {
    pub(super) k: f64,
    sigma: f64,
}

impl GeneralisedPareto {
    /// Fits positive values in ascending order by their profile likelihood, averaged over a grid of b =
    /// -k/σ (Zhang & Stephens 2009, doi:10.1198/tech.2009.08017), with k then drawn towards its prior.
    /// `None` for too few values and for values that differ too much to compute with.
    pub(super) fn fit(x: &[f64]) -> Option<Self> {
        let n = x.len();
        let greatest = *x.last()?;
        if n < FEWEST_VALUES {
            return None;
        }
        let quartile = x[(n as f64 / 4.0 + 0.5) as usize - 1];
        let k_given = |b: f64| x.iter().map(|x| (-b * x).ln_1p()).sum::<f64>() / n as f64;
        let points = 30 + n.isqrt();
        let grid = (1..=points).map(|i| {
            let spread = 1.0 - (points as f64 / (i as f64 - 0.5)).sqrt();
            let b = 1.0 / greatest + spread / (3.0 * quartile);
            let k = k_given(b);
            (b, n as f64 * ((-b / k).ln() - k - 1.0))
        });
        let grid: Vec<(f64, f64)> = grid.collect();
        let highest = grid.iter().map(|&(_, ln)| ln).fold(f64::NEG_INFINITY, f64::max);
        let (mut sum, mut weighted) = (0.0, 0.0);
        for (b, ln) in grid {
            let weight = (ln - highest).exp();
            sum += weight;
            weighted += weight * b;
        }
        let b = weighted / sum;
        let k = k_given(b);
        let sigma = -k / b;
        let n = n as f64;
        let k = (n * k + PRIOR_VALUES * PRIOR_K) / (n + PRIOR_VALUES);
        (k.is_finite() && sigma.is_finite() && sigma > 0.0).then_some(Self { k, sigma })
    }

    pub(super) fn quantile(&self, p: f64) -> f64 {
        let exponential = -(-p).ln_1p();
        if self.k.abs() < f64::EPSILON {
            return self.sigma * exponential;
        }
        self.sigma * (self.k * exponential).exp_m1() / self.k
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_tail_it_was_given() {
        for k in [-0.5, 0.0, 0.3, 0.7, 1.5] {
            let (n, sigma) = (4000, 2.0);
            let truth = GeneralisedPareto { k, sigma };
            // Evenly spaced quantiles have no noise but that of their ends.
            let x: Vec<f64> = (0..n)
                .map(|i| truth.quantile((f64::from(i) + 0.5) / f64::from(n)))
                .collect();
            let found = GeneralisedPareto::fit(&x).unwrap();
            assert!((found.k - k).abs() < 0.01, "{k}: {found:?}");
            assert!((found.sigma / sigma - 1.0).abs() < 0.01, "{k}: {found:?}");
        }
    }

    #[test]
    fn quantiles_invert_the_distribution() {
        for k in [-0.5f64, 1e-9, 0.0, 0.8] {
            let law = GeneralisedPareto { k, sigma: 3.0 };
            for p in [0.01, 0.5, 0.99] {
                let y = law.quantile(p) / 3.0;
                let above = if k == 0.0 {
                    (-y).exp()
                } else {
                    (-(k * y).ln_1p() / k).exp()
                };
                assert!((1.0 - above - p).abs() < 1e-12, "{k} {p}");
            }
        }
    }

    #[test]
    fn what_cannot_be_fitted_is_none() {
        assert!(GeneralisedPareto::fit(&[]).is_none());
        assert!(GeneralisedPareto::fit(&[1.0, 2.0, 3.0, 4.0]).is_none());
        assert!(GeneralisedPareto::fit(&[0.0, 0.0, 0.0, 0.0, 1.0]).is_none());
        assert!(GeneralisedPareto::fit(&[1.0, 2.0, 3.0, 4.0, f64::INFINITY]).is_none());
    }
}
