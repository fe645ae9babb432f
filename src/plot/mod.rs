//! Draw the pictures of an inference.
//!
//! Each figure has a file of its own and one function, which takes plain data and the path of the picture to write:
//! [`corner`], [`fields`], [`inference`], [`loss`], [`posterior_histogram`], [`likelihood_surface`] and [`spectra`]. The
//! name's end, `.png` or `.svg`, chooses the format; a picture is written whole or not at all, and nothing outside this
//! program, no font either, is needed. Names of parameters such as `Omega_m` are drawn as symbols.
//!
//! All of them return an error for what cannot be drawn: nothing at all, numbers that are not finite, draws that are all
//! equal, lengths that do not fit each other, and a path that cannot be written.

mod axis;
mod canvas;
mod contours;
mod corner;
mod density;
mod field;
mod image;
mod inference;
mod likelihood_surface;
mod loss;
mod panel;
mod posterior_histogram;
mod spectra;
mod style;
mod text;

pub use corner::{Corner, Posterior, corner};
pub use field::{FieldPanel, Fields, fields};
pub use inference::{Inference, ParameterRow, inference};
pub use likelihood_surface::{Surface, likelihood_surface};
pub use loss::{Curve, Loss, loss};
pub use posterior_histogram::{Histograms, posterior_histogram};
pub use spectra::{Spectra, SpectrumCurve, spectra};
