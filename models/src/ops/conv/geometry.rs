//! Say how a convolution moves over a field, in one, two or three dimensions.

use serde::{Deserialize, Serialize};

use crate::error::{ModelError, Result};

/// Depth, height and width: 1 for a dimension that is not there.
pub type Extent = [usize; 3];

/// What lies beyond the edge of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// The opposite edge: the field is periodic.
    Circular,
    /// Zeros.
    Zeros,
}

/// How a kernel moves over a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Sides of the kernel.
    pub kernel: Extent,
    /// Steps of the kernel.
    pub stride: Extent,
    /// How far the field is continued on each side.
    pub reach: Extent,
    /// With what it is continued.
    pub padding: Padding,
    /// Channels and outputs are divided into this many groups; each output sees the channels of its own.
    pub groups: usize,
}

impl Geometry {
    /// A kernel of odd `sides` that keeps the extent of a field.
    pub fn same(sides: Extent, padding: Padding) -> Self {
        Self {
            kernel: sides,
            stride: [1; 3],
            reach: sides.map(|k| k / 2),
            padding,
            groups: 1,
        }
    }

    /// The usual kernel of one to three `dimensions`: `kernel` to a side, moved by `stride`, with a reach of
    /// (kernel − 1) / 2.
    pub fn cube(dimensions: usize, kernel: usize, stride: usize, padding: Padding) -> Self {
        let there = |n, absent| std::array::from_fn(|axis| if axis + dimensions < 3 { absent } else { n });
        Self {
            kernel: there(kernel, 1),
            stride: there(stride, 1),
            reach: there((kernel - 1) / 2, 0),
            padding,
            groups: 1,
        }
    }

    /// One weight for each pair of channel and output.
    pub fn pointwise() -> Self {
        Self::same([1; 3], Padding::Zeros)
    }

    /// Numbers of a kernel.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// The extent of what comes out.
    ///
    /// # Errors
    /// `Shape` where a step is zero or the field is smaller than the kernel asks for.
    pub fn output(&self, input: Extent) -> Result<Extent> {
        let mut output = [0; 3];
        for (axis, out) in output.iter_mut().enumerate() {
            let (k, s, r) = (self.kernel[axis], self.stride[axis], self.reach[axis]);
            let far = self.padding == Padding::Circular && r > input[axis];
            if k == 0 || s == 0 || input[axis] == 0 || input[axis] + 2 * r < k || far {
                return Err(ModelError::shape(
                    "conv",
                    format!("a field of {input:?} does not fit {self:?}"),
                ));
            }
            *out = (input[axis] + 2 * r - k) / s + 1;
        }
        Ok(output)
    }
}

/// All sizes of one convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Fields in the batch.
    pub batch: usize,
    /// Channels in.
    pub channels: usize,
    /// Channels out.
    pub outputs: usize,
    /// Extent of what goes in.
    pub input: Extent,
    /// Extent of what comes out: `geometry.output(input)`.
    pub output: Extent,
    /// How the kernel moves.
    pub geometry: Geometry,
}
