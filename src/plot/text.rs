//! Set names, subscripts and numbers in a font that travels with the program.

use std::fmt::Write;
use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, GlyphId, OutlineCurve, Point};
use plotters::style::{FontStyle, register_font};

/// The name the embedded font is registered under.
pub(super) const FAMILY: &str = "DejaVu Sans";

/// Subscripts are this much of the size and this much below the baseline, as in TeX.
const SUB_SIZE: f64 = 0.7;
const SUB_DROP: f64 = 0.22;

/// Make the embedded font known to plotters, once.
pub(super) fn register() -> Result<(), String> {
    static DONE: OnceLock<bool> = OnceLock::new();
    let done = DONE.get_or_init(|| {
        register_font(FAMILY, FontStyle::Normal, dejavu::sans::regular()).is_ok()
            && register_font(FAMILY, FontStyle::Bold, dejavu::sans::bold()).is_ok()
    });
    if *done {
        Ok(())
    } else {
        Err("the embedded font is damaged".to_owned())
    }
}

/// The embedded font, to be measured and outlined.
pub(super) fn font(bold: bool) -> Result<&'static FontRef<'static>, String> {
    static FONTS: OnceLock<[Option<FontRef<'static>>; 2]> = OnceLock::new();
    let fonts = FONTS.get_or_init(|| {
        [dejavu::sans::regular(), dejavu::sans::bold()].map(|bytes| FontRef::try_from_slice(bytes).ok())
    });
    let font = fonts[usize::from(bold)].as_ref();
    font.ok_or_else(|| "the embedded font is damaged".to_owned())
}

/// In how many parts the font divides its size.
pub(super) fn units_per_em(font: &FontRef<'_>) -> f64 {
    f64::from(font.units_per_em().unwrap_or(2048.0))
}

/// The letters of a text, and where each starts in units of the font; the last is the end of the text.
fn advance(font: &FontRef<'_>, text: &str) -> (Vec<(GlyphId, f64)>, f64) {
    let (mut end, mut letters) = (0.0, Vec::new());
    let mut last = None;
    for character in text.chars() {
        let glyph = font.glyph_id(character);
        end += last.map_or(0.0, |last| f64::from(font.kern_unscaled(last, glyph)));
        letters.push((glyph, end));
        end += f64::from(font.h_advance_unscaled(glyph));
        last = Some(glyph);
    }
    (letters, end)
}

/// The letters of a text, and where each starts in units of the font.
pub(super) fn glyphs(font: &FontRef<'_>, text: &str) -> Vec<(GlyphId, f64)> {
    advance(font, text).0
}

/// The outline of a letter as the data of an SVG path, in units of the font upwards; a space has none.
pub(super) fn outline(font: &FontRef<'_>, glyph: GlyphId) -> Option<String> {
    let mut path = String::new();
    let mut pen: Option<Point> = None;
    for curve in font.outline(glyph)?.curves {
        let (start, rest) = match curve {
            OutlineCurve::Line(a, b) => (a, vec![b]),
            OutlineCurve::Quad(a, b, c) => (a, vec![b, c]),
            OutlineCurve::Cubic(a, b, c, d) => (a, vec![b, c, d]),
        };
        if pen != Some(start) {
            let _ = write!(path, "M{:.0} {:.0}", start.x, start.y);
        }
        path.push(['L', 'Q', 'C'][rest.len() - 1]);
        let points: Vec<String> = rest.iter().map(|p| format!("{:.0} {:.0}", p.x, p.y)).collect();
        path += &points.join(" ");
        pen = rest.last().copied();
    }
    Some(path)
}

/// The width of a text in units of `size`'s unit.
pub(super) fn width(text: &str, size: f64, bold: bool) -> f64 {
    match font(bold) {
        Ok(font) => advance(font, text).1 / units_per_em(font) * size,
        // `register` will say that the font is damaged before anything is drawn.
        Err(_) => 0.6 * size * text.chars().count() as f64,
    }
}

/// A text that is safe between the tags of XML and HTML, and in their attributes.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&#39;",
            // XML has no place for these, not even escaped.
            c if c.is_control() && c != '\n' && c != '\t' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

/// A text with at most one subscript: Ω_m (10⁻³).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Label {
    base: String,
    sub: String,
    rest: String,
}

/// A piece of a label: where it starts along the baseline and how far it is below.
pub(super) struct Run {
    pub text: String,
    pub size: f64,
    pub offset: f64,
    pub drop: f64,
}

impl Label {
    pub fn plain(text: &str) -> Self {
        Self {
            base: text.to_owned(),
            sub: String::new(),
            rest: String::new(),
        }
    }

    /// The label of a parameter: `Omega_m` becomes Ω with a subscript m, `A_SN1` A with a subscript SN1, `eta[3]` η with a subscript 3, and a name that
    /// is not one symbol and one subscript stays as it is.
    pub fn of_parameter(name: &str) -> Self {
        let symbol = |part: &str| greek(part).map(String::from);
        // An entry of a vector, as models name them.
        let indexed = name.strip_suffix(']').and_then(|name| name.split_once('['));
        let split = indexed
            .or_else(|| name.split_once('_'))
            .filter(|(_, sub)| !sub.is_empty() && !sub.contains('_'));
        let Some((base, sub)) = split else {
            return Self::plain(&symbol(name).unwrap_or_else(|| name.to_owned()));
        };
        let base = match symbol(base) {
            Some(base) => base,
            None if base.chars().count() == 1 => base.to_owned(),
            None => return Self::plain(name),
        };
        let sub = symbol(sub).unwrap_or_else(|| sub.to_owned());
        Self {
            base,
            sub,
            rest: String::new(),
        }
    }

