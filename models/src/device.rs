//! Name what a device must be able to do, and let a faster kernel replace a composed operation.

use dfdx::{
    shapes::Dtype,
    tensor::{Cpu, Tape, Tensor},
};

use crate::{
    error::Result,
    ops::{add, conv2d, mix, modulated_silu, pixel_shuffle},
};

/// A batch of maps: (batch, channels, height, width).
pub type Maps<D, T = dfdx::tensor::NoneTape> = Tensor<(usize, usize, usize, usize), f32, D, T>;
/// One row of numbers per member of a batch: (batch, numbers).
pub type Rows<D, T = dfdx::tensor::NoneTape> = Tensor<(usize, usize), f32, D, T>;
/// The values of a weight, whatever its shape.
pub type Flat<D, T = dfdx::tensor::NoneTape> = Tensor<(usize,), f32, D, T>;

/// Where tensors live and operations run.
///
/// Each operation has a form composed of dfdx's own operations, which every dfdx device can run: an
/// empty `impl Device for Cuda {}` is complete. A device overrides what it has a kernel for, and the
/// tests compare the kernel with the composed form.
pub trait Device: dfdx::tensor_ops::Device<f32> {
    /// See [`conv2d`](crate::ops::conv2d::conv2d()).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn conv2d<T: Tape<f32, Self>>(
        x: Maps<Self, T>,
        weight: Flat<Self, T>,
        bias: Flat<Self, T>,
        geometry: conv2d::Geometry,
    ) -> Result<Maps<Self, T>> {
        conv2d::composed(x, weight, bias, geometry)
    }

    /// See [`modulated_silu`](crate::ops::modulated_silu::modulated_silu()).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn modulated_silu<T: Tape<f32, Self>>(
        x: Maps<Self, T>,
        scale_shift: Rows<Self, T>,
    ) -> Result<Maps<Self, T>> {
        modulated_silu::composed(x, scale_shift)
    }

    /// See [`pixel_shuffle`](crate::ops::pixel_shuffle::pixel_shuffle()).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn pixel_shuffle<T: Tape<f32, Self>>(
        x: Maps<Self, T>,
        direction: pixel_shuffle::Direction,
    ) -> Result<Maps<Self, T>> {
        pixel_shuffle::composed(x, direction)
    }

    /// See [`mix`](crate::ops::mix::mix()).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn mix<T: Tape<f32, Self>>(x: Maps<Self, T>, weights: Rows<Self, T>) -> Result<Maps<Self, T>> {
        mix::composed(x, weights)
    }

    /// See [`add`](crate::ops::add::add()).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn add<T: Tape<f32, Self>>(a: Maps<Self, T>, b: Maps<Self, T>) -> Result<Maps<Self, T>> {
        add::composed(a, b)
    }
}

impl Device for Cpu {
    fn conv2d<T: Tape<f32, Self>>(
        x: Maps<Self, T>,
        weight: Flat<Self, T>,
        bias: Flat<Self, T>,
        geometry: conv2d::Geometry,
    ) -> Result<Maps<Self, T>> {
        conv2d::cpu::conv2d(x, weight, bias, geometry)
    }

    fn modulated_silu<T: Tape<f32, Self>>(
        x: Maps<Self, T>,
        scale_shift: Rows<Self, T>,
    ) -> Result<Maps<Self, T>> {
        modulated_silu::cpu::modulated_silu(x, scale_shift)
    }

    fn pixel_shuffle<T: Tape<f32, Self>>(
        x: Maps<Self, T>,
        direction: pixel_shuffle::Direction,
    ) -> Result<Maps<Self, T>> {
        pixel_shuffle::cpu::pixel_shuffle(x, direction)
    }

    fn mix<T: Tape<f32, Self>>(x: Maps<Self, T>, weights: Rows<Self, T>) -> Result<Maps<Self, T>> {
        mix::cpu::mix(x, weights)
    }

    fn add<T: Tape<f32, Self>>(a: Maps<Self, T>, b: Maps<Self, T>) -> Result<Maps<Self, T>> {
        add::cpu::add(a, b)
    }
}

/// The storage of a contiguous CPU tensor, without a copy.
pub(crate) fn values<S: dfdx::shapes::Shape, E: Dtype, T>(tensor: &Tensor<S, E, Cpu, T>) -> &[E] {
    use dfdx::shapes::HasShape;
    let len = tensor.shape().num_elements();
    if len == 0 {
        return &[];
    }
    let mut corner = tensor.shape().concrete();
    (0..S::NUM_DIMS).for_each(|i| corner[i] -= 1);
    let (first, last) = (&tensor[S::Concrete::default()], &tensor[corner]);
    // Every operation of this crate makes its inputs contiguous first; a caller that forgot ends here.
    assert!(
        std::ptr::eq((&raw const *first).wrapping_add(len - 1), last),
        "the tensor is not contiguous"
    );
    // SAFETY: dfdx keeps a CPU tensor in one `Vec`. Its first and last elements lie `len` − 1 apart in it, so
    // that the `len` elements from the first on are all inside. They are borrowed as long as the tensor is.
    unsafe { std::slice::from_raw_parts(first, len) }
}
