//! Draw the pictures of an inference.
//!
//! Each figure has a file of its own and one function, which takes plain data or a run and the path of the picture to write.
//! The name's end, `.png` (200 dots per inch) or `.svg`, chooses the format; a picture is as wide as a column or a page of a
//! journal, is written whole or not at all, and nothing outside this program, no font either, is needed. Names of parameters
//! such as `Omega_m` are drawn as symbols. The same input gives the same bytes.
//!
//! | of | pictures |
//! |---|---|
//! | maps | [`fields`], [`inference`], [`spectra`] |
//! | posteriors | [`corner`], [`posterior_histogram`], [`likelihood_surface`] |
//! | chains | [`trace`], [`rank`], [`autocorrelation`] |
//! | many posteriors with known truths | [`coverage`], [`rank_histogram`] |
//! | optimisers and trainings | [`loss`] |
//! | flows | [`evolution`], [`planes`] |
//!
//! All of them return an error for what cannot be drawn: nothing at all, numbers that are not finite, draws that are all
//! equal, lengths that do not fit each other, and a path that cannot be written.

mod autocorrelation;
mod axis;
mod calibration;
mod canvas;
mod chains;
mod contours;
mod corner;
mod coverage;
mod density;
mod evolution;
mod field;
mod image;
mod inference;
mod legend;
mod likelihood_surface;
mod loss;
mod panel;
mod plane;
mod posterior_histogram;
mod rank;
mod rank_histogram;
mod spectra;
mod style;
mod svg;
#[cfg(test)]
mod tests;
mod text;
mod tiles;
mod trace;

pub use autocorrelation::autocorrelation;
pub use calibration::Calibration;
pub use corner::{Corner, Posterior, corner};
pub use coverage::coverage;
pub use evolution::{Evolution, evolution};
pub use field::{FieldPanel, Fields, fields};
pub use inference::{Inference, ParameterRow, inference};
pub use likelihood_surface::{Surface, likelihood_surface};
pub use loss::{Curve, Loss, loss};
pub use plane::{PlanePanel, Planes, planes};
pub use posterior_histogram::{Histograms, posterior_histogram};
pub use rank::rank;
pub use rank_histogram::rank_histogram;
pub use spectra::{Spectra, SpectrumCurve, spectra};
pub use trace::trace;

pub(crate) use image::base64;
pub(crate) use text::escape;
