//! Tune kernels during warm-up: `DualAveraging` and `StepSize` for scales, `Windows` for when, `Moments` and `Shape`
//! for shapes.

mod dual_averaging;
mod moments;
mod shape;
mod step_size;
mod windows;

pub(crate) use dual_averaging::DualAveraging;
pub(crate) use moments::Moments;
pub(crate) use shape::Shape;
pub(crate) use step_size::StepSize;
pub(crate) use windows::Windows;
