//! Draw posteriors in all pairs of their parameters.

use std::path::Path;

use super::axis::Axis;
use super::canvas::{Align, Picture, Type};
use super::contours::Grid;
use super::density::{Draws, MASSES, levels};
use super::legend::{self, Entries, Mark};
use super::panel::{BELOW, Panel};
use super::style::{self, COLUMN, DASHES, LABEL, PAGE};
use super::text::{self, Label};
use crate::{Error, Result};

/// One posterior, as draws.
#[derive(Debug, Clone, Copy)]
pub struct Posterior<'a> {
    /// Its name in the legend.
    pub label: &'a str,
    /// For each parameter, its value in every draw.
    pub values: &'a [Vec<f64>],
    /// The weight of every draw, if they are not all the same.
    pub weights: Option<&'a [f64]>,
}

/// What a corner plot shows.
#[derive(Debug, Clone, Copy)]
pub struct Corner<'a> {
    /// The names of the parameters.
    pub names: &'a [String],
    /// The posteriors, the first at the bottom.
    pub posteriors: &'a [Posterior<'a>],
    /// True values, drawn as dashed lines.
    pub truth: Option<&'a [f64]>,
    /// Bounds of the prior: no axis reaches beyond them, and densities that they cut stay high there.
    pub bounds: Option<&'a [(f64, f64)]>,
}

/// Bins of a marginal and of a side of a joint density.
const BINS: usize = 120;
const JOINT_BINS: usize = 80;
/// Pixels along a side of the image that fills contours.
const FILL: usize = 240;
/// Opacity inside the 68 % and the 95 % contour.
const OPACITY: [f64; 2] = [0.55, 0.25];
/// The smallest text that can be read.
const SMALLEST: f64 = 5.0;
/// More panels than this cannot be read.
const MAX_PARAMETERS: usize = 20;

/// Write a corner plot: smoothed marginals, each scaled to the same height, along the diagonal and 68 % and 95 % credible
/// regions below it.
///
/// # Errors
///
/// What cannot be drawn or written; see [the module](crate::plot).
///
/// ```
/// use armilla::plot::{Corner, Posterior, corner};
///
/// let folder = tempfile::tempdir().unwrap();
/// let names = ["Omega_m".to_owned(), "sigma_8".to_owned()];
/// let wave = |k: f64| (0..500).map(|i| (k * f64::from(i)).sin()).collect::<Vec<f64>>();
/// let draws = [wave(0.7), wave(1.3)];
/// let posterior = Posterior { label: "waves", values: &draws, weights: None };
/// let plot = Corner { names: &names, posteriors: &[posterior], truth: Some(&[0.1, 0.2]), bounds: None };
/// corner(&plot, folder.path().join("corner.png"))?;
/// # Ok::<(), armilla::Error>(())
/// ```
pub fn corner(plot: &Corner<'_>, path: impl AsRef<Path>) -> Result<()> {
    picture(plot)?.save(path.as_ref())
}

