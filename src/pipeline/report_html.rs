//! Write results as one page that holds all it shows: no file beside it, no network, no font is needed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use super::pictures::Figure;
use super::{InferSettings, Inference, Method, OutFolder, Report};
use crate::atomic::{cannot_write, write_atomically};
use crate::plot::{base64, escape};
use crate::{Error, Result};

/// Chains with a larger R̂ disagree (Vehtari et al. 2021, arXiv 1903.08008).
const RHAT_LIMIT: f64 = 1.01;

const STYLE: &str = "
body { margin: 0 auto; max-width: 44rem; padding: 0.75rem; background: #fff; color: #222;
  font: 1rem/1.5 system-ui, -apple-system, 'Segoe UI', sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0.5rem 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 0.5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; border-top: 2px solid #222; border-bottom: 2px solid #222; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.6rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 1px solid #222; }
tbody tr + tr td { border-top: 1px solid #ddd; }
.settings td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
figure { margin: 1.25rem 0; }
figcaption { color: #555; font-size: 0.9rem; }
.warning { border-left: 4px solid #d55e00; background: #fdf3ec; padding: 0.5rem 0.9rem; margin-top: 1rem; }
.good { border-left: 4px solid #009e73; background: #eef8f4; padding: 0.5rem 0.9rem; }
pre { background: #f5f5f5; padding: 0.7rem; white-space: pre-wrap; overflow-wrap: anywhere; font-size: 0.85rem; }
footer { margin: 2.5rem 0 1rem; color: #555; font-size: 0.85rem; }
";

/// A page in the making. Whatever it is given is text: nothing of it becomes a tag.
pub(super) struct Page(String);

impl Page {
    pub fn new(title: &str) -> Self {
        let title = escape(title);
        Self(format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        ))
    }

    fn element(&mut self, tag: &str, text: &str) {
        let _ = writeln!(self.0, "<{tag}>{}</{tag}>", escape(text));
    }

    pub fn section(&mut self, heading: &str) {
        self.element("h2", heading);
    }

    pub fn paragraph(&mut self, text: &str) {
        self.element("p", text);
    }

    pub fn code(&mut self, text: &str) {
        self.element("pre", text);
    }

    pub fn list(&mut self, items: &[String]) {
        self.0 += "<ul>\n";
        items.iter().for_each(|item| self.element("li", item));
        self.0 += "</ul>\n";
    }

    /// What speaks against the result, or that nothing was found to.
    pub fn warnings(&mut self, warnings: &[String]) {
        if warnings.is_empty() {
            self.0 += "<p class=\"good\">No check speaks against this result.</p>\n";
            return;
        }
        self.0 += "<div class=\"warning\"><strong>What speaks against this result</strong>\n";
        self.list(warnings);
        self.0 += "</div>\n";
    }

    /// Rows of which the first is the head.
    pub fn table(&mut self, rows: &[Vec<String>]) {
        let row = |cells: &[String], tag: &str| -> String {
            let cells = cells
                .iter()
                .map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)));
            format!("<tr>{}</tr>\n", cells.collect::<String>())
        };
        let (head, body) = rows.split_at(rows.len().min(1));
        self.0 += "<div class=\"scroll\"><table>\n<thead>\n";
        head.iter().for_each(|cells| self.0 += &row(cells, "th"));
        self.0 += "</thead>\n<tbody>\n";
        body.iter().for_each(|cells| self.0 += &row(cells, "td"));
        self.0 += "</tbody>\n</table></div>\n";
    }

    /// Names and values.
    pub fn settings(&mut self, rows: &[(&str, String)]) {
        self.0 += "<table class=\"settings\"><tbody>\n";
        for (name, value) in rows {
            let _ = writeln!(
                self.0,
                "<tr><td>{}</td><td>{}</td></tr>",
                escape(name),
                escape(value)
            );
        }
        self.0 += "</tbody></table>\n";
    }

    /// Pictures, taken into the page.
    pub fn figures(&mut self, figures: &[Figure]) -> Result<()> {
        for figure in figures {
            let svg = std::fs::read(&figure.svg)
                .map_err(|e| Error::file(&figure.svg, format!("cannot be read: {e}")))?;
            let caption = escape(&figure.caption);
            // On a narrow screen a wide picture is moved, not made too small to be read.
            let _ = writeln!(
                self.0,
                "<figure><div class=\"scroll\"><img alt=\"{caption}\" src=\"data:image/svg+xml;base64,{}\"></div>\n\
                 <figcaption>{caption}</figcaption></figure>",
                base64(&svg)
            );
        }
        Ok(())
    }

    pub fn write(mut self, path: &Path) -> Result<()> {
        let _ = writeln!(
            self.0,
            "<footer>Written by Armilla {}.</footer>\n</body>\n</html>",
            env!("CARGO_PKG_VERSION")
        );
        write_atomically(path, |out| {
            out.write_all(self.0.as_bytes())
                .map_err(|e| Error::file(path, cannot_write(&e)))
        })
    }
}

/// What the diagnostics of an inference say, in sentences.
pub(super) fn words(report: &Report) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(approximation) = &report.approximation {
        words.push(format!(
            "The draws are not from the posterior itself: {approximation}."
        ));
    }
    let name = |i: usize| &report.parameters[i].summary.name;
    let extreme = |value: fn(&super::report::ParameterReport) -> Option<f64>, sign: f64| {
        let values = report.parameters.iter().map(value).enumerate();
        let known = values.filter_map(|(i, v)| Some((i, v?)));
        known.max_by(|a, b| (sign * a.1).total_cmp(&(sign * b.1)))
    };
    if let Some((i, rhat)) = extreme(|p| p.summary.rhat, 1.0) {
        words.push(if rhat < RHAT_LIMIT {
            format!(
                "The {} chains agree: no R̂ is above {rhat:.3} ({}); below {RHAT_LIMIT} is good.",
                report.chains,
                name(i)
            )
        } else {
            format!(
                "The {} chains do not agree yet: R̂ is {rhat:.3} for {}; below {RHAT_LIMIT} is good.",
                report.chains,
                name(i)
            )
        });
    }
    if let Some((i, ess)) = extreme(|p| Some(p.summary.ess?.min(p.summary.ess_tail?)), -1.0) {
        words.push(format!(
            "The {} draws are worth {ess:.0} independent ones or more, in the middle and in the tails (fewest for {}).",
            report.draws,
            name(i)
        ));
    }
    if let Some(acceptance) = report.acceptance {
        words.push(format!(
            "{:.0} % of the proposals were accepted.",
            100.0 * acceptance
        ));
    }
    if report.divergences > 0 {
        words.push(format!("{} draws followed a divergence.", report.divergences));
    }
    if let Some(evidence) = report.log_evidence {
        words.push(format!("The log evidence ln p(map) is {evidence:.2}."));
    }
    if let Some(error) = report.noise_error {
        words.push(format!(
            "The frozen noise changes the log likelihood by {error:.2} within the posterior; below 0.5 it does not matter."
        ));
    }
    let known = report
        .parameters
        .iter()
        .filter_map(|p| Some((p, p.truth?)))
        .filter(|(p, _)| p.summary.sd > 0.0);
    for (p, truth) in known {
        words.push(format!(
            "The estimate of {} is {:.1} standard deviations from the truth.",
            p.summary.name,
            (p.estimate - truth).abs() / p.summary.sd
        ));
    }
    let evaluations = report.evaluations;
    words.push(format!(
        "It took {} values and {} gradients of the likelihood, and {:.1} s.",
        evaluations.values, evaluations.gradients, report.seconds
    ));
    words
}

impl Inference {
    /// Write `report.html`: parameters, diagnostics in words, pictures, settings, and `command`, which makes it all again.
    ///
    /// # Errors
    ///
    /// Pictures that cannot be read and a page that cannot be written.
    pub fn write_page(
        &self,
        settings: &InferSettings,
        figures: &[Figure],
        command: &str,
        folder: &mut OutFolder,
    ) -> Result<()> {
        let report = &self.report;
        let of = match (&report.data, report.index) {
            (Some(file), Some(index)) => format!(" of map {index} in {file}"),
            _ => String::new(),
        };
        let mut page = Page::new(&format!("{}{of}", report.sampler));
        page.table(&report.rows());
        page.warnings(&report.warnings);
        page.section("Diagnostics");
        page.list(&words(report));
        page.section("Pictures");
        page.figures(figures)?;
        page.section("Settings");
        page.settings(&rows(report, settings)?);
        page.section("How to reproduce");
        page.paragraph("The same command, data and run give the same numbers, bit for bit:");
        page.code(command);
        page.write(&folder.file("report.html"))
    }
}

fn rows(report: &Report, settings: &InferSettings) -> Result<Vec<(&'static str, String)>> {
    let mut rows = vec![("method", report.method.name().to_owned())];
    rows.extend(report.data.iter().map(|data| ("data", data.clone())));
    rows.extend(report.index.map(|index| ("map", index.to_string())));
    if let Some(likelihood) = &report.likelihood {
        let text = serde_json::to_string(likelihood)
            .map_err(|e| Error::Invalid(format!("the settings of the likelihood: {e}")))?;
        rows.push(("likelihood", text));
    }
    match settings.method {
        Method::Grid => rows.push(("cells along an axis", settings.grid_points.to_string())),
        Method::Mle | Method::Map => rows.push(("starts", settings.starts.to_string())),
        _ => rows.push(("warm-up per chain", settings.warmup.to_string())),
    }
    rows.push(("chains", report.chains.to_string()));
    rows.push(("draws in all", report.draws.to_string()));
    rows.push(("seed", report.seed.to_string()));
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let folder = tempfile::tempdir().unwrap();
        let svg = folder.path().join("a.svg");
        std::fs::write(&svg, "<svg/>").unwrap();
        let evil = "<script>alert('1')</script> & \"x\"";
        let mut page = Page::new(evil);
        page.section(evil);
        page.paragraph(evil);
        page.code(evil);
        page.list(&[evil.to_owned()]);
        page.warnings(&[evil.to_owned()]);
        page.warnings(&[]);
        page.table(&[vec![evil.to_owned()], vec![evil.to_owned()]]);
        page.settings(&[("a", evil.to_owned())]);
        let figure = Figure {
            caption: evil.to_owned(),
            svg,
        };
        page.figures(&[figure]).unwrap();
        let path = folder.path().join("report.html");
        page.write(&path).unwrap();
        let html = std::fs::read_to_string(path).unwrap();
        assert!(!html.contains("<script") && !html.contains("'1'"), "{html}");
        assert!(html.contains("&lt;script&gt;"));
        // Nothing is fetched from anywhere.
        assert!(!html.contains("http") && !html.contains("url(") && !html.contains("<link"));
    }
}
