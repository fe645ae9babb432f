//! Draw maps in rows with one colour bar.

use std::path::Path;

use super::axis::Axis;
use super::canvas::{Align, Picture, Type};
use super::legend::sheet;
use super::panel::{BELOW, Panel, colour_bar};
use super::style::{self, COLUMN, LABEL, PAGE, TICK};
use super::text::{self, Label};
use crate::{Error, Result};

/// One map and its title.
#[derive(Debug, Clone, Copy)]
pub struct FieldPanel<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// Its pixels, row by row; the first row is drawn at the bottom.
    pub map: &'a [f32],
}

/// Maps of the same size.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    /// The maps, row by row; up to five share one.
    pub panels: &'a [FieldPanel<'a>],
    /// The number of pixels along a side.
    pub side: usize,
    /// The side of the maps in Mpc/h; without it axes count pixels.
    pub box_size: Option<f64>,
    /// What the colours mean, for the colour bar.
    pub label: &'a str,
}

/// More maps than this cannot be seen on a page.
const MAX_MAPS: usize = 24;
/// Positive maps that span a larger factor than this get a logarithmic colour scale.
const LOG_FROM: f32 = 30.0;

/// Write maps in rows with a shared colour bar, logarithmic where all pixels are positive and span a large factor.
///
/// # Errors
///
/// What cannot be drawn or written; see [the module](crate::plot).
///
/// ```
/// use armilla::plot::{FieldPanel, Fields, fields};
///
/// let folder = tempfile::tempdir().unwrap();
/// let map: Vec<f32> = (0..64).map(|i| (i % 8) as f32).collect();
/// let plot = Fields {
///     panels: &[FieldPanel { title: "a ramp", map: &map }],
///     side: 8,
///     box_size: Some(25.0),
///     label: "density",
/// };
/// fields(&plot, folder.path().join("map.svg"))?;
/// # Ok::<(), armilla::Error>(())
/// ```
pub fn fields(plot: &Fields<'_>, path: impl AsRef<Path>) -> Result<()> {
    picture(plot)?.save(path.as_ref())
}

pub(super) fn picture(plot: &Fields<'_>) -> Result<Picture> {
    let width = if plot.panels.len() == 1 { COLUMN } else { PAGE };
    let maps = Maps::new(plot, width)?;
    let (mut picture, top) = sheet(width, maps.height(), "", &Vec::new());
    maps.draw(&mut picture, top);
    Ok(picture)
}

/// Maps ready to be drawn across a picture.
pub(super) struct Maps<'a> {
    plot: &'a Fields<'a>,
    scale: Axis,
    columns: usize,
    left: f64,
    side: f64,
}

/// The distances between columns and between rows, the titles included.
const GAP: f64 = 5.0;
const ROW_GAP: f64 = 17.0;
/// The width of a colour bar.
const BAR: f64 = 7.0;

impl<'a> Maps<'a> {
    /// # Errors
    ///
    /// Maps that cannot be drawn.
    pub fn new(plot: &'a Fields<'a>, width: f64) -> Result<Self> {
        let columns = match plot.panels.len() {
            0..=5 => plot.panels.len(),
            6 | 9 => 3,
            _ => 4,
        };
        let mut maps = Self {
            plot,
            scale: check(plot)?,
            columns,
            left: 0.0,
            side: 80.0,
        };
        // The numbers depend on the size of what they stand at, and what is left for the maps on the numbers.
        for _ in 0..3 {
            let reach = Panel::y_reach(&maps.panel(0, 0.0).y_ticks());
            maps.left = reach + LABEL + 4.0;
            // Drawing into a scrap picture is the surest measure.
            let bar = maps.colour_bar(&mut Picture::new(1.0, 1.0), 0.0);
            let room = width - maps.left - bar - 4.0;
            maps.side = room / columns as f64 - GAP;
        }
        Ok(maps)
    }

    fn rows(&self) -> usize {
        self.plot.panels.len().div_ceil(self.columns)
    }

    /// The height of all rows with titles, numbers and labels.
    pub fn height(&self) -> f64 {
        self.rows() as f64 * (self.side + ROW_GAP) + BELOW
    }

