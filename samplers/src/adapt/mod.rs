//! Tune kernels during warm-up: `DualAveraging` for scales, `Windows` for when, `Moments` for shapes.

mod dual_averaging;
mod moments;
mod windows;

pub(crate) use dual_averaging::DualAveraging;
pub(crate) use moments::Moments;
pub(crate) use windows::Windows;
