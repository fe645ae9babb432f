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
/// assert_eq!(gradient(&Norm, &[6.0, 8.0], &mut derivatives), 10.0);
/// assert!((derivatives[0] - 0.6).abs() < 1e-15 && (derivatives[1] - 0.8).abs() < 1e-15);
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

    /// `cargo test -- --ignored --nocapture width`: how many derivatives a pass should carry.
    #[test]
    #[ignore = "measures"]
    fn the_width_of_a_pass() {
        fn time<const W: usize>(x: &[f64]) -> f64 {
            let mut derivatives = vec![0.0; x.len()];
            let rounds = (0..7).map(|_| {
                let start = std::time::Instant::now();
                for _ in 0..1000 {
                    for (index, chunk) in derivatives.chunks_mut(W).enumerate() {
                        std::hint::black_box(pass::<W, _>(&Ring, std::hint::black_box(x), index * W, chunk));
                    }
                }
                start.elapsed().as_nanos() as f64 / 1000.0
            });
            rounds.fold(f64::MAX, f64::min)
        }
        for dim in [24, 48, 96] {
            let x = vec![0.3; dim];
            let [four, eight, twelve, sixteen] =
                [time::<4>(&x), time::<8>(&x), time::<12>(&x), time::<16>(&x)];
            println!("{dim}: by 4 {four:.0} ns, by 8 {eight:.0}, by 12 {twelve:.0}, by 16 {sixteen:.0}");
            assert!(twelve < four, "{dim}");
        }
    }
}
