//! Give all pictures one look: light paper, colours that colour-blind readers tell apart, sizes that print.

use super::canvas::Ink;

/// Text and frames.
pub(super) const INK: Ink = Ink(34, 34, 34, 1.0);
/// Lines of tables.
pub(super) const FAINT: Ink = Ink(205, 205, 205, 1.0);
/// Bands of what chance does.
pub(super) const BAND: Ink = Ink(120, 120, 120, 0.22);
/// What lies under all.
pub(super) const PAPER: Ink = Ink(255, 255, 255, 1.0);
/// Dashes and gaps of lines that mark a truth or an expectation.
pub(super) const DASHES: (f64, f64) = (4.0, 2.5);

/// The widths of a column and of a page of a journal, in points: figures have one or the other, and are printed unscaled.
pub(super) const COLUMN: f64 = 252.0;
pub(super) const PAGE: f64 = 516.0;

/// Sizes of text, in points.
pub(super) const TICK: f64 = 7.0;
pub(super) const LABEL: f64 = 8.5;
pub(super) const TITLE: f64 = 9.5;

/// The palette of Okabe and Ito (2008), strongest contrasts first, without black and yellow.
const SERIES: [Ink; 6] = [
    Ink(0, 114, 178, 1.0),
    Ink(213, 94, 0, 1.0),
    Ink(0, 158, 115, 1.0),
    Ink(204, 121, 167, 1.0),
    Ink(230, 159, 0, 1.0),
    Ink(86, 180, 233, 1.0),
];

/// How many curves have a colour of their own.
pub(super) const COLOURS: usize = SERIES.len();

/// The colour of the i-th of several curves or posteriors.
pub(super) fn series(i: usize) -> Ink {
    SERIES[i % SERIES.len()]
}

/// The colour of a true value.
pub(super) const TRUTH: Ink = INK;
/// The colour of an estimate.
pub(super) const ESTIMATE: Ink = Ink(213, 94, 0, 1.0);

/// Anchors of viridis (Smith and van der Walt 2015), equally spaced: even steps in lightness, also in grey.
const VIRIDIS: [[f64; 3]; 10] = [
    [68.0, 1.0, 84.0],
    [72.0, 40.0, 120.0],
    [62.0, 74.0, 137.0],
    [49.0, 104.0, 142.0],
    [38.0, 130.0, 142.0],
    [31.0, 158.0, 137.0],
    [53.0, 183.0, 121.0],
    [109.0, 205.0, 89.0],
    [180.0, 222.0, 44.0],
    [253.0, 231.0, 37.0],
];

/// The colour of a fraction between 0 and 1; what lies outside gets the colour of the end.
pub(super) fn sequential(fraction: f64) -> [u8; 3] {
    // NaN is drawn as the lowest value: no figure passes it on.
    let place = fraction.clamp(0.0, 1.0).max(0.0) * (VIRIDIS.len() - 1) as f64;
    let low = (place as usize).min(VIRIDIS.len() - 2);
    let t = place - low as f64;
    let mix = |k: usize| (VIRIDIS[low][k] * (1.0 - t) + VIRIDIS[low + 1][k] * t).round() as u8;
    [mix(0), mix(1), mix(2)]
}
