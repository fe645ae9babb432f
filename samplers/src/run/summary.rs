//! Reduce a run to a table, and say in words what is wrong with it.

use std::fmt;

use serde::Serialize;

use super::{Chain, Evaluations, Run, StopReason, Variational};
use crate::diagnostics;

/// Above this the chains have not converged (Vehtari et al. 2021, arXiv 1903.08008).
const RHAT_LIMIT: f64 = 1.01;
/// Below this many effective draws per chain the diagnostics themselves are unreliable (same paper).
const ESS_PER_CHAIN: f64 = 100.0;
/// Below this the momenta barely move the energy, and the tails are explored slowly (Betancourt 2016, arXiv
/// 1604.00695; the limit is Stan's).
const E_BFMI_LIMIT: f64 = 0.3;

/// One parameter of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParameterSummary {
    /// Its name.
    pub name: String,
    /// The mean of the draws.
    pub mean: f64,
    /// Their standard deviation.
    pub sd: f64,
    /// The 5% quantile.
    pub q05: f64,
    /// The 16% quantile.
    pub q16: f64,
    /// The median.
    pub q50: f64,
    /// The 84% quantile.
    pub q84: f64,
    /// The 95% quantile.
    pub q95: f64,
    /// The Monte Carlo standard error of the mean; absent where the draws are no Markov chains.
    pub mcse: Option<f64>,
    /// Rank-normalised split R̂; absent where the draws are no Markov chains or cannot be judged.
    pub rhat: Option<f64>,
    /// Effective sample size of the bulk; absent likewise.
    pub ess: Option<f64>,
    /// Effective sample size of the tails; absent likewise.
    pub ess_tail: Option<f64>,
}

/// A run in numbers, and in words where they cannot be trusted. Displayed as a table.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The method of the run.
    pub method: String,
    /// The parameters in order; their numbers are NaN where nothing was drawn.
    pub parameters: Vec<ParameterSummary>,
    /// The number of chains.
    pub chains: usize,
    /// Draws over all chains.
    pub draws: usize,
    /// Evaluations spent.
    pub evaluations: Evaluations,
    /// Draws that followed a divergence.
    pub divergences: usize,
    /// The mean acceptance, where there is one.
    pub acceptance: Option<f64>,
    /// What the draws are instead of draws from the posterior.
    pub approximation: Option<String>,
    /// The quality of the fit, where a density was fitted.
    pub variational: Option<Variational>,
    /// ln ∫ p(data | x) p(x) dx, where the method computes it.
    pub log_evidence: Option<f64>,
    /// One standard deviation of it, where the method can tell.
    pub log_evidence_error: Option<f64>,
    /// Why the run ended.
    pub stop: StopReason,
    /// What speaks against the result. Empty is no proof of convergence, only the lack of one against it.
    pub warnings: Vec<String>,
}

impl Summary {
    pub(super) fn new(run: &Run) -> Self {
        let weights = run.weights();
        // Neither a grid nor Laplace draws are Markov chains: to judge them as such would flatter.
        let markov = run.chains.iter().any(|chain| !chain.steps.is_empty());
        let parameter = |(index, name): (usize, &String)| {
            let chains = run.parameter(index);
            let [q05, q16, q50, q84, q95] =
                weighted_quantiles(&chains.concat(), &weights, [0.05, 0.16, 0.5, 0.84, 0.95]);
            let (mean, sd) = weighted_moments(&chains.concat(), &weights);
            let judge = |judge: fn(&[Vec<f64>]) -> Option<f64>| if markov { judge(&chains) } else { None };
            ParameterSummary {
                name: name.clone(),
                mean,
                sd,
                q05,
                q16,
                q50,
                q84,
                q95,
                mcse: judge(diagnostics::mcse_mean),
                rhat: judge(diagnostics::rhat),
                ess: judge(diagnostics::ess_bulk),
                ess_tail: judge(diagnostics::ess_tail),
            }
        };
        let acceptances: Vec<f64> = run.chains.iter().filter_map(|chain| chain.acceptance()).collect();
        let acceptance = acceptances.iter().sum::<f64>() / acceptances.len() as f64;
        let mut summary = Self {
            method: run.method.clone(),
            parameters: run.names.iter().enumerate().map(parameter).collect(),
            chains: run.chains.len(),
            draws: run.len(),
            evaluations: run.evaluations,
            divergences: run.chains.iter().map(|chain| chain.divergences()).sum(),
            acceptance: (!acceptances.is_empty()).then_some(acceptance),
            approximation: run.approximation.clone(),
            variational: run.variational.clone(),
            log_evidence: run.log_evidence,
            log_evidence_error: run.log_evidence_error,
            stop: run.stop.clone(),
            warnings: run.warnings.clone(),
        };
        summary.judge(run, markov);
        summary
    }

