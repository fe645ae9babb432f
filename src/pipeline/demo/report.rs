//! Put the demo into a table and into `demo.json`.

use serde::Serialize;

use crate::Result;
use crate::pipeline::pictures::Figure;
use crate::pipeline::report::{aligned, diagnostics, number};
use crate::pipeline::report_html::{Page, words};
use crate::pipeline::{Method, OutFolder, Report};

/// The content of `demo.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DemoReport {
    /// The seed.
    pub seed: u64,
    /// Pixels along a side.
    pub size: usize,
    /// The map that was inferred, of the test part of `maps.h5`.
    pub index: usize,
    /// The posterior of the exact likelihood.
    pub exact: Report,
    /// The maximum of the learned likelihood.
    pub mle: Report,
    /// Metropolis–Hastings on it.
    pub mh: Report,
    /// Hamiltonian Monte Carlo on it.
    pub hmc: Report,
    /// A grid on it.
    pub grid: Report,
    /// The methods against the exact posterior.
    pub comparison: Vec<Comparison>,
    /// How long each stage took.
    pub seconds: Seconds,
}

/// One parameter by one method, against the exact posterior.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The method.
    pub method: Method,
    /// The parameter.
    pub name: String,
    /// The means' difference in exact standard deviations.
    pub bias: f64,
    /// The standard deviation in exact ones.
    pub sd_ratio: f64,
}

/// How long the stages took, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Seconds {
    /// Simulating and writing the maps.
    pub simulate: f64,
    /// Reading them and training.
    pub train: f64,
    /// Reading the observation through the network.
    pub observe: f64,
    /// All methods and the exact posterior.
    pub infer: f64,
    /// Pictures and files.
    pub draw: f64,
    /// All of it.
    pub total: f64,
}

/// The means and widths of `report` in units of the exact ones.
pub(super) fn compare(exact: &Report, report: &Report) -> Vec<Comparison> {
    let pairs = exact.parameters.iter().zip(&report.parameters);
    pairs
        .map(|(exact, p)| Comparison {
            method: report.method,
            name: p.summary.name.clone(),
            bias: (p.summary.mean - exact.summary.mean) / exact.summary.sd,
            sd_ratio: p.summary.sd / exact.summary.sd,
        })
        .collect()
}

impl DemoReport {
    /// All methods and parameters in one table.
    pub fn table(&self) -> String {
        aligned(&self.rows())
    }

    /// The rows of the table, its head first.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let head = [
            "method",
            "parameter",
            "true",
            "mean",
            "sd",
            "bias/sd",
            "sd ratio",
            "R̂",
            "ESS",
            "evaluations",
            "seconds",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        let reports = [&self.exact, &self.mle, &self.mh, &self.hmc, &self.grid];
        for (k, report) in reports.into_iter().enumerate() {
            let compared = compare(&self.exact, report);
            for (i, (p, against)) in report.parameters.iter().zip(&compared).enumerate() {
                let first = |text: String| if i == 0 { text } else { String::new() };
                let of_method = |text: String| if k == 0 { "–".to_owned() } else { text };
                let evaluations = report.evaluations.values + report.evaluations.gradients;
                let [rhat, ess] = diagnostics(p);
                let name = if k == 0 { "exact" } else { report.method.name() };
                rows.push(vec![
                    first(name.to_owned()),
                    p.summary.name.clone(),
                    p.truth.map_or("–".into(), |truth| number(truth, p.summary.sd)),
                    number(p.summary.mean, p.summary.sd),
                    number(p.summary.sd, p.summary.sd),
                    of_method(format!("{:+.2}", against.bias)),
                    of_method(format!("{:.2}", against.sd_ratio)),
                    rhat,
                    ess,
                    first(evaluations.to_string()),
                    first(format!("{:.1}", report.seconds)),
                ]);
            }
        }
        rows
    }

    /// Write `report.html`.
    pub(super) fn write_page(&self, figures: &[Figure], folder: &mut OutFolder) -> Result<()> {
        let mut page = Page::new("Armilla's demo");
        page.paragraph(&format!(
            "A flow was trained on simulated lognormal fields of {0} × {0} pixels. Map {1}, which it never saw, was inferred \
             by four methods; as the likelihood of such fields is known exactly, so is the posterior they should find.",
            self.size, self.index
        ));
        page.table(&self.rows());
        page.warnings(&self.warnings());
        page.section("Pictures");
        page.figures(figures)?;
        for report in [&self.mle, &self.mh, &self.hmc, &self.grid] {
            page.section(&report.sampler);
            page.list(&words(report));
        }
        page.section("How to reproduce");
        page.code(&format!(
            "armilla demo --seed {} --size {} --index {}",
            self.seed, self.size, self.index
        ));
        page.write(&folder.file("report.html"))
    }

    /// What speaks against any of the results, with the method's name.
    pub fn warnings(&self) -> Vec<String> {
        let methods = [&self.mle, &self.mh, &self.hmc, &self.grid];
        let of = |report: &&Report| {
            let name = report.method.name();
            report
                .warnings
                .iter()
                .map(move |w| format!("{name}: {w}"))
                .collect::<Vec<_>>()
        };
        methods.iter().flat_map(of).collect()
    }
}
