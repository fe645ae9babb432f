//! Activate on the processor: values, both derivatives, and what they do to gradients and tangents.

use rayon::prelude::*;

use super::Activation;
use crate::ops::simd::{dispatch, multiply_add, normal, sigmoid};

/// Numbers that a thread takes at once: three lists of them stay in its cache.
const BLOCK: usize = 8192;

/// Value, slope and curvature at `x`, to 3e-7 of their scale; what is not used costs nothing.
///
/// Called with a literal `f` (see `each_activation!`) it has no branch, and loops over it vectorise.
#[inline(always)]
pub(crate) fn derivatives<const FMA: bool>(f: Activation, x: f32) -> [f32; 3] {
    match f {
        Activation::Identity => [x, 1.0, 0.0],
        // What is no number stays none.
        Activation::Relu => [
            if x < 0.0 { 0.0 } else { x },
            if x > 0.0 { 1.0 } else { 0.0 },
            0.0,
        ],
        Activation::Silu => {
            let s = sigmoid::<FMA>(x);
            let rest = x * (1.0 - s);
            let slope = multiply_add::<FMA>(rest, s, s);
            [x * s, slope, s * (1.0 - s) * (2.0 + rest - x * s)]
        }
        Activation::Gelu => {
            let (below, density) = normal::<FMA>(x);
            let slope = multiply_add::<FMA>(x, density, below);
            [x * below, slope, density * (2.0 - x * x)]
        }
        Activation::Sigmoid => {
            let s = sigmoid::<FMA>(x);
            let slope = s * (1.0 - s);
            [s, slope, slope * (1.0 - 2.0 * s)]
        }
        Activation::Tanh => {
            let s = sigmoid::<FMA>(2.0 * x);
            let (y, slope) = (2.0 * s - 1.0, 4.0 * s * (1.0 - s));
            [y, slope, -2.0 * y * slope]
        }
    }
}

/// Runs an expression in which `$f` is a literal activation, so that the compiler sees which.
macro_rules! each_activation {
    ($f:ident => $run:expr) => {
        each_activation!($f => $run; Identity, Relu, Silu, Gelu, Sigmoid, Tanh)
    };
    ($f:ident => $run:expr; $($name:ident),*) => {
        match $f {
            $($crate::ops::activation::Activation::$name => {
                let $f = $crate::ops::activation::Activation::$name;
                $run
            })*
        }
    };
}
pub(crate) use each_activation;

/// y = f(x).
pub(crate) fn value(x: &[f32], f: Activation, y: &mut [f32]) {
    assert_eq!(x.len(), y.len());
    x.par_chunks(BLOCK)
        .zip(y.par_chunks_mut(BLOCK))
        .for_each(|(x, y)| value_block(x, f, y));
}

/// Adds f′(x) · dy to `dx`.
pub(crate) fn backward(x: &[f32], dy: &[f32], f: Activation, dx: &mut [f32]) {
    assert!(x.len() == dy.len() && x.len() == dx.len());
    x.par_chunks(BLOCK)
        .zip(dy.par_chunks(BLOCK))
        .zip(dx.par_chunks_mut(BLOCK))
        .for_each(|((x, dy), dx)| backward_block(x, dy, f, dx));
}

/// out = f′(x) · t: how the value moves with x along `t`.
pub(crate) fn tangent(x: &[f32], t: &[f32], f: Activation, out: &mut [f32]) {
    assert!(x.len() == t.len() && x.len() == out.len());
    x.par_chunks(BLOCK)
        .zip(t.par_chunks(BLOCK))
        .zip(out.par_chunks_mut(BLOCK))
        .for_each(|((x, t), out)| tangent_block(x, t, f, out));
}

/// From the gradient `g` of `tangent`'s output, adds f″(x) · t · g to `dx` and f′(x) · g to `dt`.
pub(crate) fn tangent_backward(
    x: &[f32],
    t: &[f32],
    g: &[f32],
    f: Activation,
    dx: &mut [f32],
    dt: &mut [f32],
) {
    assert!(x.len() == t.len() && x.len() == g.len() && x.len() == dx.len() && x.len() == dt.len());
    x.par_chunks(BLOCK)
        .zip(t.par_chunks(BLOCK))
        .zip(g.par_chunks(BLOCK))
        .zip(dx.par_chunks_mut(BLOCK))
        .zip(dt.par_chunks_mut(BLOCK))
        .for_each(|((((x, t), g), dx), dt)| tangent_backward_block(x, t, g, f, dx, dt));
}

dispatch! {
    fn value_block(x: &[f32], f: Activation, y: &mut [f32]) = value_body
}

#[inline(always)]
fn value_body<const FMA: bool>(x: &[f32], f: Activation, y: &mut [f32]) {
    each_activation!(f => {
        for (y, x) in y.iter_mut().zip(x) {
            *y = derivatives::<FMA>(f, *x)[0];
        }
    })
}

dispatch! {
    fn backward_block(x: &[f32], dy: &[f32], f: Activation, dx: &mut [f32]) = backward_body
}

