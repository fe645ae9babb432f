//! Transform tiles of four by four outputs to where a convolution of three by three is a product.
//!
//! Cook and Toom's interpolation at 0, ±A, ±B and ∞ in each dimension (Lavin & Gray 2015, arXiv:1509.09308). Every
//! transform works on `LANES` tiles or channels at once.
//! Loops rather than closures throughout: those would not be compiled for the instructions that their caller is.

pub(super) use crate::ops::conv::shuffle::LANES;
use crate::ops::simd::multiply_add;

/// One number of each of `LANES` tiles.
pub(super) type Lanes = [f32; LANES];
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

#[inline(always)]
fn add(a: Lanes, b: Lanes) -> Lanes {
    let mut c = [0.0; LANES];
    for l in 0..LANES {
        c[l] = a[l] + b[l];
    }
    c
}
#[inline(always)]
fn sub(a: Lanes, b: Lanes) -> Lanes {
    let mut c = [0.0; LANES];
    for l in 0..LANES {
        c[l] = a[l] - b[l];
    }
    c
}
#[inline(always)]
fn scale(factor: f32, a: Lanes) -> Lanes {
    let mut c = [0.0; LANES];
    for l in 0..LANES {
        c[l] = factor * a[l];
    }
    c
}
/// factor · a + b
#[inline(always)]
fn scale_add<const FMA: bool>(factor: f32, a: Lanes, b: Lanes) -> Lanes {
    let mut c = [0.0; LANES];
    for l in 0..LANES {
        c[l] = multiply_add::<FMA>(factor, a[l], b[l]);
    }
    c
}

/// Applies a transform to the columns, then to the rows.
macro_rules! both_ways {
    ($one_way:ident, $tile:expr, $from:expr, $to:expr) => {{
        let mut half = [[[0.0; LANES]; $from]; $to];
        for j in 0..$from {
            let mut column = [[0.0; LANES]; $from];
            for i in 0..$from {
                column[i] = $tile[i][j];
            }
            let column = $one_way::<FMA>(column);
            for i in 0..$to {
                half[i][j] = column[i];
            }
        }
        let mut whole = [[[0.0; LANES]; $to]; $to];
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

#[inline(always)]
fn input_one_way<const FMA: bool>(x: [Lanes; SIDE]) -> [Lanes; SIDE] {
    let (even_a, odd_a) = (
        scale_add::<FMA>(-B2, x[2], x[4]),
        scale_add::<FMA>(-B2, x[1], x[3]),
    );
    let (even_b, odd_b) = (
        scale_add::<FMA>(-A2, x[2], x[4]),
        scale_add::<FMA>(-A2, x[1], x[3]),
    );
    [
        scale_add::<FMA>(A2 * B2, x[0], scale_add::<FMA>(-(A2 + B2), x[2], x[4])),
        scale_add::<FMA>(A, odd_a, even_a),
        scale_add::<FMA>(-A, odd_a, even_a),
        scale_add::<FMA>(B, odd_b, even_b),
        scale_add::<FMA>(-B, odd_b, even_b),
        scale_add::<FMA>(A2 * B2, x[1], scale_add::<FMA>(-(A2 + B2), x[3], x[5])),
    ]
}

/// The tile of outputs that a tile of products stands for.
#[inline(always)]
pub(super) fn output<const FMA: bool>(products: &Six) -> Four {
    both_ways!(output_one_way, products, SIDE, OUT)
}

#[inline(always)]
fn output_one_way<const FMA: bool>(m: [Lanes; SIDE]) -> [Lanes; OUT] {
    let (even_a, odd_a) = (add(m[1], m[2]), sub(m[1], m[2]));
    let (even_b, odd_b) = (add(m[3], m[4]), sub(m[3], m[4]));
    [
        add(m[0], add(even_a, even_b)),
        scale_add::<FMA>(A, odd_a, scale(B, odd_b)),
        scale_add::<FMA>(A2, even_a, scale(B2, even_b)),
        scale_add::<FMA>(A * A2, odd_a, scale_add::<FMA>(B * B2, odd_b, m[5])),
    ]
}

/// The transpose of `output`: what the gradient of a tile of outputs becomes.
#[inline(always)]
pub(super) fn output_gradient<const FMA: bool>(tile: &Four) -> Six {
    both_ways!(output_gradient_one_way, tile, OUT, SIDE)
}

#[inline(always)]
fn output_gradient_one_way<const FMA: bool>(y: [Lanes; OUT]) -> [Lanes; SIDE] {
    let (even_a, odd_a) = (scale_add::<FMA>(A2, y[2], y[0]), scale_add::<FMA>(A2, y[3], y[1]));
    let (even_b, odd_b) = (scale_add::<FMA>(B2, y[2], y[0]), scale_add::<FMA>(B2, y[3], y[1]));
    [
        y[0],
        scale_add::<FMA>(A, odd_a, even_a),
        scale_add::<FMA>(-A, odd_a, even_a),
        scale_add::<FMA>(B, odd_b, even_b),
        scale_add::<FMA>(-B, odd_b, even_b),
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
        scale(AT_A, scale_add::<FMA>(A2, g[2], g[0])),
        scale(AT_A * A, g[1]),
    );
    let (even_b, odd_b) = (
        scale(AT_B, scale_add::<FMA>(B2, g[2], g[0])),
        scale(AT_B * B, g[1]),
    );
    [
        scale(AT_ZERO, g[0]),
        add(even_a, odd_a),
        sub(even_a, odd_a),
        add(even_b, odd_b),
        sub(even_b, odd_b),
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
    let (even_a, odd_a) = (add(w[1], w[2]), sub(w[1], w[2]));
    let (even_b, odd_b) = (add(w[3], w[4]), sub(w[3], w[4]));
    let even = scale_add::<FMA>(AT_A, even_a, scale(AT_B, even_b));
    [
        scale_add::<FMA>(AT_ZERO, w[0], even),
        scale_add::<FMA>(AT_A * A, odd_a, scale(AT_B * B, odd_b)),
        scale_add::<FMA>(AT_A * A2, even_a, scale_add::<FMA>(AT_B * B2, even_b, w[5])),
    ]
}