pub(super) fn picture(plot: &Corner<'_>) -> Result<Picture> {
    let draws = check(plot)?;
    let count = plot.names.len();
    let ranges: Vec<(f64, f64)> = (0..count).map(|p| range(plot, &draws, p)).collect();
    let axes: Vec<Axis> = ranges.iter().map(|&(low, high)| Axis::new(low, high)).collect();

    let gap = 5.0;
    let panel = |side: f64, row: usize, column: usize, left: f64, top: f64| Panel {
        left: left + column as f64 * (side + gap),
        top: top + row as f64 * (side + gap),
        width: side,
        height: side,
        x: axes[column],
        y: if row == column {
            Axis::new(0.0, 1.08)
        } else {
            axes[row]
        },
    };
    let entries = entries(plot);
    let (legend_width, legend_height) = legend::column_size(&entries);
    // Two parameters fit a column, more need a page; many share it with smaller panels, and very many outgrow it.
    let width = if count <= 2 { COLUMN } else { PAGE };
    let side = |left: f64| {
        let fits = (width - left - 12.0 + gap) / count as f64 - gap;
        fits.clamp(44.0, 132.0)
    };
    // The numbers of the y axes set the left margin, and one distance for all their labels.
    let reach = (1..count)
        .map(|row| Panel::y_reach(&panel(side(40.0), row, 0, 0.0, 0.0).y_ticks_inside()))
        .fold(0.0, f64::max);
    let left = reach + LABEL + 4.0;
    let side = side(left);
    let one = plot.posteriors.len() == 1;
    let square = count as f64 * (side + gap) - gap;
    // The legend has the room above the diagonal; where that is too narrow it stands above all.
    let beside = legend_width <= square - side - gap + 2.0 && legend_height <= side;
    let above = if beside { 0.0 } else { legend_height + 4.0 };
    let top = above + if one { 18.0 } else { 8.0 };
    let wide = (left + square + 12.0).max(legend_width + 16.0);
    let mut picture = Picture::new(wide, top + square + BELOW);

    for row in 0..count {
        for column in 0..=row {
            let panel = panel(side, row, column, left, top);
            if row == column {
                marginals(&mut picture, &panel, &draws, row, ranges[row]);
            } else {
                contours(
                    &mut picture,
                    &panel,
                    &draws,
                    [column, row],
                    [ranges[column], ranges[row]],
                );
            }
            if let Some(truth) = plot.truth {
                panel.vertical(&mut picture, truth[column], style::TRUTH, DASHES);
                if row != column {
                    panel.horizontal(&mut picture, truth[row], style::TRUTH, DASHES);
                }
            }
            panel.frame(&mut picture);
            let ticks = panel.x_ticks();
            panel.draw_x_ticks(&mut picture, &ticks, row == count - 1);
            if row == count - 1 {
                let label = ticks.complete(Label::of_parameter(&plot.names[column]));
                panel.x_label(&mut picture, &label);
            }
            if row != column {
                let ticks = panel.y_ticks_inside();
                panel.draw_y_ticks(&mut picture, &ticks, column == 0);
                if column == 0 {
                    let label = ticks.complete(Label::of_parameter(&plot.names[row]));
                    panel.y_label(&mut picture, &label, reach);
                }
            }
            if one && row == column {
                let (mean, sd) = draws[0].mean_and_sd(row);
                let title = Label::of_parameter(&plot.names[row])
                    .then(&format!(" = {}", text::mean_and_sd(mean, sd)));
                let size = LABEL.min(LABEL * (side + gap) / title.width(LABEL, false));
                let x = panel.left + side / 2.0;
                // Under the smallest readable size the title is left out: the table has the numbers.
                if size >= SMALLEST {
                    picture.label(x, panel.top - 5.0, &title, Align::Centre, Type::of(size));
                }
            }
        }
    }
    let corner = if beside {
        (picture.width - 8.0 - legend_width, top)
    } else {
        (left, 5.0)
    };
    legend::column(&mut picture, &entries, corner);
    Ok(picture)
}

/// The names of what is drawn.
fn entries(plot: &Corner<'_>) -> Entries {
    let posteriors = plot.posteriors.iter().enumerate();
    let mut entries: Entries = posteriors
        .map(|(i, p)| (Mark::Region(style::series(i)), Label::plain(p.label)))
        .collect();
    entries.extend(
        plot.truth
            .map(|_| (Mark::Dashed(style::TRUTH), Label::plain("truth"))),
    );
    entries
}

