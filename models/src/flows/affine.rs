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

#[cfg(test)]
mod tests {
    use super::*;

    /// Closed forms in f64, and central differences of smooth functions.
    const EXACT: f64 = 1e-12;
    const SMOOTH: f64 = 1e-7;

    #[test]
    fn inverse_slope_and_gradients_are_those_of_the_map() {
        let affine = Affine { bound: 2.0 };
        let h = 1e-5;
        for x in [-3.0, 0.2, 5.0] {
            for p in [[0.0, 0.0], [0.7, -1.0], [-9.0, 0.4], [40.0, 0.0]] {
                let [y, log_slope] = affine.forward(x, p);
                let [back, same] = affine.inverse(y, p);
                assert!((back - x).abs() < 1e-11 * x.abs().max(1.0) && (same - log_slope).abs() < EXACT);
                assert!(log_slope.abs() <= 2.0);
                let slope = (affine.forward(x + h, p)[0] - affine.forward(x - h, p)[0]) / (2.0 * h);
                assert!((slope.ln() - log_slope).abs() < SMOOTH);
                let probe = |x, p| {
                    let [y, l] = affine.forward(x, p);
                    0.7 * y - 1.3 * l
                };
                let (dx, dp) = affine.backward(x, p, [0.7, -1.3]);
                assert!((dx - 0.7 * slope).abs() < SMOOTH * slope.max(1.0));
                for i in 0..2 {
                    let ends = [h, -h].map(|h| {
                        let mut p = p;
                        p[i] += h;
                        probe(x, p)
                    });
                    let numeric = (ends[0] - ends[1]) / (2.0 * h);
                    assert!(
                        (dp[i] - numeric).abs() < 1e-6,
                        "{x} {p:?} {i}: {} {numeric}",
                        dp[i]
                    );
                }
            }
        }
    }
}