    fn judge(&mut self, run: &Run, markov: bool) {
        if let StopReason::Fatal { chain, message } = &self.stop {
            self.warnings
                .push(format!("the run was cut short in chain {chain}: {message}"));
        }
        match self.stop {
            StopReason::TimeLimit => self.warnings.push("the time was up before all was drawn".into()),
            StopReason::Interrupted => self
                .warnings
                .push("the run was interrupted before all was drawn".into()),
            _ => {}
        }
        if run.estimate.as_ref().is_some_and(|estimate| !estimate.converged) {
            self.warnings
                .push("the optimiser has not converged: allow more iterations".into());
        }
        if run.is_empty() {
            if run.estimate.is_none() {
                self.warnings.push("nothing was drawn".into());
            }
            return;
        }
        if !markov {
            return;
        }
        if self.divergences > 0 {
            self.warnings.push(format!(
                "{} of {} draws followed a divergence or a failed evaluation: the draws may miss a region",
                self.divergences, self.draws
            ));
        }
        let energies = |chain: &Chain| chain.steps.iter().filter_map(|step| step.energy).collect();
        let energies: Vec<Vec<f64>> = run.chains.iter().map(energies).collect();
        let low = |e_bfmi: &Option<f64>| e_bfmi.is_some_and(|e_bfmi| e_bfmi < E_BFMI_LIMIT);
        let slow = diagnostics::e_bfmi(&energies)
            .iter()
            .filter(|e_bfmi| low(e_bfmi))
            .count();
        if slow > 0 {
            self.warnings.push(format!(
                "{slow} of {} chains explore the energies slowly (E-BFMI under {E_BFMI_LIMIT}): the tails may be \
                 missed, a reparametrisation would help",
                self.chains
            ));
        }
        let needed = ESS_PER_CHAIN * self.chains as f64;
        let columns: Vec<Vec<Vec<f64>>> = (0..run.dim()).map(|index| run.parameter(index)).collect();
        let fixed = diagnostics::fixed(&columns);
        for (parameter, _) in self.parameters.iter().zip(fixed).filter(|(_, fixed)| !fixed) {
            let name = &parameter.name;
            match parameter.rhat {
                None => self
                    .warnings
                    .push(format!("{name} cannot be judged: too few draws, or all the same")),
                Some(rhat) if rhat > RHAT_LIMIT => {
                    self.warnings.push(format!(
                        "{name} has not converged: R̂ is {rhat:.3}, over {RHAT_LIMIT}"
                    ));
                }
                Some(_) => {}
            }
            // Where one of them cannot be told, the other still speaks.
            let ess = [parameter.ess, parameter.ess_tail]
                .into_iter()
                .flatten()
                .reduce(f64::min);
            if let Some(ess) = ess.filter(|&ess| ess < needed) {
                self.warnings.push(format!(
                    "{name} has only {ess:.0} effective draws, under {needed:.0}"
                ));
            }
        }
    }
}

