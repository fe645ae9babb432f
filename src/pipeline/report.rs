//! Put an inference into numbers, files and a table.

use armilla_samplers::Run;
use armilla_samplers::export::csv;
use armilla_samplers::run::{Evaluations, ParameterSummary};
use serde::Serialize;

use super::trained::write_json;
use super::{InferSettings, Inference, LikelihoodSettings, Method, OutFolder};
use crate::Result;
use crate::plot::ParameterRow;

/// An inference in numbers: the content of `posterior.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The method.
    pub method: Method,
    /// The method in words.
    pub sampler: String,
    /// The likelihood, where it is a trained flow's; an exact one has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likelihood: Option<LikelihoodSettings>,
    /// The name of the data file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The number of the map in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// The seed.
    pub seed: u64,
    /// The parameters in order.
    pub parameters: Vec<ParameterReport>,
    /// Chains.
    pub chains: usize,
    /// Draws over all chains, or cells of the grid.
    pub draws: usize,
    /// Evaluations of the likelihood.
    pub evaluations: Evaluations,
    /// The mean acceptance, where there is one.
    pub acceptance: Option<f64>,
    /// Draws that followed a divergence.
    pub divergences: usize,
    /// What the draws are instead of draws from the posterior.
    pub approximation: Option<String>,
    /// ln ∫ p(map | θ) p(θ) dθ, where the method computes it.
    pub log_evidence: Option<f64>,
    /// The standard error that the frozen noise leaves in the log likelihood's difference between one standard
    /// deviation below and above the estimate: what the noise does to the posterior.
    pub noise_error: Option<f64>,
    /// What speaks against the result.
    pub warnings: Vec<String>,
    /// How long it took. The only number that differs between two runs with the same seed.
    pub seconds: f64,
}

/// One parameter of an inference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ParameterReport {
    /// Its name, moments, quantiles and diagnostics.
    #[serde(flatten)]
    pub summary: ParameterSummary,
    /// Its true value, where it is known.
    #[serde(rename = "true")]
    pub truth: Option<f64>,
    /// The best point of an optimiser, else the posterior mean.
    pub estimate: f64,
}

impl Report {
    pub(super) fn new(settings: &InferSettings, run: &Run, truth: Option<&[f64]>, seconds: f64) -> Self {
        let summary = run.summary();
        let best = run.estimate.as_ref().map(|estimate| &estimate.x);
        let parameters = summary
            .parameters
            .into_iter()
            .enumerate()
            .map(|(i, summary)| ParameterReport {
                truth: truth.map(|truth| truth[i]),
                estimate: best.map_or(summary.mean, |best| best[i]),
                summary,
            });
        Self {
            method: settings.method,
            sampler: summary.method,
            likelihood: None,
            data: None,
            index: None,
            seed: settings.seed,
            parameters: parameters.collect(),
            chains: summary.chains,
            draws: summary.draws,
            evaluations: summary.evaluations,
            acceptance: summary.acceptance,
            divergences: summary.divergences,
            approximation: summary.approximation,
            log_evidence: summary.log_evidence,
            noise_error: None,
            warnings: summary.warnings,
            seconds,
        }
    }

    /// The parameters as [`plot::inference`](crate::plot::inference()) lists them.
    pub fn parameter_rows(&self) -> Vec<ParameterRow<'_>> {
        let rows = self.parameters.iter().map(|p| ParameterRow {
            name: &p.summary.name,
            truth: p.truth,
            estimate: p.estimate,
            // One that is not known is not finite.
            sd: Some(p.summary.sd).filter(|sd| sd.is_finite()),
        });
        rows.collect()
    }

    /// The table of true values, estimates, errors and standard deviations.
    pub fn table(&self) -> String {
        aligned(&self.rows())
    }

    /// The rows of the table, its head first.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let markov = self.parameters.iter().any(|p| p.summary.rhat.is_some());
        let mut head = vec!["parameter", "true", "estimated", "error", "sd", "16%", "84%"];
        if markov {
            head.extend(["R̂", "ESS"]);
        }
        let mut rows = vec![head.into_iter().map(str::to_owned).collect()];
        for p in &self.parameters {
            let ParameterSummary {
                name, sd, q16, q84, ..
            } = &p.summary;
            let show = |x| number(x, *sd);
            let error = p.truth.map(|truth| p.estimate - truth);
            let mut row = vec![
                name.clone(),
                p.truth.map_or("–".into(), show),
                show(p.estimate),
                error.map_or("–".into(), |e| {
                    if e > 0.0 { format!("+{}", show(e)) } else { show(e) }
                }),
                show(*sd),
                show(*q16),
                show(*q84),
            ];
            if markov {
                row.extend(diagnostics(p));
            }
            rows.push(row);
        }
        rows
    }
}

impl Inference {
    /// Write `posterior.json` and `draws.csv`.
    ///
    /// # Errors
    ///
    /// Files that cannot be written.
    pub fn write(&self, folder: &mut OutFolder) -> Result<()> {
        write_json(&folder.file("posterior.json"), &self.report)?;
        Ok(csv::write(&self.run, &folder.file("draws.csv"))?)
    }
}

/// R̂ and effective draws as the tables show them.
pub(super) fn diagnostics(p: &ParameterReport) -> [String; 2] {
    let none = || "–".to_owned();
    [
        p.summary.rhat.map_or_else(none, |rhat| format!("{rhat:.3}")),
        p.summary.ess.map_or_else(none, |ess| format!("{ess:.0}")),
    ]
}

/// A number with as many digits as show three of `sd`.
pub(super) fn number(x: f64, sd: f64) -> String {
    if !x.is_finite() {
        return "–".into();
    }
    let sd = if sd > 0.0 && sd.is_finite() { sd } else { x.abs() };
    let magnitude = if sd > 0.0 { sd.log10().floor() } else { 0.0 };
    if !(-8.0..=5.0).contains(&magnitude) {
        return format!("{x:.4e}");
    }
    let decimals = (2.0 - magnitude).max(0.0) as usize;
    format!("{x:.decimals$}")
}

/// Rows as columns: the first to the left, the others to the right.
pub(super) fn aligned(rows: &[Vec<String>]) -> String {
    // R̂ is two characters but one wide.
    let width = |text: &str| text.chars().filter(|&c| c != '\u{302}').count();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns)
        .map(|k| {
            rows.iter()
                .filter_map(|row| row.get(k))
                .map(|cell| width(cell))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (k, (cell, full)) in row.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(full - width(cell));
            line += &match k {
                0 => format!("{cell}{pad}"),
                _ => format!("  {pad}{cell}"),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_three_digits_of_their_scatter() {
        assert_eq!(number(0.31234, 0.01234), "0.3123");
        assert_eq!(number(1234.5678, 12.0), "1234.6");
        assert_eq!(number(f64::NAN, 1.0), "–");
        assert_eq!(number(1e10, 1e9), "1.0000e10");
        assert_eq!(number(0.0, 0.0), "0.00");
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a", "R̂", "x"], ["long", "1.001", "–"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows), "a         R̂  x\nlong  1.001  –\n");
    }
}
