//! Tune kernels during warm-up: `DualAveraging` for scales, `Windows` for when, `Moments` for shapes,
//! `RandomWalk` and its tuning for all that walk.

mod dual_averaging;
mod moments;
pub(crate) mod random_walk;
mod windows;

pub(crate) use dual_averaging::DualAveraging;
pub(crate) use moments::Moments;
pub(crate) use random_walk::{AdaptiveWalk, RandomWalk, Walks};
pub(crate) use windows::Windows;
