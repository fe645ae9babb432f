//! Multiply small matrices that stay in registers.

use crate::ops::simd::multiply_add;

/// Rows of a tile in registers.
pub(super) const ROWS: usize = 6;
/// Columns of a tile in registers: two AVX2 registers, one of AVX-512.
pub(super) const COLUMNS: usize = 16;

/// A block of a matrix in registers.
pub(super) type Tile = [[f32; COLUMNS]; ROWS];

/// Adds Σᵢ aᵢ bᵢᵀ to a tile: `a` holds `ROWS` numbers at every `a_step`, `b` `COLUMNS` at every `b_step`; the
/// shorter of the two ends the sum.
#[inline(always)]
pub(super) fn multiply<const FMA: bool>(
    mut tile: Tile,
    a: &[f32],
    a_step: usize,
    b: &[f32],
    b_step: usize,
) -> Tile {
    for (a, b) in a.chunks(a_step).zip(b.chunks(b_step)) {
        if let (Some(a), Some(b)) = (a.first_chunk::<ROWS>(), b.first_chunk::<COLUMNS>()) {
            for i in 0..ROWS {
                for j in 0..COLUMNS {
                    tile[i][j] = multiply_add::<FMA>(a[i], b[j], tile[i][j]);
                }
            }
        }
    }
    tile
}

/// As `multiply` for operands without gaps.
#[inline(always)]
pub(super) fn multiply_packed<const FMA: bool>(mut tile: Tile, a: &[f32], b: &[f32]) -> Tile {
    for (a, b) in a.as_chunks::<ROWS>().0.iter().zip(b.as_chunks::<COLUMNS>().0) {
        for i in 0..ROWS {
            for j in 0..COLUMNS {
                tile[i][j] = multiply_add::<FMA>(a[i], b[j], tile[i][j]);
            }
        }
    }
    tile
}
