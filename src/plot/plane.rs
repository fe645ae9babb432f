//! Draw points, paths and arrows of the plane.

use std::path::Path;

use super::axis::Axis;
use super::canvas::{Align, Picture, Type};
use super::legend::sheet;
use super::panel::{BELOW, Panel};
use super::style::{self, COLUMN, LABEL, PAGE, TICK};
use super::text::{self, Label};
use crate::{Error, Result};

/// What is in the plane. All of it may be empty, but not everything at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlanePanel<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// Points that lie under the rest.
    pub points: &'a [[f64; 2]],
    /// Where points went, from their beginning to their end, which is marked.
    pub paths: &'a [Vec<[f64; 2]>],
    /// Where an arrow begins and how it goes, in proportion: the longest is about as long as arrows are apart.
    pub arrows: &'a [([f64; 2], [f64; 2])],
}

/// Panels of the same part of the plane, side by side.
#[derive(Debug, Clone, Copy)]
pub struct Planes<'a> {
    /// What stands above them.
    pub title: &'a str,
    /// The names of the two numbers.
    pub names: [&'a str; 2],
    /// One to four.
    pub panels: &'a [PlanePanel<'a>],
}

/// More panels than this are too small.
const MAX_PANELS: usize = 4;
const GAP: f64 = 8.0;
const TITLE: f64 = 12.0;

/// Write panels with points, paths and arrows of the plane, on the same scale along both axes.
///
/// # Errors
///
/// What cannot be drawn or written; see [the module](crate::plot).
///
/// ```
/// use armilla::plot::{PlanePanel, Planes, planes};
///
/// let folder = tempfile::tempdir().unwrap();
/// let paths = [vec![[0.0, 0.0], [1.0, 0.5], [1.5, 2.0]]];
/// let panel = PlanePanel { title: "a path", paths: &paths, ..Default::default() };
/// let plot = Planes { title: "", names: ["x", "y"], panels: &[panel] };
/// planes(&plot, folder.path().join("path.svg"))?;
/// # Ok::<(), armilla::Error>(())
/// ```
pub fn planes(plot: &Planes<'_>, path: impl AsRef<Path>) -> Result<()> {
    picture(plot)?.save(path.as_ref())
}

pub(super) fn picture(plot: &Planes<'_>) -> Result<Picture> {
    let [x, y] = ranges(plot)?;
    let columns = plot.panels.len();
    let width = if columns == 1 { COLUMN } else { PAGE };
    let titled = plot.panels.iter().any(|panel| !panel.title.is_empty());
    let above = if titled { TITLE } else { 4.0 };
    let mut panel = Panel {
        left: 0.0,
        top: 0.0,
        width: 100.0,
        height: 100.0,
        x,
        y,
    };
    // The numbers depend on the height, and the height on the room that numbers leave.
    let (mut reach, mut left) = (0.0, 0.0);
    for _ in 0..3 {
        reach = Panel::y_reach(&panel.y_ticks());
        left = reach + LABEL + 4.0;
        panel.width = (width - left - 8.0 - GAP * (columns - 1) as f64) / columns as f64;
        panel.height = panel.width * (y.high - y.low) / (x.high - x.low);
    }
    let (mut picture, top) = sheet(width, above + panel.height + BELOW, plot.title, &Vec::new());
    panel.top = top + above;
    for (i, what) in plot.panels.iter().enumerate() {
        panel.left = left + (panel.width + GAP) * i as f64;
        contents(&mut picture, &panel, what);
        panel.frame(&mut picture);
        // A long title shrinks rather than leaves its panel.
        let size = LABEL * (panel.width / text::width(what.title, LABEL, false).max(1.0)).min(1.0);
        let middle = panel.left + panel.width / 2.0;
        picture.text(middle, panel.top - 4.0, what.title, Align::Centre, Type::of(size));
        let ticks = panel.y_ticks();
        panel.draw_y_ticks(&mut picture, &ticks, i == 0);
        if i == 0 {
            panel.y_label(
                &mut picture,
                &ticks.complete(Label::of_parameter(plot.names[1])),
                reach,
            );
        }
        let ticks = panel.x_ticks();
        panel.draw_x_ticks(&mut picture, &ticks, true);
        panel.x_label(&mut picture, &ticks.complete(Label::of_parameter(plot.names[0])));
    }
    Ok(picture)
}

