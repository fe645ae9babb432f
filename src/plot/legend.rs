//! Say above a figure what it is, and what its lines and areas mean.

use super::canvas::{Align, Ink, Picture, Type};
use super::style::{self, DASHES, LABEL, PAPER, TITLE};
use super::text::{self, Label};

/// What an entry of a legend shows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mark {
    Line(Ink),
    Dashed(Ink),
    Area(Ink),
    /// An area with a border.
    Region(Ink),
    /// A contour on a coloured map; dashed or not.
    Contour(bool),
    /// An estimate, and a truth, on a coloured map.
    Cross,
    Ring,
}

const SAMPLE: f64 = 15.0;
const GAP: f64 = 4.0;
const BETWEEN: f64 = 12.0;
/// The height of a line of the legend and of the title.
const LINE: f64 = 12.5;
const HEADING: f64 = 15.0;
const SIZE: f64 = LABEL - 0.5;
/// What is free at both sides of a header.
const MARGIN: f64 = 6.0;

/// The entries of a legend.
pub(super) type Entries = Vec<(Mark, Label)>;

fn entry_width(name: &Label) -> f64 {
    SAMPLE + GAP + name.width(SIZE, false)
}

/// How high a legend is that stands in one column, and how wide.
pub(super) fn column_size(entries: &Entries) -> (f64, f64) {
    let widest = entries.iter().map(|(_, name)| entry_width(name));
    (widest.fold(0.0, f64::max), LINE * entries.len() as f64)
}

/// Draw a legend in one column with its upper left corner at (left, top).
pub(super) fn column(picture: &mut Picture, entries: &Entries, (left, top): (f64, f64)) {
    for (k, entry) in entries.iter().enumerate() {
        draw(picture, entry, left, top + (k as f64 + 0.5) * LINE);
    }
}

/// Start a picture with a title and a legend, centred, above a body of the given height; returns where the body begins.
pub(super) fn sheet(width: f64, body: f64, title: &str, entries: &Entries) -> (Picture, f64) {
    let rows = rows(entries, width - 2.0 * MARGIN);
    let heading = if title.is_empty() { 0.0 } else { HEADING };
    let top = heading + LINE * rows.len() as f64 + 7.0;
    let mut picture = Picture::new(width, top + body);
    if !title.is_empty() {
        // A long title shrinks rather than leaves the picture.
        let size = TITLE * ((width - 2.0 * MARGIN) / text::width(title, TITLE, true)).min(1.0);
        let kind = Type {
            bold: true,
            ..Type::of(size)
        };
        picture.text(width / 2.0, HEADING - 2.0, title, Align::Centre, kind);
    }
    for (k, row) in rows.iter().enumerate() {
        let long: f64 = row.iter().map(|(_, name)| entry_width(name) + BETWEEN).sum();
        let mut left = (width - long + BETWEEN) / 2.0;
        for entry in *row {
            draw(&mut picture, entry, left, heading + 3.0 + (k as f64 + 0.5) * LINE);
            left += entry_width(&entry.1) + BETWEEN;
        }
    }
    (picture, top)
}

/// The entries in as few rows as fit the width.
fn rows(entries: &[(Mark, Label)], width: f64) -> Vec<&[(Mark, Label)]> {
    let (mut rows, mut first, mut long) = (Vec::new(), 0, 0.0);
    for (k, (_, name)) in entries.iter().enumerate() {
        let wide = entry_width(name);
        if k > first && long + wide > width {
            rows.push(&entries[first..k]);
            (first, long) = (k, 0.0);
        }
        long += wide + BETWEEN;
    }
    if first < entries.len() {
        rows.push(&entries[first..]);
    }
    rows
}

fn draw(picture: &mut Picture, (mark, name): &(Mark, Label), left: f64, y: f64) {
    let ends = [(left, y), (left + SAMPLE, y)];
    let (middle, right, half) = (left + SAMPLE / 2.0, left + SAMPLE, 3.5);
    match *mark {
        Mark::Line(ink) => picture.line(ends.to_vec(), ink, 1.5),
        Mark::Dashed(ink) => picture.dashed(&ends, ink, 1.0, DASHES),
        Mark::Area(ink) => picture.rectangle((left, y - half, SAMPLE, 2.0 * half), ink),
        Mark::Region(ink) => {
            picture.rectangle((left, y - half, SAMPLE, 2.0 * half), ink.faint(0.55));
            let (t, b) = (y - half, y + half);
            picture.line(
                vec![(left, t), (right, t), (right, b), (left, b), (left, t)],
                ink,
                0.9,
            );
        }
        Mark::Contour(dashed) => {
            picture.line(ends.to_vec(), style::INK, 3.0);
            let inner = [(left + 0.8, y), (right - 0.8, y)];
            if dashed {
                picture.dashed(&inner, PAPER, 1.3, (3.5, 2.0));
            } else {
                picture.line(inner.to_vec(), PAPER, 1.3);
            }
        }
        Mark::Cross => cross(picture, (middle, y)),
        Mark::Ring => ring(picture, (middle, y)),
    }
    let kind = Type::of(SIZE);
    picture.label(right + GAP, y + 0.36 * SIZE, name, Align::Left, kind);
}

/// An estimate on a coloured map.
pub(super) fn cross(picture: &mut Picture, (x, y): (f64, f64)) {
    for (ink, width, arm) in [(style::INK, 2.8, 3.2), (style::ESTIMATE, 1.5, 2.8)] {
        picture.line(vec![(x - arm, y - arm), (x + arm, y + arm)], ink, width);
        picture.line(vec![(x - arm, y + arm), (x + arm, y - arm)], ink, width);
    }
}

/// A truth on a coloured map.
pub(super) fn ring(picture: &mut Picture, (x, y): (f64, f64)) {
    let circle: Vec<(f64, f64)> = (0..=48)
        .map(|k| f64::from(k) * std::f64::consts::TAU / 48.0)
        .map(|angle| (x + 5.0 * angle.cos(), y + 5.0 * angle.sin()))
        .collect();
    picture.line(circle.clone(), style::INK, 2.6);
    picture.line(circle, PAPER, 1.3);
}
