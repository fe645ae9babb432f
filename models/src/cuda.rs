//! Run the operations on NVIDIA's graphics processors, as composed of dfdx's own.
//!
//! Checked where there is no such device: that it compiles, and dfdx 0.13's kernels by reading. **Nothing here has run
//! on a device.** What was read, of the operations that the composed forms use:
//!
//! - Gradients are added to what is there, never written over it, in `gather`, `select`, `concat_along`, `choose`,
//!   `reshape`, sums, and element by element; matrix products accumulate in the product itself. `slice` is used nowhere.
//! - Numbers are counted in 32 bits: no tensor may have 2³² numbers, and no side of a matrix 2³¹.
//! - Sums are made by blocks that add to one number in no fixed order, and so are the gradients of `gather`: the same
//!   seed gives the same numbers to rounding, not to the last bit as on the processor.
//! - Indices are 64-bit on host and device, and may be broadcast: the list of what a convolution sees is one for all
//!   fields of a batch.
//! - Matrices may be given transposed, with a side of 1 too; one stride must be 1, and none 0.
//! - Binary operations read broadcast arguments where they lie and sum their gradients; the two arguments must be
//!   different tensors, as on the processor.
//! - `concat_along` and reshaping what is not contiguous are compiled when they are first used, with CUDA's headers
//!   from where they were at build time.
//! - Constants of ones are made on the host and copied, so that none are asked for; each operation copies its
//!   shapes. A step of a small network waits for these copies more than for its arithmetic.
//! - `relu` takes the larger of 0 and a number as `fmaxf` does: NaN becomes 0, unlike on the processor.
//! - Memory that is freed is kept by size for the next tensor of that size.

use dfdx::tensor::Cuda;

use crate::{
    device::Device,
    error::{ModelError, Result},
    field::Values,
    ops::norm,
};

impl Device for Cuda {
    /// On the device: all of a field would have to be copied for it.
    fn moments<T>(x: &Values<Self, T>) -> Result<[Vec<f32>; 2]> {
        norm::composed_moments(x).map_err(ModelError::device)
    }
}
