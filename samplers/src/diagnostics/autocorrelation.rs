//! Say how long a chain remembers where it was.

use super::autocovariance::autocovariances;
use super::{common, mean, variance};

/// The window is as many autocorrelation times wide as balance what lies beyond with the noise of what lies
/// within (Sokal 1997, doi:10.1007/978-1-4899-0319-8_6).
const WINDOW: f64 = 5.0;

/// Chains shorter than this many autocorrelation times underestimate it: the rule of emcee (Foreman-Mackey et
/// al. 2013, arXiv 1202.3665).
const LENGTH_IN_TIMES: f64 = 50.0;

/// How many draws of a chain are worth one, so that n draws are worth n / `time`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AutocorrelationTime {
    /// The integrated autocorrelation time, in draws: 1 where they are independent.
    pub time: f64,
    /// Whether each chain is fifty times as long, and of fifty draws at the least. If not, the time is a
    /// guess, and sooner too short than too long.
    pub reliable: bool,
}

/// The autocorrelations at the lags from 0, where it is 1, to `max_lag` or to the last there is, as a mean
/// over the chains. `None` too where one of the chains does not vary.
///
/// ```
/// let chain: Vec<f64> = (0..1000).map(|i| f64::from(i % 2)).collect();
/// let found = armilla_samplers::diagnostics::autocorrelation(&[chain], 2).unwrap_or_default();
/// assert!(found.len() == 3 && found[1] < -0.99 && found[2] > 0.99);
/// ```
pub fn autocorrelation<C: AsRef<[f64]>>(chains: &[C], max_lag: usize) -> Option<Vec<f64>> {
    let mut correlations = all_lags(chains)?;
    correlations.truncate(max_lag.saturating_add(1));
    Some(correlations)
}

/// The integrated autocorrelation time, by Sokal's window on the mean of the chains' autocorrelations
/// (Goodman & Weare 2010, doi:10.2140/camcos.2010.5.65). Where autocorrelations alternate in sign the
/// window closes too soon, at worst on a negative and unreliable time; [`ess_mean`](super::ess_mean) is
/// made for such chains, and sees chains that disagree, which this does not.
///
/// ```
/// use armilla_samplers::diagnostics::autocorrelation_time;
///
/// // The logistic map has no autocorrelation; every number of it is kept for four draws.
/// let mut x = 0.3;
/// let mut next = |i: u32| {
///     if i % 4 == 0 {
///         x = 4.0 * x * (1.0 - x);
///     }
///     x
/// };
/// let chain: Vec<f64> = (0..40_000).map(&mut next).collect();
/// let found = autocorrelation_time(&[&chain]).ok_or("the chain varies")?;
/// assert!(found.reliable && (found.time - 4.0).abs() < 1.0);
/// assert!(autocorrelation_time(&[&chain[..60]]).is_some_and(|found| !found.reliable));
/// # Ok::<(), &str>(())
/// ```
pub fn autocorrelation_time<C: AsRef<[f64]>>(chains: &[C]) -> Option<AutocorrelationTime> {
    let correlations = all_lags(chains)?;
    let mut time = -1.0;
    for (lag, correlation) in correlations.iter().enumerate() {
        time += 2.0 * correlation;
        if lag as f64 >= WINDOW * time {
            break;
        }
    }
    // However short the time, it takes some draws to tell.
    let reliable = time > 0.0 && correlations.len() as f64 >= LENGTH_IN_TIMES * time.max(1.0);
    Some(AutocorrelationTime { time, reliable })
}

fn all_lags<C: AsRef<[f64]>>(chains: &[C]) -> Option<Vec<f64>> {
    let standardise = |chain: &[f64]| {
        let (centre, n) = (mean(chain), chain.len() as f64);
        let deviation = (variance(chain) * (n - 1.0) / n).sqrt();
        let usable = deviation.is_finite() && deviation > 0.0;
        usable.then(|| chain.iter().map(|x| (x - centre) / deviation).collect())
    };
    let chains: Option<Vec<Vec<f64>>> = common(chains)?.into_iter().map(standardise).collect();
    let chains = chains?;
    Some(autocovariances(&chains, &vec![0.0; chains.len()]))
}

#[cfg(test)]
mod tests {
    use super::super::tests::ar1;
    use super::*;

    #[test]
    fn chains_of_known_correlation() {
        for phi in [0.0, 0.5, 0.9] {
            let chains = ar1(4, 4, 20_000, phi);
            let found = autocorrelation(&chains, 5).unwrap();
            assert_eq!(found.len(), 6);
            for (lag, found) in found.iter().enumerate() {
                // Bartlett's variance of an autocorrelation is at most that of the far lags, over all draws.
                let error = ((1.0 + phi * phi) / (1.0 - phi * phi) / 80_000.0).sqrt();
                assert!(
                    (found - phi.powi(lag as i32)).abs() < 5.0 * error,
                    "{phi} {lag}: {found}"
                );
            }
            let AutocorrelationTime { time, reliable } = autocorrelation_time(&chains).unwrap();
            let expected = (1.0 + phi) / (1.0 - phi);
            // Sokal's variance of the time over its square: 2 (2 × window + 1) / draws.
            let error = (2.0 * (2.0 * WINDOW * expected + 1.0) / 80_000.0).sqrt();
            // Less than a hundredth of the time lies beyond the window.
            assert!(
                (time / expected - 1.0).abs() < 5.0 * error + 0.01,
                "{phi}: {time}"
            );
            assert!(reliable);
        }
    }

    #[test]
    fn too_short_a_chain_is_said_to_be() {
        assert!(!autocorrelation_time(&ar1(5, 2, 200, 0.9)).unwrap().reliable);
        let alternating = [[0.0, 1.0].repeat(500)];
        assert!(!autocorrelation_time(&alternating).unwrap().reliable);
        // All lags together sum to no time at all.
        let trend = [[1.0, 2.0, 3.0, 4.0, 5.0]];
        assert!(!autocorrelation_time(&trend).unwrap().reliable);
    }

    #[test]
    fn lags_end_with_the_chain() {
        let chains = ar1(6, 2, 8, 0.3);
        assert_eq!(autocorrelation(&chains, usize::MAX).unwrap().len(), 8);
        let first = autocorrelation(&chains, 0).unwrap();
        assert!(first.len() == 1 && (first[0] - 1.0).abs() < 1e-14);
    }

    #[test]
    fn a_stuck_chain_has_no_correlation() {
        let mut chains = ar1(7, 3, 100, 0.0);
        chains[1].fill(0.1);
        assert_eq!(autocorrelation(&chains, 3), None);
        assert_eq!(autocorrelation_time(&chains), None);
    }
}
