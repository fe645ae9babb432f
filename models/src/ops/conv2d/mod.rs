//! Convolve maps with square kernels, keeping their size.

pub(crate) mod cpu;

use dfdx::{
    shapes::{Axes3, HasShape},
    tensor::Tape,
    tensor_ops::{BroadcastTo, GatherTo, PermuteTo, ReshapeTo, TryAdd, TryConcatAlong, TryMatMul},
};

use crate::{
    device::{Device, Flat, Maps},
    error::{ModelError, Result},
    ops::not_empty,
};

/// What lies beyond the edge of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// The opposite edge: the map is periodic.
    Circular,
    /// Zeros.
    Zeros,
}

/// Kernel side and padding of a convolution of stride 1 that keeps height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Side of the kernel, odd.
    pub kernel: usize,
    /// What lies beyond the edge.
    pub padding: Padding,
}

/// `y[b,o,i,j] = bias[o] + Σ_{c,k,l} weight[o,c,k,l] · x[b,c,i+k−r,j+l−r]` with `r = (kernel−1)/2`.
///
/// Shapes: `x` (batch, channels, height, width), `weight` (outputs × channels × kernel × kernel) flat in
/// that order as in PyTorch, `bias` (outputs); the result is (batch, outputs, height, width).
///
/// # Errors
/// `Shape` where the weight does not fit the channels, the kernel is even, or the map is smaller than the
/// reach of the kernel.
///
/// ```
/// use armilla_models::ops::conv2d::{Geometry, Padding, conv2d};
/// use dfdx::prelude::*;
/// let device = Cpu::default();
/// let x = device.tensor_from_vec(vec![1.0, 2.0, 3.0, 4.0], (1, 1, 2, 2));
/// let weight = device.tensor_from_vec(vec![2.0], (1,));
/// let bias = device.tensor_from_vec(vec![0.5], (1,));
/// let y = conv2d(x, &weight, &bias, Geometry { kernel: 1, padding: Padding::Circular })?;
/// assert_eq!(y.as_vec(), vec![2.5, 4.5, 6.5, 8.5]);
/// # Ok::<(), armilla_models::ModelError>(())
/// ```
pub fn conv2d<D: Device, T: Tape<f32, D>>(
    x: Maps<D, T>,
    weight: &Flat<D>,
    bias: &Flat<D>,
    geometry: Geometry,
) -> Result<Maps<D, T>> {
    let (_, channels, height, width) = *x.shape();
    let (numbers, outputs, k) = (weight.shape().0, bias.shape().0, geometry.kernel);
    if k % 2 == 0 || numbers != outputs * channels * k * k {
        return Err(ModelError::shape(
            "conv2d",
            format!("{numbers} weights are not {outputs} outputs × {channels} channels × {k} × {k} (odd)"),
        ));
    }
    if height.min(width) < k / 2 + 1 {
        return Err(ModelError::shape(
            "conv2d",
            format!("a {height} × {width} map is smaller than the reach of a {k} × {k} kernel"),
        ));
    }
    not_empty("conv2d", *x.shape(), outputs)?;
    let run = || -> std::result::Result<_, D::Err> {
        let weight = weight.retaped::<T>().try_contiguous()?;
        Ok((x.try_contiguous()?, weight, bias.retaped::<T>().try_contiguous()?))
    };
    let (x, weight, bias) = run().map_err(ModelError::device)?;
    D::conv2d(x, weight, bias, geometry)
}

/// The same by gathering a patch for each pixel and one matrix product: what any device can run.
///
/// # Errors
/// Out of memory on the device.
pub fn composed<D: Device, T: Tape<f32, D>>(
    x: Maps<D, T>,
    weight: Flat<D, T>,
    bias: Flat<D, T>,
    geometry: Geometry,
) -> Result<Maps<D, T>> {
    let (batch, channels, height, width) = *x.shape();
    let outputs = bias.shape().0;
    let (pixels, k) = (height * width, geometry.kernel);
    let patch = channels * k * k;
    let device = x.device().clone();
    let run = || -> std::result::Result<_, D::Err> {
        // One row per number of a map, and a last row of zeros for what lies outside.
        let rows = x
            .try_reshape_like(&(batch, channels * pixels))?
            .try_permute::<_, dfdx::shapes::Axes2<1, 0>>()?;
        let zeros = device.try_zeros_like(&(1usize, batch))?;
        let rows = (rows.try_contiguous()?, zeros).concat_along(dfdx::shapes::Axis::<0>);
        let rows = rows.try_reshape_like(&(channels * pixels + 1, batch))?;
        let index =
            device.try_tensor_from_vec(patch_index(channels, height, width, geometry), (patch * pixels,))?;
        let patches = rows
            .try_gather::<(usize, usize), _>(index)?
            .try_reshape_like(&(patch, pixels * batch))?;
        let weight = weight.try_reshape_like(&(outputs, patch))?;
        let y = weight
            .try_matmul(patches)?
            .try_reshape_like(&(outputs, pixels, batch))?;
        let y = y.try_permute::<_, Axes3<2, 0, 1>>()?;
        let shape = *y.shape();
        let bias = bias.try_broadcast_like::<_, dfdx::shapes::Axes2<0, 2>>(&shape)?;
        y.try_add(bias)?
            .try_reshape_like(&(batch, outputs, height, width))
    };
    run().map_err(ModelError::device)
}

