//! Count how many independent draws correlated chains are worth.

use super::autocovariance::autocovariances;
use super::{common, map, mean, quantile, rank_normalise, split, variance};

/// Effective sample size of the bulk: of the rank-normalised split chains (Vehtari et al. 2021, arXiv
/// 1903.08008).
pub fn ess_bulk<C: AsRef<[f64]>>(chains: &[C]) -> Option<f64> {
    plain(&rank_normalise(&split(chains)?))
}

/// Effective sample size of the tails: the smaller of those of the 5% and 95% quantiles (Vehtari et al.
/// 2021).
pub fn ess_tail<C: AsRef<[f64]>>(chains: &[C]) -> Option<f64> {
    Some(ess_quantile(chains, 0.05)?.min(ess_quantile(chains, 0.95)?))
}

/// Effective sample size of the mean: of the split chains as they are.
pub fn ess_mean<C: AsRef<[f64]>>(chains: &[C]) -> Option<f64> {
    plain(&split(chains)?)
}

/// Effective sample size of the standard deviation: of the squared distances from the mean (Vehtari et al.
/// 2021).
pub fn ess_sd<C: AsRef<[f64]>>(chains: &[C]) -> Option<f64> {
    let chains = common(chains)?;
    let centre = mean(&chains.concat());
    ess_mean(&map(&chains, |x| (x - centre).powi(2)))
}

/// Effective sample size of the quantile `p`: of whether a draw is at most that quantile (Vehtari et al.
/// 2021). `None` where `p` is outside [0, 1], or where so many draws share the greatest value that none is
/// above the quantile.
///
/// ```
/// use armilla_samplers::diagnostics::ess_quantile;
///
/// let chain: Vec<f64> = (0..1000).map(|i| f64::from(i * 377 % 1000)).collect();
/// assert!(ess_quantile(&[&chain], 0.9).is_some_and(|ess| ess > 500.0));
/// assert_eq!(ess_quantile(&[&chain], 1.0), None);
/// ```
pub fn ess_quantile<C: AsRef<[f64]>>(chains: &[C], p: f64) -> Option<f64> {
    if !(0.0..=1.0).contains(&p) {
        return None;
    }
    let chains = common(chains)?;
    let bound = quantile(&chains.concat(), p);
    ess_mean(&map(&chains, |x| f64::from(u8::from(x <= bound))))
}

/// n over the autocorrelation time, whose sum ends by the initial monotone sequence of pairs (Geyer 1992,
/// doi:10.1214/ss/1177011137).
fn plain(chains: &[Vec<f64>]) -> Option<f64> {
    let n = chains.first()?.len();
    let means: Vec<f64> = chains.iter().map(|chain| mean(chain)).collect();
    let within = mean(&chains.iter().map(|chain| variance(chain)).collect::<Vec<_>>());
    let shrink = (n as f64 - 1.0) / n as f64;
    let total = within * shrink + variance(&means);
    if !total.is_finite() || total <= 0.0 {
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
    loop {
        let even = correlation(lag);
        let pair = even + correlation(lag + 1);
        if pair <= 0.0 {
            // The last even lag still carries information on antithetic chains.
            sum += 0.5 * even.max(0.0);
            break;
        }
        if lag + 4 >= n {
            // The longest lags are left out: a product or two say nothing.
            sum += 0.5 * even;
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
    fn a_quantile_no_draw_exceeds_is_not_judged() {
        let two = [[0.0, 1.0, 1.0, 1.0].repeat(50)];
        assert!(ess_quantile(&two, 0.1).is_some());
        for p in [0.5, 1.0, -0.1, 1.1, f64::NAN] {
            assert_eq!(ess_quantile(&two, p), None);
        }
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
