//! Transform tiles of four by four outputs to where a convolution of three by three is a product.
//!
//! Cook and Toom's interpolation at 0, ±A, ±B and ∞ in each dimension (Lavin & Gray 2015, arXiv:1509.09308). Every
//! transform works on `LANES` tiles or channels at once.
//! Loops rather than closures throughout: those would not be compiled for the instructions that their caller is.

pub(super) use crate::ops::conv::lanes::{LANES, Lanes, Places};

/// Side of a tile of outputs.
pub(super) const OUT: usize = 4;
/// Side of a tile of inputs, and of a transformed tile.
pub(super) const SIDE: usize = 6;
/// Numbers of a transformed tile: the products are one matrix product for each.
pub(super) const FREQUENCIES: usize = SIDE * SIDE;

/// A transformed tile, or a tile of inputs.
pub(super) type Six = [[Lanes; SIDE]; SIDE];
/// A tile of outputs.
pub(super) type Four = [[Lanes; OUT]; OUT];
/// A kernel.
pub(super) type Three = [[Lanes; 3]; 3];

/// The points: errors are a third of those at ±1 and ±2, because powers and weights grow less.
const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
const B: f32 = std::f32::consts::SQRT_2;
const A2: f32 = A * A;
const B2: f32 = B * B;

/// Applies a transform to the columns, then to the rows.
macro_rules! both_ways {
    ($one_way:ident, $tile:expr, $from:expr, $to:expr) => {{
        let mut half = [[Lanes::all(0.0); $from]; $to];
        for j in 0..$from {
            let mut column = [Lanes::all(0.0); $from];
            for i in 0..$from {
                column[i] = $tile[i][j];
            }
            let column = $one_way::<FMA>(column);
            for i in 0..$to {
                half[i][j] = column[i];
            }
        }
        let mut whole = [[Lanes::all(0.0); $to]; $to];
        for i in 0..$to {
            whole[i] = $one_way::<FMA>(half[i]);
        }
        whole
    }};
}

/// What a tile of inputs becomes.
#[inline(always)]
pub(super) fn input<const FMA: bool>(tile: &Six) -> Six {
    both_ways!(input_one_way, tile, SIDE, SIDE)
}

/// The same of a column or a row.
#[inline(always)]
pub(super) fn input_one_way<const FMA: bool>(x: [Lanes; SIDE]) -> [Lanes; SIDE] {
    let (even_a, odd_a) = (x[2].scale_add::<FMA>(-B2, x[4]), x[1].scale_add::<FMA>(-B2, x[3]));
    let (even_b, odd_b) = (x[2].scale_add::<FMA>(-A2, x[4]), x[1].scale_add::<FMA>(-A2, x[3]));
    [
        x[0].scale_add::<FMA>(A2 * B2, x[2].scale_add::<FMA>(-(A2 + B2), x[4])),
        odd_a.scale_add::<FMA>(A, even_a),
        odd_a.scale_add::<FMA>(-A, even_a),
        odd_b.scale_add::<FMA>(B, even_b),
        odd_b.scale_add::<FMA>(-B, even_b),
        x[1].scale_add::<FMA>(A2 * B2, x[3].scale_add::<FMA>(-(A2 + B2), x[5])),
    ]
}

/// The tile of outputs that a tile of products stands for.
#[inline(always)]
pub(super) fn output<const FMA: bool>(products: &Six) -> Four {
    both_ways!(output_one_way, products, SIDE, OUT)
}

#[inline(always)]
fn output_one_way<const FMA: bool>(m: [Lanes; SIDE]) -> [Lanes; OUT] {
    let (even_a, odd_a) = (m[1].add::<FMA>(m[2]), m[1].sub::<FMA>(m[2]));
    let (even_b, odd_b) = (m[3].add::<FMA>(m[4]), m[3].sub::<FMA>(m[4]));
    [
        m[0].add::<FMA>(even_a.add::<FMA>(even_b)),
        odd_a.scale_add::<FMA>(A, odd_b.scale::<FMA>(B)),
        even_a.scale_add::<FMA>(A2, even_b.scale::<FMA>(B2)),
        odd_a.scale_add::<FMA>(A * A2, odd_b.scale_add::<FMA>(B * B2, m[5])),
    ]
}

/// The transpose of `output`: what the gradient of a tile of outputs becomes.
#[inline(always)]
pub(super) fn output_gradient<const FMA: bool>(tile: &Four) -> Six {
    both_ways!(output_gradient_one_way, tile, OUT, SIDE)
}

#[inline(always)]
fn output_gradient_one_way<const FMA: bool>(y: [Lanes; OUT]) -> [Lanes; SIDE] {
    let (even_a, odd_a) = (y[2].scale_add::<FMA>(A2, y[0]), y[3].scale_add::<FMA>(A2, y[1]));
    let (even_b, odd_b) = (y[2].scale_add::<FMA>(B2, y[0]), y[3].scale_add::<FMA>(B2, y[1]));
    [
        y[0],
        odd_a.scale_add::<FMA>(A, even_a),
        odd_a.scale_add::<FMA>(-A, even_a),
        odd_b.scale_add::<FMA>(B, even_b),
        odd_b.scale_add::<FMA>(-B, even_b),
        y[3],
    ]
}

/// What each point's weight is divided by: the product of its distances from the others.
const AT_ZERO: f32 = 1.0 / (A2 * B2);
const AT_A: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
const AT_B: f32 = 1.0 / (2.0 * B2 * (B2 - A2));

/// What a kernel becomes.
#[inline(always)]
pub(super) fn kernel<const FMA: bool>(kernel: &Three) -> Six {
    both_ways!(kernel_one_way, kernel, 3, SIDE)
}

#[inline(always)]
fn kernel_one_way<const FMA: bool>(g: [Lanes; 3]) -> [Lanes; SIDE] {
    let (even_a, odd_a) = (
        g[2].scale_add::<FMA>(A2, g[0]).scale::<FMA>(AT_A),
        g[1].scale::<FMA>(AT_A * A),
    );
    let (even_b, odd_b) = (
        g[2].scale_add::<FMA>(B2, g[0]).scale::<FMA>(AT_B),
        g[1].scale::<FMA>(AT_B * B),
    );
    [
        g[0].scale::<FMA>(AT_ZERO),
        even_a.add::<FMA>(odd_a),
        even_a.sub::<FMA>(odd_a),
        even_b.add::<FMA>(odd_b),
        even_b.sub::<FMA>(odd_b),
        g[2],
    ]
}

/// The transpose of `kernel`: the gradient of a kernel from that of what it became.
#[inline(always)]
pub(super) fn kernel_gradient<const FMA: bool>(gradient: &Six) -> Three {
    both_ways!(kernel_gradient_one_way, gradient, SIDE, 3)
}

#[inline(always)]
fn kernel_gradient_one_way<const FMA: bool>(w: [Lanes; SIDE]) -> [Lanes; 3] {
    let (even_a, odd_a) = (w[1].add::<FMA>(w[2]), w[1].sub::<FMA>(w[2]));
    let (even_b, odd_b) = (w[3].add::<FMA>(w[4]), w[3].sub::<FMA>(w[4]));
    let even = even_a.scale_add::<FMA>(AT_A, even_b.scale::<FMA>(AT_B));
    [
        w[0].scale_add::<FMA>(AT_ZERO, even),
        odd_a.scale_add::<FMA>(AT_A * A, odd_b.scale::<FMA>(AT_B * B)),
        even_a.scale_add::<FMA>(AT_A * A2, even_b.scale_add::<FMA>(AT_B * B2, w[5])),
    ]
}
