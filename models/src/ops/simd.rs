//! Run a loop with the widest vector instructions that the processor has.

/// Compiles one generic body for AVX-512, AVX2 with FMA, and the baseline, and picks at run time.
///
/// `dispatch!(name(args: types) -> body)` defines `fn name(args)`, which calls `body::<FMA>(args)`, a
/// function marked `#[inline(always)]`: inside the wrappers it is compiled for those instructions.
macro_rules! dispatch {
    ($(#[$doc:meta])* $visibility:vis fn $name:ident ( $($arg:ident : $type:ty),* $(,)? ) $(-> $ret:ty)? = $body:ident) => {
        $(#[$doc])*
        $visibility fn $name($($arg: $type),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                fn avx512($($arg: $type),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $type),*) $(-> $ret)? {
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
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            $body::<false>($($arg),*)
        }
    };
}
pub(crate) use dispatch;

/// a·b + c, fused only where the processor does so: elsewhere `mul_add` is a slow library call.
#[inline(always)]
pub(crate) fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// 1 / (1 + exp(−x)) to 3e-7, without branches or calls, so that loops over it vectorise.
#[inline(always)]
pub(crate) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    // exp(−x) = 2^n · 2^f with n whole and |f| ≤ ½; beyond ±87 the sigmoid is 0 or 1 in f32.
    let minus_x = (-x).clamp(-87.0, 87.0);
    let y = minus_x * std::f32::consts::LOG2_E;
    // Adding and subtracting 1.5·2²³ rounds to the nearest integer.
    const ROUND: f32 = 12_582_912.0;
    let n = (y + ROUND) - ROUND;
    // ln 2 in two parts, the first short enough that n · LN_2_HIGH is exact (Cody & Waite 1980).
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let f = multiply_add::<FMA>(-n, LN_2_LOW, multiply_add::<FMA>(-n, LN_2_HIGH, minus_x));
    // Taylor's series: the first term left out is f⁷/5040 < 1.3e-7 for |f| ≤ ln 2 / 2.
    let mut p = 1.0 / 720.0;
    for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = multiply_add::<FMA>(p, f, c);
    }
    let power = f32::from_bits(((n as i32 + 127) << 23) as u32);
    1.0 / (1.0 + p * power)
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
}
