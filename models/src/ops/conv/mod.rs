//! Convolve fields of one, two or three dimensions.

mod correlate;
#[allow(dead_code)]
pub(crate) mod cpu;
mod direct;
mod gemm;
pub mod geometry;
mod scratch;
mod shuffle;
mod walk;
mod winograd;