fn contents(picture: &mut Picture, panel: &Panel, what: &PlanePanel<'_>) {
    let dot = |picture: &mut Picture, [x, y]: [f64; 2], radius: f64, ink| {
        let (x, y) = panel.at(x, y);
        picture.dot(x, y, radius, ink);
    };
    for point in what.points {
        dot(picture, *point, 0.7, style::series(0).faint(0.35));
    }
    for path in what.paths {
        let points: Vec<(f64, f64)> = path.iter().map(|[x, y]| (*x, *y)).collect();
        panel.curve(picture, &points, style::INK.faint(0.45), 0.5);
    }
    for ends in what.paths.iter().filter_map(|path| path.first().zip(path.last())) {
        dot(picture, *ends.0, 1.1, style::series(5));
        dot(picture, *ends.1, 1.4, style::series(1));
    }
    let longest = (what.arrows.iter()).fold(0f64, |most, (_, [u, v])| most.max(u.hypot(*v)));
    // Arrows on a grid are so far from each other.
    let apart = panel.width / (what.arrows.len() as f64).sqrt().max(1.0);
    for (from, [u, v]) in what.arrows.iter().filter(|_| longest > 0.0) {
        let share = apart / longest;
        arrow(picture, panel.at(from[0], from[1]), (u * share, -v * share));
    }
}

/// An arrow of the picture, with a head as long as a third of it, within what can be seen.
fn arrow(picture: &mut Picture, (x, y): (f64, f64), (u, v): (f64, f64)) {
    let length = u.hypot(v);
    if length < 0.3 {
        return;
    }
    let head = (length / 3.0).clamp(1.2, TICK / 2.0);
    let (tip, along) = ((x + u, y + v), (u / length, v / length));
    let barb = |side: f64| {
        (
            tip.0 - head * (along.0 + 0.5 * side * along.1),
            tip.1 - head * (along.1 - 0.5 * side * along.0),
        )
    };
    picture.line(vec![(x, y), tip], style::series(0), 0.7);
    picture.area(vec![tip, barb(1.0), barb(-1.0)], style::series(0));
}

/// The part of the plane that everything is in, but for the lengths of arrows.
fn ranges(plot: &Planes<'_>) -> Result<[Axis; 2]> {
    let fail = |what: String| Err(Error::Invalid(format!("plane: {what}")));
    if !(1..=MAX_PANELS).contains(&plot.panels.len()) {
        return fail(format!("1 to {MAX_PANELS} panels, not {}", plot.panels.len()));
    }
    let begins = |panel: &PlanePanel<'_>| -> Vec<[f64; 2]> {
        let arrows = panel.arrows.iter().map(|(from, _)| *from);
        (panel.points.iter().copied())
            .chain(panel.paths.iter().flatten().copied())
            .chain(arrows)
            .collect()
    };
    let all: Vec<[f64; 2]> = plot.panels.iter().flat_map(begins).collect();
    let ends = plot
        .panels
        .iter()
        .flat_map(|panel| panel.arrows)
        .map(|(_, go)| go);
    if all.is_empty() || all.iter().chain(ends).flatten().any(|x| !x.is_finite()) {
        return fail("there must be something to draw, and every number must be finite".into());
    }
    Ok([0, 1].map(|i| {
        let (low, high) = all.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), p| {
            (l.min(p[i]), h.max(p[i]))
        });
        let margin = 0.04 * (high - low);
        Axis::new(low - margin, high + margin)
    }))
}
