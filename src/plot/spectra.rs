//! Draw power spectra, and their ratios to the first.

use std::path::Path;

use super::axis::Axis;
use super::canvas::{Align, Picture, Type};
use super::panel::Panel;
use super::style::{self, LABEL};
use super::text::{Label, superscript};
use crate::{Error, Result};

/// One spectrum.
#[derive(Debug, Clone, Copy)]
pub struct SpectrumCurve<'a> {
    /// Its name in the legend.
    pub label: &'a str,
    /// k in h/Mpc, ascending.
    pub wavenumbers: &'a [f64],
    /// P at each.
    pub power: &'a [f64],
    /// The standard deviation of P over fields, drawn as a band.
    pub deviation: Option<&'a [f64]>,
}

/// What a picture of spectra shows.
#[derive(Debug, Clone, Copy)]
pub struct Spectra<'a> {
    /// The spectra; from two on, a panel below shows their ratios to the first.
    pub curves: &'a [SpectrumCurve<'a>],
    /// 2 for spectra of maps, 3 for those of grids: the unit of P is (Mpc/h) to this power.
    pub dimension: usize,
}

/// Room for each line of the legend.
const LINE: f64 = 14.0;
/// The least and the largest ratio that is drawn.
const RATIOS: [f64; 2] = [0.2, 5.0];

/// Write power spectra on logarithmic axes, with a band of one standard deviation each, and their ratios to the first.
///
/// # Errors
///
/// No spectrum, lengths that differ, no positive power at a positive k, and what cannot be written.
///
/// ```
/// use armilla::plot::{Spectra, SpectrumCurve, spectra};
///
/// let folder = tempfile::tempdir().unwrap();
/// let k: Vec<f64> = (1..40).map(|i| 0.1 * f64::from(i)).collect();
/// let power: Vec<f64> = k.iter().map(|k| k.powf(-1.5)).collect();
/// let curve = SpectrumCurve { label: "maps.h5", wavenumbers: &k, power: &power, deviation: None };
/// spectra(&Spectra { curves: &[curve], dimension: 2 }, folder.path().join("spectrum.png"))?;
/// # Ok::<(), armilla::Error>(())
/// ```
pub fn spectra(plot: &Spectra<'_>, path: impl AsRef<Path>) -> Result<()> {
    let curves = plot.curves;
    let fits = |c: &SpectrumCurve<'_>| {
        c.power.len() == c.wavenumbers.len() && c.deviation.is_none_or(|d| d.len() == c.power.len())
    };
    if !curves.iter().all(fits) {
        return Err(Error::Invalid(
            "a spectrum needs as many powers as wavenumbers".to_owned(),
        ));
    }
    let drawn = |x: f64| x > 0.0 && x.is_finite();
    let points = || {
        let all = curves.iter().flat_map(|c| c.wavenumbers.iter().zip(c.power));
        all.filter(move |(k, p)| drawn(**k) && drawn(**p))
    };
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, 0f64), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (k_low, k_high) = range(&mut points().map(|(k, _)| *k));
    let (low, high) = range(&mut points().map(|(_, p)| *p));
    if k_low > k_high {
        return Err(Error::Invalid("there is no positive power to draw".to_owned()));
    }
    let logarithmic = |low: f64, high: f64, margin: f64| {
        let margin = (high / low).max(2.0).powf(margin);
        Axis {
            low: low / margin,
            high: high * margin,
            log: true,
        }
    };
    let mut panel = Panel {
        left: 0.0,
        top: 8.0 + LINE * curves.len() as f64 + 6.0,
        width: 290.0,
        height: 190.0,
        x: logarithmic(k_low, k_high, 0.02),
        y: logarithmic(low, high, 0.06),
    };
    let ticks = panel.y_ticks();
    let reach = Panel::y_reach(&ticks);
    panel.left = reach + LABEL + 8.0;
    let below = (curves.len() > 1).then(|| ratio_panel(&panel, curves));
    let bottom = below.as_ref().unwrap_or(&panel).bottom();
    let mut picture = Picture::new(panel.right() + 14.0, bottom + 34.0);

    for (i, curve) in curves.iter().enumerate() {
        let ink = style::series(i);
        let at = |shift: f64| -> Vec<(f64, f64)> {
            let deviations = (0..curve.power.len()).map(|j| curve.deviation.map_or(0.0, |d| d[j]));
            let powers = curve.power.iter().zip(deviations);
            // A band that reaches zero ends at the lower side of the panel.
            let values = powers.map(|(p, d)| (p + shift * d).clamp(panel.y.low, panel.y.high));
            curve.wavenumbers.iter().copied().zip(values).collect()
        };
        if curve.deviation.is_some() {
            let mut outline = at(1.0);
            outline.extend(at(-1.0).into_iter().rev());
            let outline: Vec<(f64, f64)> = outline.into_iter().map(|(k, p)| panel.at(k, p)).collect();
            if outline.iter().all(|(x, y)| x.is_finite() && y.is_finite()) {
                picture.area(outline, ink.faint(0.2));
            }
        }
        let line: Vec<(f64, f64)> = curve
            .wavenumbers
            .iter()
            .copied()
            .zip(curve.power.iter().copied())
            .collect();
        panel.curve(&mut picture, &line, ink, 1.4);
        let y = 8.0 + LINE * (i as f64 + 0.5);
        picture.line(vec![(panel.left, y), (panel.left + 18.0, y)], ink, 1.8);
        let mut entry = curve.label.to_owned();
        if curve.deviation.is_some() {
            entry += ", mean and scatter of its fields";
        }
        picture.text(
            panel.left + 24.0,
            y + 0.36 * LABEL,
            &entry,
            Align::Left,
            Type::of(LABEL),
        );
    }
    panel.frame(&mut picture);
    panel.draw_y_ticks(&mut picture, &ticks, true);
    let unit = format!("P(k) [(Mpc/h){}]", superscript(plot.dimension as i32));
    panel.y_label(&mut picture, &ticks.complete(Label::plain(&unit)), reach);
    let x_ticks = panel.x_ticks();
    panel.draw_x_ticks(&mut picture, &x_ticks, below.is_none());
    let lowest = match &below {
        None => &panel,
        Some(below) => {
            below.horizontal(&mut picture, 1.0, style::INK, (3.0, 2.0));
            for (i, curve) in curves.iter().enumerate().skip(1) {
                let points = ratios(&curves[0], curve);
                below.curve(&mut picture, &points, style::series(i), 1.4);
            }
            below.frame(&mut picture);
            let ticks = below.y_ticks_inside();
            below.draw_y_ticks(&mut picture, &ticks, true);
            below.y_label(&mut picture, &Label::plain("ratio"), reach);
            below.draw_x_ticks(&mut picture, &x_ticks, true);
            below
        }
    };
    lowest.x_label(&mut picture, &Label::plain("k [h/Mpc]"));
    picture.save(path.as_ref())
}