    fn panel(&self, k: usize, top: f64) -> Panel {
        let (row, column) = (k / self.columns, k % self.columns);
        let axis = Axis::new(0.0, self.plot.box_size.unwrap_or(self.plot.side as f64));
        Panel {
            left: self.left + column as f64 * (self.side + GAP),
            top: top + ROW_GAP - 4.0 + row as f64 * (self.side + ROW_GAP),
            width: self.side,
            height: self.side,
            x: axis,
            y: axis,
        }
    }

    fn colour_bar(&self, picture: &mut Picture, top: f64) -> f64 {
        let (first, last) = (
            self.panel(0, top),
            self.panel((self.rows() - 1) * self.columns, top),
        );
        let left = self.left + self.columns as f64 * (self.side + GAP) + 2.0;
        let place = (left, first.top, BAR, last.bottom() - first.top);
        colour_bar(picture, place, self.scale, &Label::plain(self.plot.label)) + 2.0
    }

    pub fn draw(&self, picture: &mut Picture, top: f64) {
        let plot = self.plot;
        let unit = if plot.box_size.is_some() {
            "Mpc/h"
        } else {
            "pixels"
        };
        for (k, map) in plot.panels.iter().enumerate() {
            let panel = self.panel(k, top);
            let mut rgba = Vec::with_capacity(4 * plot.side * plot.side);
            for row in map.map.chunks(plot.side).rev() {
                for &pixel in row {
                    let [r, g, b] = style::sequential(self.scale.fraction(f64::from(pixel)));
                    rgba.extend([r, g, b, 255]);
                }
            }
            picture.image(panel.rect(), plot.side, rgba, false);
            panel.frame(picture);
            let ticks = panel.x_ticks();
            // Nothing lies below the last of each column.
            let last = k + self.columns >= plot.panels.len();
            panel.draw_x_ticks(picture, &ticks, last);
            if last {
                let label = Label::plain(&format!("x ({unit})"));
                panel.x_label(picture, &ticks.complete(label));
            }
            let ticks = panel.y_ticks();
            let first = k.is_multiple_of(self.columns);
            panel.draw_y_ticks(picture, &ticks, first);
            if first {
                let label = Label::plain(&format!("y ({unit})"));
                panel.y_label(picture, &ticks.complete(label), Panel::y_reach(&ticks));
            }
            // A long title shrinks rather than meets its neighbour.
            let wide = text::width(map.title, LABEL, false);
            let size = LABEL * (self.side / wide.max(1.0)).min(1.0);
            let (x, y) = (panel.left + self.side / 2.0, panel.top - 4.0);
            let kind = Type::of(size.max(TICK * 0.6));
            picture.text(x, y, map.title, Align::Centre, kind);
        }
        self.colour_bar(picture, top);
    }
}

/// The colour scale of maps that can be drawn.
pub(super) fn check(plot: &Fields<'_>) -> Result<Axis> {
    let fail = |what: String| Err(Error::Invalid(format!("maps to draw: {what}")));
    if plot.panels.is_empty() || plot.panels.len() > MAX_MAPS {
        return fail(format!(
            "there are {}; a picture has 1 to {MAX_MAPS}",
            plot.panels.len()
        ));
    }
    if plot
        .box_size
        .is_some_and(|size| !(size.is_finite() && size > 0.0))
    {
        return fail("the size of the box must be positive".into());
    }
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    for panel in plot.panels {
        if plot.side == 0 || Some(panel.map.len()) != plot.side.checked_mul(plot.side) {
            return fail(format!(
                "`{}` has {} pixels, not {}×{}",
                panel.title,
                panel.map.len(),
                plot.side,
                plot.side
            ));
        }
        if let Some(i) = panel.map.iter().position(|x| !x.is_finite()) {
            return fail(format!("pixel {i} of `{}` is {}", panel.title, panel.map[i]));
        }
        low = panel.map.iter().copied().fold(low, f32::min);
        high = panel.map.iter().copied().fold(high, f32::max);
    }
    let axis = Axis::new(f64::from(low), f64::from(high));
    Ok(Axis {
        log: low > 0.0 && high / low > LOG_FROM,
        ..axis
    })
}
