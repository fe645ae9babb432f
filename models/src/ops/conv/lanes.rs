//! Compute with eight numbers in a register.
//!
//! Written out: of loops over lists of eight, compilers make halves, single numbers and copies in memory, at several times
//! the price.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

pub(super) use super::shuffle::LANES;
use crate::ops::simd::multiply_add;

#[cfg(target_arch = "x86_64")]
type Register = __m256;
#[cfg(not(target_arch = "x86_64"))]
type Register = [f32; LANES];

/// Eight numbers. `FMA` says that the caller is compiled for AVX2 and FMA.
#[derive(Clone, Copy)]
pub(super) struct Lanes(Register);

/// Eight places in a list.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    at: [usize; LANES],
    /// So long must a list be, to have four numbers at each.
    reach: usize,
}

impl Places {
    pub(super) fn new(at: [usize; LANES]) -> Self {
        let reach = at.iter().max().map_or(0, |most| most + 4);
        Self { at, reach }
    }
}

impl Lanes {
    #[inline(always)]
    pub(super) fn of(numbers: [f32; LANES]) -> Self {
        // SAFETY: eight numbers either way.
        Self(unsafe { std::mem::transmute::<[f32; LANES], Register>(numbers) })
    }

    #[inline(always)]
    pub(super) fn numbers(self) -> [f32; LANES] {
        // SAFETY: as above.
        unsafe { std::mem::transmute::<Register, [f32; LANES]>(self.0) }
    }

    #[inline(always)]
    pub(super) fn all(number: f32) -> Self {
        Self::of([number; LANES])
    }

    /// The first eight.
    #[inline(always)]
    pub(super) fn load(from: &[f32]) -> Self {
        let from = &from[..LANES];
        // SAFETY: eight numbers, which need no alignment.
        Self(unsafe { from.as_ptr().cast::<Register>().read_unaligned() })
    }

    /// Every `step`th from `first` on, as many as there are, then zeros.
    #[inline(always)]
    pub(super) fn load_some(from: &[f32], first: usize, step: usize) -> Self {
        let mut numbers = [0.0; LANES];
        for (to, v) in numbers.iter_mut().zip(from.iter().skip(first).step_by(step)) {
            *to = *v;
        }
        Self::of(numbers)
    }

    /// Of the first eight pairs, the first numbers or the second ones.
    #[inline(always)]
    pub(super) fn of_pairs<const FMA: bool>(from: &[f32], which: usize) -> Self {
        let from = &from[..2 * LANES];
        #[cfg(target_arch = "x86_64")]
        if FMA {
            let (low, high) = (Self::load(from).0, Self::load(&from[LANES..]).0);
            // SAFETY: the caller is compiled for it.
            return Self(unsafe {
                let of_halves = match which {
                    0 => _mm256_shuffle_ps::<0b10_00_10_00>(low, high),
                    _ => _mm256_shuffle_ps::<0b11_01_11_01>(low, high),
                };
                let quarters = _mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(of_halves));
                _mm256_castpd_ps(quarters)
            });
        }
        Self::load_some(from, which, 2)
    }

    #[inline(always)]
    pub(super) fn store(self, to: &mut [f32]) {
        let to = &mut to[..LANES];
        // SAFETY: eight numbers, which need no alignment.
        unsafe { to.as_mut_ptr().cast::<Register>().write_unaligned(self.0) }
    }

    #[inline(always)]
    pub(super) fn add<const FMA: bool>(self, b: Self) -> Self {
        #[cfg(target_arch = "x86_64")]
        if FMA {
            // SAFETY: the caller is compiled for it.
            return Self(unsafe { _mm256_add_ps(self.0, b.0) });
        }
        self.each(b, b, |a, b, _| a + b)
    }

    #[inline(always)]
    pub(super) fn sub<const FMA: bool>(self, b: Self) -> Self {
        #[cfg(target_arch = "x86_64")]
        if FMA {
            // SAFETY: as above.
            return Self(unsafe { _mm256_sub_ps(self.0, b.0) });
        }
        self.each(b, b, |a, b, _| a - b)
    }

    /// factor · self
    #[inline(always)]
    pub(super) fn scale<const FMA: bool>(self, factor: f32) -> Self {
        #[cfg(target_arch = "x86_64")]
        if FMA {
            // SAFETY: as above.
            return Self(unsafe { _mm256_mul_ps(self.0, _mm256_set1_ps(factor)) });
        }
        self.each(self, self, |a, _, _| factor * a)
    }

    /// factor · self + b
    #[inline(always)]
    pub(super) fn scale_add<const FMA: bool>(self, factor: f32, b: Self) -> Self {
        #[cfg(target_arch = "x86_64")]
        if FMA {
            // SAFETY: as above.
            return Self(unsafe { _mm256_fmadd_ps(self.0, _mm256_set1_ps(factor), b.0) });
        }
        self.each(b, b, |a, b, _| multiply_add::<false>(factor, a, b))
    }

    #[inline(always)]
    fn each(self, b: Self, c: Self, of: impl Fn(f32, f32, f32) -> f32) -> Self {
        let (a, b, c) = (self.numbers(), b.numbers(), c.numbers());
        let mut found = [0.0; LANES];
        for l in 0..LANES {
            found[l] = of(a[l], b[l], c[l]);
        }
        Self::of(found)
    }

    /// Of four numbers at each of eight places: the first ones, the second, the third and the fourth ones.
    #[inline(always)]
    pub(super) fn of_fours<const FMA: bool>(from: &[f32], places: &Places) -> [Self; 4] {
        let (from, places) = (&from[..places.reach], &places.at);
        #[cfg(target_arch = "x86_64")]
        if FMA {
            // SAFETY: the list has `reach` numbers, so that there are four at each place; the caller is compiled for the
            // rest.
            unsafe {
                let mut rows = [_mm256_setzero_ps(); 4];
                for (i, row) in rows.iter_mut().enumerate() {
                    let low = _mm_loadu_ps(from.as_ptr().add(places[i]));
                    let high = _mm_loadu_ps(from.as_ptr().add(places[i + 4]));
                    *row = _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high);
                }
                let [a, b, c, d] = turn_fours(rows);
                return [Self(a), Self(b), Self(c), Self(d)];
            }
        }
        let mut fours = [[0.0; LANES]; 4];
        for (t, place) in places.iter().enumerate() {
            for (four, v) in fours.iter_mut().zip(&from[*place..][..4]) {
                four[t] = *v;
            }
        }
        fours.map(Self::of)
    }

    /// The inverse: eight times four numbers, one after the other.
    #[inline(always)]
    pub(super) fn store_fours<const FMA: bool>(fours: [Self; 4], to: &mut [f32; 4 * LANES]) {
        #[cfg(target_arch = "x86_64")]
        if FMA {
            // SAFETY: the caller is compiled for it.
            let [a, b, c, d] = unsafe { turn_fours(fours.map(|four| four.0)) };
            // SAFETY: as above.
            let pairs = unsafe {
                [
                    _mm256_permute2f128_ps::<0x20>(a, b),
                    _mm256_permute2f128_ps::<0x20>(c, d),
                    _mm256_permute2f128_ps::<0x31>(a, b),
                    _mm256_permute2f128_ps::<0x31>(c, d),
                ]
            };
            for (to, pair) in to.as_chunks_mut::<LANES>().0.iter_mut().zip(pairs) {
                Self(pair).store(to);
            }
            return;
        }
        for (t, to) in to.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            for (to, four) in to.iter_mut().zip(fours) {
                *to = four.numbers()[t];
            }
        }
    }
}

