//! Draw where chains went, draw by draw.

use std::path::Path;

use armilla_samplers::Run;

use super::axis::Axis;
use super::canvas::Picture;
use super::chains;
use super::density::Draws;
use super::legend::{Mark, sheet};
use super::panel::{BELOW, Panel};
use super::style::{self, LABEL, PAGE};
use super::text::Label;
use crate::Result;

/// The height of a row, and the distance to the next.
const HEIGHT: f64 = 58.0;
const GAP: f64 = 7.0;
/// The width of the densities beside the traces.
const SIDE: f64 = 76.0;
const BINS: usize = 100;
/// Longer chains are drawn by the extremes of so many stretches: nobody sees more in the width of a page.
const STRETCHES: usize = 500;

/// Write the trace of each parameter, with the density of each chain beside it and a mark where a draw followed a
/// divergence.
///
/// # Errors
///
/// What cannot be drawn or written; see [the module](crate::plot). A chain needs two draws.
///
/// ```
/// use armilla::plot::trace;
/// use armilla::samplers::prelude::*;
///
/// model! { struct Mean { y: f64 } mu ~ Normal(0, 5); y ~ Normal(mu, 1); }
/// let folder = tempfile::tempdir().unwrap();
/// let posterior = Mean { y: 1.0 }.posterior()?;
/// let options = RunOptions { draws: 50, warmup: 50, ..RunOptions::default() };
/// let run = Hmc::default().sample(&posterior, &options)?;
/// trace(&run, "One measurement", folder.path().join("trace.png"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn trace(run: &Run, title: &str, path: impl AsRef<Path>) -> Result<()> {
    picture(run, title)?.save(path.as_ref())
}

pub(super) fn picture(run: &Run, title: &str) -> Result<Picture> {
    let columns = chains::columns("trace plot", run)?;
    let count = run.chains.len();
    let mut entries = chains::entries(count);
    let diverged = run.chains.iter().any(|chain| chain.divergences() > 0);
    entries.extend(diverged.then(|| (Mark::Dashed(style::ESTIMATE), Label::plain("divergence"))));
    let rows = columns.len() as f64;
    let (mut picture, top) = sheet(PAGE, 4.0 + rows * (HEIGHT + GAP) - GAP + BELOW, title, &entries);
    let longest = run.chains.iter().map(armilla_samplers::run::Chain::len).max();
    let x = Axis::new(1.0, longest.unwrap_or(2) as f64);
    let axes: Vec<Axis> = columns.iter().map(|chains| range(chains)).collect();
    let mut panel = Panel {
        left: 0.0,
        top: top + 4.0,
        width: 0.0,
        height: HEIGHT,
        x,
        y: axes[0],
    };
    let reach = axes
        .iter()
        .map(|&y| Panel::y_reach(&Panel { y, ..panel }.y_ticks_inside()))
        .fold(0.0, f64::max);
    panel.left = reach + LABEL + 4.0;
    panel.width = PAGE - panel.left - SIDE - 18.0;
    let x_ticks = panel.x_ticks();
    for (i, chains) in columns.iter().enumerate() {
        panel.y = axes[i];
        for (k, chain) in chains.iter().enumerate() {
            panel.curve(&mut picture, &thin(chain), chains::ink(k, count).faint(0.75), 0.6);
        }
        for chain in &run.chains {
            for (step, _) in chain.steps.iter().enumerate().filter(|(_, s)| s.diverged) {
                let (x, bottom) = panel.at((step + 1) as f64, panel.y.low);
                picture.line(vec![(x, bottom), (x, bottom - 7.0)], style::ESTIMATE, 0.9);
            }
        }
        densities(&mut picture, &panel, chains);
        panel.frame(&mut picture);
        let ticks = panel.y_ticks_inside();
        panel.draw_y_ticks(&mut picture, &ticks, true);
        let label = ticks.complete(Label::of_parameter(&run.names[i]));
        panel.y_label(&mut picture, &label, reach);
        let last = i + 1 == columns.len();
        panel.draw_x_ticks(&mut picture, &x_ticks, last);
        if last {
            panel.x_label(&mut picture, &x_ticks.complete(Label::plain("draw")));
        }
        panel.top += HEIGHT + GAP;
    }
    Ok(picture)
}

fn range(chains: &[Vec<f64>]) -> Axis {
    let all = || chains.iter().flatten().copied();
    let (low, high) = all().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| {
        (l.min(x), h.max(x))
    });
    let margin = 0.05 * (high - low);
    Axis::new(low - margin, high + margin)
}

/// A chain, or the least and the largest of each of many stretches of it in the order of their draws.
fn thin(chain: &[f64]) -> Vec<(f64, f64)> {
    let point = |i: usize| ((i + 1) as f64, chain[i]);
    if chain.len() <= 2 * STRETCHES {
        return (0..chain.len()).map(point).collect();
    }
    let of_stretch = |k: usize| {
        let draws = k * chain.len() / STRETCHES..(k + 1) * chain.len() / STRETCHES;
        let by = |a: &usize, b: &usize| chain[*a].total_cmp(&chain[*b]);
        let mut ends = [
            draws.clone().min_by(by).unwrap_or(draws.start),
            draws.clone().max_by(by).unwrap_or(draws.start),
        ];
        ends.sort_unstable();
        ends.map(point)
    };
    (0..STRETCHES).flat_map(of_stretch).collect()
}

/// The density of each chain, upright beside the trace and on its axis.
fn densities(picture: &mut Picture, trace: &Panel, chains: &[Vec<f64>]) {
    let panel = Panel {
        left: trace.right() + 8.0,
        width: SIDE,
        x: Axis::new(0.0, 1.08),
        ..*trace
    };
    let (low, high) = (panel.y.low, panel.y.high);
    let step = (high - low) / BINS as f64;
    for (k, chain) in chains.iter().enumerate() {
        let column = [chain.clone()];
        // A chain that does not vary has no density.
        let Ok(draws) = Draws::check("chain", &[String::new()], &column, None) else {
            continue;
        };
        let density = draws.marginal(0, (low, high), BINS);
        let points: Vec<(f64, f64)> = density
            .iter()
            .enumerate()
            .map(|(i, &d)| (d, low + (i as f64 + 0.5) * step))
            .collect();
        panel.curve(picture, &points, chains::ink(k, chains.len()), 1.0);
    }
    panel.frame(picture);
}
