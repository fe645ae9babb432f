//! Convolve fields of one, two or three dimensions.

pub mod geometry;
