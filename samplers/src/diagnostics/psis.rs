//! Smooth importance weights, and tell by the shape of their tail whether to trust them.

use super::generalised_pareto::GeneralisedPareto;
use super::{common, ess_tail, sorted};

/// Log weights that differ by no more differ by rounding.
const LEVEL: f64 = 1e-10;

/// Smoothed importance weights and what their tail says.
#[derive(Clone, Debug, PartialEq)]
pub struct Psis {
    /// The logarithms of the smoothed weights, in the order given; the weights sum to one.
    pub log_weights: Vec<f64>,
    /// k̂, the shape of the tail: weights have 1/k̂ moments. Above [`pareto_k_limit`] an estimate from them
    /// is not to be trusted, above 1 nothing helps. Infinite where there are too few weights to tell, and
    /// -∞ where the greatest are all the same.
    pub pareto_k: f64,
}

/// Pareto-smoothed importance sampling (Vehtari et al. 2024, arXiv 1507.02646): the greatest weights
/// replaced by quantiles of the generalised Pareto distribution fitted to them, none above the greatest as
/// given.
///
/// `log_weights` are the log target minus the log proposal at its draws, up to a constant; -∞ is a weight
/// of zero. `r_eff` is how many draws each of these is worth, 1 where they are independent. `None` where no
/// weight is above zero, one is NaN or +∞, or `r_eff` is not a positive number.
///
/// ```
/// use armilla_samplers::diagnostics::{pareto_k_limit, psis};
///
/// // Weights u^(-k) of evenly spaced u, as a proposal with too thin a tail makes them.
/// let log_weights = |k: f64| (1..=1000).map(|i| -k * (f64::from(i) / 1001.0).ln()).collect::<Vec<f64>>();
/// assert!(psis(&log_weights(0.3), 1.0).is_some_and(|found| found.pareto_k < pareto_k_limit(1000)));
/// assert!(psis(&log_weights(0.9), 1.0).is_some_and(|found| found.pareto_k > pareto_k_limit(1000)));
/// ```
pub fn psis(log_weights: &[f64], r_eff: f64) -> Option<Psis> {
    let greatest = log_weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !greatest.is_finite() || log_weights.iter().any(|x| x.is_nan()) {
        return None;
    }
    if !(r_eff.is_finite() && r_eff > 0.0) {
        return None;
    }
    let n = log_weights.len();
    let mut x: Vec<f64> = log_weights.iter().map(|x| x - greatest).collect();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    let length = tail_length(n, r_eff).ceil() as usize;
    let below = x[order[n.saturating_sub(length + 1)]];
    // Weights that vanish as numbers make no tail.
    let below = below.max(f64::MIN_POSITIVE.ln());
    let tail = &order[order.partition_point(|&i| x[i] <= below)..];
    // A single weight is the same as itself, which tells nothing.
    let pareto_k = if n > 1 && -below <= LEVEL {
        f64::NEG_INFINITY
    } else {
        smooth(&mut x, tail, below).unwrap_or(f64::INFINITY)
    };
    let ln_sum = x.iter().map(|x| x.exp()).sum::<f64>().ln();
    x.iter_mut().for_each(|x| *x -= ln_sum);
    Some(Psis {
        log_weights: x,
        pareto_k,
    })
}

/// Replaces the log weights `x` at the indices `tail`, which lead from the least to the greatest and are
/// all above `below`, by quantiles of the distribution fitted to their weights.
fn smooth(x: &mut [f64], tail: &[usize], below: f64) -> Option<f64> {
    let offset = below.exp();
    let excess: Vec<f64> = tail.iter().map(|&i| x[i].exp() - offset).collect();
    let fitted = GeneralisedPareto::fit(&excess)?;
    for (rank, &i) in tail.iter().enumerate() {
        let p = (rank as f64 + 0.5) / tail.len() as f64;
        x[i] = (fitted.quantile(p) + offset).ln().min(0.0);
    }
    Some(fitted.k)
}

/// The k̂ up to which `n` draws suffice for an estimate (Vehtari et al. 2024): 0.7 from 2200 draws on, less
/// for fewer.
pub fn pareto_k_limit(n: usize) -> f64 {
    (1.0 - 1.0 / (n.max(1) as f64).log10()).min(0.7)
}

/// The shape k̂ of the heavier tail of draws (Vehtari et al. 2024), which have 1/k̂ moments: above 0.5 the
/// variance is infinite and [`mcse_mean`](super::mcse_mean) says nothing, above 1 the mean too. `None` also
/// where a tail has fewer than five distinct draws.
///
/// ```
/// // Quantiles of the Cauchy distribution, which has no mean, in no order.
/// let cauchy = |i: u32| (std::f64::consts::PI * (f64::from(i) / 1009.0 - 0.5)).tan();
/// let chain: Vec<f64> = (1..1009).map(|i| cauchy(i * 377 % 1009)).collect();
/// assert!(armilla_samplers::diagnostics::pareto_k(&[chain]).is_some_and(|k| k > 0.8));
/// ```
pub fn pareto_k<C: AsRef<[f64]>>(chains: &[C]) -> Option<f64> {
    let chains = common(chains)?;
    // Chains of odd length lose their middle draw when split.
    let split = chains.len() * (chains[0].len() / 2 * 2);
    let r_eff = ess_tail(&chains)? / split as f64;
    let right = sorted(&chains.concat());
    let left: Vec<f64> = right.iter().rev().map(|x| -x).collect();
    let length = tail_length(right.len(), r_eff).floor() as usize;
    let of_tail = |sorted: &[f64]| {
        let below = sorted[sorted.len().saturating_sub(length + 1)];
        let excess = sorted.iter().filter(|&&x| x > below).map(|x| x - below);
        let excess: Vec<f64> = excess.collect();
        let varies = excess.first() < excess.last();
        GeneralisedPareto::fit(&excess).filter(|_| varies)
    };
    Some(of_tail(&left)?.k.max(of_tail(&right)?.k))
}

