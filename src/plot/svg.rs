//! Write pictures as SVG, letters as outlines: no viewer needs a font.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::canvas::{Ink, Item, Picture, Type};
use super::text;

/// The SVG file of a picture.
pub(super) fn write(picture: &Picture) -> Result<String, String> {
    let mut body = String::new();
    let mut glyphs = BTreeMap::new();
    for item in &picture.items {
        match item {
            Item::Line { points, ink, width } => {
                let _ = writeln!(
                    body,
                    "<polyline points=\"{}\" fill=\"none\" stroke-width=\"{width}\" stroke-linejoin=\"round\" {}/>",
                    places(points),
                    paint("stroke", *ink)
                );
            }
            Item::Area { points, ink } => {
                let _ = writeln!(
                    body,
                    "<polygon points=\"{}\" {}/>",
                    places(points),
                    paint("fill", *ink)
                );
            }
            Item::Text { x, y, text, kind } => body += &letters(*x, *y, text, *kind, &mut glyphs)?,
        }
    }
    let (width, height) = (picture.width, picture.height);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.2}pt\" height=\"{height:.2}pt\" \
         viewBox=\"0 0 {width:.2} {height:.2}\">\n<defs>\n"
    );
    for (name, outline) in &glyphs {
        let _ = writeln!(svg, "<path id=\"{name}\" d=\"{outline}\"/>");
    }
    svg += "</defs>\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
    for image in &picture.images {
        svg += &image.tag()?;
    }
    Ok(svg + &body + "</svg>\n")
}

fn places(points: &[(f64, f64)]) -> String {
    let place = |&(x, y): &(f64, f64)| format!("{x:.2},{y:.2}");
    points.iter().map(place).collect::<Vec<_>>().join(" ")
}

fn paint(what: &str, Ink(r, g, b, alpha): Ink) -> String {
    let opacity = if alpha < 1.0 {
        format!(" {what}-opacity=\"{alpha}\"")
    } else {
        String::new()
    };
    format!("{what}=\"#{r:02x}{g:02x}{b:02x}\"{opacity}")
}

/// A text as references to the outlines of its letters, which are added to `glyphs`.
fn letters(
    x: f64,
    y: f64,
    text: &str,
    kind: Type,
    glyphs: &mut BTreeMap<String, String>,
) -> Result<String, String> {
    let turn = if kind.upright { " rotate(-90)" } else { "" };
    let font = text::font(kind.bold)?;
    // Outlines are in units of the font, upwards.
    let scale = kind.size / text::units_per_em(font);
    let mut group = format!(
        "<g transform=\"translate({x:.2} {y:.2}){turn} scale({scale:.6} -{scale:.6})\" {} role=\"img\" \
         aria-label=\"{}\">",
        paint("fill", kind.ink),
        text::escape(text)
    );
    for (glyph, offset) in text::glyphs(font, text) {
        let Some(outline) = text::outline(font, glyph) else {
            continue;
        };
        let name = format!("{}{}", if kind.bold { 'b' } else { 'r' }, glyph.0);
        let _ = write!(group, "<use href=\"#{name}\" x=\"{offset:.0}\"/>");
        glyphs.entry(name).or_insert(outline);
    }
    Ok(group + "</g>\n")
}
