//! Say how far an estimate from draws may be from the posterior's own.

use super::beta_quantile::beta_quantile;
use super::{common, ess_mean, ess_quantile, map, mean, sorted, variance};

/// The normal distribution holds this below one standard deviation under its mean.
const ONE_SIGMA_BELOW: f64 = 0.158_655_253_931_457_05;

/// The Monte Carlo standard error of the mean.
///
/// ```
/// let chain: Vec<f64> = (0..100).map(|i| f64::from(i * 37 % 100)).collect();
/// assert!(armilla_samplers::diagnostics::mcse_mean(&[chain]).is_some_and(|error| error < 5.0));
/// ```
pub fn mcse_mean<C: AsRef<[f64]>>(chains: &[C]) -> Option<f64> {
    Some((variance(&common(chains)?.concat()) / ess_mean(chains)?).sqrt())
}

/// The Monte Carlo standard error of the standard deviation, by the error of the variance (Vehtari et al.
/// 2021, arXiv 1903.08008).
pub fn mcse_sd<C: AsRef<[f64]>>(chains: &[C]) -> Option<f64> {
    let chains = common(chains)?;
    let centre = mean(&chains.concat());
    let squares = map(&chains, |x| (x - centre).powi(2));
    let ess = ess_mean(&squares)?;
    let squares = squares.concat();
    let n = squares.len() as f64;
    let error_of_variance = (variance(&squares) * (n - 1.0) / n / ess).sqrt();
    // d√v = dv / 2√v
    Some(0.5 * error_of_variance / mean(&squares).sqrt())
}

/// The Monte Carlo standard error of the quantile `p`: half the distance between the draws at those two
/// probabilities that the effective draws put one standard deviation below and above `p` (Vehtari et al.
/// 2021). `None` where [`ess_quantile`] is.
///
/// ```
/// let chain: Vec<f64> = (0..1000).map(|i| f64::from(i * 377 % 1000)).collect();
/// // Even so many draws cannot place the median of a uniform distribution to better than this.
/// let error = armilla_samplers::diagnostics::mcse_quantile(&[chain], 0.5);
/// assert!(error.is_some_and(|error| (1.0..20.0).contains(&error)));
/// ```
pub fn mcse_quantile<C: AsRef<[f64]>>(chains: &[C], p: f64) -> Option<f64> {
    let ess = ess_quantile(chains, p)?;
    let sorted = sorted(&common(chains)?.concat());
    let n = sorted.len() as f64;
    let at = |level: f64| n * beta_quantile(level, ess * p + 1.0, ess * (1.0 - p) + 1.0) - 1.0;
    let below = at(ONE_SIGMA_BELOW).max(0.0).floor() as usize;
    let above = at(1.0 - ONE_SIGMA_BELOW).min(n - 1.0).ceil() as usize;
    Some(0.5 * (sorted[above] - sorted[below]))
}

#[cfg(test)]
mod tests {
    use super::super::tests::ar1;
    use super::super::{quantile, variance};
    use super::*;
    use crate::normal_quantile::normal_quantile;

    const RUNS: u64 = 200;

    /// The mean of squared errors in units of the standard error judged.
    fn squared_errors(error: impl Fn(&[Vec<f64>]) -> f64) -> f64 {
        let squares = (0..RUNS).map(|seed| error(&ar1(seed, 2, 500, 0.5)).powi(2));
        squares.sum::<f64>() / RUNS as f64
    }

    #[test]
    fn standard_errors_cover_the_truth() {
        let of_mean = |chains: &[Vec<f64>]| mean(&chains.concat()) / mcse_mean(chains).unwrap();
        let of_sd =
            |chains: &[Vec<f64>]| (variance(&chains.concat()).sqrt() - 1.0) / mcse_sd(chains).unwrap();
        let of_quantile = |chains: &[Vec<f64>]| {
            (quantile(&chains.concat(), 0.8) - normal_quantile(0.8)) / mcse_quantile(chains, 0.8).unwrap()
        };
        // χ² of one degree of freedom: mean 1, variance 2; the estimated denominator adds some.
        let five_errors = 5.0 * (2.0 / RUNS as f64).sqrt();
        for squared in [
            squared_errors(of_mean),
            squared_errors(of_sd),
            squared_errors(of_quantile),
        ] {
            assert!((squared - 1.0).abs() < five_errors, "{squared}");
        }
    }

    #[test]
    fn two_values_equally_far_from_their_mean_tell_no_error_of_the_deviation() {
        assert_eq!(mcse_sd(&[[0.0, 1.0, 1.0, 0.0].repeat(20)]), None);
    }
}
