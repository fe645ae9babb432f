//! Compute value and gradient of a function in as few passes as its number of variables allows.

use super::{Dual, Number};

/// So many derivatives are carried at once: more would spill out of the processor's registers.
const WIDEST: usize = 12;

/// A function of real numbers, written for any [`Number`]. Closures cannot be generic: a type that
/// implements this stands in for one.
pub trait Differentiable {
    /// The function at `x`.
    fn evaluate<N: Number>(&self, x: &[N]) -> N;
}

/// The value of `f` at `x`, and its gradient, written to `gradient` (as many numbers as `x` has). One pass
/// does for up to 12 variables, without allocating; more are taken 12 at a time.
///
/// # Panics
/// Where `gradient` has not as many numbers as `x`.
///
/// ```
/// use armilla_samplers::number::{Differentiable, Number, gradient};
/// struct Norm;
/// impl Differentiable for Norm {
///     fn evaluate<N: Number>(&self, x: &[N]) -> N {
///         x.iter().map(|x| x.square()).sum::<N>().sqrt()
///     }
/// }
/// let mut derivatives = [0.0; 2];
/// assert_eq!(gradient(&Norm, &[3.0, 4.0], &mut derivatives), 5.0);
/// assert_eq!(derivatives, [0.6, 0.8]);
/// ```
pub fn gradient<F: Differentiable + ?Sized>(f: &F, x: &[f64], gradient: &mut [f64]) -> f64 {
    assert_eq!(gradient.len(), x.len(), "one derivative for each variable");
    if x.is_empty() {
        return f.evaluate::<f64>(&[]);
    }
    let mut value = f64::NAN;
    for (index, chunk) in gradient.chunks_mut(WIDEST).enumerate() {
        let first = index * WIDEST;
        value = match chunk.len() {
            ..=4 => pass::<4, F>(f, x, first, chunk),
            5..=8 => pass::<8, F>(f, x, first, chunk),
            _ => pass::<WIDEST, F>(f, x, first, chunk),
        };
    }
    value
}

/// The value, and the derivatives in the variables from `first` on.
fn pass<const N: usize, F: Differentiable + ?Sized>(
    f: &F,
    x: &[f64],
    first: usize,
    derivatives: &mut [f64],
) -> f64 {
    // Those before wrap around to an index that is no variable's.
    let variable = |(i, &x): (usize, &f64)| Dual::<N>::variable(x, i.wrapping_sub(first));
    let y = if x.len() <= WIDEST {
        let mut variables = [Dual::from(0.0); WIDEST];
        for (dual, x) in variables.iter_mut().zip(x.iter().enumerate()) {
            *dual = variable(x);
        }
        f.evaluate(&variables[..x.len()])
    } else {
        f.evaluate(&x.iter().enumerate().map(variable).collect::<Vec<_>>())
    };
    let most = derivatives.len();
    derivatives.copy_from_slice(&y.gradient[..most]);
    y.value
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Σ (i + 1) sin(xᵢ) xᵢ₊₁, around the corner.
    struct Ring;
    impl Differentiable for Ring {
        fn evaluate<N: Number>(&self, x: &[N]) -> N {
            let next = x.iter().cycle().skip(1);
            let terms = x.iter().zip(next).enumerate();
            terms.map(|(i, (x, next))| x.sin() * *next * (i + 1) as f64).sum()
        }
    }

    #[test]
    fn all_widths_agree_with_the_derivative_by_hand() {
        for n in 0..=30 {
            let x: Vec<f64> = (0..n).map(|i| 0.3 * i as f64 - 1.0).collect();
            let mut derivatives = vec![f64::NAN; n];
            let value = gradient(&Ring, &x, &mut derivatives);
            assert_eq!(value, Ring.evaluate(&x));
            for (i, derivative) in derivatives.iter().enumerate() {
                let (before, after) = ((i + n - 1) % n, (i + 1) % n);
                let expected = (i + 1) as f64 * x[i].cos() * x[after] + (before + 1) as f64 * x[before].sin();
                assert!((derivative - expected).abs() < 1e-13, "{i} of {n}");
            }
        }
    }
}
