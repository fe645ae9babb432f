//! Compute what dfdx lacks on stable Rust, one folder an operation: the public function, a form composed
//! of dfdx operations, and a kernel for the CPU.
//!
//! A kernel's backward pass takes the gradient of its output, so that memory is free as soon as it can be: after
//! `backward()`, gradients are there for inputs and weights, not for maps in between.

pub mod activation;
pub mod attention;
pub mod combine;
pub mod conv;
pub mod host;
pub mod mix;
pub mod modulated_silu;
pub mod norm;
pub mod pixel_shuffle;
pub mod resample;
pub(crate) mod shared;
pub(crate) mod simd;

pub(crate) use activation::same_shape;
pub use activation::{Activation, activate, activate_tangent};
pub use attention::{Attention, attend, attend_tangent};
pub use combine::{concat, shift, sum};
pub(crate) use combine::{shift_composed, shift_fits};
pub use conv::{conv, conv_transposed};
pub use host::{HostMap, host};
pub use mix::mix;
pub use modulated_silu::{modulated_silu, modulated_silu_tangent};
pub use norm::{Over, normalise, normalise_tangent, rescale, rescale_tangent};
pub use pixel_shuffle::{Direction, pixel_shuffle};
pub use resample::{Resample, max_pool, resample};

pub use simd::peak;

/// Takes the gradient of an operation's output: nothing reads it after that operation's own backward
/// pass, so that its memory can go.
macro_rules! take_gradient {
    ($gradients:expr, $tensor:expr) => {
        std::mem::take(&mut **$gradients.get_or_alloc_mut($tensor)?)
    };
}
pub(crate) use take_gradient;

#[cfg(test)]
mod composed_tests;
#[cfg(test)]
mod kernel_tests;

#[cfg(test)]
pub(crate) mod testing {
    //! Compare a kernel with its composed form, and both with finite differences.

    use armilla_samplers::rng::{Purpose, stream};
    use dfdx::{
        shapes::Shape,
        tensor::{Cpu, Gradients, NoneTape, OwnedTape, Tensor, TensorFromVec},
        tensor_ops::{Backward, SumTo, TryMul},
    };
    use rand::RngExt;

    use crate::{device::values, field::Values};

    /// Kernel against composed form: f32 rounding of sums of a few hundred terms.
    pub const SAME: f32 = 1e-5;

    /// Numbers in [−1, 1].
    pub fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut stream = stream(seed, Purpose::Noise, 0);
        (0..count).map(|_| 2.0 * stream.random::<f32>() - 1.0).collect()
    }

    pub fn tensor<S: Shape>(shape: S, seed: u64) -> Tensor<S, f32, Cpu> {
        Cpu::default().tensor_from_vec(numbers(shape.num_elements(), seed), shape)
    }

    /// The gradients of Σ y · probe.
    pub fn probe(y: Values<Cpu, OwnedTape<f32, Cpu>>) -> (Vec<f32>, Gradients<f32, Cpu>) {
        use dfdx::tensor::SplitTape;
        let (y, tape) = y.split_tape();
        let out = values(&y).to_vec();
        let shape = *dfdx::shapes::HasShape::shape(&y);
        use dfdx::tensor::PutTape;
        let loss = y.put_tape(tape).try_mul(tensor(shape, 77)).unwrap().sum();
        (out, loss.backward())
    }

    pub fn gradient<S: Shape>(
        gradients: &Gradients<f32, Cpu>,
        of: &Tensor<S, f32, Cpu, NoneTape>,
    ) -> Vec<f32> {
        values(&gradients.get(of)).to_vec()
    }

    /// Largest difference over the larger list's scale.
    pub fn difference(a: &[f32], b: &[f32]) -> f32 {
        assert_eq!(a.len(), b.len());
        let scale = a.iter().chain(b).fold(1e-30f32, |m, v| m.max(v.abs()));
        a.iter().zip(b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / scale
    }

    /// Each number near the other, relative to the larger of its size and 1.
    pub fn close(found: &[f32], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            let apart = (*found as f64 - expected).abs();
            assert!(
                apart <= tolerance * expected.abs().max(1.0),
                "{i}: {found} {expected}"
            );
        }
    }

    /// The bits of what `run` makes with so many threads.
    pub fn on_threads(threads: usize, run: impl Fn() -> Vec<f32> + Sync) -> Vec<u32> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| run().iter().map(|v| v.to_bits()).collect())
    }
}