/// Mean and standard deviation; NaN without weight.
fn weighted_moments(x: &[f64], weights: &[f64]) -> (f64, f64) {
    let sum: f64 = weights.iter().sum();
    let mean = x.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>() / sum;
    let variance = x
        .iter()
        .zip(weights)
        .map(|(x, w)| w * (x - mean).powi(2))
        .sum::<f64>()
        / sum;
    (mean, variance.sqrt())
}

/// Quantiles of the distribution function that reaches, at each distinct value, the weight below it and
/// half its own, and is linear between; NaN without weight.
fn weighted_quantiles<const N: usize>(x: &[f64], weights: &[f64], ps: [f64; N]) -> [f64; N] {
    let mut order: Vec<usize> = (0..x.len()).filter(|&i| weights[i] > 0.0).collect();
    order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    let mut points: Vec<(f64, f64)> = Vec::new();
    for i in order {
        match points.last_mut() {
            Some((value, weight)) if *value == x[i] => *weight += weights[i],
            _ => points.push((x[i], weights[i])),
        }
    }
    let mut below = 0.0;
    for (_, weight) in &mut points {
        let own = *weight;
        *weight = below + 0.5 * own;
        below += own;
    }
    ps.map(|p| {
        let Some((&(least, _), &(greatest, _))) = points.first().zip(points.last()) else {
            return f64::NAN;
        };
        let next = points.partition_point(|&(_, reached)| reached < p * below);
        if next == 0 {
            return least;
        }
        if next == points.len() {
            return greatest;
        }
        let ((x0, p0), (x1, p1)) = (points[next - 1], points[next]);
        x0 + (x1 - x0) * (p * below - p0) / (p1 - p0)
    })
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} draws in {} chains",
            self.method, self.draws, self.chains
        )?;
        writeln!(
            f,
            ", {} values and {} gradients",
            self.evaluations.values, self.evaluations.gradients
        )?;
        if let Some(approximation) = &self.approximation {
            writeln!(f, "approximation: {approximation}")?;
        }
        if let Some(Variational {
            elbo,
            elbo_se,
            pareto_k,
        }) = self.variational
        {
            write!(f, "evidence lower bound: {elbo:.3} ± {elbo_se:.3}")?;
            match pareto_k {
                Some(pareto_k) => writeln!(f, ", k̂ of the importance ratios {pareto_k:.2}")?,
                None => writeln!(f)?,
            }
        }
        if let Some(log_evidence) = self.log_evidence {
            write!(f, "log evidence: {log_evidence:.3}")?;
            match self.log_evidence_error {
                Some(error) => writeln!(f, " ± {error:.3}")?,
                None => writeln!(f)?,
            }
        }
        let names = self
            .parameters
            .iter()
            .map(|parameter| parameter.name.chars().count());
        let width = names.max().unwrap_or(0).max("parameter".len());
        write!(f, "{:width$}", "parameter")?;
        for heading in ["mean", "mcse", "sd", "5%", "16%", "50%", "84%", "95%"] {
            write!(f, " {heading:>10}")?;
        }
        writeln!(f, " {:>7} {:>7}", "R̂ ", "ESS")?;
        for parameter in &self.parameters {
            write!(f, "{:width$}", parameter.name)?;
            let ParameterSummary {
                mean,
                sd,
                q05,
                q16,
                q50,
                q84,
                q95,
                ..
            } = *parameter;
            let mcse = parameter.mcse.map_or("–".into(), four_digits);
            write!(f, " {:>10} {mcse:>10}", four_digits(mean))?;
            for number in [sd, q05, q16, q50, q84, q95] {
                write!(f, " {:>10}", four_digits(number))?;
            }
            let rhat = parameter.rhat.map_or("–".into(), |rhat| format!("{rhat:.3}"));
            let ess = parameter.ess.map_or("–".into(), |ess| format!("{ess:.0}"));
            writeln!(f, " {rhat:>6} {ess:>7}")?;
        }
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}

