//! Draw a log density over a grid of two parameters.

use std::path::Path;

use super::axis::Axis;
use super::canvas::Picture;
use super::contours::Grid;
use super::density::{MASSES, levels};
use super::legend::{Mark, cross, ring, sheet};
use super::panel::{BELOW, Panel, colour_bar};
use super::style::{self, COLUMN, LABEL, PAPER};
use super::text::Label;
use crate::{Error, Result};

/// What the surface shows; V3 of its name is `grid_likelihood_idx{N}.png`.
#[derive(Debug, Clone, Copy)]
pub struct Surface<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// The names of the parameters along x and y.
    pub names: [&'a str; 2],
    /// The values of the first parameter, equally spaced.
    pub x: &'a [f64],
    /// The values of the second parameter, equally spaced.
    pub y: &'a [f64],
    /// The log density at each pair, `log_density[row * x.len() + column]`; −∞ is outside the support.
    pub log_density: &'a [f64],
    /// The true pair.
    pub truth: Option<[f64; 2]>,
}

/// Log densities this far below the maximum are drawn alike: a Gaussian's 5 sigma is 12.5 below.
const DEEPEST: f64 = 15.0;

/// Write a log density as colours below its maximum, with 68 % and 95 % contours of the density over the grid, and the
/// truth and the maximum marked.
///
/// # Errors
///
/// What cannot be drawn or written; see [the module](crate::plot). A grid needs two points each way, equally spaced.
///
/// ```
/// use armilla::plot::{Surface, likelihood_surface};
///
/// let folder = tempfile::tempdir().unwrap();
/// let axis: Vec<f64> = (0..20).map(|k| f64::from(k) / 19.0).collect();
/// let log_density: Vec<f64> =
///     axis.iter().flat_map(|y| axis.iter().map(move |x| -20.0 * (x - y).powi(2) - 3.0 * x)).collect();
/// let plot = Surface {
///     title: "Map 0",
///     names: ["Omega_m", "sigma_8"],
///     x: &axis,
///     y: &axis,
///     log_density: &log_density,
///     truth: Some([0.3, 0.3]),
/// };
/// likelihood_surface(&plot, folder.path().join("grid_likelihood_idx0.png"))?;
/// # Ok::<(), armilla::Error>(())
/// ```
pub fn likelihood_surface(plot: &Surface<'_>, path: impl AsRef<Path>) -> Result<()> {
    picture(plot)?.save(path.as_ref())
}

