//! Reorder numbers in registers.

/// Numbers of an AVX2 register.
pub(super) const LANES: usize = 8;

/// The transpose of eight rows.
#[inline(always)]
pub(super) fn transpose(rows: &[[f32; LANES]; LANES]) -> [[f32; LANES]; LANES] {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx") {
        // SAFETY: the processor has what the function was compiled for.
        return unsafe { avx::transpose(rows) };
    }
    let mut columns = [[0.0; LANES]; LANES];
    for (i, row) in rows.iter().enumerate() {
        for (column, v) in columns.iter_mut().zip(row) {
            column[i] = *v;
        }
    }
    columns
}

#[cfg(target_arch = "x86_64")]
mod avx {
    use std::arch::x86_64::*;

    use super::{super::lanes::turn_fours, LANES};

    #[inline]
    #[target_feature(enable = "avx")]
    pub(super) fn transpose(rows: &[[f32; LANES]; LANES]) -> [[f32; LANES]; LANES] {
        let mut r = [_mm256_setzero_ps(); LANES];
        // The upper halves hold rows 4 to 7, so that four by four transposes remain.
        for i in 0..4 {
            let half = |row: &[f32; LANES], at: usize| {
                // SAFETY: four numbers inside a row of eight.
                unsafe { _mm_loadu_ps(row.as_ptr().add(at)) }
            };
            r[i] =
                _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(half(&rows[i], 0)), half(&rows[i + 4], 0));
            r[i + 4] =
                _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(half(&rows[i], 4)), half(&rows[i + 4], 4));
        }
        let mut columns = [[0.0; LANES]; LANES];
        for half in 0..2 {
            let four = turn_fours([r[4 * half], r[4 * half + 1], r[4 * half + 2], r[4 * half + 3]]);
            for (column, v) in columns[4 * half..].iter_mut().zip(four) {
                // SAFETY: eight numbers of a column of eight.
                unsafe { _mm256_storeu_ps(column.as_mut_ptr(), v) };
            }
        }
        columns
    }
}

/// Asks for a number that will be read soon, if there is such a number.
#[inline(always)]
pub(super) fn fetch(from: &[f32], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(from) = from.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: every processor of this kind has the instruction, which changes nothing but the cache.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(from).cast()) };
    }
}

/// Writes up to eight lines, `apart` from one another, position by position: `LANES` numbers at every `step`. Lines
/// that are not there are zeros.
#[inline(always)]
pub(super) fn lines_last(from: &[f32], apart: usize, lines: usize, len: usize, to: &mut [f32], step: usize) {
    let whole = len - len % LANES;
    for at in (0..whole).step_by(LANES) {
        let mut rows = [[0.0; LANES]; LANES];
        if lines == LANES {
            for l in 0..LANES {
                rows[l].copy_from_slice(&from[l * apart + at..][..LANES]);
                fetch(from, (l + LANES) * apart + at);
            }
        } else {
            for (l, row) in rows.iter_mut().enumerate().take(lines) {
                row.copy_from_slice(&from[l * apart + at..][..LANES]);
            }
        }
        let columns = transpose(&rows);
        for (i, column) in columns.iter().enumerate() {
            to[(at + i) * step..][..LANES].copy_from_slice(column);
        }
    }
    for at in whole..len {
        let to = &mut to[at * step..][..LANES];
        for (l, to) in to.iter_mut().enumerate() {
            *to = if l < lines { from[l * apart + at] } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_where_they_belong() {
        let rows: [[f32; LANES]; LANES] =
            std::array::from_fn(|i| std::array::from_fn(|j| (10 * i + j) as f32));
        let columns = transpose(&rows);
        for i in 0..LANES {
            for j in 0..LANES {
                assert_eq!(columns[i][j], rows[j][i]);
            }
        }
        let from: Vec<f32> = (0..60).map(|i| i as f32).collect();
        let mut to = vec![-1.0; 19 * 9];
        lines_last(&from, 20, 3, 19, &mut to, 9);
        for (i, v) in to.iter().enumerate() {
            let (at, l) = (i / 9, i % 9);
            let expected = match l {
                0..3 => (20 * l + at) as f32,
                3..8 => 0.0,
                _ => -1.0,
            };
            assert_eq!(*v, expected);
        }
    }
}