/// P/P_first where both have the same k.
fn ratios(first: &SpectrumCurve<'_>, curve: &SpectrumCurve<'_>) -> Vec<(f64, f64)> {
    let of_first = first.wavenumbers.iter().zip(first.power);
    of_first
        .zip(curve.wavenumbers.iter().zip(curve.power))
        .filter(|((a, _), (b, _))| (*a / *b - 1.0).abs() < 1e-6)
        .map(|((k, a), (_, b))| (*k, b / a))
        .collect()
}

fn ratio_panel(panel: &Panel, curves: &[SpectrumCurve<'_>]) -> Panel {
    let all = curves[1..].iter().flat_map(|curve| ratios(&curves[0], curve));
    let (low, high) = all
        .filter(|(_, r)| r.is_finite())
        .fold((0.9f64, 1.1f64), |(low, high), (_, r)| (low.min(r), high.max(r)));
    let margin = 0.08 * (high - low);
    let (low, high) = (low.max(RATIOS[0]), high.min(RATIOS[1]));
    Panel {
        left: panel.left,
        top: panel.bottom() + 6.0,
        width: panel.width,
        height: 70.0,
        x: panel.x,
        y: Axis::new(low - margin, high + margin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_spectra_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let draw = |k: &[f64], power: &[f64]| {
            let curve = SpectrumCurve {
                label: "a",
                wavenumbers: k,
                power,
                deviation: None,
            };
            let plot = Spectra {
                curves: &[curve],
                dimension: 3,
            };
            spectra(&plot, folder.path().join("a.svg"))
        };
        assert!(draw(&[], &[]).is_err());
        assert!(draw(&[1.0], &[1.0, 2.0]).is_err());
        assert!(draw(&[1.0, 2.0], &[0.0, f64::NAN]).is_err());
        draw(&[1.0, 2.0, 3.0], &[1.0, 0.0, 3.0]).unwrap();
        draw(&[1.0], &[1.0]).unwrap();
    }
}
