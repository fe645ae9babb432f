//! Count how many independent draws correlated chains are worth.

use super::autocovariance::autocovariances;
use super::{mean, quantile, rank_normalise, split, variance};

/// Effective sample size of the bulk: of the rank-normalised split chains (Vehtari et al. 2021, arXiv
/// 1903.08008).
pub fn ess_bulk<C: AsRef<[f64]>>(chains: &[C]) -> Option<f64> {
    plain(&rank_normalise(&split(chains)?))
}

/// Effective sample size of the tails: the smaller of those of the 5% and 95% quantiles (Vehtari et al.
/// 2021).
pub fn ess_tail<C: AsRef<[f64]>>(chains: &[C]) -> Option<f64> {
    let halves = split(chains)?;
    let all = halves.concat();
    let of_quantile = |p: f64| {
        let bound = quantile(&all, p);
        let below = |x: &f64| f64::from(u8::from(*x <= bound));
        plain(
            &halves
                .iter()
                .map(|half| half.iter().map(below).collect())
                .collect::<Vec<_>>(),
        )
    };
    Some(of_quantile(0.05)?.min(of_quantile(0.95)?))
}

/// Effective sample size of the mean: of the split chains as they are.
pub fn ess_mean<C: AsRef<[f64]>>(chains: &[C]) -> Option<f64> {
    plain(&split(chains)?)
}

/// The Monte Carlo standard error of the mean.
///
/// ```
/// let chain: Vec<f64> = (0..100).map(|i| f64::from(i * 37 % 100)).collect();
/// assert!(armilla_samplers::diagnostics::mcse_mean(&[chain]).is_some_and(|error| error < 5.0));
/// ```
pub fn mcse_mean<C: AsRef<[f64]>>(chains: &[C]) -> Option<f64> {
    let halves = split(chains)?;
    Some((variance(&halves.concat()) / plain(&halves)?).sqrt())
}

/// n over the autocorrelation time, whose sum ends by the initial monotone sequence of pairs (Geyer 1992,
/// doi:10.1214/ss/1177011137).
fn plain(chains: &[Vec<f64>]) -> Option<f64> {
    let n = chains.first()?.len();
    let means: Vec<f64> = chains.iter().map(|chain| mean(chain)).collect();
    let within = mean(&chains.iter().map(|chain| variance(chain)).collect::<Vec<_>>());
    let shrink = (n as f64 - 1.0) / n as f64;
    let total = within * shrink + variance(&means);
    if total.is_nan() || total <= 0.0 {
        return None;
    }
    let autocovariance = autocovariances(chains, &means);
    let correlation = |lag: usize| {
        if lag == 0 {
            1.0
        } else {
            1.0 - (within - autocovariance[lag]) / total
        }
    };

    let (mut sum, mut previous) = (0.0, f64::INFINITY);
    let mut lag = 0;
    while lag + 1 < n {
        let even = correlation(lag);
        let pair = even + correlation(lag + 1);
        if pair <= 0.0 {
            // The last even lag still carries information on antithetic chains.
            sum += 0.5 * even.max(0.0);
            break;
        }
        previous = pair.min(previous);
        sum += previous;
        lag += 2;
    }
    let draws = (n * chains.len()) as f64;
    // Antithetic chains may beat independent ones, but by no more than can be told from n draws.
    let time = (2.0 * sum - 1.0).max(1.0 / draws.log10());
    Some(draws / time)
}

#[cfg(test)]
mod tests {
    use super::super::tests::ar1;
    use super::*;

    /// The estimator itself has an error of several percent at these lengths.
    const SPREAD: f64 = 0.12;

    #[test]
    fn known_autocorrelation_times() {
        for phi in [-0.5, 0.0, 0.3, 0.9] {
            let chains = ar1(5, 4, 20_000, phi);
            let expected = 80_000.0 * (1.0 - phi) / (1.0 + phi);
            for judge in [ess_mean, ess_bulk] {
                let found = judge(&chains[..]).unwrap();
                assert!(
                    (found / expected - 1.0).abs() < SPREAD,
                    "φ = {phi}: {found} for {expected}"
                );
            }
        }
    }

    #[test]
    fn tails_of_independent_draws_are_worth_all_draws() {
        let found = ess_tail(&ar1(6, 4, 5000, 0.0)).unwrap();
        assert!((found / 20_000.0 - 1.0).abs() < SPREAD, "{found}");
        // In a slow chain the tails are worth less than all, more than the bulk's square.
        let slow = ess_tail(&ar1(6, 4, 5000, 0.9)).unwrap();
        assert!((1000.0..5000.0).contains(&slow), "{slow}");
    }

    #[test]
    fn the_standard_error_covers_the_truth() {
        let errors = (0..200).map(|seed| {
            let chains = ar1(seed, 2, 500, 0.5);
            mean(&chains.concat()) / mcse_mean(&chains).unwrap()
        });
        let squared: Vec<f64> = errors.map(|error| error * error).collect();
        // χ² of one degree of freedom: mean 1, standard error √(2/200); the estimated denominator adds some.
        assert!((mean(&squared) - 1.0).abs() < 5.0 * 0.1, "{}", mean(&squared));
    }

    #[test]
    fn long_chains_that_disagree_are_judged_in_time() {
        let mut chains = ar1(8, 4, 400_000, 0.0);
        chains[0].iter_mut().for_each(|x| *x += 10.0);
        let begin = std::time::Instant::now();
        assert!(ess_mean(&chains).unwrap() < 20.0);
        // A transform takes a fraction of a second, all lags one by one take minutes.
        assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
    }

    #[test]
    fn chains_that_disagree_are_worth_little() {
        let mut chains = ar1(7, 4, 1000, 0.0);
        chains[0].iter_mut().for_each(|x| *x += 10.0);
        assert!(ess_mean(&chains).unwrap() < 20.0);
    }
}