pub(super) fn picture(plot: &Surface<'_>) -> Result<Picture> {
    let (at, peak) = check(plot)?;
    let columns = plot.x.len();
    let below: Vec<f64> = plot.log_density.iter().map(|&v| v - peak).collect();
    let deepest = below.iter().copied().fold(0.0, f64::min).max(-DEEPEST);
    let scale = Axis::new(deepest, 0.0);
    // A value belongs to a cell around its point, so that the image reaches half a step beyond the grid.
    let range = |nodes: &[f64]| {
        let half = 0.5 * (nodes[1] - nodes[0]);
        Axis::new(nodes[0] - half, nodes[nodes.len() - 1] + half)
    };
    let mut panel = Panel {
        left: 0.0,
        top: 0.0,
        width: 150.0,
        height: 150.0,
        x: range(plot.x),
        y: range(plot.y),
    };
    let y_ticks = panel.y_ticks();
    let reach = Panel::y_reach(&y_ticks);
    panel.left = reach + LABEL + 4.0;
    let bar_label = Label::plain("log density below its maximum");
    let bar = |panel: &Panel| (panel.right() + 8.0, panel.top, 8.0, panel.height);
    let bar_width = colour_bar(&mut Picture::new(1.0, 1.0), bar(&panel), scale, &bar_label);
    // A square as large as column, numbers and colour bar leave it.
    panel.width = COLUMN - panel.left - bar_width - 14.0;
    panel.height = panel.width;
    let contour = |dashed, name| (Mark::Contour(dashed), Label::plain(name));
    let mut entries = vec![contour(false, "68 %"), contour(true, "95 %")];
    entries.push((Mark::Cross, Label::plain("maximum")));
    entries.extend(plot.truth.map(|_| (Mark::Ring, Label::plain("truth"))));
    let (mut picture, top) = sheet(COLUMN, panel.height + BELOW + 4.0, plot.title, &entries);
    panel.top = top + 4.0;
    let rgba = below
        .chunks(columns)
        .rev()
        .flatten()
        .flat_map(|&v| {
            let [r, g, b] = style::sequential(scale.fraction(v.max(deepest)));
            [r, g, b, 255]
        })
        .collect();
    picture.image(panel.rect(), columns, rgba, false);

    // Contours are interpolated in the logarithm, which is smoother. The floor keeps it finite; its density is nothing.
    let floored: Vec<f64> = below.iter().map(|v| v.max(-2.0 * DEEPEST)).collect();
    let ranges = [(panel.x.low, panel.x.high), (panel.y.low, panel.y.high)];
    let grid = Grid::of_cells(&floored, ranges, [columns, plot.y.len()]).refined(6);
    let density: Vec<f64> = grid.values.iter().map(|v| v.exp()).collect();
    for (level, dashed) in levels(&density, &grid.areas(), MASSES)
        .into_iter()
        .zip([false, true])
    {
        for chain in grid.contours(level.ln()) {
            // Dark under white is seen on every colour of the map.
            panel.curve(&mut picture, &chain, style::INK, 2.2);
            if dashed {
                let points: Vec<(f64, f64)> = chain.iter().map(|&(x, y)| panel.at(x, y)).collect();
                picture.dashed(&points, PAPER, 1.2, (3.5, 2.0));
            } else {
                panel.curve(&mut picture, &chain, PAPER, 1.2);
            }
        }
    }
    let maximum = [plot.x[at % columns], plot.y[at / columns]];
    let place = |[x, y]: [f64; 2]| {
        let fractions = [panel.x.fraction(x), panel.y.fraction(y)];
        let inside = fractions.iter().all(|f| (0.0..=1.0).contains(f));
        inside.then(|| panel.at(x, y))
    };
    if let Some(point) = plot.truth.and_then(place) {
        ring(&mut picture, point);
    }
    // Inside the ring where the two meet.
    if let Some(point) = place(maximum) {
        cross(&mut picture, point);
    }
    panel.frame(&mut picture);
    let x_ticks = panel.x_ticks();
    panel.draw_x_ticks(&mut picture, &x_ticks, true);
    panel.x_label(
        &mut picture,
        &x_ticks.complete(Label::of_parameter(plot.names[0])),
    );
    panel.draw_y_ticks(&mut picture, &y_ticks, true);
    panel.y_label(
        &mut picture,
        &y_ticks.complete(Label::of_parameter(plot.names[1])),
        reach,
    );
    colour_bar(&mut picture, bar(&panel), scale, &bar_label);
    Ok(picture)
}

/// The index and value of the maximum of a surface that can be drawn.
fn check(plot: &Surface<'_>) -> Result<(usize, f64)> {
    let fail = |what: String| Err(Error::Invalid(format!("likelihood surface: {what}")));
    for (nodes, name) in [plot.x, plot.y].into_iter().zip(plot.names) {
        let step = if nodes.len() > 1 {
            nodes[1] - nodes[0]
        } else {
            f64::NAN
        };
        let even = nodes
            .windows(2)
            .all(|pair| ((pair[1] - pair[0]) - step).abs() <= 1e-6 * step);
        if !(step.is_finite() && step > 0.0 && even) {
            return fail(format!(
                "the values of {name} must be two or more, increasing and equally spaced"
            ));
        }
    }
    if plot.log_density.len() != plot.x.len() * plot.y.len() {
        return fail(format!(
            "{} values on a grid of {}×{}",
            plot.log_density.len(),
            plot.x.len(),
            plot.y.len()
        ));
    }
    if plot
        .truth
        .is_some_and(|truth| truth.iter().any(|x| !x.is_finite()))
    {
        return fail("the truth is not finite".into());
    }
    if plot.log_density.iter().any(|v| v.is_nan() || *v == f64::INFINITY) {
        return fail("a log density is NaN or +inf".into());
    }
    let best = plot
        .log_density
        .iter()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(b.1));
    match best {
        Some((at, &peak)) if peak.is_finite() => Ok((at, peak)),
        _ => fail("every log density is -inf".into()),
    }
}
