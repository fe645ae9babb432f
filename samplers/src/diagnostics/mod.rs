//! Judge draws: chains by `rhat`, `split_rhat`, `ess_bulk`, `ess_tail`, `ess_mean`, `ess_sd`,
//! `ess_quantile`, `mcse_mean`, `mcse_sd`, `mcse_quantile`, `autocorrelation`, `autocorrelation_time` and
//! `pareto_k`, Hamiltonian energies by `e_bfmi`, importance weights by `psis` and `pareto_k_limit`.
//!
//! Functions of chains take those of one parameter. Chains of unequal length are judged on their common
//! length: the first n draws of each, where n is the shortest's. The answer is `None` where the chains
//! cannot be judged: fewer than four draws, a value among them that is not finite, or no variation at all.
//!
//! | of the posterior's | effective sample size | Monte Carlo standard error |
//! |---|---|---|
//! | mean | [`ess_mean`] | [`mcse_mean`] |
//! | standard deviation | [`ess_sd`] | [`mcse_sd`] |
//! | quantile p | [`ess_quantile`] | [`mcse_quantile`] |
//! | whole, when there is no particular question | [`ess_bulk`], [`ess_tail`] | |
//!
//! The tests compare each with ArviZ, which differs where nothing varies: it takes all draws for effective
//! there.

mod autocorrelation;
mod autocovariance;
mod beta_quantile;
mod e_bfmi;
mod ess;
mod generalised_pareto;
mod mcse;
mod psis;
mod rhat;

pub use autocorrelation::{AutocorrelationTime, autocorrelation, autocorrelation_time};
pub use e_bfmi::e_bfmi;
pub use ess::{ess_bulk, ess_mean, ess_quantile, ess_sd, ess_tail};
pub use mcse::{mcse_mean, mcse_quantile, mcse_sd};
pub use psis::{Psis, pareto_k, pareto_k_limit, psis};
pub use rhat::{rhat, split_rhat};

use crate::normal_quantile::normal_quantile;

/// Fewer draws per chain make no two halves with a variance.
const FEWEST_DRAWS: usize = 4;

/// Every chain up to the length of the shortest, if there is something to judge.
fn common<C: AsRef<[f64]>>(chains: &[C]) -> Option<Vec<&[f64]>> {
    let length = chains.iter().map(|chain| chain.as_ref().len()).min()?;
    let chains: Vec<&[f64]> = chains.iter().map(|chain| &chain.as_ref()[..length]).collect();
    let finite = chains.iter().all(|chain| chain.iter().all(|x| x.is_finite()));
    (length >= FEWEST_DRAWS && finite).then_some(chains)
}

/// Which parameters, given by their chains, are the same in all draws while others vary: those are constants, as
/// the first number of a Cholesky factor is, about which there is nothing to judge. Chains that are stuck vary in
/// none.
pub(crate) fn fixed(parameters: &[Vec<Vec<f64>>]) -> Vec<bool> {
    let constant = |chains: &Vec<Vec<f64>>| {
        let mut draws = chains.iter().flatten();
        let first = draws.next();
        draws.all(|x| Some(x) == first)
    };
    let constant: Vec<bool> = parameters.iter().map(constant).collect();
    let stuck = constant.iter().all(|&constant| constant);
    constant.into_iter().map(|constant| constant && !stuck).collect()
}

/// Every chain cut into its two halves, without the middle draw of an odd length.
fn split<C: AsRef<[f64]>>(chains: &[C]) -> Option<Vec<Vec<f64>>> {
    let halves = |chain: &[f64]| {
        let half = chain.len() / 2;
        [chain[..half].to_vec(), chain[chain.len() - half..].to_vec()]
    };
    Some(common(chains)?.into_iter().flat_map(halves).collect())
}

/// The chains with every value replaced.
fn map<C: AsRef<[f64]>>(chains: &[C], replace: impl Fn(f64) -> f64) -> Vec<Vec<f64>> {
    let of_chain = |chain: &C| chain.as_ref().iter().map(|&x| replace(x)).collect();
    chains.iter().map(of_chain).collect()
}

/// Replaces every value by the normal quantile of its rank among all, ties by their mean rank (Vehtari
/// et al. 2021, equation 14).
fn rank_normalise(chains: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let values: Vec<f64> = chains.concat();
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut scores = vec![0.0; values.len()];
    let mut first = 0;
    while first < order.len() {
        let tied = order[first..]
            .iter()
            .take_while(|&&i| values[i] == values[order[first]])
            .count();
        let rank = first as f64 + 0.5 * (tied as f64 + 1.0);
        let score = normal_quantile((rank - 0.375) / (values.len() as f64 + 0.25));
        order[first..first + tied].iter().for_each(|&i| scores[i] = score);
        first += tied;
    }
    let mut scores = scores.into_iter();
    chains
        .iter()
        .map(|chain| scores.by_ref().take(chain.len()).collect())
        .collect()
}

