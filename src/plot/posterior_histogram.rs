//! Draw the draws of each parameter as a histogram.

use std::path::Path;

use super::axis::Axis;
use super::canvas::{Align, Picture, Type};
use super::density::Draws;
use super::panel::Panel;
use super::style::{self, LABEL, TITLE};
use super::text::{self, Label};
use crate::{Error, Result};

/// What the histograms show; V3 of their name is `mcmc_posterior_idx{N}.png`.
#[derive(Debug, Clone, Copy)]
pub struct Histograms<'a> {
    /// What stands above them.
    pub title: &'a str,
    /// The names of the parameters.
    pub names: &'a [String],
    /// For each parameter, its value in every draw.
    pub values: &'a [Vec<f64>],
    /// The weight of every draw, if they are not all the same.
    pub weights: Option<&'a [f64]>,
    /// True values.
    pub truth: Option<&'a [f64]>,
    /// Estimates, such as posterior means.
    pub estimate: Option<&'a [f64]>,
}

const WIDTH: f64 = 168.0;
const HEIGHT: f64 = 118.0;
const COLUMN_GAP: f64 = 24.0;
const ROW_GAP: f64 = 52.0;
/// More panels than this cannot be read.
const MAX_PARAMETERS: usize = 36;

/// Write a histogram of each parameter, with its truth and estimate as lines and its central 68 % darker.
///
/// # Errors
///
/// What cannot be drawn or written; see [the module](crate::plot).
///
/// ```
/// use armilla::plot::{Histograms, posterior_histogram};
///
/// let folder = tempfile::tempdir().unwrap();
/// let draws: Vec<f64> = (0..500).map(|i| (0.7 * f64::from(i)).sin()).collect();
/// let plot = Histograms {
///     title: "Posterior of map 3",
///     names: &["sigma_8".to_owned()],
///     values: &[draws],
///     weights: None,
///     truth: Some(&[0.1]),
///     estimate: None,
/// };
/// posterior_histogram(&plot, folder.path().join("mcmc_posterior_idx3.png"))?;
/// # Ok::<(), armilla::Error>(())
/// ```
pub fn posterior_histogram(plot: &Histograms<'_>, path: impl AsRef<Path>) -> Result<()> {
    let count = plot.names.len();
    let fail = |what: String| Err(Error::Invalid(format!("posterior histograms: {what}")));
    if count == 0 || count > MAX_PARAMETERS {
        return fail(format!(
            "{count} parameters cannot be drawn; 1 to {MAX_PARAMETERS} can"
        ));
    }
    for marks in [plot.truth, plot.estimate].into_iter().flatten() {
        if marks.len() != count || marks.iter().any(|x| !x.is_finite()) {
            return fail(format!("truth and estimate must be {count} finite numbers"));
        }
    }
    let draws = Draws::check("posterior histograms", plot.names, plot.values, plot.weights)?;
    let columns = match count {
        1..=3 => count,
        4 => 2,
        _ => 3,
    };
    let rows = count.div_ceil(columns);
    let left = 22.0;
    let top = 62.0;
    let inner = columns as f64 * (WIDTH + COLUMN_GAP) - COLUMN_GAP;
    let width = (left + inner + 18.0)
        .max(text::width(plot.title, TITLE, true) + 24.0)
        .max(330.0);
    let mut picture = Picture::new(width, top + rows as f64 * (HEIGHT + ROW_GAP) - ROW_GAP + 38.0);
    let heading = Type {
        bold: true,
        ..Type::of(TITLE)
    };
    picture.text(width / 2.0, 20.0, plot.title, Align::Centre, heading);
    legend(&mut picture, plot, 40.0);
    let left = left + (width - 18.0 - left - inner) / 2.0;
    for parameter in 0..count {
        let (row, column) = (parameter / columns, parameter % columns);
        let at = (
            left + column as f64 * (WIDTH + COLUMN_GAP),
            top + row as f64 * (HEIGHT + ROW_GAP),
        );
        panel(&mut picture, plot, &draws, parameter, at);
    }
    picture.save(path.as_ref())
}