/// For each (channel, k, l, pixel), where in (channels × height × width) the number lies that the kernel
/// sees there; one past the end for what lies outside.
fn patch_index(channels: usize, height: usize, width: usize, geometry: Geometry) -> Vec<usize> {
    let (k, r) = (geometry.kernel, geometry.kernel / 2);
    let outside = channels * height * width;
    let mut index = Vec::with_capacity(channels * k * k * height * width);
    for c in 0..channels {
        for (dy, dx) in (0..k * k).map(|o| (o / k, o % k)) {
            for (i, j) in (0..height * width).map(|p| (p / width, p % width)) {
                let (y, x) = (i + dy, j + dx);
                let inside = (r..height + r).contains(&y) && (r..width + r).contains(&x);
                index.push(match geometry.padding {
                    Padding::Zeros if !inside => outside,
                    _ => (c * height + (y + height - r) % height) * width + (x + width - r) % width,
                });
            }
        }
    }
    index
}

#[cfg(test)]
mod tests {
    use dfdx::tensor::{Cpu, OwnedTape, TensorFromVec, Trace};

    use super::*;
    use crate::ops::testing::{SAME, difference, gradient, probe, tensor};

    const SHAPES: [(usize, usize, usize, usize, usize); 5] = [
        (2, 3, 5, 6, 7),
        (9, 4, 8, 8, 8),
        (1, 1, 16, 5, 32),
        (3, 5, 1, 4, 4),
        (10, 16, 6, 16, 16),
    ];

    #[test]
    fn kernel_equals_composed_form_with_every_gradient() {
        for (batch, channels, outputs, height, width) in SHAPES {
            for kernel in [1, 3, 5] {
                for padding in [Padding::Circular, Padding::Zeros] {
                    let geometry = Geometry { kernel, padding };
                    let x = tensor((batch, channels, height, width), 1);
                    let w = tensor((outputs * channels * kernel * kernel,), 2);
                    let b = tensor((outputs,), 3);
                    let (y, g) = probe(conv2d(x.leaky_trace(), &w, &b, geometry).unwrap());
                    let (w2, b2) = (
                        w.retaped::<OwnedTape<f32, Cpu>>(),
                        b.retaped::<OwnedTape<f32, Cpu>>(),
                    );
                    let (y2, g2) = probe(composed(x.leaky_trace(), w2, b2, geometry).unwrap());
                    let context = format!("{batch} {channels} {outputs} {height} {width} {geometry:?}");
                    assert!(difference(&y, &y2) < SAME, "value {context}");
                    assert!(
                        difference(&gradient(&g, &x), &gradient(&g2, &x)) < SAME,
                        "x {context}"
                    );
                    assert!(
                        difference(&gradient(&g, &w), &gradient(&g2, &w)) < SAME,
                        "weight {context}"
                    );
                    assert!(
                        difference(&gradient(&g, &b), &gradient(&g2, &b)) < SAME,
                        "bias {context}"
                    );
                }
            }
        }
    }

    #[test]
    fn periodic_maps_shift_through() {
        // A circular convolution commutes with shifts; one with zeros does not.
        let x = tensor((1, 1, 4, 4), 1);
        let (w, b) = (tensor((9,), 2), tensor((1,), 3));
        let shifted: Vec<f32> = (0..16).map(|p| x[[0, 0, (p / 4 + 1) % 4, p % 4]]).collect();
        let shifted = Cpu::default().tensor_from_vec(shifted, (1, 1, 4, 4));
        for (padding, commutes) in [(Padding::Circular, true), (Padding::Zeros, false)] {
            let geometry = Geometry { kernel: 3, padding };
            let y = conv2d(x.clone(), &w, &b, geometry).unwrap();
            let z = conv2d(shifted.clone(), &w, &b, geometry).unwrap();
            let same =
                (0..16).all(|p| (z[[0, 0, p / 4, p % 4]] - y[[0, 0, (p / 4 + 1) % 4, p % 4]]).abs() < 1e-6);
            assert_eq!(same, commutes, "{padding:?}");
        }
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let geometry = Geometry {
            kernel: 3,
            padding: Padding::Circular,
        };
        let (x, w, b) = (tensor((11, 4, 8, 8), 1), tensor((4 * 4 * 9,), 2), tensor((4,), 3));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let (y, g) = probe(conv2d(x.leaky_trace(), &w, &b, geometry).unwrap());
                (y, gradient(&g, &x), gradient(&g, &w), gradient(&g, &b))
            })
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(5));
    }

    #[test]
    fn a_bias_that_is_not_contiguous_is_read_rightly_and_gets_its_gradient() {
        use dfdx::{shapes::Axis, tensor::AsArray, tensor_ops::BroadcastTo};
        let device = Cpu::default();
        let (x, w) = (tensor((1, 2, 4, 4), 1), tensor((8 * 2 * 9,), 2));
        let one = device.tensor_from_vec(vec![0.5f32], (1,)).reshape_like(&());
        let wide: Flat<Cpu> = one.clone().broadcast_like::<_, Axis<0>>(&(8usize,));
        let same = device.tensor_from_vec(vec![0.5f32; 8], (8,));
        let geometry = Geometry {
            kernel: 3,
            padding: Padding::Circular,
        };
        let (y, g) = probe(conv2d(x.leaky_trace(), &w, &wide, geometry).unwrap());
        let (y2, g2) = probe(conv2d(x.leaky_trace(), &w, &same, geometry).unwrap());
        assert_eq!(y, y2);
        let total: f32 = gradient(&g2, &same).iter().sum();
        assert!((g.get(&one).array() - total).abs() < 1e-4 * (1.0 + total.abs()));
    }

    #[test]
    fn shapes_that_do_not_fit_are_named() {
        let (x, w, b) = (tensor((1, 2, 4, 4), 1), tensor((9,), 2), tensor((1,), 3));
        let geometry = Geometry {
            kernel: 3,
            padding: Padding::Circular,
        };
        let error = conv2d(x, &w, &b, geometry).unwrap_err().to_string();
        assert!(
            error.contains("conv2d") && error.contains('9') && error.contains('2'),
            "{error}"
        );
    }
}
