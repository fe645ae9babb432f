//! Run a loop with the widest vector instructions that the processor has.

/// Compiles one generic body for AVX-512, AVX2 with FMA, and the baseline, and picks at run time.
///
/// `dispatch!(name(args: types) -> body)` defines `fn name(args)`, which calls `body::<FMA>(args)`, a
/// function marked `#[inline(always)]`: inside the wrappers it is compiled for those instructions.
macro_rules! dispatch {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident ( $($arg:ident : $type:ty),* $(,)? ) $(-> $ret:ty)? = $body:ident) => {
        $(#[$doc])*
        $visibility fn $name($($arg: $type),*) $(-> $ret)? {
            $crate::ops::simd::dispatch_narrow! {
                fn narrow($($arg: $type),*) $(-> $ret)? = $body
            }
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                fn avx512($($arg: $type),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                if is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                {
                    // SAFETY: the processor has every feature that the function was compiled for.
                    return unsafe { avx512($($arg),*) };
                }
            }
            narrow($($arg),*)
        }
    };
}
pub(crate) use dispatch;

/// As `dispatch`, without AVX-512: for loops over rows of eight numbers, which compilers would make gathers and scatters
/// of, at several times the price. With `FMA` bodies may use what AVX2 and FMA have: nothing else may call them so.
macro_rules! dispatch_narrow {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident ( $($arg:ident : $type:ty),* $(,)? ) $(-> $ret:ty)? = $body:ident) => {
        $(#[$doc])*
        $visibility fn $name($($arg: $type),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $type),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the processor has both features that the function was compiled for.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $body::<false>($($arg),*)
        }
    };
}
pub(crate) use dispatch_narrow;

/// a·b + c, fused only where the processor does so: elsewhere `mul_add` is a slow library call.
#[inline(always)]
pub(crate) fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// exp(x) to 3e-7 of itself for |x| ≤ 87, held at the ends beyond, without branches or calls.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    // exp(x) = 2^n · exp(f) with n whole and |f| ≤ ln 2 / 2.
    let x = x.clamp(-87.0, 87.0);
    // Adding 1.5·2²³ rounds to the nearest integer, which then stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    // ln 2 in two parts, the first short enough that n · LN_2_HIGH is exact (Cody & Waite 1980).
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let f = multiply_add::<FMA>(-n, LN_2_LOW, multiply_add::<FMA>(-n, LN_2_HIGH, x));
    // Taylor's series: the first term left out is f⁷/5040 < 1.3e-7 for |f| ≤ ln 2 / 2.
    let mut p = 1.0 / 720.0;
    for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = multiply_add::<FMA>(p, f, c);
    }
    p * f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23))
}

/// 1 / (1 + exp(−x)) to 3e-7, without branches or calls, so that loops over it vectorise.
#[inline(always)]
pub(crate) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

/// Standard normal distribution at x: the probability below x, to 3e-7, and the density.
#[inline(always)]
pub(crate) fn normal<const FMA: bool>(x: f32) -> (f32, f32) {
    let size = x.abs();
    let bell = exp::<FMA>(-0.5 * size * size);
    // Φ(−|x|) / exp(−x²/2), a smooth function of t, interpolated at the Chebyshev points of t for |x| < 14 to 4e-8.
    let t = 1.0 / multiply_add::<FMA>(0.35, size, 1.0);
    let mut p = -0.029_679_522;
    for c in [
        0.146_545_83,
        -0.260_961_23,
        0.165_050_99,
        -0.027_046_608,
        0.107_114_59,
        0.119_444_92,
        0.139_912_3,
        0.139_618_71,
    ] {
        p = multiply_add::<FMA>(p, t, c);
    }
    let beyond = bell * p * t;
    let below = if x > 0.0 { 1.0 - beyond } else { beyond };
    (below, bell * 0.398_942_3)
}