/// Transposes the lower and the upper halves, four by four.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx")]
pub(super) fn turn_fours(r: [__m256; 4]) -> [__m256; 4] {
    let (a, b) = (_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpackhi_ps(r[0], r[1]));
    let (c, d) = (_mm256_unpacklo_ps(r[2], r[3]), _mm256_unpackhi_ps(r[2], r[3]));
    [
        _mm256_shuffle_ps::<0b01_00_01_00>(a, c),
        _mm256_shuffle_ps::<0b11_10_11_10>(a, c),
        _mm256_shuffle_ps::<0b01_00_01_00>(b, d),
        _mm256_shuffle_ps::<0b11_10_11_10>(b, d),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On the plain numbers, and in registers where the processor has them.
    fn both_ways(check: impl Fn(bool)) {
        check(false);
        #[cfg(target_arch = "x86_64")]
        check(is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"));
    }

    #[test]
    fn numbers_are_computed_side_by_side() {
        both_ways(|fast| {
            let a = Lanes::of(std::array::from_fn(|i| i as f32));
            let b = Lanes::all(0.5);
            let found = if fast {
                [
                    a.add::<true>(b),
                    a.sub::<true>(b),
                    a.scale::<true>(3.0),
                    a.scale_add::<true>(2.0, b),
                ]
            } else {
                [
                    a.add::<false>(b),
                    a.sub::<false>(b),
                    a.scale::<false>(3.0),
                    a.scale_add::<false>(2.0, b),
                ]
            };
            for i in 0..LANES {
                let x = i as f32;
                let expected = [x + 0.5, x - 0.5, 3.0 * x, 2.0 * x + 0.5];
                assert_eq!(found.map(|lanes| lanes.numbers()[i]), expected);
            }
        });
        assert_eq!(
            Lanes::load_some(&[1.0, 2.0], 0, 1).numbers(),
            [1.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        );
        assert_eq!(
            Lanes::load_some(&[1.0, 2.0, 3.0, 4.0], 1, 2).numbers(),
            [2.0, 4.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        );
    }

    #[test]
    fn pairs_come_apart() {
        let from: [f32; 2 * LANES] = std::array::from_fn(|i| i as f32);
        both_ways(|fast| {
            for which in [0, 1] {
                let found = if fast {
                    Lanes::of_pairs::<true>(&from, which)
                } else {
                    Lanes::of_pairs::<false>(&from, which)
                };
                assert_eq!(found.numbers(), std::array::from_fn(|i| (2 * i + which) as f32));
            }
        });
    }

    #[test]
    fn fours_come_apart_and_together() {
        let from: Vec<f32> = (0..100).map(|i| i as f32).collect();
        let at = [3, 40, 7, 96, 0, 11, 25, 60];
        let places = Places::new(at);
        both_ways(|fast| {
            let mut back = [0.0; 4 * LANES];
            let fours = if fast {
                let fours = Lanes::of_fours::<true>(&from, &places);
                Lanes::store_fours::<true>(fours, &mut back);
                fours
            } else {
                let fours = Lanes::of_fours::<false>(&from, &places);
                Lanes::store_fours::<false>(fours, &mut back);
                fours
            };
            for (t, place) in at.iter().enumerate() {
                for (i, four) in fours.iter().enumerate() {
                    assert_eq!(four.numbers()[t], (place + i) as f32);
                    assert_eq!(back[4 * t + i], (place + i) as f32);
                }
            }
        });
    }
}
