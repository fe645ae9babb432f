//! Draw how often credible intervals hold the truth.

use std::path::Path;

use super::axis::Axis;
use super::calibration::Calibration;
use super::canvas::Picture;
use super::legend::{Mark, sheet};
use super::panel::{BELOW, Panel};
use super::rank::TWO_SIDED_95;
use super::style::{self, COLUMN, LABEL};
use super::text::Label;
use crate::Result;

/// Points of the curves.
const POINTS: usize = 200;

/// Write the fraction of tests whose central credible interval holds the truth, against the credibility of the interval:
/// above the diagonal posteriors are too wide, below it too narrow. The band holds 95 % of what chance does to so many tests.
///
/// # Errors
///
/// What cannot be drawn or written; see [the module](crate::plot).
///
/// ```
/// use armilla::plot::{Calibration, coverage};
///
/// let folder = tempfile::tempdir().unwrap();
/// let below: Vec<f64> = (0..100).map(|i| (f64::from(i) + 0.5) / 100.0).collect();
/// let plot = Calibration { title: "100 maps", names: &["sigma_8".to_owned()], below: &[below] };
/// coverage(&plot, folder.path().join("coverage.png"))?;
/// # Ok::<(), armilla::Error>(())
/// ```
pub fn coverage(plot: &Calibration<'_>, path: impl AsRef<Path>) -> Result<()> {
    picture(plot)?.save(path.as_ref())
}

pub(super) fn picture(plot: &Calibration<'_>) -> Result<Picture> {
    let tests = plot.check()? as f64;
    let names = plot.names.iter().enumerate();
    let mut entries: Vec<(Mark, Label)> = names
        .map(|(i, name)| (Mark::Line(style::series(i)), Label::of_parameter(name)))
        .collect();
    entries.push((Mark::Dashed(style::TRUTH), Label::plain("calibrated")));
    entries.push((Mark::Area(style::BAND), Label::plain("95 % of chance")));
    let unit = Axis::new(0.0, 1.0);
    let mut panel = Panel {
        left: 0.0,
        top: 0.0,
        width: 0.0,
        height: 200.0,
        x: unit,
        y: unit,
    };
    let ticks = panel.y_ticks();
    let reach = Panel::y_reach(&ticks);
    panel.left = reach + LABEL + 4.0;
    panel.width = COLUMN - panel.left - 10.0;
    let (mut picture, top) = sheet(COLUMN, panel.height + 4.0 + BELOW, plot.title, &entries);
    panel.top = top + 4.0;
    let levels = || (0..=POINTS).map(|k| k as f64 / POINTS as f64);
    let band: Vec<(f64, [f64; 2])> = levels()
        .map(|p| {
            let scatter = TWO_SIDED_95 * (p * (1.0 - p) / tests).sqrt();
            (p, [p - scatter, p + scatter])
        })
        .collect();
    panel.band(&mut picture, &band, style::BAND);
    let diagonal = [panel.at(0.0, 0.0), panel.at(1.0, 1.0)];
    picture.dashed(&diagonal, style::TRUTH, 1.0, style::DASHES);
    for (i, below) in plot.below.iter().enumerate() {
        // The truth is in the interval of this credibility and in every wider one.
        let mut needed: Vec<f64> = below.iter().map(|u| 2.0 * (u - 0.5).abs()).collect();
        needed.sort_by(f64::total_cmp);
        let held = |p: f64| needed.partition_point(|&least| least <= p) as f64 / tests;
        let points: Vec<(f64, f64)> = levels().map(|p| (p, held(p))).collect();
        panel.curve(&mut picture, &points, style::series(i), 1.4);
    }
    panel.frame(&mut picture);
    panel.draw_y_ticks(&mut picture, &ticks, true);
    panel.y_label(
        &mut picture,
        &Label::plain("fraction that holds the truth"),
        reach,
    );
    let ticks = panel.x_ticks();
    panel.draw_x_ticks(&mut picture, &ticks, true);
    panel.x_label(&mut picture, &Label::plain("credibility of the interval"));
    Ok(picture)
}