fn check<'a>(plot: &Corner<'a>) -> Result<Vec<Draws<'a>>> {
    let fail = |what: String| Err(Error::Invalid(format!("corner plot: {what}")));
    let count = plot.names.len();
    if count == 0 || count > MAX_PARAMETERS {
        return fail(format!(
            "{count} parameters cannot be drawn; 1 to {MAX_PARAMETERS} can"
        ));
    }
    if plot.posteriors.is_empty() {
        return fail("there is no posterior to draw".into());
    }
    if let Some(truth) = plot.truth
        && (truth.len() != count || truth.iter().any(|x| !x.is_finite()))
    {
        return fail(format!("the truth must be {count} finite numbers"));
    }
    if let Some(bounds) = plot.bounds
        && (bounds.len() != count
            || bounds
                .iter()
                .any(|(low, high)| low.is_nan() || high.is_nan() || low >= high))
    {
        return fail(format!("the bounds must be {count} intervals"));
    }
    plot.posteriors
        .iter()
        .map(|p| {
            Draws::check(
                &format!("posterior `{}`", p.label),
                plot.names,
                p.values,
                p.weights,
            )
        })
        .collect()
}

/// What an axis shows: the bulk of all posteriors and the truth, inside the bounds.
fn range(plot: &Corner<'_>, draws: &[Draws<'_>], parameter: usize) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for draws in draws {
        // Heavy tails must not squeeze the bulk into a corner.
        let [first, last] = draws.quantiles(parameter, [0.001, 0.999]);
        let margin = 0.12 * (last - first);
        low = low.min(first - margin);
        high = high.max(last + margin);
    }
    if let Some(truth) = plot.truth {
        let margin = 0.05 * (high - low);
        low = low.min(truth[parameter] - margin);
        high = high.max(truth[parameter] + margin);
    }
    if let Some(bounds) = plot.bounds {
        let (first, last) = bounds[parameter];
        // A truth outside the bounds stays outside the picture only if the draws are inside.
        let cut = (low.max(first), high.min(last));
        if cut.0 < cut.1 {
            return cut;
        }
    }
    let axis = Axis::new(low, high);
    (axis.low, axis.high)
}

fn marginals(
    picture: &mut Picture,
    panel: &Panel,
    draws: &[Draws<'_>],
    parameter: usize,
    (low, high): (f64, f64),
) {
    let width = (high - low) / BINS as f64;
    for (i, draws) in draws.iter().enumerate() {
        let density = draws.marginal(parameter, (low, high), BINS);
        let middle = density
            .iter()
            .enumerate()
            .map(|(k, &d)| (low + (k as f64 + 0.5) * width, d));
        // Continued to both ends of the axis.
        let mut points = vec![(low, density[0])];
        points.extend(middle);
        points.push((high, density[BINS - 1]));
        let mut area: Vec<(f64, f64)> = points.iter().map(|&(x, y)| panel.at(x, y)).collect();
        area.push(panel.at(high, 0.0));
        area.push(panel.at(low, 0.0));
        picture.area(area, style::series(i).faint(0.15));
        panel.curve(picture, &points, style::series(i), 1.3);
    }
}

fn contours(
    picture: &mut Picture,
    panel: &Panel,
    draws: &[Draws<'_>],
    pair: [usize; 2],
    ranges: [(f64, f64); 2],
) {
    for (i, draws) in draws.iter().enumerate() {
        let density = draws.joint(pair, ranges, JOINT_BINS);
        let levels = levels(&density, &[1.0; JOINT_BINS * JOINT_BINS], MASSES);
        let grid = Grid::of_cells(&density, ranges, [JOINT_BINS; 2]);
        let ink = style::series(i);
        let mut rgba = Vec::with_capacity(4 * FILL * FILL);
        let node = |k: usize, (low, high): (f64, f64)| low + (k as f64 + 0.5) / FILL as f64 * (high - low);
        for row in (0..FILL).rev() {
            for column in 0..FILL {
                let value = grid.at(node(column, ranges[0]), node(row, ranges[1]));
                let inside = levels.iter().position(|&level| value >= level);
                let opacity = inside.map_or(0.0, |k| OPACITY[k]);
                rgba.extend([ink.0, ink.1, ink.2, (255.0 * opacity) as u8]);
            }
        }
        picture.image(panel.rect(), FILL, rgba, true);
        for level in levels {
            for chain in grid.contours(level) {
                panel.curve(picture, &chain, ink, 0.9);
            }
        }
    }
}