/// Four significant digits, in exponents where the number is far from one.
fn four_digits(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 || (1e-3..1e5).contains(&size) {
        let decimals = (3.0 - size.max(1e-3).log10().floor()).clamp(0.0, 6.0) as usize;
        let decimals = if x == 0.0 { 1 } else { decimals };
        format!("{x:.decimals$}")
    } else {
        format!("{x:.3e}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::Step;
    use super::*;

    fn run(draws: Vec<Vec<f64>>, log_weights: Option<Vec<f64>>, markov: bool) -> Run {
        let chain = |draws: Vec<f64>| Chain {
            log_density: vec![0.0; draws.len()],
            steps: vec![
                Step {
                    acceptance: 0.5,
                    ..Step::default()
                };
                if markov { draws.len() } else { 0 }
            ],
            draws,
            log_weights: log_weights.clone(),
            warmup_divergences: 0,
            step_size: None,
        };
        Run::of_chains(
            "test".into(),
            vec!["a".into()],
            draws.into_iter().map(chain).collect(),
        )
    }

    #[test]
    fn weights_count_as_repetitions() {
        let repeated = run(vec![vec![1.0, 2.0, 2.0, 5.0]], None, false).summary();
        let weighted = run(
            vec![vec![5.0, 1.0, 2.0]],
            Some(vec![-7.0, -7.0, 2f64.ln() - 7.0]),
            false,
        )
        .summary();
        let numbers = |summary: &Summary| {
            let p = &summary.parameters[0];
            [p.mean, p.sd, p.q05, p.q16, p.q50, p.q84, p.q95]
        };
        for (a, b) in numbers(&repeated).into_iter().zip(numbers(&weighted)) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
        assert_eq!(repeated.parameters[0].mean, 2.5);
        assert_eq!(repeated.parameters[0].q50, 2.0);
    }

    #[test]
    fn what_speaks_against_a_run_is_said() {
        let warnings = |run: &Run| run.summary().warnings.join("\n");
        let good = crate::diagnostics::tests::ar1(1, 4, 1000, 0.0);
        assert_eq!(warnings(&run(good.clone(), None, true)), "");
        let mut apart = good.clone();
        apart[0].iter_mut().for_each(|x| *x += 3.0);
        assert!(warnings(&run(apart, None, true)).contains("a has not converged: R̂ is"));
        let slow = crate::diagnostics::tests::ar1(1, 2, 1000, 0.99);
        assert!(warnings(&run(slow.clone(), None, true)).contains("effective draws, under 200"));
        // Two values, the greater more than 5% of the time: the tails cannot be told.
        let two: Vec<Vec<f64>> = slow
            .iter()
            .map(|chain| chain.iter().map(|x| f64::from(u8::from(*x > 0.0))).collect())
            .collect();
        let run_of_two = run(two, None, true);
        assert_eq!(run_of_two.summary().parameters[0].ess_tail, None);
        assert!(warnings(&run_of_two).contains("effective draws, under 200"));
        assert!(warnings(&run(vec![vec![0.1; 100]], None, true)).contains("cannot be judged"));
        assert!(warnings(&run(vec![vec![]], None, true)).contains("nothing was drawn"));
        let mut diverged = run(good, None, true);
        diverged.chains[0].steps[3].diverged = true;
        assert!(warnings(&diverged).contains("1 of 4000 draws followed a divergence"));
    }

    #[test]
    fn the_table_shows_names_numbers_and_warnings() {
        let table = run(vec![vec![1.0, 2.0, 2.0, 5.0]], None, true)
            .summary()
            .to_string();
        assert!(
            table.starts_with("test: 4 draws in 1 chains, 0 values and 0 gradients\nparameter"),
            "{table}"
        );
        assert!(table.contains("\na              2.500 "), "{table}");
        assert!(table.contains("warning: "), "{table}");
        assert_eq!(four_digits(0.0123456), "0.01235");
        assert_eq!(four_digits(-123456.0), "-1.235e5");
        assert_eq!(four_digits(f64::NAN), "NaN");
    }
}
