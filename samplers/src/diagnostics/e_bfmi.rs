//! Compare how far energies move from draw to draw with how far they spread.

use super::{FEWEST_DRAWS, variance};

/// The estimated Bayesian fraction of missing information of each chain, from the energies of its draws
/// (Betancourt 2016, arXiv 1604.00695): 1 where fresh momenta reach all energies. Below 0.3 they do not,
/// and the draws may miss the tails; such posteriors are often helped by another parametrisation. `None`
/// for a chain of fewer than four energies, of one that is not finite, or of all the same.
///
/// ```
/// let reached = vec![1.0, 3.0, 2.0, 0.5, 2.5, 1.5];
/// let drifting: Vec<f64> = (0..100).map(f64::from).collect();
/// let fractions = armilla_samplers::diagnostics::e_bfmi(&[reached, drifting]);
/// assert!(fractions[0] > Some(1.0) && fractions[1] < Some(0.01));
/// ```
pub fn e_bfmi<C: AsRef<[f64]>>(energies: &[C]) -> Vec<Option<f64>> {
    energies.iter().map(|chain| of_chain(chain.as_ref())).collect()
}

fn of_chain(energies: &[f64]) -> Option<f64> {
    if energies.len() < FEWEST_DRAWS {
        return None;
    }
    let steps = energies.windows(2).map(|pair| (pair[1] - pair[0]).powi(2));
    let fraction = steps.sum::<f64>() / (energies.len() - 1) as f64 / variance(energies);
    fraction.is_finite().then_some(fraction)
}

#[cfg(test)]
mod tests {
    use super::super::tests::ar1;
    use super::*;

    #[test]
    fn a_chain_of_known_correlation() {
        // E (x' - x)² = 2 (1 - φ) Var x, to a few percent at this length.
        for (phi, chain) in [0.0, 0.5, 0.95].map(|phi| (phi, ar1(1, 1, 40_000, phi))) {
            let found = e_bfmi(&chain)[0].unwrap();
            assert!((found / (2.0 * (1.0 - phi)) - 1.0).abs() < 0.15, "{phi}: {found}");
        }
    }

    #[test]
    fn each_chain_is_judged_by_itself() {
        let energies = [
            vec![1.0, 2.0, 1.0, 2.0, 1.0],
            vec![0.1; 10],
            vec![1.0, 2.0, 3.0],
            vec![1.0, f64::NAN, 2.0, 1.0],
            vec![1.0, f64::INFINITY, 2.0, 1.0],
            vec![],
        ];
        let expected = 1.0 / 0.3;
        let found = e_bfmi(&energies);
        assert!((found[0].unwrap() - expected).abs() < 1e-14);
        assert_eq!(found[1..], [None; 5]);
    }
}
