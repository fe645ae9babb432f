//! Draw maps side by side with one colour bar.

use std::path::Path;

use super::axis::Axis;
use super::canvas::{Align, Picture, Rect, Type};
use super::panel::{Panel, colour_bar};
use super::style::{self, TICK, TITLE};
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

/// A row of maps of the same size.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a> {
    /// The maps, from left to right.
    pub panels: &'a [FieldPanel<'a>],
    /// The number of pixels along a side.
    pub side: usize,
    /// The side of the maps in Mpc/h; without it axes count pixels.
    pub box_size: Option<f64>,
    /// What the colours mean, for the colour bar.
    pub label: &'a str,
}

/// More maps than this do not fit a row.
const MAX_MAPS: usize = 12;
/// Positive maps that span a larger factor than this get a logarithmic colour scale.
const LOG_FROM: f32 = 30.0;

/// Write a row of maps with a shared colour bar, logarithmic where all pixels are positive and span a large factor.
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
    let scale = check(plot)?;
    let side = if plot.panels.len() == 1 { 260.0 } else { 150.0 };
    let left = 46.0;
    let top = 26.0;
    let row = Row { plot, scale, side };
    let mut picture = Picture::new(left + row.width(), top + side + 40.0);
    row.draw(&mut picture, left, top);
    picture.save(path.as_ref())
}

/// Maps ready to be drawn into any picture.
pub(super) struct Row<'a> {
    pub plot: &'a Fields<'a>,
    pub scale: Axis,
    pub side: f64,
}

const GAP: f64 = 10.0;

impl Row<'_> {
    /// How wide the row is from the left edge of its first map, the colour bar and its label included.
    pub fn width(&self) -> f64 {
        let count = self.plot.panels.len() as f64;
        // Drawing into a scrap picture is the surest measure.
        let place = (0.0, 0.0, 9.0, self.side);
        let bar = colour_bar(
            &mut Picture::new(1.0, 1.0),
            place,
            self.scale,
            &Label::plain(self.plot.label),
        );
        count * (self.side + GAP) + bar + 8.0
    }

    pub fn draw(&self, picture: &mut Picture, left: f64, top: f64) {
        let plot = self.plot;
        let length = plot.box_size.unwrap_or(plot.side as f64);
        for (k, panel) in plot.panels.iter().enumerate() {
            let place: Rect = (left + k as f64 * (self.side + GAP), top, self.side, self.side);
            let mut rgba = Vec::with_capacity(4 * plot.side * plot.side);
            for row in panel.map.chunks(plot.side).rev() {
                for &pixel in row {
                    let [r, g, b] = style::sequential(self.scale.fraction(f64::from(pixel)));
                    rgba.extend([r, g, b, 255]);
                }
            }
            picture.image(place, plot.side, rgba, false);
            let axis = Axis::new(0.0, length);
            let frame = Panel {
                left: place.0,
                top,
                width: self.side,
                height: self.side,
                x: axis,
                y: axis,
            };
            frame.frame(picture);
            let ticks = frame.x_ticks();
            frame.draw_x_ticks(picture, &ticks, true);
            let unit = Label::plain(if plot.box_size.is_some() {
                "x (Mpc/h)"
            } else {
                "x (pixels)"
            });
            frame.x_label(picture, &ticks.complete(unit));
            let ticks = frame.y_ticks();
            frame.draw_y_ticks(picture, &ticks, k == 0);
            if k == 0 {
                let unit = Label::plain(if plot.box_size.is_some() {
                    "y (Mpc/h)"
                } else {
                    "y (pixels)"
                });
                frame.y_label(picture, &ticks.complete(unit), Panel::y_reach(&ticks));
            }
            // A long title shrinks rather than meets its neighbour.
            let wide = text::width(panel.title, TITLE, false);
            let size = TITLE * (self.side / wide.max(1.0)).min(1.0);
            let kind = Type::of(size.max(TICK * 0.75));
            picture.text(
                place.0 + self.side / 2.0,
                top - 7.0,
                panel.title,
                Align::Centre,
                kind,
            );
        }
        let x = left + plot.panels.len() as f64 * (self.side + GAP);
        colour_bar(
            picture,
            (x, top, 9.0, self.side),
            self.scale,
            &Label::plain(plot.label),
        );
    }
}

/// The colour scale of maps that can be drawn.
pub(super) fn check(plot: &Fields<'_>) -> Result<Axis> {
    let fail = |what: String| Err(Error::Invalid(format!("maps to draw: {what}")));
    if plot.panels.is_empty() || plot.panels.len() > MAX_MAPS {
        return fail(format!(
            "there are {}; a row has 1 to {MAX_MAPS}",
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