/// Multiplications and additions of single precision per second on all threads of this process, in billions: what the
/// rate of a kernel is a share of. Takes half a second.
pub fn peak() -> f64 {
    use rayon::prelude::*;
    const ROUNDS: usize = 20_000_000;
    let threads = rayon::current_num_threads();
    let best = (0..5).map(|_| {
        let start = std::time::Instant::now();
        let sums: f32 = (0..threads)
            .into_par_iter()
            .map(|i| often(ROUNDS / 5, i as f32))
            .sum();
        // The sums are looked at, so that they are made.
        std::hint::black_box(sums);
        start.elapsed().as_secs_f64()
    });
    let best = best.fold(f64::INFINITY, f64::min);
    (threads * ROUNDS / 5 * REGISTERS * lanes() * 2) as f64 / best / 1e9
}

/// Numbers of the widest register.
fn lanes() -> usize {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        return 16;
    }
    LANES
}

fn often(rounds: usize, start: f32) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if lanes() == 16 {
        // SAFETY: the processor has what the function asks for: `lanes` has looked.
        return unsafe { wide(rounds, start) };
    }
    multiply_add_often(rounds, start)
}

/// As [`multiply_add_often_body`]; what the compiler makes of that for AVX-512 does not keep to registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn wide(rounds: usize, start: f32) -> f32 {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps};
    let mut sums = [_mm512_set1_ps(start); REGISTERS];
    let [a, b] = std::hint::black_box([0.999_9, 1e-4]).map(|x| _mm512_set1_ps(x));
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, a, b);
        }
    }
    sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum()
}

/// Accumulators in flight: enough to hide the time of one instruction, and as many as fit.
const REGISTERS: usize = 12;
/// Numbers of an accumulator.
const LANES: usize = 8;

dispatch! {
    fn multiply_add_often(rounds: usize, start: f32) -> f32 = multiply_add_often_body
}

#[inline(always)]
fn multiply_add_often_body<const FMA: bool>(rounds: usize, start: f32) -> f32 {
    let mut sums = [[start; LANES]; REGISTERS];
    let (a, b) = (
        std::hint::black_box([0.999_9; LANES]),
        std::hint::black_box([1e-4; LANES]),
    );
    for _ in 0..rounds {
        for sum in &mut sums {
            for l in 0..LANES {
                sum[l] = multiply_add::<FMA>(sum[l], a[l], b[l]);
            }
        }
    }
    sums.iter().flatten().sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn sigmoid_matches_the_library() {
        for i in -2000..=2000 {
            let x = i as f32 * 0.05;
            let exact = 1.0 / (1.0 + (-x as f64).exp());
            for value in [super::sigmoid::<true>(x), super::sigmoid::<false>(x)] {
                assert!(
                    (value as f64 - exact).abs() <= 3e-7 * exact.max(1e-30) + 1e-37,
                    "{x}: {value} {exact}"
                );
            }
        }
    }

    /// Φ(x) in f64: the series of Φ(x) − ½ near zero, the continued fraction of Mills' ratio beyond.
    fn exact_normal(x: f64) -> f64 {
        let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        if x.abs() < 3.0 {
            let (mut term, mut sum) = (x, x);
            for n in 1..60 {
                term *= x * x / (2 * n + 1) as f64;
                sum += term;
            }
            return 0.5 + density * sum;
        }
        let fraction = (1..200).rev().fold(0.0, |tail, k| k as f64 / (x.abs() + tail));
        let beyond = density / (x.abs() + fraction);
        if x > 0.0 { 1.0 - beyond } else { beyond }
    }

    #[test]
    fn exponential_and_normal_match_f64() {
        /// Rounding of a few f32 operations.
        const NEAR: f64 = 3e-7;
        for i in -1700..=1700 {
            let x = i as f32 * 0.05;
            let exact = (x as f64).exp();
            for value in [super::exp::<true>(x), super::exp::<false>(x)] {
                assert!((value as f64 / exact - 1.0).abs() < NEAR, "{x}: {value} {exact}");
            }
            let x = 0.1 * x;
            let (below, density) = (
                exact_normal(x as f64),
                (-0.5 * (x as f64).powi(2)).exp() / std::f64::consts::TAU.sqrt(),
            );
            for (b, d) in [super::normal::<true>(x), super::normal::<false>(x)] {
                assert!((b as f64 - below).abs() < NEAR, "{x}: {b} {below}");
                assert!((d as f64 - density).abs() < NEAR, "{x}: {d} {density}");
            }
        }
    }
}
