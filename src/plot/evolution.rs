//! Draw how one number is distributed at several times.

use std::path::Path;

use super::axis::Axis;
use super::canvas::Picture;
use super::legend::{Mark, sheet};
use super::panel::{BELOW, Panel};
use super::style::{self, COLUMN, DASHES, LABEL};
use super::text::Label;
use crate::{Error, Result};

/// Draws of one number at several times.
#[derive(Debug, Clone, Copy)]
pub struct Evolution<'a> {
    /// What stands above them.
    pub title: &'a str,
    /// The name of the number.
    pub name: &'a str,
    /// The times, rising or falling.
    pub times: &'a [f64],
    /// For each time, the number in every draw.
    pub values: &'a [Vec<f64>],
    /// Points (x, density) of what the last distribution should be.
    pub target: Option<&'a [(f64, f64)]>,
}

/// More times than this cannot be told apart.
const MAX_TIMES: usize = 24;
const BINS: usize = 60;
/// How high the tallest histogram is, in distances between times.
const TALLEST: f64 = 1.6;
const HEIGHT: f64 = 190.0;

/// Write a histogram for each time, one behind the other: those of later times stand lower and in front.
///
/// # Errors
///
/// What cannot be drawn or written; see [the module](crate::plot).
///
/// ```
/// use armilla::plot::{Evolution, evolution};
///
/// let folder = tempfile::tempdir().unwrap();
/// let draws: Vec<f64> = (0..500).map(|i| (0.7 * f64::from(i)).sin()).collect();
/// let halves: Vec<f64> = draws.iter().map(|x| 0.5 * x + 1.0).collect();
/// let plot = Evolution {
///     title: "A contraction",
///     name: "x",
///     times: &[1.0, 0.0],
///     values: &[draws, halves],
///     target: None,
/// };
/// evolution(&plot, folder.path().join("evolution.png"))?;
/// # Ok::<(), armilla::Error>(())
/// ```
pub fn evolution(plot: &Evolution<'_>, path: impl AsRef<Path>) -> Result<()> {
    picture(plot)?.save(path.as_ref())
}

pub(super) fn picture(plot: &Evolution<'_>) -> Result<Picture> {
    check(plot)?;
    let all = || plot.values.iter().flatten().copied();
    let (low, high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| {
        (l.min(x), h.max(x))
    });
    let x = Axis::new(low, high);
    let width = (x.high - x.low) / BINS as f64;
    let densities: Vec<Vec<f64>> = plot.values.iter().map(|v| density(v, &x, width)).collect();
    let target = plot.target.unwrap_or_default();
    let tallest = (densities.iter().flatten())
        .chain(target.iter().map(|(_, density)| density))
        .fold(f64::MIN_POSITIVE, |top, d| top.max(*d));
    let mut entries = vec![(Mark::Region(style::series(0)), Label::plain("draws at each time"))];
    entries.extend((plot.target).map(|_| (Mark::Dashed(style::ESTIMATE), Label::plain("target"))));
    let (mut picture, top) = sheet(COLUMN, 4.0 + HEIGHT + BELOW, plot.title, &entries);
    let count = plot.times.len();
    // The k-th time stands at −k: the first is at the top.
    let mut panel = Panel {
        left: 0.0,
        top: top + 4.0,
        width: 0.0,
        height: HEIGHT,
        x,
        y: Axis::new(0.6 - count as f64, TALLEST + 0.1),
    };
    let mut ticks = panel.y_ticks();
    ticks.minor.clear();
    let every = count.div_ceil(11);
    ticks.marks = (0..count)
        .step_by(every)
        .map(|k| (-(k as f64), format!("{:.2}", plot.times[k])))
        .collect();
    let reach = Panel::y_reach(&ticks);
    panel.left = reach + LABEL + 4.0;
    panel.width = COLUMN - panel.left - 8.0;
    let scale = TALLEST / tallest;
    for (k, density) in densities.iter().enumerate() {
        let base = -(k as f64);
        let mut steps = Vec::with_capacity(2 * BINS);
        for (i, d) in density.iter().enumerate() {
            let edge = |i: usize| x.low + i as f64 * width;
            steps.extend([(edge(i), base + scale * d), (edge(i + 1), base + scale * d)]);
        }
        let filled: Vec<(f64, [f64; 2])> = steps.iter().map(|(x, y)| (*x, [base, *y])).collect();
        // What stands behind does not shine through.
        panel.band(&mut picture, &filled, style::series(0).pale(0.4));
        panel.curve(&mut picture, &steps, style::series(0), 0.8);
    }
    let last = -((count - 1) as f64);
    let curve: Vec<(f64, f64)> = target
        .iter()
        .filter(|(at, _)| (x.low..=x.high).contains(at))
        .map(|(at, d)| panel.at(*at, last + scale * d))
        .collect();
    picture.dashed(&curve, style::ESTIMATE, 1.3, DASHES);
    panel.frame(&mut picture);
    panel.draw_y_ticks(&mut picture, &ticks, true);
    panel.y_label(&mut picture, &Label::plain("time"), reach);
    let ticks = panel.x_ticks();
    panel.draw_x_ticks(&mut picture, &ticks, true);
    panel.x_label(&mut picture, &ticks.complete(Label::of_parameter(plot.name)));
    Ok(picture)
}

fn check(plot: &Evolution<'_>) -> Result<()> {
    let fail = |what: String| Err(Error::Invalid(format!("evolution: {what}")));
    let count = plot.times.len();
    if !(1..=MAX_TIMES).contains(&count) || plot.values.len() != count {
        return fail(format!(
            "1 to {MAX_TIMES} times with draws for each, not {count} and {} sets of draws",
            plot.values.len()
        ));
    }
    let curve = plot.target.unwrap_or_default();
    let numbers = (plot.values.iter().flatten())
        .chain(plot.times)
        .chain(curve.iter().flat_map(|(x, d)| [x, d]));
    if plot.values.iter().any(Vec::is_empty) || numbers.clone().any(|x| !x.is_finite()) {
        return fail("there must be draws at every time, and every number must be finite".into());
    }
    Ok(())
}

/// The density of draws in bins from the low end of the axis on.
fn density(values: &[f64], x: &Axis, width: f64) -> Vec<f64> {
    let mut bins = vec![0.0; BINS];
    for value in values {
        let bin = ((value - x.low) / width) as usize;
        bins[bin.min(BINS - 1)] += 1.0 / (values.len() as f64 * width);
    }
    bins
}