    /// The same label followed by more.
    pub fn then(mut self, rest: &str) -> Self {
        self.rest += rest;
        self
    }

    pub fn runs(&self, size: f64, bold: bool) -> Vec<Run> {
        let small = SUB_SIZE * size;
        let after_base = width(&self.base, size, bold);
        let after_sub = after_base + width(&self.sub, small, bold);
        [
            (&self.base, size, 0.0, 0.0),
            (&self.sub, small, after_base, SUB_DROP * size),
            (&self.rest, size, after_sub, 0.0),
        ]
        .into_iter()
        .filter(|(text, ..)| !text.is_empty())
        .map(|(text, size, offset, drop)| Run {
            text: text.clone(),
            size,
            offset,
            drop,
        })
        .collect()
    }

    pub fn width(&self, size: f64, bold: bool) -> f64 {
        width(&self.base, size, bold)
            + width(&self.sub, SUB_SIZE * size, bold)
            + width(&self.rest, size, bold)
    }
}

/// A Greek letter by its name; capital where the name is.
fn greek(name: &str) -> Option<char> {
    const NAMES: [&str; 24] = [
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda",
        "mu", "nu", "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
    ];
    let place = NAMES.iter().position(|&n| n == name.to_lowercase())? as u32;
    // Unicode has a final sigma, in lower case only, in between.
    let skip = u32::from(place >= 17);
    let first = if name.starts_with(char::is_uppercase) {
        'Α'
    } else {
        'α'
    };
    char::from_u32(first as u32 + place + skip)
}

/// An integer as superscript.
pub(super) fn superscript(number: i32) -> String {
    let digits = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let raise = |c: char| c.to_digit(10).map_or('⁻', |d| digits[d as usize]);
    number.to_string().chars().map(raise).collect()
}

/// Numbers to be read together, with as many decimals as give the largest four significant digits.
pub(super) fn numbers(values: &[f64]) -> Vec<String> {
    let largest = values.iter().fold(0f64, |m, x| m.max(x.abs()));
    write_all(values, common_exponent(largest), largest / 1000.0)
}

/// A mean and its standard deviation, to two digits of the latter.
pub(super) fn mean_and_sd(mean: f64, sd: f64) -> String {
    let exponent = common_exponent(mean.abs().max(sd));
    let scale = 10f64.powi(exponent);
    let texts = write_all(&[mean / scale, sd / scale], 0, sd / scale / 10.0);
    match exponent {
        0 => format!("{} ± {}", texts[0], texts[1]),
        e => format!("({} ± {})×10{}", texts[0], texts[1], superscript(e)),
    }
}

/// The power of ten to leave out of numbers up to `largest`; none where plain digits read well.
fn common_exponent(largest: f64) -> i32 {
    let exponent = if largest > 0.0 {
        largest.log10().floor()
    } else {
        0.0
    };
    if (-3.0..5.0).contains(&exponent) {
        0
    } else {
        exponent as i32
    }
}

fn write_all(values: &[f64], exponent: i32, smallest_digit: f64) -> Vec<String> {
    let scale = 10f64.powi(exponent);
    let digit = (smallest_digit / scale).log10().floor();
    let decimals = if digit.is_finite() {
        (-digit).clamp(0.0, 8.0) as usize
    } else {
        0
    };
    let write = |x: &f64| {
        let text = format!("{:.decimals$}", x / scale);
        // No minus zero, and a minus sign as long as a plus sign.
        let zero = text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.');
        let text = text.replace('-', if zero { "" } else { "−" });
        if exponent == 0 {
            text
        } else {
            format!("{text}×10{}", superscript(exponent))
        }
    };
    values.iter().map(write).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_symbols() {
        let parts = |name: &str| {
            let label = Label::of_parameter(name);
            (label.base, label.sub)
        };
        for (name, base, sub) in [
            ("Omega_m", "Ω", "m"),
            ("sigma_8", "σ", "8"),
            ("A_SN1", "A", "SN1"),
            ("theta_0", "θ", "0"),
            ("Omega_Lambda", "Ω", "Λ"),
            ("tau", "τ", ""),
            ("eta[3]", "η", "3"),
            ("scores[3]", "scores[3]", ""),
            ("mass", "mass", ""),
            ("log_mass", "log_mass", ""),
            ("n_s_0", "n_s_0", ""),
            ("", "", ""),
            ("_", "_", ""),
        ] {
            assert_eq!(parts(name), (base.to_owned(), sub.to_owned()));
        }
    }

    #[test]
    fn the_font_has_every_letter_that_is_used() {
        let font = FontRef::try_from_slice(dejavu::sans::regular()).unwrap();
        for character in "ΩσΛθ⁻⁰¹²³⁴⁵⁶⁷⁸⁹×±−σ₈…".chars() {
            assert_ne!(font.glyph_id(character).0, 0, "{character}");
        }
        register().unwrap();
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(numbers(&[0.31234, 0.3, 0.01234]), ["0.3123", "0.3000", "0.0123"]);
        assert_eq!(numbers(&[-1.5, 0.02]), ["−1.500", "0.020"]);
        assert_eq!(numbers(&[2.5e11, 1e9]), ["2.500×10¹¹", "0.010×10¹¹"]);
        assert_eq!(numbers(&[0.0]), ["0"]);
        assert_eq!(mean_and_sd(0.30951, 0.01976), "0.310 ± 0.020");
        assert_eq!(mean_and_sd(1234.5, 67.8), "1234 ± 68");
        assert_eq!(mean_and_sd(2.5e11, 3.2e9), "(2.500 ± 0.032)×10¹¹");
        assert_eq!(mean_and_sd(-3.7e-7, 1.44e-4), "(0.0 ± 1.4)×10⁻⁴");
    }
}
