//! Lay a source out in planes, such that what a tap meets at neighbouring positions are neighbours too.
//!
//! A plane is a channel with its border. Steps of the walk become planes of their own, one for each phase, so that every
//! tap moves by a fixed distance from any position to what it meets there: nothing is packed tap by tap.

use rayon::prelude::*;

use super::walk::Walk;
use crate::ops::simd::dispatch;

/// Positions of a tile.
pub(super) const WIDTH: usize = 32;

/// Distances from one plane to the next are not multiples of this many numbers: they would share lines of the cache.
const PAGE: usize = 1024;

/// Where what a walk meets lies in planes.
pub(super) struct Planes {
    pub walk: Walk,
    /// Channels that share a number of 32 bits: one, or two in bf16.
    channels: usize,
    sides: [usize; 3],
    /// Phases of each axis.
    phases: [usize; 3],
    /// The first that any tap meets.
    low: [isize; 3],
    /// Numbers of the planes of one phase, over all samples.
    step: usize,
}

/// Neighbouring positions, some of which lie in borders.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile {
    pub start: usize,
    /// `WIDTH`, or half of it where that is enough.
    pub width: usize,
}

/// Positions of a tile that lie on one line: lanes `at..at + len`, which begin at `to` in the destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stretch {
    pub at: usize,
    pub len: usize,
    pub to: usize,
}

impl Planes {
    /// Planes whose numbers hold one channel, or two.
    pub(super) fn new(walk: Walk, channels: usize) -> Self {
        let met = |a: usize, tap: usize| walk.axes[a].offset + tap as isize * walk.axes[a].slope;
        let ends = |a: usize| [met(a, 0), met(a, walk.axes[a].taps.saturating_sub(1))];
        let low: [isize; 3] = std::array::from_fn(|a| ends(a)[0].min(ends(a)[1]));
        let reach: [usize; 3] = std::array::from_fn(|a| ends(a)[0].abs_diff(ends(a)[1]));
        let sides = std::array::from_fn(|a| walk.axes[a].positions + reach[a] / walk.axes[a].step);
        let all = walk.batch * sides.iter().product::<usize>();
        Self {
            walk,
            channels,
            sides,
            phases: std::array::from_fn(|a| walk.axes[a].step.min(reach[a] + 1)),
            low,
            // Tiles may reach beyond the last position.
            step: if all.is_multiple_of(PAGE) {
                all + WIDTH / 2
            } else {
                all
            },
        }
    }

    /// Numbers from one channel, or pair of channels, to the next.
    pub(super) fn channel_step(&self) -> usize {
        self.phases.iter().product::<usize>() * self.step
    }

    /// Numbers of all planes of `sources` channels, and what tiles read beyond.
    pub(super) fn len(&self, sources: usize) -> usize {
        sources.div_ceil(self.channels) * self.channel_step() + WIDTH
    }

    /// How far from a position lies what a tap meets there.
    pub(super) fn distance(&self, tap: usize) -> usize {
        let (mut phase, mut place) = (0, 0);
        for (a, tap) in self.walk.tap(tap).into_iter().enumerate() {
            let axis = &self.walk.axes[a];
            let met = (axis.offset + tap as isize * axis.slope - self.low[a]) as usize;
            phase = phase * self.phases[a] + met % axis.step;
            place = place * self.sides[a] + met / axis.step;
        }
        phase * self.step + place
    }

    /// Tiles that hold all positions. None begins in a border.
    pub(super) fn tiles(&self) -> Vec<Tile> {
        let mut tiles = Vec::new();
        let mut next = self.position_from(0);
        while let Some(start) = next {
            next = self.position_from(start + WIDTH / 2);
            let half = next.is_none_or(|next| next >= start + WIDTH);
            if !half {
                next = self.position_from(start + WIDTH);
            }
            tiles.push(Tile {
                start,
                width: if half { WIDTH / 2 } else { WIDTH },
            });
        }
        tiles
    }

    /// The first number from `at` on that is a position and not border.
    fn position_from(&self, at: usize) -> Option<usize> {
        let [depth, height, width] = self.sides;
        let [depths, heights, widths] = self.walk.axes.map(|a| a.positions);
        let (mut line, mut w) = (at / width, at % width);
        if w >= widths {
            (line, w) = (line + 1, 0);
        }
        let (mut slice, mut h) = (line / height, line % height);
        if h >= heights {
            (slice, h, w) = (slice + 1, 0, 0);
        }
        let (mut sample, mut d) = (slice / depth, slice % depth);
        if d >= depths {
            (sample, d, h, w) = (sample + 1, 0, 0, 0);
        }
        (sample < self.walk.batch).then(|| ((sample * depth + d) * height + h) * width + w)
    }

    /// Calls `each` with the stretches of a tile, in a destination of `channels` channels.
    #[inline(always)]
    pub(super) fn stretches(&self, tile: Tile, channels: usize, mut each: impl FnMut(Stretch)) {
        let [depth, height, width] = self.sides;
        let axes = &self.walk.axes;
        let [_, heights, widths] = axes.map(|a| a.extent);
        let mut at = 0;
        while at < tile.width {
            let Some(position) = self.position_from(tile.start + at) else {
                return;
            };
            at = position - tile.start;
            if at >= tile.width {
                return;
            }
            let (line, w) = (position / width, position % width);
            let (slice, h) = (line / height, line % height);
            let (sample, d) = (slice / depth, slice % depth);
            let [d, h, first] = [(0, d), (1, h), (2, w)].map(|(a, i)| i * axes[a].spread + axes[a].phase);
            let len = (axes[2].positions - w).min(tile.width - at);
            let to = sample * channels * self.walk.extent() + (d * heights + h) * widths + first;
            each(Stretch { at, len, to });
            at += len;
        }
    }

