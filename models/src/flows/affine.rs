//! Stretch and shift a number: `y = x exp(s) + t` (Dinh et al. 2017, arXiv 1605.08803).

/// Two parameters a number: how it is stretched, and by what it is shifted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine {
    /// The logarithm of the stretch, `s = bound · tanh(p / bound)`, stays within ±bound: what is stretched without
    /// bound cannot be undone in single precision.
    pub(super) bound: f64,
}

impl Affine {
    /// `y`, and the logarithm of its slope.
    pub(super) fn forward(self, x: f64, [p, shift]: [f64; 2]) -> [f64; 2] {
        let s = self.bound * (p / self.bound).tanh();
        [x * s.exp() + shift, s]
    }

    /// `x`, and the logarithm of the slope there.
    pub(super) fn inverse(self, y: f64, [p, shift]: [f64; 2]) -> [f64; 2] {
        let s = self.bound * (p / self.bound).tanh();
        [(y - shift) * (-s).exp(), s]
    }

    /// From gradients in `y` and the logarithm of the slope to those in `x` and the parameters.
    pub(super) fn backward(self, x: f64, [p, _]: [f64; 2], [dy, d_log]: [f64; 2]) -> (f64, [f64; 2]) {
        let t = (p / self.bound).tanh();
        let stretch = (self.bound * t).exp();
        (dy * stretch, [(dy * x * stretch + d_log) * (1.0 - t * t), dy])
    }
}