/// How many of `n` values are the tail. ArviZ rounds it up for weights and down for draws.
fn tail_length(n: usize, r_eff: f64) -> f64 {
    (n as f64 / 5.0).min(3.0 * (n as f64 / r_eff).sqrt())
}

#[cfg(test)]
mod tests {
    use super::super::tests::ar1;
    use super::*;

    /// Weights u^(-k) of evenly spaced u, in no order.
    fn pareto(k: f64) -> Vec<f64> {
        (1..1009)
            .map(|i| -k * (f64::from(i * 377 % 1009) / 1009.0).ln())
            .collect()
    }

    #[test]
    fn smoothed_weights_are_normalised_and_keep_their_order() {
        for k in [0.2, 0.7, 1.5] {
            let given = pareto(k);
            let found = psis(&given, 1.0).unwrap();
            // The prior counts as ten values of one half beside the 96 of the tail, whose greatest is not as
            // great as the greatest of so many random ones tends to be.
            let expected = (96.0 * k + 10.0 * 0.5) / 106.0;
            assert!(
                (found.pareto_k - expected).abs() < 0.15,
                "{k}: {}",
                found.pareto_k
            );
            let sum: f64 = found.log_weights.iter().map(|x| x.exp()).sum();
            assert!((sum - 1.0).abs() < 1e-12);
            for (i, j) in (0..given.len()).zip(1..given.len()) {
                if given[i] < given[j] {
                    assert!(found.log_weights[i] <= found.log_weights[j]);
                }
            }
        }
    }

    #[test]
    fn a_constant_in_the_log_weights_does_not_matter() {
        let given = pareto(0.6);
        let shifted: Vec<f64> = given.iter().map(|x| x - 5000.0).collect();
        let (a, b) = (psis(&given, 0.7).unwrap(), psis(&shifted, 0.7).unwrap());
        assert!((a.pareto_k - b.pareto_k).abs() < 1e-9);
    }

    #[test]
    fn weights_without_a_tail_to_fit_stay_as_they_are() {
        let level = psis(&[-3.0; 100], 1.0).unwrap();
        assert_eq!(level.pareto_k, f64::NEG_INFINITY);
        assert!(level.log_weights.iter().all(|x| (x + 100f64.ln()).abs() < 1e-13));
        // Rounding in a density leaves weights that are the same but for the last bits.
        let rounded: Vec<f64> = (0..100).map(|i| 700.0 + f64::from(i % 7) * 1e-13).collect();
        assert_eq!(psis(&rounded, 1.0).unwrap().pareto_k, f64::NEG_INFINITY);
        let few = psis(&[0.0, 1.0, 2.0, 3.0], 1.0).unwrap();
        assert_eq!(few.pareto_k, f64::INFINITY);
        assert!((few.log_weights[3] - few.log_weights[0] - 3.0).abs() < 1e-14);
        let mut one = vec![f64::NEG_INFINITY; 100];
        one[17] = -4.0;
        let one = psis(&one, 1.0).unwrap();
        assert_eq!((one.pareto_k, one.log_weights[17]), (f64::INFINITY, 0.0));
        assert_eq!(psis(&[2.0], 1.0).unwrap().log_weights, [0.0]);
    }

    #[test]
    fn what_are_no_weights_is_none() {
        let mut broken = pareto(0.3);
        for strange in [f64::NAN, f64::INFINITY] {
            broken[5] = strange;
            assert_eq!(psis(&broken, 1.0), None);
        }
        assert_eq!(psis(&[], 1.0), None);
        assert_eq!(psis(&[f64::NEG_INFINITY; 50], 1.0), None);
        for r_eff in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(psis(&pareto(0.3), r_eff), None);
        }
    }

    #[test]
    fn the_heavier_tail_of_draws_is_told() {
        let normal = ar1(1, 4, 5000, 0.3);
        assert!(pareto_k(&normal).unwrap() < 0.2);
        // A ratio of normals has no mean; either tail must show it.
        for sign in [1.0, -1.0] {
            let heavy: Vec<Vec<f64>> = normal
                .iter()
                .map(|chain| {
                    chain
                        .iter()
                        .map(|x| sign * x.exp().powi(2).exp().min(1e300))
                        .collect()
                })
                .collect();
            assert!(pareto_k(&heavy).unwrap() > 0.7);
        }
        let two = [[0.0, 1.0].repeat(100)];
        assert_eq!(pareto_k(&two), None);
    }

    #[test]
    fn fewer_draws_allow_lighter_tails() {
        assert!((pareto_k_limit(100) - 0.5).abs() < 1e-15);
        assert_eq!(pareto_k_limit(1_000_000), 0.7);
        assert_eq!(pareto_k_limit(0), f64::NEG_INFINITY);
    }
}