    /// Lays out a source of `sources` channels.
    pub(super) fn fill(&self, source: &[f32], sources: usize, to: &mut [u32]) {
        let whole = sources.div_ceil(self.channels) * self.channel_step();
        to[..whole]
            .par_chunks_exact_mut(self.step)
            .enumerate()
            .for_each(|(i, to)| fill_phase(self, i, source, sources, to));
    }
}

dispatch! {
    /// Lays out the planes of one phase of a channel, or of a pair.
    fn fill_phase(planes: &Planes, which: usize, source: &[f32], sources: usize, to: &mut [u32]) = fill_phase_body
}

#[inline(always)]
fn fill_phase_body<const FMA: bool>(
    planes: &Planes,
    which: usize,
    source: &[f32],
    sources: usize,
    to: &mut [u32],
) {
    let [depth, height, width] = planes.sides;
    let axes = &planes.walk.axes;
    let [_, ph, pw] = planes.phases;
    let phases: usize = planes.phases.iter().product();
    let (first, phase) = (which / phases * planes.channels, which % phases);
    let phase = [phase / (ph * pw), phase / pw % ph, phase % pw];
    let volume = planes.walk.source();
    for (line, to) in to
        .chunks_exact_mut(width)
        .enumerate()
        .take(planes.walk.batch * depth * height)
    {
        let at = |a: usize, i: usize| (i * axes[a].step + phase[a]) as isize + planes.low[a];
        let (slice, h) = (line / height, line % height);
        let (sample, d) = (slice / depth, slice % depth);
        let met = planes
            .walk
            .inside(0, at(0, d))
            .zip(planes.walk.inside(1, at(1, h)));
        let Some((d, h)) = met else {
            to.fill(0);
            continue;
        };
        let start = (sample * sources + first) * volume + (d * axes[1].source + h) * axes[2].source;
        let one = &source[start..][..axes[2].source];
        if planes.channels == 1 {
            fill_line(planes, at(2, 0), to, |w| one[w].to_bits());
        } else if first + 1 < sources {
            let two = &source[start + volume..][..axes[2].source];
            fill_line(planes, at(2, 0), to, |w| pair(one[w], two[w]));
        } else {
            fill_line(planes, at(2, 0), to, |w| pair(one[w], 0.0));
        }
    }
}

/// Writes what `number` makes of each number met, the first of which is `met`.
#[inline(always)]
fn fill_line(planes: &Planes, met: isize, to: &mut [u32], number: impl Fn(usize) -> u32) {
    let axis = &planes.walk.axes[2];
    let step = axis.step;
    // Lanes from `before` on to `end` lie inside.
    let before = (-met).max(0).unsigned_abs().div_ceil(step).min(to.len());
    let left = (axis.source as isize - met - (before * step) as isize)
        .max(0)
        .unsigned_abs();
    let end = (before + left.div_ceil(step)).min(to.len());
    if before < end {
        let from = (met + (before * step) as isize).unsigned_abs();
        // With a step that is known, whole registers.
        if step == 1 {
            for (i, to) in to[before..end].iter_mut().enumerate() {
                *to = number(from + i);
            }
        } else {
            for (i, to) in to[before..end].iter_mut().enumerate() {
                *to = number(from + i * step);
            }
        }
    }
    for i in (0..before).chain(end..to.len()) {
        let inside = planes.walk.inside(2, met + (i * step) as isize);
        to[i] = inside.map_or(0, &number);
    }
}

/// Two numbers as bf16, the first in the lower half.
#[inline(always)]
pub(super) fn pair(a: f32, b: f32) -> u32 {
    (nearest(a) >> 16) | (nearest(b) & 0xffff_0000)
}

/// The bits of a number whose upper half is the nearest bf16, ties to even.
#[inline(always)]
fn nearest(x: f32) -> u32 {
    let bits = x.to_bits();
    if x.is_nan() {
        // Rounding could carry it into another number.
        return bits | 0x0040_0000;
    }
    bits.wrapping_add(0x7fff + ((bits >> 16) & 1))
}

#[cfg(test)]
mod tests {
    use half::bf16;

    #[test]
    fn pairs_are_rounded_to_nearest() {
        let numbers = [
            0.0,
            -0.0,
            1.0,
            1.003_906_2,
            1.011_718_8,
            -3.3e38,
            1e-40,
            f32::INFINITY,
            f32::MAX,
        ];
        for a in numbers {
            for b in numbers {
                let expected =
                    u32::from(bf16::from_f32(a).to_bits()) | (u32::from(bf16::from_f32(b).to_bits()) << 16);
                assert_eq!(super::pair(a, b), expected, "{a} {b}");
            }
        }
        let [a, b] = [0x7fff_ffff, 0xffff_ffff].map(f32::from_bits);
        let both = super::pair(a, b);
        assert!(bf16::from_bits(both as u16).is_nan() && bf16::from_bits((both >> 16) as u16).is_nan());
    }
}
