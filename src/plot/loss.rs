//! Draw how a loss fell.

use std::path::Path;

use super::axis::Axis;
use super::canvas::Picture;
use super::legend::{Mark, sheet};
use super::panel::{BELOW, Panel};
use super::style::{self, COLUMN, LABEL, PAPER};
use super::text::{self, Label};
use crate::{Error, Result};

/// One curve.
#[derive(Debug, Clone, Copy)]
pub struct Curve<'a> {
    /// Its name in the legend.
    pub label: &'a str,
    /// Its values; one that is not finite leaves a gap.
    pub values: &'a [f64],
}

/// What a picture of losses shows; V3 of its name is `mle_loss_idx{N}.png` or `training_history.png`.
#[derive(Debug, Clone, Copy)]
pub struct Loss<'a> {
    /// What stands above it.
    pub title: &'a str,
    /// The curves, such as training and validation.
    pub curves: &'a [Curve<'a>],
    /// What is counted along the x axis, from 1: `epoch`, `iteration`.
    pub step: &'a str,
    /// What is drawn along the y axis.
    pub quantity: &'a str,
}

/// Write loss curves against their steps, on a logarithmic axis where all values are positive and differ by more than a
/// factor of two. The lowest value of each curve is marked where there are at most two curves.
///
/// # Errors
///
/// No finite value at all, and what cannot be written.
///
/// ```
/// use armilla::plot::{Curve, Loss, loss};
///
/// let folder = tempfile::tempdir().unwrap();
/// let values: Vec<f64> = (1..50).map(|i| 1.0 / f64::from(i)).collect();
/// let plot = Loss {
///     title: "Training",
///     curves: &[Curve { label: "train", values: &values }],
///     step: "epoch",
///     quantity: "loss",
/// };
/// loss(&plot, folder.path().join("training_history.png"))?;
/// # Ok::<(), armilla::Error>(())
/// ```
pub fn loss(plot: &Loss<'_>, path: impl AsRef<Path>) -> Result<()> {
    picture(plot)?.save(path.as_ref())
}

pub(super) fn picture(plot: &Loss<'_>) -> Result<Picture> {
    let finite = || {
        plot.curves
            .iter()
            .flat_map(|c| c.values)
            .copied()
            .filter(|v| v.is_finite())
    };
    let (low, high) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
        (l.min(v), h.max(v))
    });
    let steps = plot.curves.iter().map(|c| c.values.len()).max().unwrap_or(0);
    if low > high {
        return Err(Error::Invalid(format!(
            "loss curves `{}`: there is no finite value to draw",
            plot.title
        )));
    }
    let y = if low > 0.0 && high / low > 2.0 {
        let margin = (high / low).powf(0.05);
        Axis {
            low: low / margin,
            high: high * margin,
            log: true,
        }
    } else {
        let margin = 0.06 * (high - low);
        Axis::new(low - margin, high + margin)
    };
    let x = if steps > 1 {
        Axis::new(1.0, steps as f64)
    } else {
        Axis::new(0.5, 1.5)
    };
    let mut panel = Panel {
        left: 0.0,
        top: 0.0,
        width: 0.0,
        height: 150.0,
        x,
        y,
    };
    let ticks = panel.y_ticks();
    let reach = Panel::y_reach(&ticks);
    panel.left = reach + LABEL + 4.0;
    panel.width = COLUMN - panel.left - 10.0;
    let lowest = |curve: &Curve<'_>| {
        let finite = curve.values.iter().enumerate().filter(|(_, v)| v.is_finite());
        let lowest = finite.min_by(|a, b| a.1.total_cmp(b.1));
        lowest
            .filter(|_| plot.curves.len() <= 2)
            .map(|(k, &v)| (k + 1, v))
    };
    let entry = |(i, curve): (usize, &Curve<'_>)| {
        let lowest = lowest(curve).map_or_else(String::new, |(step, value)| {
            format!(", lowest {} at {step}", text::numbers(&[value])[0])
        });
        let name = format!("{}{lowest}", curve.label);
        (Mark::Line(style::series(i)), Label::plain(&name))
    };
    // Title and legend stand above the frame: inside, they would hide one curve or another.
    let entries = plot.curves.iter().enumerate().map(entry).collect();
    let (mut picture, top) = sheet(COLUMN, panel.height + BELOW, plot.title, &entries);
    panel.top = top;
    for (i, curve) in plot.curves.iter().enumerate() {
        let points: Vec<(f64, f64)> = curve
            .values
            .iter()
            .enumerate()
            .map(|(k, &v)| ((k + 1) as f64, v))
            .collect();
        panel.curve(&mut picture, &points, style::series(i), 1.4);
        // A single value, or one between two gaps, is no line.
        for (k, &(step, value)) in points.iter().enumerate() {
            let alone = |j: Option<usize>| j.and_then(|j| points.get(j)).is_none_or(|(_, v)| !v.is_finite());
            if value.is_finite() && alone(k.checked_sub(1)) && alone(Some(k + 1)) {
                let (x, y) = panel.at(step, value);
                picture.dot(x, y, 2.0, style::series(i));
            }
        }
        if let Some((step, value)) = lowest(curve) {
            let (x, y) = panel.at(step as f64, value);
            picture.dot(x, y, 2.6, style::series(i));
            picture.dot(x, y, 1.3, PAPER);
        }
    }
    panel.frame(&mut picture);
    panel.draw_y_ticks(&mut picture, &ticks, true);
    panel.y_label(&mut picture, &ticks.complete(Label::plain(plot.quantity)), reach);
    let ticks = panel.x_ticks();
    panel.draw_x_ticks(&mut picture, &ticks, true);
    panel.x_label(&mut picture, &ticks.complete(Label::plain(plot.step)));
    Ok(picture)
}
