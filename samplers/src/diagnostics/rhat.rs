//! Compare the variance between chains with that within.

use super::{map, mean, rank_normalise, sorted, split, variance};

/// Split R̂ (Gelman et al. 2013, Bayesian Data Analysis, section 11.4): 1 where the chains agree.
/// Infinite where every half is constant and they differ.
pub fn split_rhat<C: AsRef<[f64]>>(chains: &[C]) -> Option<f64> {
    plain(&split(chains)?)
}

/// Rank-normalised split R̂, the larger of the bulk's and the folded one, which sees differing scales
/// (Vehtari et al. 2021, arXiv 1903.08008). Above 1.01 the chains have not converged.
///
/// ```
/// let apart = [[0.0, 1.0, 0.1, 0.9].repeat(25), [5.0, 6.0, 5.1, 5.9].repeat(25)];
/// assert!(armilla_samplers::diagnostics::rhat(&apart).is_some_and(|rhat| rhat > 1.5));
/// ```
pub fn rhat<C: AsRef<[f64]>>(chains: &[C]) -> Option<f64> {
    let halves = split(chains)?;
    let bulk = plain(&rank_normalise(&halves))?;
    let centre = median(&halves.concat());
    let folded = map(&halves, |x| (x - centre).abs());
    // Two values at equal distance from their median fold into one: then the bulk is all there is.
    let folded = plain(&rank_normalise(&folded)).unwrap_or(bulk);
    Some(bulk.max(folded))
}

/// Half the sum of the two in the middle. Rounding alone decides which of them is nearer and so their order
/// when folded: round as everyone does.
fn median(x: &[f64]) -> f64 {
    let sorted = sorted(x);
    0.5 * (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2])
}

fn plain(chains: &[Vec<f64>]) -> Option<f64> {
    let within = mean(&chains.iter().map(|chain| variance(chain)).collect::<Vec<_>>());
    let between = variance(&chains.iter().map(|chain| mean(chain)).collect::<Vec<_>>());
    let n = chains.first()?.len() as f64;
    let rhat = ((n - 1.0) / n + between / within).sqrt();
    (within.is_finite() && !rhat.is_nan()).then_some(rhat)
}

#[cfg(test)]
mod tests {
    use super::super::tests::ar1;
    use super::*;

    #[test]
    fn agrees_with_the_formula_worked_by_hand() {
        // Halves (1, 2), (3, 4), (2, 4), (4, 6): W = (0.5 + 0.5 + 2 + 2) / 4, means 1.5, 3.5, 3, 5.
        let chains = [[1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 4.0, 6.0]];
        let between = (1.75f64.powi(2) + 0.25f64.powi(2) + 0.25f64.powi(2) + 1.75f64.powi(2)) / 3.0;
        let expected = (0.5 + between / 1.25).sqrt();
        assert!((split_rhat(&chains).unwrap() - expected).abs() < 1e-14);
    }

    #[test]
    fn sees_chains_that_differ_in_place_or_scale() {
        let mut chains = ar1(3, 4, 1000, 0.3);
        let agreed = rhat(&chains).unwrap();
        assert!((0.999..1.01).contains(&agreed), "{agreed}");
        let wide: Vec<Vec<f64>> = chains
            .iter()
            .enumerate()
            .map(|(i, c)| c.iter().map(|x| x * [1.0, 3.0][i % 2]).collect())
            .collect();
        assert!(rhat(&wide).unwrap() > 1.05 && split_rhat(&wide).unwrap() < 1.01);
        chains[0].iter_mut().for_each(|x| *x += 1.0);
        assert!(rhat(&chains).unwrap() > 1.05);
        // A drift within one chain shows because chains are split.
        let drift: Vec<f64> = (0..1000).map(|i| f64::from(i) * 0.01).collect();
        assert!(rhat(&[drift]).unwrap() > 1.5);
    }

    #[test]
    fn constant_chains_that_differ_never_converge() {
        let chains = [vec![0.0; 10], vec![1.0; 10]];
        assert_eq!(split_rhat(&chains), Some(f64::INFINITY));
        assert_eq!(rhat(&chains), Some(f64::INFINITY));
        let chains = [vec![0.1; 10], vec![0.3; 10]];
        assert_eq!(split_rhat(&chains), Some(f64::INFINITY));
    }
}
