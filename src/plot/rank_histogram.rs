//! Draw where truths rank in their posteriors.

use std::path::Path;

use super::axis::Axis;
use super::calibration::Calibration;
use super::canvas::Picture;
use super::legend::{Mark, sheet};
use super::panel::Panel;
use super::rank::TWO_SIDED_95;
use super::style::{self, DASHES};
use super::text::Label;
use super::tiles::Tiles;
use crate::Result;

/// Fewer tests per bin than this show nothing but noise.
const TESTS_PER_BIN: usize = 10;
const MAX_BINS: usize = 20;

/// Write a histogram of the truths' ranks in their posteriors, for each parameter: level where posteriors are right, high in
/// the middle where they are too wide, at both ends where they are too narrow, at one end where they are biased (Talts et
/// al. 2018, arXiv 1804.06788). The band holds 95 % of what chance does to each bin.
///
/// # Errors
///
/// What cannot be drawn or written; see [the module](crate::plot).
///
/// ```
/// use armilla::plot::{Calibration, rank_histogram};
///
/// let folder = tempfile::tempdir().unwrap();
/// let below: Vec<f64> = (0..100).map(|i| (f64::from(i) + 0.5) / 100.0).collect();
/// let plot = Calibration { title: "100 maps", names: &["sigma_8".to_owned()], below: &[below] };
/// rank_histogram(&plot, folder.path().join("ranks.png"))?;
/// # Ok::<(), armilla::Error>(())
/// ```
pub fn rank_histogram(plot: &Calibration<'_>, path: impl AsRef<Path>) -> Result<()> {
    picture(plot)?.save(path.as_ref())
}

pub(super) fn picture(plot: &Calibration<'_>) -> Result<Picture> {
    let tests = plot.check()?;
    let entries = vec![
        (Mark::Area(style::series(0).faint(0.6)), Label::plain("tests")),
        (Mark::Dashed(style::TRUTH), Label::plain("expected")),
        (Mark::Area(style::BAND), Label::plain("95 % of chance")),
    ];
    let bins = (tests / TESTS_PER_BIN).clamp(2, MAX_BINS);
    let share = 1.0 / bins as f64;
    let expected = tests as f64 * share;
    let scatter = TWO_SIDED_95 * (expected * (1.0 - share)).sqrt();
    let tiles = Tiles::new(plot.names.len(), 36.0, 18.0);
    let counts: Vec<Vec<f64>> = plot.below.iter().map(|below| counts(below, bins)).collect();
    // One axis for all, so that the panels can be compared.
    let tallest = counts
        .iter()
        .flatten()
        .copied()
        .fold(expected + scatter, f64::max);
    let (mut picture, top) = sheet(tiles.width, tiles.height(), plot.title, &entries);
    for (i, counts) in counts.iter().enumerate() {
        let place = tiles.place(i, top);
        let panel = Panel::new(place, Axis::new(0.0, 1.0), Axis::new(0.0, 1.1 * tallest));
        for (k, &count) in counts.iter().enumerate().filter(|(_, c)| **c > 0.0) {
            let ((l, t), (r, b)) = (
                panel.at(k as f64 * share, count),
                panel.at((k + 1) as f64 * share, 0.0),
            );
            picture.rectangle((l, t, r - l, b - t), style::series(0).faint(0.6));
        }
        let band = [0.0, 1.0].map(|x| (x, [expected - scatter, expected + scatter]));
        panel.band(&mut picture, &band, style::BAND);
        panel.horizontal(&mut picture, expected, style::TRUTH, DASHES);
        panel.frame(&mut picture);
        let ticks = panel.x_ticks();
        panel.draw_x_ticks(&mut picture, &ticks, true);
        let label = Label::of_parameter(&plot.names[i]).then(", rank of the truth");
        panel.x_label(&mut picture, &label);
        let ticks = panel.y_ticks();
        let first = tiles.starts_row(i);
        panel.draw_y_ticks(&mut picture, &ticks, first);
        if first {
            panel.y_label(&mut picture, &Label::plain("tests"), Panel::y_reach(&ticks));
        }
    }
    Ok(picture)
}

fn counts(below: &[f64], bins: usize) -> Vec<f64> {
    let mut counts = vec![0.0; bins];
    for u in below {
        counts[((u * bins as f64) as usize).min(bins - 1)] += 1.0;
    }
    counts
}
