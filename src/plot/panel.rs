//! Place data in panels: frames, ticks, labels, curves and colour bars.

use super::axis::{Axis, Ticks};
use super::canvas::{Align, Ink, Picture, Rect, Type};
use super::style::{self, LABEL, TICK};
use super::text::{self, Label};

/// The length of a tick and its distance from its number, in points.
const TICK_LENGTH: f64 = 3.0;
const TICK_GAP: f64 = 2.5;

/// The room that numbers and label take under a panel.
pub(super) const BELOW: f64 = TICK_GAP + TICK + 3.0 + 1.4 * LABEL;

/// A rectangle of the picture with an axis along each side; values of y grow upwards.
#[derive(Clone, Copy)]
pub(super) struct Panel {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
    pub x: Axis,
    pub y: Axis,
}

impl Panel {
    pub fn new((left, top, width, height): Rect, x: Axis, y: Axis) -> Self {
        Self {
            left,
            top,
            width,
            height,
            x,
            y,
        }
    }

    pub fn right(&self) -> f64 {
        self.left + self.width
    }

    pub fn bottom(&self) -> f64 {
        self.top + self.height
    }

    pub fn rect(&self) -> Rect {
        (self.left, self.top, self.width, self.height)
    }

    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (
            self.left + self.width * self.x.fraction(x),
            self.bottom() - self.height * self.y.fraction(y),
        )
    }

    /// The ticks of the x axis, as many as their numbers leave room for.
    pub fn x_ticks(&self) -> Ticks {
        let fits = |ticks: &Ticks| {
            let edges: Vec<(f64, f64)> = ticks
                .marks
                .iter()
                .map(|(value, text)| {
                    let centre = self.left + self.width * self.x.fraction(*value);
                    let half = text::width(text, TICK, false) / 2.0 + 0.25 * TICK;
                    (centre - half, centre + half)
                })
                .collect();
            edges.windows(2).all(|pair| pair[0].1 <= pair[1].0)
        };
        let mut ticks = self.x.ticks(1);
        for most in (2..=6).rev() {
            let candidate = self.x.ticks(most);
            if fits(&candidate) {
                ticks = candidate;
                break;
            }
        }
        // Numbers that hang over an end would meet those of the next panel.
        let slack = 4.0;
        ticks.marks.retain(|(value, text)| {
            let centre = self.width * self.x.fraction(*value);
            let half = text::width(text, TICK, false) / 2.0;
            centre - half > -slack && centre + half < self.width + slack
        });
        ticks
    }

    pub fn y_ticks(&self) -> Ticks {
        self.y.ticks(self.most_y_ticks())
    }

    /// The same without those whose numbers would meet the numbers of a panel above or below.
    pub fn y_ticks_inside(&self) -> Ticks {
        let inside = |most: usize| {
            let mut ticks = self.y.ticks(most);
            ticks.marks.retain(|(value, _)| {
                let up = self.height * self.y.fraction(*value);
                up.min(self.height - up) > 0.25 * TICK
            });
            ticks
        };
        let most = self.most_y_ticks();
        // One number alone does not tell the scale.
        (most..most + 4)
            .map(inside)
            .find(|ticks| ticks.marks.len() > 1)
            .unwrap_or_else(|| inside(most))
    }

    fn most_y_ticks(&self) -> usize {
        ((self.height / (3.0 * TICK)) as usize).clamp(2, 6)
    }

    pub fn frame(&self, picture: &mut Picture) {
        let (l, t, r, b) = (self.left, self.top, self.right(), self.bottom());
        picture.line(
            vec![(l, t), (r, t), (r, b), (l, b), (l, t), (r, t)],
            style::INK,
            0.7,
        );
    }

    /// Ticks along the bottom; with their numbers if `numbered`.
    pub fn draw_x_ticks(&self, picture: &mut Picture, ticks: &Ticks, numbered: bool) {
        let bottom = self.bottom();
        for &value in &ticks.minor {
            let (x, _) = self.at(value, self.y.low);
            picture.line(
                vec![(x, bottom), (x, bottom - TICK_LENGTH * 0.6)],
                style::INK,
                0.5,
            );
        }
        for (value, text) in &ticks.marks {
            let (x, _) = self.at(*value, self.y.low);
            picture.line(vec![(x, bottom), (x, bottom - TICK_LENGTH)], style::INK, 0.6);
            if numbered {
                picture.text(x, bottom + TICK_GAP + TICK, text, Align::Centre, Type::of(TICK));
            }
        }
    }

    /// Ticks along the left side; with their numbers if `numbered`.
    pub fn draw_y_ticks(&self, picture: &mut Picture, ticks: &Ticks, numbered: bool) {
        for &value in &ticks.minor {
            let (_, y) = self.at(self.x.low, value);
            picture.line(
                vec![(self.left, y), (self.left + TICK_LENGTH * 0.6, y)],
                style::INK,
                0.5,
            );
        }
        for (value, text) in &ticks.marks {
            let (_, y) = self.at(self.x.low, *value);
            picture.line(
                vec![(self.left, y), (self.left + TICK_LENGTH, y)],
                style::INK,
                0.6,
            );
            if numbered {
                // Digits are 0.73 em high.
                let baseline = y + 0.365 * TICK;
                picture.text(self.left - TICK_GAP, baseline, text, Align::Right, Type::of(TICK));
            }
        }
    }

    /// The label under the x axis.
    pub fn x_label(&self, picture: &mut Picture, label: &Label) {
        let y = self.bottom() + TICK_GAP + TICK + 3.0 + LABEL;
        picture.label(
            self.left + self.width / 2.0,
            y,
            label,
            Align::Centre,
            Type::of(LABEL),
        );
    }

    /// The label beside the y axis, `offset` points from it.
    pub fn y_label(&self, picture: &mut Picture, label: &Label, offset: f64) {
        let kind = Type {
            upright: true,
            ..Type::of(LABEL)
        };
        picture.label(
            self.left - offset,
            self.top + self.height / 2.0,
            label,
            Align::Centre,
            kind,
        );
    }

    /// How far the numbers of the y axis reach to the left, the gaps included.
    pub fn y_reach(ticks: &Ticks) -> f64 {
        let widest = ticks
            .marks
            .iter()
            .map(|(_, text)| text::width(text, TICK, false))
            .fold(0.0, f64::max);
        TICK_GAP + widest + 6.0
    }

    /// A curve, cut where it leaves the panel; a point that is not finite breaks it.
    pub fn curve(&self, picture: &mut Picture, points: &[(f64, f64)], ink: Ink, width: f64) {
        let mut run: Vec<(f64, f64)> = Vec::new();
        for pair in points.windows(2) {
            let ends = (self.at(pair[0].0, pair[0].1), self.at(pair[1].0, pair[1].1));
            match clip(ends.0, ends.1, self.rect()) {
                Some((a, b)) => {
                    if run.last() != Some(&a) {
                        picture.line(std::mem::take(&mut run), ink, width);
                        run.push(a);
                    }
                    run.push(b);
                }
                None => picture.line(std::mem::take(&mut run), ink, width),
            }
        }
        picture.line(run, ink, width);
    }

    /// The area between two curves over the same values of x, in order, cut at the sides of the panel.
    pub fn band(&self, picture: &mut Picture, points: &[(f64, [f64; 2])], ink: Ink) {
        let side = |end: usize| {
            move |(x, ends): &(f64, [f64; 2])| self.at(*x, ends[end].clamp(self.y.low, self.y.high))
        };
        let mut outline: Vec<(f64, f64)> = points.iter().map(side(0)).collect();
        outline.extend(points.iter().rev().map(side(1)));
        picture.area(outline, ink);
    }

    /// Words in place of data.
    pub fn note(&self, picture: &mut Picture, words: &str) {
        let (x, y) = (self.left + self.width / 2.0, self.top + self.height / 2.0);
        picture.text(x, y, words, Align::Centre, Type::of(TICK));
    }

    /// A dashed line across the panel at a value of x; nothing where it is outside.
    pub fn vertical(&self, picture: &mut Picture, value: f64, ink: Ink, dashes: (f64, f64)) {
        if (self.x.low..=self.x.high).contains(&value) {
            let (x, _) = self.at(value, self.y.low);
            picture.dashed(&[(x, self.top), (x, self.bottom())], ink, 1.0, dashes);
        }
    }

    /// A dashed line across the panel at a value of y; nothing where it is outside.
    pub fn horizontal(&self, picture: &mut Picture, value: f64, ink: Ink, dashes: (f64, f64)) {
        if (self.y.low..=self.y.high).contains(&value) {
            let (_, y) = self.at(self.x.low, value);
            picture.dashed(&[(self.left, y), (self.right(), y)], ink, 1.0, dashes);
        }
    }
}

