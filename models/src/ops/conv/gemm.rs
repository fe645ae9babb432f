//! Multiply small matrices that stay in registers.

use crate::ops::simd::{dispatch, multiply_add};

/// Rows of a tile in registers.
pub(super) const ROWS: usize = 6;
/// Columns of a tile in registers: two AVX2 registers, one of AVX-512.
pub(super) const COLUMNS: usize = 16;

/// A block of a matrix in registers.
pub(super) type Tile = [[f32; COLUMNS]; ROWS];

/// Adds Σᵢ aᵢ bᵢᵀ, of `count` terms, to a tile: `a` holds `ROWS` numbers at every `a_step`, `b` `COLUMNS` at every
/// `b_step`.
// Loops over fixed ranges keep the tile in registers.
#[allow(clippy::needless_range_loop)]
#[inline(always)]
pub(super) fn multiply<const FMA: bool>(
    mut tile: Tile,
    count: usize,
    (a, a_step): (&[f32], usize),
    (b, b_step): (&[f32], usize),
) -> Tile {
    if count == 0 {
        return tile;
    }
    assert!((count - 1) * a_step + ROWS <= a.len() && (count - 1) * b_step + COLUMNS <= b.len());
    for k in 0..count {
        // SAFETY: k < count: inside, as asserted above. A check in every turn costs a tenth.
        let (a, b) = unsafe {
            (
                &*a.as_ptr().add(k * a_step).cast::<[f32; ROWS]>(),
                &*b.as_ptr().add(k * b_step).cast::<[f32; COLUMNS]>(),
            )
        };
        for i in 0..ROWS {
            for j in 0..COLUMNS {
                tile[i][j] = multiply_add::<FMA>(a[i], b[j], tile[i][j]);
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

dispatch! {
    /// As `multiply_packed`, as a function of its own: among other loops, compilers divide the tile into narrow registers.
    pub(super) fn add_products(tile: &mut Tile, a: &[f32], b: &[f32]) = add_products_body
}

#[inline(always)]
fn add_products_body<const FMA: bool>(tile: &mut Tile, a: &[f32], b: &[f32]) {
    *tile = multiply_packed::<FMA>(*tile, a, b);
}
