//! Choose how exactly a convolution is computed, and how fast.

use super::shifted;

/// How the products of convolutions and linear maps are computed: a property of each weight, see
/// [`Module::set_arithmetic`](crate::Module::set_arithmetic).
///
/// Errors are of the largest output of one convolution, with numbers of a normal distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arithmetic {
    /// Plain sums of products in single precision. Convolutions with kernels of three by three take about twice as long
    /// as in `Full`.
    Exact,
    /// Single precision, with fast products of tiles (Winograd's): up to 5e-6 for 512 channels and 2e-6 for 64.
    #[default]
    Full,
    /// Weights and activations rounded to bf16, sums in single precision: about 2.5e-3. For inference only: where a
    /// tape records, or the processor has no instruction for it (AVX-512 BF16), or it would not be faster, this is `Full`.
    ///
    /// On a core of Zen 4 the attention U-Net took 0.70 of the time of `Full` with one map and 0.83 with ten, SimpleUnet
    /// with four 0.75, the latent network as long as before; outputs moved by 4e-4 to 2e-2 of the largest.
    Reduced,
}

impl Arithmetic {
    /// What this processor makes of it: itself, or `Full`.
    ///
    /// ```
    /// use armilla_models::ops::conv::Arithmetic;
    /// assert_eq!(Arithmetic::Full.available(), Arithmetic::Full);
    /// println!("{:?}", Arithmetic::Reduced.available());
    /// ```
    pub fn available(self) -> Self {
        self.with(shifted::available(2))
    }

    fn with(self, bf16: bool) -> Self {
        match self {
            Self::Reduced if !bf16 => Self::Full,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_instruction_precision_is_full() {
        assert_eq!(Arithmetic::Reduced.with(false), Arithmetic::Full);
        assert_eq!(Arithmetic::Reduced.with(true), Arithmetic::Reduced);
        assert_eq!(Arithmetic::Exact.with(false), Arithmetic::Exact);
    }
}
