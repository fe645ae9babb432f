//! Convolve over planes: each tap meets the numbers of each position moved by a fixed distance.
//!
//! For processors with AVX-512, in single precision or, two channels at a time, in bf16 with sums in single precision.
//! Operands of bf16 are rounded to nearest; their products are exact, and subnormal numbers count as zeros. Fast products
//! of tiles are left in single precision: in bf16, F(4×4, 3×3) errs five times as much as plain sums do (1.1e-2 of an
//! output's usual size in place of 2.3e-3), and F(2×2, 3×3) saves no more than it spends on transforms.

use std::ops::Range;

use rayon::prelude::*;

use super::{
    direct::Write,
    packed::{For, Packed, ROWS},
    planes::{Planes, Tile, WIDTH},
    walk::Walk,
    weights::Weights,
};
use crate::ops::shared::{Parts, with_words};

/// Tiles that share a pass over the weights, at most, and numbers of planes that they may meet: half of a second-level
/// cache of 512 KB.
const TILES: usize = 8;
const PLANES: usize = 64 * 1024;
/// Fewer tasks than this, and the outputs are divided as well.
const TASKS: usize = 16;

/// Whether the processor can do this at all, with `channels` to a number.
pub(super) fn available(channels: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx512f") && (channels == 1 || is_x86_feature_detected!("avx512bf16"))
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = channels;
        false
    }
}

/// Fewer channels or outputs than this leave most of a tile empty.
const FEW: usize = 8;
/// Up to so many positions, a pass over the weights costs more than it does: transforming them, or packing patches
/// for each tap, does not pay.
const FEW_POSITIONS: usize = 1024;
/// As many for fast products, which cost less for each position and more for each weight.
const FEW_TILED: usize = 128;
/// Fast products in single precision beat plain ones in bf16 from this many channels and outputs on.
const WIDE: usize = 128;

fn many(weights: &Weights<'_>) -> bool {
    weights.groups == 1 && weights.sources.min(weights.rows) >= FEW
}

/// Whether this is the fastest way in single precision; `fast` says whether fast products of tiles could be used.
pub(super) fn suits(walk: &Walk, weights: &Weights<'_>, fast: bool) -> bool {
    let positions = walk.batch * walk.positions();
    let better = if fast {
        positions <= FEW_TILED
    } else {
        positions <= FEW_POSITIONS || walk.taps() > 1 && walk.axes[2].spread == 1
    };
    better && many(weights) && available(1)
}

/// Whether bf16 is faster than single precision.
pub(super) fn reduces(walk: &Walk, weights: &Weights<'_>, fast: bool) -> bool {
    let positions = walk.batch * walk.positions();
    let wide = weights.sources.min(weights.rows) >= WIDE && positions > FEW_POSITIONS;
    let beaten = fast && (wide || walk.axes[0].taps > 1);
    !beaten && many(weights) && available(2)
}

/// All that a task needs to know.
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
struct Product<'a> {
    planes: &'a Planes,
    /// Channels, or pairs of them.
    terms: usize,
    words: &'a [u32],
    distances: &'a [usize],
    weights: &'a [u32],
    rows: usize,
    bias: Option<&'a [f32]>,
    to: Parts<'a, f32>,
    write: Write,
}

