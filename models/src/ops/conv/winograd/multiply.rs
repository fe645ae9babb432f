//! Multiply transformed weights with transformed inputs.

use std::ops::Range;

use super::block::Block;
use crate::ops::{
    conv::gemm::{COLUMNS, ROWS, multiply_packed},
    simd::dispatch,
};

dispatch! {
    /// Multiplies panels of weights with all inputs, to (frequencies, panels, ROWS, columns).
    pub(super) fn multiply(block: &Block<'_>, panels: Range<usize>, weights: &[f32], inputs: &[f32], work: &mut [f32]) = multiply_body
}

#[inline(always)]
fn multiply_body<const FMA: bool>(
    block: &Block<'_>,
    panels: Range<usize>,
    weights: &[f32],
    inputs: &[f32],
    work: &mut [f32],
) {
    let tiling = block.tiling;
    let (a_size, b_size) = (tiling.inner() * ROWS, tiling.inner() * COLUMNS);
    let width = block.columns() * COLUMNS;
    for f in 0..tiling.frequencies() {
        let inputs = &inputs[f * block.input_step()..][..block.columns() * b_size];
        let products = &mut work[f * block.product_step(panels.len())..];
        for panel in 0..panels.len() {
            if tiling.nothing(panels.start + panel, f) {
                products[panel * ROWS * width..][..ROWS * width].fill(0.0);
                continue;
            }
            let a = &weights[panel * tiling.panel() + f * tiling.weight_step()..][..a_size];
            for (column, b) in inputs.chunks_exact(b_size).enumerate() {
                let tile = multiply_packed::<FMA>([[0.0; COLUMNS]; ROWS], a, b);
                for (r, row) in tile.iter().enumerate() {
                    products[(panel * ROWS + r) * width + column * COLUMNS..][..COLUMNS].copy_from_slice(row);
                }
            }
        }
    }
}

dispatch! {
    /// As `multiply`, with inputs that were transformed slice by slice: each output meets as many as the kernel is deep.
    pub(super) fn multiply_deep(block: &Block<'_>, slices: &Block<'_>, panels: Range<usize>, weights: &[f32], inputs: &[f32], work: &mut [f32]) = multiply_deep_body
}

#[inline(always)]
fn multiply_deep_body<const FMA: bool>(
    block: &Block<'_>,
    slices: &Block<'_>,
    panels: Range<usize>,
    weights: &[f32],
    inputs: &[f32],
    work: &mut [f32],
) {
    let tiling = block.tiling;
    let depth = &tiling.walk.axes[0];
    let (a_size, b_size) = (tiling.terms() * ROWS, tiling.terms() * COLUMNS);
    let width = block.columns() * COLUMNS;
    let slice = block.columns() / depth.positions;
    for f in 0..tiling.frequencies() {
        let inputs = &inputs[f * slices.input_step()..];
        let products = &mut work[f * block.product_step(panels.len())..];
        for panel in 0..panels.len() {
            if tiling.nothing(panels.start + panel, f) {
                products[panel * ROWS * width..][..ROWS * width].fill(0.0);
                continue;
            }
            let a = &weights[panel * tiling.panel() + f * tiling.weight_step()..];
            for column in 0..block.columns() {
                let mut tile = [[0.0; COLUMNS]; ROWS];
                let (at, place) = (column / slice * depth.step, column % slice);
                for tap in 0..depth.taps {
                    let met = at as isize + depth.offset + tap as isize * depth.slope;
                    if let Some(met) = tiling.walk.inside(0, met) {
                        let b = &inputs[(met * slice + place) * b_size..][..b_size];
                        tile = multiply_packed::<FMA>(tile, &a[tap * a_size..][..a_size], b);
                    }
                }
                for (r, row) in tile.iter().enumerate() {
                    products[(panel * ROWS + r) * width + column * COLUMNS..][..COLUMNS].copy_from_slice(row);
                }
            }
        }
    }
}
