//! Draw an observation, samples at its estimate, and a table of the parameters.

use std::path::Path;

use super::canvas::{Align, Picture, Type};
use super::field::{FieldPanel, Fields, Maps};
use super::legend::sheet;
use super::style::{self, LABEL, PAGE};
use super::text::{self, Label};
use crate::{Error, Result};

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct ParameterRow<'a> {
    /// The name of the parameter.
    pub name: &'a str,
    /// Its true value, where it is known.
    pub truth: Option<f64>,
    /// Its estimate.
    pub estimate: f64,
    /// The standard deviation of the estimate, where it is known.
    pub sd: Option<f64>,
}

/// What the picture of an inference shows; V3 of its name is `inference_mle_idx{N}.png`.
#[derive(Debug, Clone, Copy)]
pub struct Inference<'a> {
    /// What stands above it all.
    pub title: &'a str,
    /// The pixels of the observation, row by row.
    pub observation: &'a [f32],
    /// Fields that the model generates at the estimate, usually four.
    pub samples: &'a [&'a [f32]],
    /// The number of pixels along a side.
    pub side: usize,
    /// The side of the maps in Mpc/h; without it axes count pixels.
    pub box_size: Option<f64>,
    /// What the colours mean.
    pub label: &'a str,
    /// The parameters.
    pub parameters: &'a [ParameterRow<'a>],
}

const ROW: f64 = 14.0;
const COLUMNS: [&str; 5] = ["Parameter", "True", "Estimated", "Error", "sd"];
const COLUMN: f64 = 84.0;

/// Write the picture of an inference: observation, samples at the estimate, and a table True / Estimated / Error / sd,
/// where the error is estimate − truth.
///
/// # Errors
///
/// What cannot be drawn or written; see [the module](crate::plot).
///
/// ```
/// use armilla::plot::{Inference, ParameterRow, inference};
///
/// let folder = tempfile::tempdir().unwrap();
/// let map: Vec<f32> = (0..64).map(|i| (i % 8) as f32).collect();
/// let plot = Inference {
///     title: "Maximum likelihood, map 0",
///     observation: &map,
///     samples: &[&map, &map, &map, &map],
///     side: 8,
///     box_size: None,
///     label: "density",
///     parameters: &[ParameterRow { name: "Omega_m", truth: Some(0.3), estimate: 0.31, sd: None }],
/// };
/// inference(&plot, folder.path().join("inference_mle_idx0.png"))?;
/// # Ok::<(), armilla::Error>(())
/// ```
pub fn inference(plot: &Inference<'_>, path: impl AsRef<Path>) -> Result<()> {
    picture(plot)?.save(path.as_ref())
}

pub(super) fn picture(plot: &Inference<'_>) -> Result<Picture> {
    let fail = |what: String| Err(Error::Invalid(format!("picture of an inference: {what}")));
    for row in plot.parameters {
        let numbers = [row.truth, Some(row.estimate), row.sd];
        if numbers.iter().flatten().any(|x| !x.is_finite()) {
            return fail(format!("a value of {} is not finite", row.name));
        }
    }
    if plot.parameters.is_empty() {
        return fail("there are no parameters to list".into());
    }
    let titles: Vec<String> = (1..=plot.samples.len()).map(|k| format!("Sample {k}")).collect();
    let mut panels = vec![FieldPanel {
        title: "Observation",
        map: plot.observation,
    }];
    panels.extend(
        titles
            .iter()
            .zip(plot.samples)
            .map(|(title, map)| FieldPanel { title, map }),
    );
    let fields = Fields {
        panels: &panels,
        side: plot.side,
        box_size: plot.box_size,
        label: plot.label,
    };
    let maps = Maps::new(&fields, PAGE)?;
    let table = COLUMN * COLUMNS.len() as f64;
    let table_height = ROW * (plot.parameters.len() + 1) as f64;
    let (mut picture, top) = sheet(
        PAGE,
        maps.height() + 6.0 + table_height + 6.0,
        plot.title,
        &Vec::new(),
    );
    maps.draw(&mut picture, top);
    let at = ((PAGE - table) / 2.0, top + maps.height() + 6.0);
    draw_table(&mut picture, plot.parameters, at);
    Ok(picture)
}

fn draw_table(picture: &mut Picture, rows: &[ParameterRow<'_>], (left, top): (f64, f64)) {
    let right = left + COLUMN * COLUMNS.len() as f64;
    let edge = |k: usize| left + COLUMN * (k + 1) as f64 - 10.0;
    let rule = |picture: &mut Picture, y: f64, ink| picture.line(vec![(left, y), (right, y)], ink, 0.8);
    rule(picture, top, style::INK);
    for (k, name) in COLUMNS.iter().enumerate() {
        let kind = Type {
            bold: true,
            ..Type::of(LABEL)
        };
        let y = top + 0.7 * ROW;
        match k {
            0 => picture.text(left + 10.0, y, name, Align::Left, kind),
            _ => picture.text(edge(k), y, name, Align::Right, kind),
        }
    }
    rule(picture, top + ROW, style::INK);
    for (i, row) in rows.iter().enumerate() {
        let y = top + ROW * (i as f64 + 1.7);
        picture.label(
            left + 10.0,
            y,
            &Label::of_parameter(row.name),
            Align::Left,
            Type::of(LABEL),
        );
        let error = row.truth.map(|truth| row.estimate - truth);
        let cells = [row.truth, Some(row.estimate), error, row.sd];
        let written = text::numbers(&cells.map(|value| value.unwrap_or(0.0)));
        for (k, (value, text)) in cells.iter().zip(written).enumerate() {
            let text = match value {
                None => "–".to_owned(),
                Some(x) if k == 2 && *x > 0.0 => format!("+{text}"),
                Some(_) => text,
            };
            picture.text(edge(k + 1), y, &text, Align::Right, Type::of(LABEL));
        }
        if i + 1 < rows.len() {
            rule(picture, top + ROW * (i as f64 + 2.0), style::FAINT);
        }
    }
    rule(picture, top + ROW * (rows.len() + 1) as f64, style::INK);
}
