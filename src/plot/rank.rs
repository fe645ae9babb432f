//! Draw whether chains sample the same distribution: the ranks of their draws among all.

use std::path::Path;

use armilla_samplers::Run;
use armilla_samplers::diagnostics::ess_bulk;

use super::axis::Axis;
use super::canvas::Picture;
use super::chains;
use super::legend::{Mark, sheet};
use super::panel::Panel;
use super::style::{self, DASHES};
use super::text::Label;
use super::tiles::Tiles;
use crate::Result;

/// Fewer draws per bin than this show nothing but noise.
const DRAWS_PER_BIN: usize = 10;
const MAX_BINS: usize = 20;
/// What a normal variable exceeds 1 time in 20.
pub(super) const TWO_SIDED_95: f64 = 1.96;

/// Write the ranks of each chain's draws among those of all chains as one outline per chain: level where the chains agree
/// (Vehtari et al. 2021, arXiv 1903.08008). The band holds 95 % of what chance does to each bin, given the effective
/// sample sizes of the chains.
///
/// # Errors
///
/// What cannot be drawn or written; see [the module](crate::plot). A chain needs two draws.
///
/// ```
/// use armilla::plot::rank;
/// use armilla::samplers::prelude::*;
///
/// model! { struct Mean { y: f64 } mu ~ Normal(0, 5); y ~ Normal(mu, 1); }
/// let folder = tempfile::tempdir().unwrap();
/// let options = RunOptions { draws: 50, warmup: 50, ..RunOptions::default() };
/// let run = Hmc::default().sample(&Mean { y: 1.0 }.posterior()?, &options)?;
/// rank(&run, "One measurement", folder.path().join("rank.png"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn rank(run: &Run, title: &str, path: impl AsRef<Path>) -> Result<()> {
    picture(run, title)?.save(path.as_ref())
}

pub(super) fn picture(run: &Run, title: &str) -> Result<Picture> {
    let columns = chains::columns("rank plot", run)?;
    let count = run.chains.len();
    let mut entries = chains::entries(count);
    entries.push((Mark::Dashed(style::TRUTH), Label::plain("expected")));
    entries.push((Mark::Area(style::BAND), Label::plain("95 % of chance")));
    let tiles = Tiles::new(columns.len(), 20.0, 22.0);
    let (mut picture, top) = sheet(tiles.width, tiles.height(), title, &entries);
    for (i, chains) in columns.iter().enumerate() {
        let place = tiles.place(i, top);
        let shortest = chains.iter().map(Vec::len).min().unwrap_or(0);
        let bins = (shortest / DRAWS_PER_BIN).clamp(2, MAX_BINS);
        let heights = heights(chains, bins);
        // What a bin holds of a chain, and its scatter with so many independent draws.
        let share = 1.0 / bins as f64;
        // That of each chain by itself: chains that disagree must not widen the band.
        let alone: Option<Vec<f64>> = chains.iter().map(|chain| ess_bulk(&[chain])).collect();
        let effective = alone.map(|alone| alone.iter().sum::<f64>() / count as f64);
        let scatter = effective.map(|ess| TWO_SIDED_95 * (share * (1.0 - share) / ess).sqrt() / share);
        let tallest = heights.iter().flatten().copied().fold(1.5, f64::max);
        let panel = Panel::new(
            place,
            Axis::new(0.0, chains.iter().map(Vec::len).sum::<usize>() as f64),
            Axis::new(0.0, 1.08 * tallest.max(1.0 + scatter.unwrap_or(0.0))),
        );
        match scatter {
            Some(s) => {
                let band = [0.0, panel.x.high].map(|x| (x, [1.0 - s, 1.0 + s]));
                panel.band(&mut picture, &band, style::BAND);
                for (k, heights) in heights.iter().enumerate() {
                    let ink = chains::ink(k, count);
                    panel.curve(&mut picture, &steps(heights, panel.x.high), ink, 1.0);
                }
            }
            None => panel.note(
                &mut picture,
                "cannot be judged: too few draws, or they do not vary",
            ),
        }
        panel.horizontal(&mut picture, 1.0, style::TRUTH, DASHES);
        panel.frame(&mut picture);
        let ticks = panel.x_ticks();
        panel.draw_x_ticks(&mut picture, &ticks, true);
        let label = ticks.complete(Label::of_parameter(&run.names[i]).then(", rank"));
        panel.x_label(&mut picture, &label);
        if tiles.starts_row(i) {
            panel.y_label(&mut picture, &Label::plain("share of draws"), 6.0);
        }
    }
    Ok(picture)
}

/// For each chain, how many of its draws have ranks in each of the bins, where 1 is as many as expected. Ties have their
/// mean rank.
fn heights(chains: &[Vec<f64>], bins: usize) -> Vec<Vec<f64>> {
    let mut order: Vec<(f64, usize)> = chains
        .iter()
        .enumerate()
        .flat_map(|(k, chain)| chain.iter().map(move |&x| (x, k)))
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total = order.len() as f64;
    let mut heights: Vec<Vec<f64>> = vec![vec![0.0; bins]; chains.len()];
    let mut first = 0;
    while first < order.len() {
        let tied = order[first..]
            .iter()
            .take_while(|(x, _)| *x == order[first].0)
            .count();
        let rank = first as f64 + 0.5 * tied as f64;
        let bin = ((rank / total * bins as f64) as usize).min(bins - 1);
        for (_, k) in &order[first..first + tied] {
            heights[*k][bin] += bins as f64 / chains[*k].len() as f64;
        }
        first += tied;
    }
    heights
}

/// The outline of bars of equal width between 0 and `end`.
pub(super) fn steps(heights: &[f64], end: f64) -> Vec<(f64, f64)> {
    let edge = |k: usize| end * k as f64 / heights.len() as f64;
    heights
        .iter()
        .enumerate()
        .flat_map(|(k, &h)| [(edge(k), h), (edge(k + 1), h)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_shared_out() {
        // The first chain holds the lower half, the second the upper.
        let apart = heights(&[vec![1.0, 2.0, 3.0, 4.0], vec![5.0, 6.0, 7.0, 8.0]], 2);
        assert_eq!(apart, [[2.0, 0.0], [0.0, 2.0]]);
        // Draws that are the same in both chains go to the same bins.
        let alike = heights(&[vec![1.0, 2.0, 3.0, 4.0], vec![1.0, 2.0, 3.0, 4.0]], 2);
        assert_eq!(alike, [[1.0, 1.0], [1.0, 1.0]]);
    }
}
