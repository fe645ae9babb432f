//! Collect what a picture consists of, and write it as PNG or SVG.
//!
//! A figure draws once, in points (1/72 inch), onto a [`Picture`]; the format is chosen when it is saved. Images lie
//! under everything else, so that lines and text stay on top in both formats.

use std::io::Write;
use std::path::Path;

use plotters::prelude::{BitMapBackend, DrawingBackend};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, FontTransform, RGBColor, TextStyle};

use super::image::{DPI, Image, average, encode_png};
use super::svg;
use super::text::{self, FAMILY, Label};
use crate::atomic::{cannot_write, write_atomically};
use crate::{Error, Result};

/// Pixels that a PNG may be drawn with before it is averaged down to its size.
const MAX_PIXELS: f64 = 6e7;

/// The height of an em in units of what plotters calls the size of a font: ascent + descent of DejaVu Sans.
const EM: f64 = 1.164;

/// A colour and how much it covers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ink(pub u8, pub u8, pub u8, pub f64);

impl Ink {
    pub fn faint(self, alpha: f64) -> Self {
        Self(self.0, self.1, self.2, alpha)
    }

    /// What `share` of it on paper looks like, without letting anything through.
    pub fn pale(self, share: f64) -> Self {
        let mix = |c: u8| (255.0 - share * (255.0 - f64::from(c))).round() as u8;
        Self(mix(self.0), mix(self.1), mix(self.2), self.3)
    }

    fn mix(self) -> plotters::style::RGBAColor {
        RGBColor(self.0, self.1, self.2).mix(self.3)
    }
}

/// Where a text is relative to its point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Align {
    Left,
    Centre,
    Right,
}

/// How text is set.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type {
    pub size: f64,
    pub bold: bool,
    pub ink: Ink,
    /// Reads from the bottom to the top.
    pub upright: bool,
}

impl Type {
    pub fn of(size: f64) -> Self {
        Self {
            size,
            bold: false,
            ink: super::style::INK,
            upright: false,
        }
    }
}

pub(super) enum Item {
    Line {
        points: Vec<(f64, f64)>,
        ink: Ink,
        width: f64,
    },
    Area {
        points: Vec<(f64, f64)>,
        ink: Ink,
    },
    Text {
        x: f64,
        y: f64,
        text: String,
        kind: Type,
    },
}

/// A picture in the making; x runs right and y down from the upper left corner.
pub(super) struct Picture {
    pub width: f64,
    pub height: f64,
    pub images: Vec<Image>,
    pub items: Vec<Item>,
}

/// Rectangle: left, top, width, height.
pub(super) type Rect = (f64, f64, f64, f64);

impl Picture {
    pub fn new(width: f64, height: f64) -> Self {
        Self {
            width,
            height,
            images: Vec::new(),
            items: Vec::new(),
        }
    }

    pub fn line(&mut self, points: Vec<(f64, f64)>, ink: Ink, width: f64) {
        if points.len() > 1 {
            self.items.push(Item::Line { points, ink, width });
        }
    }

    /// A line of dashes; `pattern` is the length of a dash and of a gap.
    pub fn dashed(&mut self, points: &[(f64, f64)], ink: Ink, width: f64, pattern: (f64, f64)) {
        let mut phase = 0.0;
        for pair in points.windows(2) {
            let (a, b) = (pair[0], pair[1]);
            let length = (b.0 - a.0).hypot(b.1 - a.1);
            let at = |t: f64| (a.0 + (b.0 - a.0) * t / length, a.1 + (b.1 - a.1) * t / length);
            let mut t = 0.0;
            while t < length {
                let (dash, left) = if phase < pattern.0 {
                    (true, pattern.0 - phase)
                } else {
                    (false, pattern.0 + pattern.1 - phase)
                };
                let end = (t + left).min(length);
                if dash {
                    self.line(vec![at(t), at(end)], ink, width);
                }
                phase += end - t;
                if phase >= pattern.0 + pattern.1 - 1e-9 {
                    phase = 0.0;
                }
                t = end.max(t + 1e-6);
            }
        }
    }

