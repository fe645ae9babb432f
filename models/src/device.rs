//! Name what a device must be able to do, and let a faster kernel replace a composed operation.

use dfdx::{
    shapes::{Dtype, HasShape},
    tensor::{Cpu, Gradients, Tape, Tensor},
    tensor_ops::TryAdd,
};

use crate::{
    error::{ModelError, Result},
    field::{Flat, Values},
    ops::{
        Activation, Attention, Direction, HostMap, Over, Resample, activation, attention, combine,
        conv::{
            self, Arithmetic,
            geometry::{Extent, Sizes},
        },
        host, mix, modulated_silu, norm, pixel_shuffle, resample,
    },
    parameter::Parameter,
};

/// Where tensors live and operations run.
///
/// Each operation has a form composed of dfdx's own operations, which every dfdx device can run: an
/// empty `impl Device for Cuda {}` is complete. A device overrides what it has a kernel for, and the
/// tests compare the kernel with the composed form.
pub trait Device: dfdx::tensor_ops::Device<f32> {
    /// What this device makes of a wish; see [`Module::set_arithmetic`](crate::Module::set_arithmetic).
    fn arithmetic(wanted: Arithmetic) -> Arithmetic {
        match wanted {
            Arithmetic::Reduced => Arithmetic::Full,
            other => other,
        }
    }

    /// See [`conv`](crate::ops::conv()).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn conv<T: Tape<f32, Self>>(
        x: Values<Self, T>,
        weight: &Parameter<Self>,
        bias: Option<&Parameter<Self>>,
        sizes: &Sizes,
    ) -> Result<Values<Self, T>> {
        let bias = bias.map(Parameter::taped);
        conv::composed(x, weight.taped(), bias, sizes, &weight.kept).map_err(ModelError::device)
    }

    /// See [`conv_transposed`](crate::ops::conv_transposed).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn conv_transposed<T: Tape<f32, Self>>(
        x: Values<Self, T>,
        weight: &Parameter<Self>,
        bias: Option<&Parameter<Self>>,
        sizes: &Sizes,
    ) -> Result<Values<Self, T>> {
        let bias = bias.map(Parameter::taped);
        conv::composed_transposed(x, weight.taped(), bias, sizes, &weight.kept).map_err(ModelError::device)
    }

    /// See [`activate`](crate::ops::activate).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn activate<T: Tape<f32, Self>>(x: Values<Self, T>, f: Activation) -> Result<Values<Self, T>> {
        activation::composed(x, f).map_err(ModelError::device)
    }

    /// See [`activate_tangent`](crate::ops::activate_tangent).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn activate_tangent<T: Tape<f32, Self>>(
        x: Values<Self, T>,
        dx: Values<Self, T>,
        f: Activation,
    ) -> Result<Values<Self, T>> {
        activation::composed_tangent(x, dx, f).map_err(ModelError::device)
    }

    /// See [`normalise`](crate::ops::normalise).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn normalise<T: Tape<f32, Self>>(
        x: Values<Self, T>,
        weight: &Parameter<Self>,
        bias: &Parameter<Self>,
        shift: Option<Values<Self, T>>,
        over: Over,
        f: Activation,
    ) -> Result<Values<Self, T>> {
        norm::composed(x, weight.taped(), bias.taped(), shift, over, f).map_err(ModelError::device)
    }

    /// See [`normalise_tangent`](crate::ops::normalise_tangent).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn normalise_tangent<T: Tape<f32, Self>>(
        x: Values<Self, T>,
        dx: Values<Self, T>,
        weight: &Parameter<Self>,
        over: Over,
    ) -> Result<Values<Self, T>> {
        norm::composed_tangent(x, dx, weight.taped(), over).map_err(ModelError::device)
    }

    /// See [`rescale`](crate::ops::rescale).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn rescale<T: Tape<f32, Self>>(
        x: Values<Self, T>,
        by: [&Parameter<Self>; 4],
        shift: Option<Values<Self, T>>,
        f: Activation,
    ) -> Result<Values<Self, T>> {
        norm::composed_rescale(x, by, shift, f).map_err(ModelError::device)
    }

    /// See [`attend`](crate::ops::attend).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn attend<T: Tape<f32, Self>>(
        qkv: Values<Self, T>,
        heads: usize,
        kind: Attention,
    ) -> Result<Values<Self, T>> {
        attention::composed(qkv, heads, kind).map_err(ModelError::device)
    }

    /// See [`attend_tangent`](crate::ops::attend_tangent).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn attend_tangent<T: Tape<f32, Self>>(
        qkv: Values<Self, T>,
        tangent: Values<Self, T>,
        heads: usize,
        kind: Attention,
    ) -> Result<Values<Self, T>> {
        attention::composed_tangent(qkv, tangent, heads, kind).map_err(ModelError::device)
    }

    /// See [`resample`](crate::ops::resample()).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn resample<T: Tape<f32, Self>>(x: Values<Self, T>, map: &Resample) -> Result<Values<Self, T>> {
        resample::composed(x, map).map_err(ModelError::device)
    }

    /// What `x` holds at `chosen` places of each channel, `to` of them; see [`max_pool`](crate::ops::max_pool).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn pick<T: Tape<f32, Self>>(x: Values<Self, T>, chosen: Vec<u32>, to: usize) -> Result<Values<Self, T>> {
        resample::composed_pick(x, &chosen, to).map_err(ModelError::device)
    }

    /// See [`sum`](crate::ops::sum).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn sum<T: Tape<f32, Self>>(a: Values<Self, T>, b: Values<Self, T>) -> Result<Values<Self, T>> {
        a.try_add(b).map_err(ModelError::device)
    }

    /// See [`shift`](crate::ops::shift).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn shift<T: Tape<f32, Self>>(x: Values<Self, T>, rows: Values<Self, T>) -> Result<Values<Self, T>> {
        combine::shift_composed(x, rows).map_err(ModelError::device)
    }

    /// See [`concat`](crate::ops::concat).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn concat<T: Tape<f32, Self>>(a: Values<Self, T>, b: Values<Self, T>) -> Result<Values<Self, T>> {
        combine::concat_composed(a, b).map_err(ModelError::device)
    }

    /// See [`modulated_silu`](crate::ops::modulated_silu()).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn modulated_silu<T: Tape<f32, Self>>(
        x: Values<Self, T>,
        scale_shift: Values<Self, T>,
    ) -> Result<Values<Self, T>> {
        modulated_silu::composed(x, scale_shift).map_err(ModelError::device)
    }

    /// See [`pixel_shuffle`](crate::ops::pixel_shuffle()).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn pixel_shuffle<T: Tape<f32, Self>>(
        x: Values<Self, T>,
        extent: Extent,
        direction: Direction,
    ) -> Result<Values<Self, T>> {
        pixel_shuffle::composed(x, extent, direction).map_err(ModelError::device)
    }

    /// See [`mix`](crate::ops::mix()).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn mix<T: Tape<f32, Self>>(x: Values<Self, T>, weights: Values<Self, T>) -> Result<Values<Self, T>> {
        mix::composed(x, weights).map_err(ModelError::device)
    }

    /// See [`host`](crate::ops::host()).
    ///
    /// # Errors
    /// Out of memory on the device.
    fn host<T: Tape<f32, Self>>(
        fields: Vec<Values<Self, T>>,
        weights: &[&Parameter<Self>],
        map: impl HostMap,
        shape: (usize, usize, usize),
    ) -> Result<Values<Self, T>> {
        host::composed(fields, weights, map, shape).map_err(ModelError::device)
    }

    /// Mean and unbiased variance of each channel, over batch and positions.
    ///
    /// # Errors
    /// Out of memory on the device.
    fn moments<T>(x: &Values<Self, T>) -> Result<[Vec<f32>; 2]> {
        let (batch, channels, positions) = *x.shape();
        let mut host = vec![0.0; batch * channels * positions];
        x.copy_into(&mut host);
        Ok(norm::moments(&host, channels, positions))
    }

    /// The gradient of a parameter, which is not needed any more; zeros where there is none.
    ///
    /// # Errors
    /// Out of memory on the device.
    fn take_gradient(gradients: &mut Gradients<f32, Self>, of: &Flat<Self>) -> Result<Vec<f32>> {
        gradients.try_alloc_for(of).map_err(ModelError::device)?;
        let mut host = vec![0.0; of.shape().0];
        gradients.get(of).copy_into(&mut host);
        Ok(host)
    }
}