/// Convolves along a walk, of one group, with `channels` to a number; `available` must be true.
pub(super) fn convolve(
    walk: Walk,
    channels: usize,
    source: &[f32],
    (weights, keep): (&Weights<'_>, Option<&Packed>),
    bias: Option<&[f32]>,
    to: Parts<'_, f32>,
    write: Write,
) {
    assert!(available(channels), "the processor lacks the instructions");
    if walk.positions() == 0 {
        return;
    }
    let planes = Planes::new(walk, channels);
    let tiles = planes.tiles();
    let distances: Vec<usize> = (0..walk.taps()).map(|tap| planes.distance(tap)).collect();
    let terms = weights.sources.div_ceil(channels);
    let panels = weights.rows.div_ceil(ROWS);
    let block = (PLANES / (terms * WIDTH).max(1))
        .clamp(1, TILES)
        .min(tiles.len().div_ceil(TASKS).max(1));
    let blocks = tiles.len().div_ceil(block);
    let parts = TASKS.div_ceil(blocks.max(1)).clamp(1, panels);
    let len = panels * terms * walk.taps() * ROWS;
    let pack = |words: &mut [u32]| weights.pack_words(&walk, channels, words);
    Packed::with(
        keep,
        For::Planes(channels),
        (weights, &walk),
        len,
        pack,
        |packed| {
            with_words(planes.len(weights.sources), |words| {
                planes.fill(source, weights.sources, words);
                let product = Product {
                    planes: &planes,
                    terms,
                    words,
                    distances: &distances,
                    weights: packed,
                    rows: weights.rows,
                    bias,
                    to,
                    write,
                };
                (0..blocks * parts).into_par_iter().for_each(|task| {
                    let (at, part) = (task / parts, task % parts);
                    let tiles = &tiles[at * block..((at + 1) * block).min(tiles.len())];
                    multiply(
                        &product,
                        channels,
                        part * panels / parts..(part + 1) * panels / parts,
                        tiles,
                    );
                });
            });
        },
    );
}

/// Multiplies some panels of rows with some tiles.
fn multiply(product: &Product<'_>, channels: usize, panels: Range<usize>, tiles: &[Tile]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the processor has the instructions, as `convolve` asserted.
    unsafe {
        if channels == 1 {
            avx512::full::panels(product, panels, tiles);
        } else {
            avx512::reduced::panels(product, panels, tiles);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (product, channels, panels, tiles);
}

#[cfg(target_arch = "x86_64")]
#[allow(clippy::needless_range_loop)] // fixed ranges keep tiles in registers
mod avx512 {
    use std::{arch::x86_64::*, ops::Range};

    use super::{Product, ROWS, Tile, Write};
    use crate::ops::conv::planes::Stretch;

    /// Numbers of a register.
    const LANES: usize = 16;

    /// A tile in registers.
    type Sums<const N: usize> = [[__m512; N]; ROWS];

    /// The two loops around an instruction that adds products of `LANES` words, compiled for it.
    macro_rules! kernel {
        ($name:ident, $features:literal, |$sum:ident, $a:ident, $b:ident| $add:expr) => {
            pub(super) mod $name {
                use super::*;

                #[target_feature(enable = $features)]
                pub fn panels(product: &Product<'_>, panels: Range<usize>, tiles: &[Tile]) {
                    let size = product.terms * product.distances.len() * ROWS;
                    for panel in panels {
                        let weights = &product.weights[panel * size..][..size];
                        let bias = super::bias_of(product, panel);
                        for tile in tiles {
                            if tile.width > LANES {
                                let sums = sums::<2>(product, weights, &bias, tile.start);
                                super::store(product, panel, *tile, &sums);
                            } else {
                                let sums = sums::<1>(product, weights, &bias, tile.start);
                                super::store(product, panel, *tile, &sums);
                            }
                        }
                    }
                }

                #[inline]
                #[target_feature(enable = $features)]
                fn sums<const N: usize>(
                    product: &Product<'_>,
                    weights: &[u32],
                    bias: &[f32; ROWS],
                    start: usize,
                ) -> Sums<N> {
                    let step = product.planes.channel_step();
                    let mut sums = [[_mm512_setzero_ps(); N]; ROWS];
                    for (row, bias) in sums.iter_mut().zip(bias) {
                        *row = [_mm512_set1_ps(*bias); N];
                    }
                    let furthest = product.distances.iter().max().copied().unwrap_or(0);
                    let end = product.terms.saturating_sub(1) * step + start + furthest + N * LANES;
                    assert!(end <= product.words.len());
                    assert!(weights.len() == product.terms * product.distances.len() * ROWS);
                    let mut weights = weights.as_ptr();
                    for term in 0..product.terms {
                        for distance in product.distances {
                            let mut numbers = [_mm512_setzero_si512(); N];
                            for n in 0..N {
                                // SAFETY: `LANES` words that end at `end` or before it.
                                numbers[n] = unsafe {
                                    let at = term * step + start + distance + n * LANES;
                                    _mm512_loadu_si512(product.words.as_ptr().add(at).cast())
                                };
                            }
                            for row in 0..ROWS {
                                // SAFETY: there are `ROWS` words for each term and distance.
                                let $a = _mm512_set1_epi32(unsafe { *weights.add(row) }.cast_signed());
                                for n in 0..N {
                                    let ($sum, $b) = (sums[row][n], numbers[n]);
                                    sums[row][n] = $add;
                                }
                            }
                            // SAFETY: at most one beyond the last.
                            weights = unsafe { weights.add(ROWS) };
                        }
                    }
                    sums
                }
            }
        };
    }

    kernel!(full, "avx512f", |sum, a, b| _mm512_fmadd_ps(
        _mm512_castsi512_ps(a),
        _mm512_castsi512_ps(b),
        sum
    ));
    kernel!(reduced, "avx512f,avx512bf16", |sum, a, b| {
        // SAFETY: both types are 64 bytes, whatever is in them.
        let (a, b) = unsafe {
            (
                std::mem::transmute::<__m512i, __m512bh>(a),
                std::mem::transmute::<__m512i, __m512bh>(b),
            )
        };
        _mm512_dpbf16_ps(sum, a, b)
    });

    fn bias_of(product: &Product<'_>, panel: usize) -> [f32; ROWS] {
        let bias = product.bias.and_then(|bias| bias.get(panel * ROWS..));
        std::array::from_fn(|row| bias.and_then(|bias| bias.get(row)).copied().unwrap_or(0.0))
    }

    /// Writes a tile to its outputs.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store<const N: usize>(product: &Product<'_>, panel: usize, tile: Tile, sums: &Sums<N>) {
        let walk = &product.planes.walk;
        let (extent, spread) = (walk.extent(), walk.axes[2].spread);
        let rows = ROWS.min(product.rows - panel * ROWS);
        product.planes.stretches(tile, product.rows, |stretch| {
            for (row, sums) in sums.iter().enumerate().take(rows) {
                let start = stretch.to + (panel * ROWS + row) * extent;
                // SAFETY: of all threads, only this one has these positions of this channel; those between are
                // positions of another walk, which is not under way.
                let to = unsafe { product.to.part(start, (stretch.len - 1) * spread + 1) };
                match spread {
                    1 => store_row(stretch, sums, product.write, to),
                    2 => store_every_second(stretch, sums, product.write, to),
                    _ => store_spread(stretch, sums, product.write, spread, to),
                }
            }
        });
    }

    /// The lanes of register `n` that belong to a stretch.
    #[inline(always)]
    fn lanes(stretch: Stretch, n: usize) -> u16 {
        ((((1u64 << stretch.len) - 1) << stretch.at) >> (n * LANES)) as u16
    }

    /// Writes lanes to where they belong, seen from the first of them.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn put(to: *mut f32, lanes: u16, mut sums: __m512, write: Write) {
        // SAFETY: by the callers, chosen lanes lie in a list that is theirs; the others are not touched.
        unsafe {
            if lanes == u16::MAX && write == Write::Over {
                return _mm512_storeu_ps(to, sums);
            }
            if write == Write::Add {
                sums = _mm512_add_ps(sums, _mm512_maskz_loadu_ps(lanes, to));
            }
            _mm512_mask_storeu_ps(to, lanes, sums);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store_row<const N: usize>(stretch: Stretch, sums: &[__m512; N], write: Write, to: &mut [f32]) {
        assert!(to.len() >= stretch.len);
        for (n, sums) in sums.iter().enumerate() {
            let lanes = lanes(stretch, n);
            if lanes != 0 {
                put(
                    to.as_mut_ptr().wrapping_add(n * LANES).wrapping_sub(stretch.at),
                    lanes,
                    *sums,
                    write,
                );
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store_every_second<const N: usize>(
        stretch: Stretch,
        sums: &[__m512; N],
        write: Write,
        to: &mut [f32],
    ) {
        assert!(to.len() + 1 >= 2 * stretch.len);
        let twice = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
        for (n, sums) in sums.iter().enumerate() {
            for half in 0..2 {
                let mut lanes = lanes(stretch, n) >> (half * LANES / 2) & 0xff;
                // Every bit to a place twice as far.
                for (by, kept) in [(4, 0x0f0f), (2, 0x3333), (1, 0x5555)] {
                    lanes = (lanes | lanes << by) & kept;
                }
                if lanes != 0 {
                    let from = _mm512_add_epi32(twice, _mm512_set1_epi32((half * LANES / 2) as i32));
                    let first = 2 * n * LANES + half * LANES;
                    let to = to.as_mut_ptr().wrapping_add(first).wrapping_sub(2 * stretch.at);
                    put(to, lanes, _mm512_permutexvar_ps(from, *sums), write);
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store_spread<const N: usize>(
        stretch: Stretch,
        sums: &[__m512; N],
        write: Write,
        spread: usize,
        to: &mut [f32],
    ) {
        let mut numbers = [[0.0; LANES]; N];
        for (to, sums) in numbers.iter_mut().zip(sums) {
            // SAFETY: `LANES` numbers.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), *sums) };
        }
        let numbers = &numbers.as_flattened()[stretch.at..][..stretch.len];
        for (to, v) in to.iter_mut().step_by(spread).zip(numbers) {
            *to = v + if write == Write::Add { *to } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;
    use crate::ops::{
        conv::{
            Arithmetic,
            geometry::{Geometry, Padding},
            testing::{Case, cases},
        },
        testing::on_threads,
    };

    /// Sums of a few thousand terms in single precision.
    const CLOSE: f64 = 1e-5;

    /// Whether this can be tested here.
    fn can(channels: usize) -> bool {
        let can = available(channels);
        if !can {
            eprintln!("skipped: no AVX-512 for {channels} channels to a number");
        }
        can
    }

    /// Cases of one group, whose transpose needs no border.
    fn plain_cases() -> impl Iterator<Item = Case> {
        cases().into_iter().filter(|case| {
            let (s, g) = (&case.sizes, &case.sizes.geometry);
            let whole = (0..3).all(|a| s.input[a] == g.stride[a] * s.output[a]);
            g.groups == 1 && (g.padding == Padding::Zeros || whole)
        })
    }

    /// Forward, and back both over and onto what is there.
    fn both_ways(case: &Case, channels: usize, keep: Option<&Packed>) -> [Vec<f32>; 3] {
        let s = &case.sizes;
        let mut y = vec![f32::NAN; case.dy.len()];
        let weights = Weights::forward(&case.weight, s);
        let bias = Some(&case.bias[..s.outputs]);
        let to = Parts::of(&mut y);
        convolve(
            Walk::forward(s),
            channels,
            &case.x,
            (&weights, keep),
            bias,
            to,
            Write::Over,
        );
        let weights = Weights::backward(&case.weight, s);
        let bias = Some(&case.bias[..s.channels]);
        let back = |dx: &mut [f32], write| {
            let [d, h, w] = s.geometry.stride;
            let to = Parts::of(dx);
            for phase in 0..d * h * w {
                let walk = Walk::backward(s, [phase / (h * w), phase / w % h, phase % w]);
                convolve(walk, channels, &case.dy, (&weights, keep), bias, to, write);
            }
        };
        let (mut over, mut added) = (vec![f32::NAN; case.x.len()], vec![1.0; case.x.len()]);
        back(&mut over, Write::Over);
        back(&mut added, Write::Add);
        [y, over, added]
    }

    #[test]
    fn both_directions_are_the_sums_of_their_products() {
        for channels in [1, 2].into_iter().filter(|channels| can(*channels)) {
            for mut case in plain_cases() {
                let found = both_ways(&case, channels, None);
                if channels == 2 {
                    // Products of rounded numbers are exact.
                    for list in [&mut case.x, &mut case.weight, &mut case.dy] {
                        list.iter_mut().for_each(|v| *v = bf16::from_f32(*v).to_f32());
                    }
                }
                let errors = case.errors_of(&found[0], &found[1], &found[2]);
                assert!(errors < CLOSE, "{channels} {:?}: {errors:.1e}", case.sizes);
            }
        }
    }

    #[test]
    fn kept_weights_and_threads_change_no_bit() {
        for channels in [1, 2].into_iter().filter(|channels| can(*channels)) {
            for case in plain_cases() {
                let packed = Packed::default();
                let run = |keep: Option<&Packed>| both_ways(&case, channels, keep).concat();
                let one = on_threads(1, || run(None));
                assert_eq!(one, on_threads(5, || run(Some(&packed))));
                let bytes = packed.bytes();
                assert_eq!(one, on_threads(2, || run(Some(&packed))));
                assert!(bytes > 0 && bytes == packed.bytes());
            }
        }
    }

    /// The accuracy that the documentation states.
    #[test]
    fn bf16_is_as_accurate_as_its_digits() {
        /// Of the largest output.
        const ROUNDING: f64 = 4e-3;
        if !can(2) {
            return;
        }
        for (channels, outputs, side, kernel) in [(512, 8, 8, 3), (64, 64, 16, 3), (64, 16, 16, 1)] {
            let geometry = Geometry::same([1, kernel, kernel], Padding::Circular);
            let case = Case::new(1, channels, outputs, [1, side, side], geometry);
            let [y, dx, _] = both_ways(&case, 2, None);
            let error = case.errors_of(&y, &dx, &dx.iter().map(|v| v + 1.0).collect::<Vec<_>>());
            println!("{channels} {outputs} {side} {kernel}: {error:.1e}");
            assert!((1e-4..ROUNDING).contains(&error), "{:?}: {error}", case.sizes);
        }
    }

    #[test]
    fn bf16_is_used_where_it_was_asked_for_and_is_faster() {
        let mut case = Case::new(1, 16, 16, [1, 9, 9], Geometry::same([1, 3, 3], Padding::Circular));
        let full = case.forward();
        case.arithmetic = Arithmetic::Reduced;
        assert_eq!(case.forward() != full, can(2));
        let mut grouped = Case::new(
            1,
            16,
            16,
            [1, 9, 9],
            Geometry {
                groups: 2,
                ..Geometry::same([1, 3, 3], Padding::Circular)
            },
        );
        let full = grouped.forward();
        grouped.arithmetic = Arithmetic::Reduced;
        assert_eq!(grouped.forward(), full);
    }
}