    pub fn area(&mut self, points: Vec<(f64, f64)>, ink: Ink) {
        if points.len() > 2 {
            self.items.push(Item::Area { points, ink });
        }
    }

    pub fn rectangle(&mut self, (left, top, width, height): Rect, ink: Ink) {
        let (right, bottom) = (left + width, top + height);
        self.area(
            vec![(left, top), (right, top), (right, bottom), (left, bottom)],
            ink,
        );
    }

    pub fn dot(&mut self, x: f64, y: f64, radius: f64, ink: Ink) {
        let corner = |k: i32| {
            let angle = f64::from(k) * std::f64::consts::TAU / 32.0;
            (x + radius * angle.cos(), y + radius * angle.sin())
        };
        self.area((0..32).map(corner).collect(), ink);
    }

    /// Pixels stretched over a rectangle; `smooth` interpolates between them.
    pub fn image(&mut self, place: Rect, columns: usize, rgba: Vec<u8>, smooth: bool) {
        let (left, top, width, height) = place;
        let rows = rgba.len() / (4 * columns.max(1));
        self.images.push(Image {
            left,
            top,
            width,
            height,
            columns,
            rows,
            rgba,
            smooth,
        });
    }

    /// A text whose baseline goes through the point (x, y).
    pub fn text(&mut self, x: f64, y: f64, text: &str, align: Align, kind: Type) {
        self.label(x, y, &Label::plain(text), align, kind);
    }

    /// A label, subscript and all, whose baseline goes through the point (x, y).
    pub fn label(&mut self, x: f64, y: f64, label: &Label, align: Align, kind: Type) {
        let shift = match align {
            Align::Left => 0.0,
            Align::Centre => -label.width(kind.size, kind.bold) / 2.0,
            Align::Right => -label.width(kind.size, kind.bold),
        };
        for run in label.runs(kind.size, kind.bold) {
            let (along, down) = (shift + run.offset, run.drop);
            let (x, y) = if kind.upright {
                (x + down, y - along)
            } else {
                (x + along, y + down)
            };
            let kind = Type {
                size: run.size,
                ..kind
            };
            self.items.push(Item::Text {
                x,
                y,
                text: run.text,
                kind,
            });
        }
    }

    /// Where each text is: its box and its words.
    #[cfg(test)]
    pub fn text_boxes(&self) -> Vec<(Rect, &str)> {
        let place = |item: &'_ Item| match item {
            Item::Text { x, y, text, kind } => {
                let (long, high) = (text::width(text, kind.size, kind.bold), 0.72 * kind.size);
                Some(if kind.upright {
                    (x - high, y - long, high, long)
                } else {
                    (*x, y - high, long, high)
                })
            }
            _ => None,
        };
        let words = |item| match item {
            &Item::Text { ref text, .. } => text.as_str(),
            _ => "",
        };
        self.items
            .iter()
            .filter_map(|item| Some((place(item)?, words(item))))
            .collect()
    }

    /// Write the picture, as its extension says: `.png` or `.svg`.
    pub fn save(&self, path: &Path) -> Result<()> {
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or("")
            .to_lowercase();
        let bytes = match extension.as_str() {
            "png" => self.png(),
            "svg" => svg::write(self).map(String::into_bytes),
            _ => {
                return Err(Error::file(
                    path,
                    "a picture's name must end in .png or .svg, which chooses the format",
                ));
            }
        };
        let bytes = bytes.map_err(|what| Error::file(path, format!("cannot be drawn: {what}")))?;
        write_atomically(path, |out| {
            out.write_all(&bytes)
                .map_err(|e| Error::file(path, cannot_write(&e)))
        })
    }

    fn png(&self) -> std::result::Result<Vec<u8>, String> {
        text::register()?;
        let size = |points: f64| (points / 72.0 * DPI).ceil().max(1.0);
        let (width, height) = (size(self.width), size(self.height));
        // Drawn three times as large where that fits, and averaged: lines and areas get smooth edges.
        let finer = (MAX_PIXELS / (width * height)).sqrt().floor().clamp(1.0, 3.0);
        let (columns, rows) = ((width * finer) as usize, (height * finer) as usize);
        let scale = DPI / 72.0 * finer;
        let mut pixels = vec![255u8; 3 * columns * rows];
        for image in &self.images {
            image.paint(&mut pixels, columns, rows, scale);
        }
        let mut backend = BitMapBackend::with_buffer(&mut pixels, (columns as u32, rows as u32));
        for item in &self.items {
            item.draw(&mut backend, scale)?;
        }
        drop(backend);
        let pixels = average(&pixels, columns, rows, finer as usize);
        encode_png(&pixels, width as u32, height as u32, png::ColorType::Rgb)
    }
}