fn panel(
    picture: &mut Picture,
    plot: &Histograms<'_>,
    draws: &Draws<'_>,
    parameter: usize,
    (left, top): (f64, f64),
) {
    let [first, low, quarter, three, high, last] =
        draws.quantiles(parameter, [0.001, 0.16, 0.25, 0.75, 0.84, 0.999]);
    let (mut from, mut to) = (first, last);
    for marks in [plot.truth, plot.estimate].into_iter().flatten() {
        from = from.min(marks[parameter]);
        to = to.max(marks[parameter]);
    }
    let margin = 0.04 * (to - from);
    let x = Axis::new(from - margin, to + margin);
    // Freedman and Diaconis (1981), within what can be seen.
    let count = draws.values[parameter].len() as f64;
    let rule = 2.0 * (three - quarter) / count.cbrt();
    let wanted = if rule > 0.0 { (last - first) / rule } else { 30.0 };
    let bins = wanted.clamp(8.0, 48.0).ceil() as usize;
    // Bins end with the draws, so that a bound of the prior does not cut one in two.
    let shown = Axis::new(first, last);
    let heights = draws.histogram(parameter, (shown.low, shown.high), bins);
    let tallest = heights.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let y = Axis::new(0.0, 1.1 * tallest);
    let panel = Panel {
        left,
        top,
        width: WIDTH,
        height: HEIGHT,
        x,
        y,
    };
    let ink = style::series(0);
    let edge = |k: usize| shown.low + (shown.high - shown.low) * k as f64 / bins as f64;
    for (k, &height) in heights.iter().enumerate().filter(|(_, h)| **h > 0.0) {
        let ((l, t), (r, b)) = (panel.at(edge(k), height), panel.at(edge(k + 1), 0.0));
        let middle = 0.5 * (edge(k) + edge(k + 1));
        let opacity = if (low..=high).contains(&middle) { 0.7 } else { 0.35 };
        picture.rectangle((l, t, r - l, b - t), ink.faint(opacity));
    }
    if let Some(estimate) = plot.estimate {
        let (x, _) = panel.at(estimate[parameter], 0.0);
        picture.line(vec![(x, panel.top), (x, panel.bottom())], style::ESTIMATE, 1.4);
    }
    if let Some(truth) = plot.truth {
        panel.vertical(picture, truth[parameter], style::TRUTH, (4.0, 2.5));
    }
    panel.frame(picture);
    let ticks = panel.x_ticks();
    panel.draw_x_ticks(picture, &ticks, true);
    panel.x_label(
        picture,
        &ticks.complete(Label::of_parameter(&plot.names[parameter])),
    );
}

fn legend(picture: &mut Picture, plot: &Histograms<'_>, y: f64) {
    let mut entries = vec!["draws (central 68 % darker)"];
    entries.extend(plot.estimate.map(|_| "estimate"));
    entries.extend(plot.truth.map(|_| "truth"));
    let size = LABEL - 1.0;
    let widths: Vec<f64> = entries
        .iter()
        .map(|e| 24.0 + text::width(e, size, false) + 16.0)
        .collect();
    let mut left = (picture.width - widths.iter().sum::<f64>() + 16.0) / 2.0;
    for (entry, width) in entries.iter().zip(widths) {
        let ends = [(left, y), (left + 18.0, y)];
        match *entry {
            "truth" => picture.dashed(&ends, style::TRUTH, 1.0, (4.0, 2.5)),
            "estimate" => picture.line(ends.to_vec(), style::ESTIMATE, 1.4),
            _ => picture.rectangle((left, y - 4.0, 18.0, 8.0), style::series(0).faint(0.6)),
        }
        picture.text(left + 24.0, y + 0.36 * size, entry, Align::Left, Type::of(size));
        left += width;
    }
}
