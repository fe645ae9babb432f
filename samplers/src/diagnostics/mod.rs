//! Judge chains: `rhat`, `split_rhat`, `ess_bulk`, `ess_tail`, `ess_mean`, `mcse_mean`.
//!
//! All take the chains of one parameter and return `None` where the chains cannot be judged: fewer than
//! four draws, unequal lengths, a value that is not finite, or no variation at all.

mod autocovariance;
mod ess;
mod rhat;

pub use ess::{ess_bulk, ess_mean, ess_tail, mcse_mean};
pub use rhat::{rhat, split_rhat};

use crate::normal_quantile::normal_quantile;

/// Fewer draws per chain make no two halves with a variance.
const FEWEST_DRAWS: usize = 4;

/// Every chain cut into its two halves, without the middle draw of an odd length.
fn split<C: AsRef<[f64]>>(chains: &[C]) -> Option<Vec<Vec<f64>>> {
    let length = chains.first()?.as_ref().len();
    let usable = |chain: &C| chain.as_ref().len() == length && chain.as_ref().iter().all(|x| x.is_finite());
    if length < FEWEST_DRAWS || !chains.iter().all(usable) {
        return None;
    }
    let half = length / 2;
    let halves = |chain: &C| {
        let chain = chain.as_ref();
        [chain[..half].to_vec(), chain[length - half..].to_vec()]
    };
    Some(chains.iter().flat_map(halves).collect())
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

/// The quantile `p` of `x`, linear between order statistics.
fn quantile(x: &[f64], p: f64) -> f64 {
    let mut sorted = x.to_vec();
    sorted.sort_by(f64::total_cmp);
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
        let unequal = [vec![0.0, 1.0, 2.0, 3.0], vec![0.0, 1.0, 2.0, 3.0, 4.0]];
        let short = [vec![0.0, 1.0, 2.0]];
        let none: [Vec<f64>; 0] = [];
        for chains in [
            &constant[..],
            &tenth[..],
            &broken[..],
            &unequal[..],
            &short[..],
            &none[..],
        ] {
            for judge in [rhat, split_rhat, ess_bulk, ess_tail, ess_mean, mcse_mean] {
                assert_eq!(judge(chains), None);
            }
        }
    }
}