/// The storage of a contiguous CPU tensor, without a copy.
pub(crate) fn values<S: dfdx::shapes::Shape, E: Dtype, T>(tensor: &Tensor<S, E, Cpu, T>) -> &[E] {
    use dfdx::shapes::HasShape;
    let len = tensor.shape().num_elements();
    if len == 0 {
        return &[];
    }
    let sides = tensor.shape().concrete();
    let first = &tensor[S::Concrete::default()];
    // The last element lies where it must, and so does the second along each axis: neither gaps nor another order.
    let (mut corner, mut step) = (S::Concrete::default(), 1);
    for i in (0..S::NUM_DIMS).rev() {
        corner[i] = sides[i] - 1;
        let mut second = S::Concrete::default();
        second[i] = usize::from(sides[i] > 1);
        let expected = (&raw const *first).wrapping_add(step * second[i]);
        // Every operation of this crate makes its inputs contiguous first; a caller that forgot ends here.
        assert!(
            std::ptr::eq(expected, &tensor[second]),
            "the tensor is not contiguous"
        );
        step *= sides[i];
    }
    let last = &tensor[corner];
    assert!(
        std::ptr::eq((&raw const *first).wrapping_add(len - 1), last),
        "the tensor is not contiguous"
    );
    // SAFETY: dfdx keeps a CPU tensor in one `Vec`. Its first and last elements lie `len` − 1 apart in it, so
    // that the `len` elements from the first on are all inside. They are borrowed as long as the tensor is.
    unsafe { std::slice::from_raw_parts(first, len) }
}

/// The storage of a CPU tensor that was just made, to be filled.
pub(crate) fn values_mut<S: dfdx::shapes::Shape, E: Dtype>(tensor: &mut Tensor<S, E, Cpu>) -> &mut [E] {
    let len = values(tensor).len();
    if len == 0 {
        return &mut [];
    }
    // Makes the storage this tensor's own, were it shared.
    let first: *mut E = &mut tensor[S::Concrete::default()];
    // SAFETY: as in `values`, which found the tensor contiguous; it is borrowed alone as long as the slice is.
    unsafe { std::slice::from_raw_parts_mut(first, len) }
}
