//! Draw how long chains remember where they were.

use std::path::Path;

use armilla_samplers::Run;
use armilla_samplers::diagnostics;

use super::axis::Axis;
use super::canvas::{Align, Picture, Type};
use super::chains;
use super::legend::{Mark, sheet};
use super::panel::Panel;
use super::style::{self, LABEL, TICK};
use super::text::Label;
use super::tiles::Tiles;
use crate::Result;

/// Lags are shown up to so many autocorrelation times, within limits.
const TIMES: f64 = 12.0;
const LAGS: (usize, usize) = (20, 500);

/// Write the autocorrelation of each parameter, of all chains together and of each, with the integrated autocorrelation time
/// τ; chains that are too short for it have a question mark.
///
/// # Errors
///
/// What cannot be drawn or written; see [the module](crate::plot). A chain needs two draws.
///
/// ```
/// use armilla::plot::autocorrelation;
/// use armilla::samplers::prelude::*;
///
/// model! { struct Mean { y: f64 } mu ~ Normal(0, 5); y ~ Normal(mu, 1); }
/// let folder = tempfile::tempdir().unwrap();
/// let options = RunOptions { draws: 50, warmup: 50, ..RunOptions::default() };
/// let run = Hmc::default().sample(&Mean { y: 1.0 }.posterior()?, &options)?;
/// autocorrelation(&run, "One measurement", folder.path().join("autocorrelation.png"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn autocorrelation(run: &Run, title: &str, path: impl AsRef<Path>) -> Result<()> {
    picture(run, title)?.save(path.as_ref())
}

pub(super) fn picture(run: &Run, title: &str) -> Result<Picture> {
    let columns = chains::columns("autocorrelation plot", run)?;
    let times: Vec<_> = columns
        .iter()
        .map(|c| diagnostics::autocorrelation_time(c))
        .collect();
    let longest = times.iter().flatten().map(|found| found.time).fold(1.0, f64::max);
    let shortest = run.chains.iter().map(|c| c.len()).min().unwrap_or(2);
    // The autocorrelation of a chain with itself at its length says nothing.
    let lags = ((TIMES * longest) as usize)
        .clamp(LAGS.0, LAGS.1)
        .min(shortest - 1);
    let entries = vec![
        (Mark::Line(style::series(0)), Label::plain("all chains")),
        (Mark::Line(style::series(0).pale(0.4)), Label::plain("each chain")),
    ];
    let tiles = Tiles::new(columns.len(), 36.0, 18.0);
    let (mut picture, top) = sheet(tiles.width, tiles.height(), title, &entries);
    for (i, chains) in columns.iter().enumerate() {
        let place = tiles.place(i, top);
        let panel = Panel::new(place, Axis::new(0.0, lags as f64), Axis::new(-0.35, 1.05));
        panel.horizontal(&mut picture, 0.0, style::INK, style::DASHES);
        let points = |chains: &[Vec<f64>]| -> Option<Vec<(f64, f64)>> {
            let found = diagnostics::autocorrelation(chains, lags)?;
            Some(
                found
                    .into_iter()
                    .enumerate()
                    .map(|(k, a)| (k as f64, a))
                    .collect(),
            )
        };
        for chain in chains {
            if let Some(points) = points(std::slice::from_ref(chain)) {
                panel.curve(&mut picture, &points, style::series(0).pale(0.4), 0.7);
            }
        }
        match points(chains) {
            Some(points) => panel.curve(&mut picture, &points, style::series(0), 1.5),
            None => panel.note(
                &mut picture,
                "cannot be judged: too few draws, or they do not vary",
            ),
        }
        if let Some(found) = times[i] {
            let doubt = if found.reliable { "" } else { " ?" };
            let words = format!("τ = {:.1}{doubt}", found.time);
            let (x, y) = (panel.right() - 6.0, panel.top + 1.6 * LABEL);
            picture.text(x, y, &words, Align::Right, Type::of(TICK + 0.5));
        }
        panel.frame(&mut picture);
        let ticks = panel.x_ticks();
        panel.draw_x_ticks(&mut picture, &ticks, true);
        let label = ticks.complete(Label::of_parameter(&run.names[i]).then(", lag in draws"));
        panel.x_label(&mut picture, &label);
        let ticks = panel.y_ticks();
        let first = tiles.starts_row(i);
        panel.draw_y_ticks(&mut picture, &ticks, first);
        if first {
            let label = Label::plain("autocorrelation");
            panel.y_label(&mut picture, &label, Panel::y_reach(&ticks));
        }
    }
    Ok(picture)
}