#[inline(always)]
fn backward_body<const FMA: bool>(x: &[f32], dy: &[f32], f: Activation, dx: &mut [f32]) {
    each_activation!(f => {
        for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
            *dx = multiply_add::<FMA>(derivatives::<FMA>(f, *x)[1], *dy, *dx);
        }
    })
}

dispatch! {
    fn tangent_block(x: &[f32], t: &[f32], f: Activation, out: &mut [f32]) = tangent_body
}

#[inline(always)]
fn tangent_body<const FMA: bool>(x: &[f32], t: &[f32], f: Activation, out: &mut [f32]) {
    each_activation!(f => {
        for ((out, x), t) in out.iter_mut().zip(x).zip(t) {
            *out = derivatives::<FMA>(f, *x)[1] * t;
        }
    })
}

dispatch! {
    fn tangent_backward_block(
        x: &[f32], t: &[f32], g: &[f32], f: Activation, dx: &mut [f32], dt: &mut [f32],
    ) = tangent_backward_body
}

#[inline(always)]
fn tangent_backward_body<const FMA: bool>(
    x: &[f32],
    t: &[f32],
    g: &[f32],
    f: Activation,
    dx: &mut [f32],
    dt: &mut [f32],
) {
    each_activation!(f => {
        for ((((dx, dt), x), t), g) in dx.iter_mut().zip(dt.iter_mut()).zip(x).zip(t).zip(g) {
            let [_, slope, curvature] = derivatives::<FMA>(f, *x);
            *dx = multiply_add::<FMA>(curvature * t, *g, *dx);
            *dt = multiply_add::<FMA>(slope, *g, *dt);
        }
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::ops::testing::numbers;

    pub(crate) const ALL: [Activation; 6] = [
        Activation::Identity,
        Activation::Relu,
        Activation::Silu,
        Activation::Gelu,
        Activation::Sigmoid,
        Activation::Tanh,
    ];

    /// erf(x) by Simpson's rule.
    fn erf(x: f64) -> f64 {
        const STEPS: usize = 600;
        let h = x / STEPS as f64;
        let sum: f64 = (0..=STEPS)
            .map(|i| {
                let weight = [2.0, 4.0][i % 2] - if i == 0 || i == STEPS { 1.0 } else { 0.0 };
                weight * (-(i as f64 * h).powi(2)).exp()
            })
            .sum();
        sum * h / 3.0 * std::f64::consts::FRAC_2_SQRT_PI
    }

    pub(crate) fn exact(f: Activation, x: f64) -> f64 {
        match f {
            Activation::Identity => x,
            Activation::Relu => x.max(0.0),
            Activation::Silu => x / (1.0 + (-x).exp()),
            Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Activation::Tanh => x.tanh(),
        }
    }

    #[test]
    fn derivatives_match_f64() {
        /// f32 rounding relative to the larger of the number and 1.
        const NEAR: f64 = 5e-7;
        /// Central differences with a step of 1e-3 add 1e-6 to second derivatives.
        const DIFFERENCES: f64 = 2e-6;
        for f in ALL {
            for i in -400..=400 {
                let x = i as f32 * 0.03 + 0.0051; // away from the corner of max(x, 0)
                let (at, h) = (x as f64, 1e-3);
                let [minus, middle, plus] = [at - h, at, at + h].map(|x| exact(f, x));
                let expected = [
                    middle,
                    (plus - minus) / (2.0 * h),
                    (plus - 2.0 * middle + minus) / (h * h),
                ];
                for found in [derivatives::<true>(f, x), derivatives::<false>(f, x)] {
                    for ((found, expected), tolerance) in
                        found.iter().zip(expected).zip([NEAR, DIFFERENCES, DIFFERENCES])
                    {
                        assert!(
                            (*found as f64 - expected).abs() < tolerance * expected.abs().max(1.0),
                            "{f:?} at {x}: {found} {expected}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn slices_follow_the_derivatives() {
        let n = BLOCK + 13;
        let [x, t, g] = [1, 2, 3].map(|seed| numbers(n, seed));
        for f in ALL {
            let [mut y, mut moved, mut dx, mut dx2, mut dt] = [0.0, 0.0, 1.0, 1.0, 2.0].map(|v| vec![v; n]);
            value(&x, f, &mut y);
            tangent(&x, &t, f, &mut moved);
            backward(&x, &g, f, &mut dx);
            tangent_backward(&x, &t, &g, f, &mut dx2, &mut dt);
            for i in 0..n {
                let [v, slope, curvature] = derivatives::<false>(f, x[i]);
                for (found, expected) in [
                    (y[i], v),
                    (moved[i], slope * t[i]),
                    (dx[i], 1.0 + slope * g[i]),
                    (dx2[i], 1.0 + curvature * t[i] * g[i]),
                    (dt[i], 2.0 + slope * g[i]),
                ] {
                    assert!((found - expected).abs() < 2e-6, "{f:?}: {found} {expected}");
                }
            }
        }
    }
}