impl Item {
    fn draw<B: DrawingBackend>(&self, backend: &mut B, scale: f64) -> std::result::Result<(), String> {
        let at = |&(x, y): &(f64, f64)| ((x * scale).round() as i32, (y * scale).round() as i32);
        match self {
            // Plotters' own thick lines fold over themselves where a curve bends within their width.
            Self::Line { points, ink, width } => {
                let half = (width * scale / 2.0).max(0.5);
                return stroke(backend, points, scale, half, &ink.mix());
            }
            Self::Area { points, ink } => backend.fill_polygon(points.iter().map(at), &ink.mix()),
            Self::Text { x, y, text, kind } => {
                // Text hangs below its point; this is how far the baseline is below.
                let (size, drop) = (kind.size * EM * scale, kind.size * EM / 2.0);
                let style = if kind.bold {
                    FontStyle::Bold
                } else {
                    FontStyle::Normal
                };
                let (turn, point) = if kind.upright {
                    (FontTransform::Rotate270, (x - drop, *y))
                } else {
                    (FontTransform::None, (*x, y - drop))
                };
                let font = FontDesc::new(FontFamily::Name(FAMILY), size, style).transform(turn);
                backend.draw_text(text, &TextStyle::from(font).color(&kind.ink.mix()), at(&point))
            }
        }
        .map_err(|e| e.to_string())
    }
}

/// A line as one quadrilateral for each segment, with discs where they meet.
fn stroke<B: DrawingBackend>(
    backend: &mut B,
    points: &[(f64, f64)],
    scale: f64,
    half: f64,
    colour: &plotters::style::RGBAColor,
) -> std::result::Result<(), String> {
    let points: Vec<(f64, f64)> = points.iter().map(|&(x, y)| (x * scale, y * scale)).collect();
    let round = |(x, y): (f64, f64)| (x.round() as i32, y.round() as i32);
    for (i, pair) in points.windows(2).enumerate() {
        let (a, b) = (pair[0], pair[1]);
        let length = (b.0 - a.0).hypot(b.1 - a.1);
        if length > 0.0 {
            let (nx, ny) = ((a.1 - b.1) / length * half, (b.0 - a.0) / length * half);
            let corners = [
                (a.0 + nx, a.1 + ny),
                (b.0 + nx, b.1 + ny),
                (b.0 - nx, b.1 - ny),
                (a.0 - nx, a.1 - ny),
            ];
            backend
                .fill_polygon(corners.map(round), colour)
                .map_err(|e| e.to_string())?;
        }
        if i > 0 && half >= 1.5 {
            let radius = half.round() as u32;
            backend
                .draw_circle(round(a), radius, colour, true)
                .map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_choose_the_format() {
        let folder = tempfile::tempdir().unwrap();
        let picture = Picture::new(72.0, 36.0);
        picture.save(&folder.path().join("a.png")).unwrap();
        picture.save(&folder.path().join("a.SVG")).unwrap();
        let png = std::fs::read(folder.path().join("a.png")).unwrap();
        assert_eq!(&png[..4], b"\x89PNG");
        assert_eq!(&png[16..24], [0, 0, 0, 200, 0, 0, 0, 100]);
        for name in ["a.pdf", "a"] {
            let message = picture.save(&folder.path().join(name)).unwrap_err().to_string();
            assert!(message.contains(".png or .svg"), "{message}");
        }
    }
}