/// Exact where all values are the same, so that their variance is zero.
fn mean(x: &[f64]) -> f64 {
    if let Some((&first, rest)) = x.split_first()
        && rest.iter().all(|&value| value == first)
    {
        return first;
    }
    x.iter().sum::<f64>() / x.len() as f64
}

/// The variance with n − 1 in its denominator.
fn variance(x: &[f64]) -> f64 {
    let mean = mean(x);
    x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (x.len() as f64 - 1.0)
}

fn sorted(x: &[f64]) -> Vec<f64> {
    let mut sorted = x.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The quantile `p` of `x`, linear between order statistics. That p (n − 1) is computed as it stands
/// matters where it is whole: the order statistic there is not to lie above the quantile by rounding.
fn quantile(x: &[f64], p: f64) -> f64 {
    let sorted = sorted(x);
    let at = p * (sorted.len() as f64 - 1.0);
    let below = at.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (at - below as f64) * (sorted[above] - sorted[below])
}

#[cfg(test)]
pub(crate) mod tests {
    use rand::RngExt;
    use rand_distr::StandardNormal;

    use super::*;
    use crate::rng::{Purpose, stream};

    /// Chains of x' = φ x + √(1 − φ²) ξ: a standard normal whose ESS is n (1 − φ) / (1 + φ).
    pub(crate) fn ar1(seed: u64, chains: u64, draws: usize, phi: f64) -> Vec<Vec<f64>> {
        let chain = |index| {
            let mut rng = stream(seed, Purpose::Simulation, index);
            let mut x: f64 = rng.sample(StandardNormal);
            let mut next = || {
                x = phi * x + (1.0 - phi * phi).sqrt() * rng.sample::<f64, _>(StandardNormal);
                x
            };
            (0..draws).map(|_| next()).collect()
        };
        (0..chains).map(chain).collect()
    }

    type Judge = fn(&[Vec<f64>]) -> Option<f64>;

    const JUDGES: [Judge; 11] = [
        rhat,
        split_rhat,
        ess_bulk,
        ess_tail,
        ess_mean,
        ess_sd,
        mcse_mean,
        mcse_sd,
        |chains| ess_quantile(chains, 0.3),
        |chains| mcse_quantile(chains, 0.3),
        pareto_k,
    ];

    #[test]
    fn ranks_become_normal_scores() {
        let scores = rank_normalise(&[vec![10.0, 30.0], vec![20.0, 20.0]]);
        assert!((scores[0][0] - normal_quantile(0.625 / 4.25)).abs() < 1e-15);
        assert!((scores[0][1] - normal_quantile(3.625 / 4.25)).abs() < 1e-15);
        // The two tied values share rank 2.5, the middle.
        assert!(scores[1][0].abs() < 1e-15 && scores[1][1].abs() < 1e-15);
    }

    #[test]
    fn what_cannot_be_judged_is_none() {
        let constant = [vec![1.0; 100], vec![1.0; 100]];
        // A tenth is no binary fraction: its sum rounds.
        let tenth = [vec![0.1; 100], vec![0.1; 100]];
        let mut broken = ar1(1, 2, 100, 0.0);
        broken[1][50] = f64::NAN;
        let short = [vec![0.0, 1.0, 2.0]];
        let none: [Vec<f64>; 0] = [];
        for chains in [&constant[..], &tenth[..], &broken[..], &short[..], &none[..]] {
            for judge in JUDGES {
                assert_eq!(judge(chains), None);
            }
            assert_eq!(autocorrelation(chains, 10), None);
            assert_eq!(autocorrelation_time(chains), None);
        }
    }

    #[test]
    fn unequal_chains_are_judged_on_their_common_length() {
        let equal = ar1(2, 3, 200, 0.3);
        let mut unequal = equal.clone();
        // What lies beyond is not looked at.
        unequal[1].extend([f64::NAN, 1e9]);
        unequal[2].push(-1e9);
        for judge in JUDGES {
            assert_eq!(judge(&unequal), judge(&equal));
            assert!(judge(&equal).is_some());
        }
        assert_eq!(autocorrelation(&unequal, 10), autocorrelation(&equal, 10));
        assert_eq!(autocorrelation_time(&unequal), autocorrelation_time(&equal));
        unequal[0].truncate(3);
        assert!(JUDGES.iter().all(|judge| judge(&unequal).is_none()));
    }

    #[test]
    fn squares_that_overflow_make_no_answer() {
        let huge = map(&ar1(3, 2, 100, 0.0), |x| x * 1e200);
        for judge in [split_rhat, ess_mean, ess_sd, mcse_mean, mcse_sd] {
            assert_eq!(judge(&huge), None);
        }
        assert_eq!(autocorrelation_time(&huge), None);
        // Ranks and quantiles have no squares.
        for judge in [rhat, ess_bulk, ess_tail] {
            assert!(judge(&huge).is_some());
        }
    }
}