/// The part of a segment inside a rectangle (Liang and Barsky 1984).
fn clip(a: (f64, f64), b: (f64, f64), rect: Rect) -> Option<((f64, f64), (f64, f64))> {
    let (left, top, width, height) = rect;
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    if !(dx.is_finite() && dy.is_finite()) {
        return None;
    }
    let (mut from, mut to) = (0.0f64, 1.0f64);
    for (step, room) in [
        (-dx, a.0 - left),
        (dx, left + width - a.0),
        (-dy, a.1 - top),
        (dy, top + height - a.1),
    ] {
        if step == 0.0 {
            if room < 0.0 {
                return None;
            }
        } else if step < 0.0 {
            from = from.max(room / step);
        } else {
            to = to.min(room / step);
        }
    }
    let point = |t: f64| (a.0 + t * dx, a.1 + t * dy);
    // The ends themselves come back unchanged, so that pieces of a curve join.
    let first = if from == 0.0 { a } else { point(from) };
    let second = if to == 1.0 { b } else { point(to) };
    (from <= to).then_some((first, second))
}

/// A colour bar to the right of a panel, with its numbers and label; returns how wide it all is.
pub(super) fn colour_bar(picture: &mut Picture, place: Rect, scale: Axis, label: &Label) -> f64 {
    let (left, top, _, height) = place;
    const STEPS: usize = 256;
    let rgba = (0..STEPS)
        .rev()
        .flat_map(|k| {
            let [r, g, b] = style::sequential(k as f64 / (STEPS - 1) as f64);
            [r, g, b, 255]
        })
        .collect();
    picture.image(place, 1, rgba, true);
    let panel = Panel::new(place, Axis::new(0.0, 1.0), scale);
    panel.frame(picture);
    let ticks = panel.y_ticks();
    let mut widest = 0f64;
    for (value, text) in &ticks.marks {
        let (_, y) = panel.at(1.0, *value);
        picture.line(
            vec![(panel.right(), y), (panel.right() - TICK_LENGTH, y)],
            style::INK,
            0.6,
        );
        picture.text(
            panel.right() + TICK_GAP,
            y + 0.365 * TICK,
            text,
            Align::Left,
            Type::of(TICK),
        );
        widest = widest.max(text::width(text, TICK, false));
    }
    let kind = Type {
        upright: true,
        ..Type::of(LABEL)
    };
    let label = ticks.complete(label.clone());
    // A long label shrinks rather than leaves the picture.
    let size = LABEL * ((height + 14.0) / label.width(LABEL, false).max(1.0)).min(1.0);
    let kind = Type { size, ..kind };
    let x = panel.right() + TICK_GAP + widest + 5.0 + LABEL;
    picture.label(x, top + height / 2.0, &label, Align::Centre, kind);
    x + 0.3 * LABEL - left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_cut_at_the_rectangle() {
        let unit = (0.0, 0.0, 1.0, 1.0);
        assert_eq!(
            clip((-1.0, 0.5), (2.0, 0.5), unit),
            Some(((0.0, 0.5), (1.0, 0.5)))
        );
        assert_eq!(clip((0.2, 0.2), (0.8, 0.8), unit), Some(((0.2, 0.2), (0.8, 0.8))));
        assert_eq!(clip((2.0, 0.0), (3.0, 1.0), unit), None);
        assert_eq!(clip((f64::NAN, 0.0), (3.0, 1.0), unit), None);
    }
}
