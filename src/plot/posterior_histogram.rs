//! Draw the draws of each parameter as a histogram.

use std::path::Path;

use super::axis::Axis;
use super::canvas::{Picture, Rect};
use super::density::Draws;
use super::legend::{Mark, sheet};
use super::panel::Panel;
use super::style::{self, DASHES};
use super::text::Label;
use super::tiles::{MAX_PANELS, Tiles};
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
    picture(plot)?.save(path.as_ref())
}

pub(super) fn picture(plot: &Histograms<'_>) -> Result<Picture> {
    let count = plot.names.len();
    let fail = |what: String| Err(Error::Invalid(format!("posterior histograms: {what}")));
    if count == 0 || count > MAX_PANELS {
        return fail(format!(
            "{count} parameters cannot be drawn; 1 to {MAX_PANELS} can"
        ));
    }
    for marks in [plot.truth, plot.estimate].into_iter().flatten() {
        if marks.len() != count || marks.iter().any(|x| !x.is_finite()) {
            return fail(format!("truth and estimate must be {count} finite numbers"));
        }
    }
    let draws = Draws::check("posterior histograms", plot.names, plot.values, plot.weights)?;
    let mut entries = vec![
        (
            Mark::Area(style::series(0).faint(DARK)),
            Label::plain("central 68 % of the draws"),
        ),
        (
            Mark::Area(style::series(0).faint(PALE)),
            Label::plain("the others"),
        ),
    ];
    entries.extend(
        plot.estimate
            .map(|_| (Mark::Line(style::ESTIMATE), Label::plain("estimate"))),
    );
    entries.extend(
        plot.truth
            .map(|_| (Mark::Dashed(style::TRUTH), Label::plain("truth"))),
    );
    let tiles = Tiles::new(count, 20.0, 22.0);
    let (mut picture, top) = sheet(tiles.width, tiles.height(), plot.title, &entries);
    for parameter in 0..count {
        panel(&mut picture, plot, &draws, parameter, tiles.place(parameter, top));
        if tiles.starts_row(parameter) {
            let axis = Axis::new(0.0, 1.0);
            let side = Panel::new(tiles.place(parameter, top), axis, axis);
            side.y_label(&mut picture, &Label::plain("density"), 6.0);
        }
    }
    Ok(picture)
}

/// Opacity of the central draws and of the others.
const DARK: f64 = 0.7;
const PALE: f64 = 0.35;

fn panel(picture: &mut Picture, plot: &Histograms<'_>, draws: &Draws<'_>, parameter: usize, place: Rect) {
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
    let panel = Panel::new(place, x, y);
    let ink = style::series(0);
    let edge = |k: usize| shown.low + (shown.high - shown.low) * k as f64 / bins as f64;
    for (k, &height) in heights.iter().enumerate().filter(|(_, h)| **h > 0.0) {
        let ((l, t), (r, b)) = (panel.at(edge(k), height), panel.at(edge(k + 1), 0.0));
        let middle = 0.5 * (edge(k) + edge(k + 1));
        let opacity = if (low..=high).contains(&middle) {
            DARK
        } else {
            PALE
        };
        picture.rectangle((l, t, r - l, b - t), ink.faint(opacity));
    }
    if let Some(estimate) = plot.estimate {
        let (x, _) = panel.at(estimate[parameter], 0.0);
        picture.line(vec![(x, panel.top), (x, panel.bottom())], style::ESTIMATE, 1.4);
    }
    if let Some(truth) = plot.truth {
        panel.vertical(picture, truth[parameter], style::TRUTH, DASHES);
    }
    panel.frame(picture);
    let ticks = panel.x_ticks();
    panel.draw_x_ticks(picture, &ticks, true);
    panel.x_label(
        picture,
        &ticks.complete(Label::of_parameter(&plot.names[parameter])),
    );
}
