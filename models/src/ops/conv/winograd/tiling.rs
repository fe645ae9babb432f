//! Cut a convolution into tiles.

use std::ops::Range;

use super::{
    INPUTS, KERNEL, SAMPLE,
    transform::{OUT, SIDE},
};
use crate::ops::conv::{
    gemm::{COLUMNS, ROWS},
    geometry::Sizes,
    walk::{Axis, Walk},
    weights::Weights,
};

/// Fewer sources or rows than this leave most of a panel empty.
const FEW: usize = 8;
/// With kernels of two by two, fewer than this save less than transforms cost, as all do that are deep as well.
const FEW_OF_TWO: usize = 64;

/// Phases of an axis, at most.
pub(super) const PHASES: usize = 2;

/// What the taps of one phase meet on an axis: `count` numbers of the source, every `step`th from `first` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Met {
    pub first: usize,
    pub step: usize,
    pub count: usize,
    /// Where the first tile begins among them.
    pub begin: isize,
}

impl Met {
    /// Of those that begin at `low`.
    fn of(axis: &Axis, low: isize) -> Self {
        let step = axis.step as isize;
        let first = low.rem_euclid(step) as usize;
        Self {
            first,
            step: axis.step,
            count: axis.source.saturating_sub(first).div_ceil(axis.step),
            begin: low.div_euclid(step),
        }
    }
    /// Numbers of a tile before the first that is met.
    pub(super) fn before(&self) -> usize {
        self.begin.unsigned_abs()
    }
}

/// Down or across, how tiles meet the source.
#[derive(Clone, Copy)]
pub(super) struct Side {
    /// Of every phase of the outputs, which are `fan`.
    axes: [Axis; PHASES],
    pub fan: usize,
    /// The first that any tap meets.
    low: isize,
    /// Taps of each phase of the source.
    taps: usize,
    pub met: [Met; PHASES],
}

impl Side {
    fn new(axes: [Axis; PHASES], fan: usize) -> Self {
        let reach = |axis: &Axis| {
            let end = axis.offset + (axis.taps as isize - 1) * axis.slope;
            [axis.offset.min(end), axis.offset.max(end)]
        };
        let [a, b] = axes.each_ref().map(reach);
        let (low, high) = (a[0].min(b[0]), a[1].max(b[1]));
        let taps = (high - low + 1).max(0).unsigned_abs();
        Self {
            axes,
            fan,
            low,
            taps: taps / axes[0].step,
            met: std::array::from_fn(|phase| Met::of(&axes[0], low + phase as isize)),
        }
    }
    /// Where the kernel of a phase of the outputs has the weight of the `i`th number of a phase of the source.
    pub(super) fn in_kernel(&self, output: usize, phase: usize, i: usize) -> Option<usize> {
        let axis = &self.axes[output];
        let tap = (self.low + (axis.step * i + phase) as isize - axis.offset) * axis.slope;
        let there = (0..axis.taps as isize).contains(&tap);
        there.then(|| axis.first + axis.every * tap.unsigned_abs())
    }
    /// The frequency at which the kernel of a phase of the outputs, of two weights among three, is zero: that of the
    /// point 0 if the first is missing, or of ∞.
    fn nothing(&self, output: usize) -> Option<usize> {
        let missing = |i| self.taps == 3 && self.in_kernel(output, 0, i).is_none();
        match (missing(0), missing(2)) {
            (true, _) => Some(0),
            (_, true) => Some(SIDE - 1),
            _ => None,
        }
    }
    /// Whether two or three neighbours are met in each phase, near the edges.
    fn suits(&self, wraps: bool) -> bool {
        let [axis, other] = &self.axes;
        let few = |axis: &Axis| matches!(axis.taps / axis.step, 2 | 3);
        let neighbours = few(axis) && few(other) && axis.taps.is_multiple_of(axis.step) && self.taps <= 3;
        let whole = !wraps || axis.source.is_multiple_of(axis.step);
        let phases = axis.step <= PHASES && axis.spread == self.fan;
        // A tile that is mostly beyond the edge is work for nothing.
        let wide = axis.positions > 2 && axis.source > 2;
        let end = axis.positions.next_multiple_of(OUT) + 2;
        let near = |met: &Met| {
            let last = axis.positions as isize + met.begin + self.taps as isize - 2;
            let inside = met.before() + met.count <= end && last <= met.count as isize + 1;
            inside && met.begin <= 0 && met.before() <= met.count.min(2)
        };
        neighbours && whole && phases && wide && self.met[..axis.step].iter().all(near)
    }
}

/// How a convolution is cut into tiles.
pub(in super::super) struct Tiling {
    pub(super) walk: Walk,
    /// Tiles of a slice of outputs, down and across.
    pub(super) tiles: [usize; 2],
    /// Rows of tiles of all samples and depths.
    pub(super) lines: usize,
    /// Down and across.
    pub(super) sides: [Side; 2],
    pub(super) sources: usize,
    pub(super) rows: usize,
}

impl Tiling {
    /// Tiles of the positions of a walk.
    pub(in super::super) fn new(walk: Walk, weights: &Weights<'_>) -> Self {
        let [_, down, across] = walk.axes;
        let sides = [Side::new([down; PHASES], 1), Side::new([across; PHASES], 1)];
        Self::of(walk, sides, weights)
    }
    /// Tiles of the transpose of a convolution that moves by two, all of its phases at once but those of its depth.
    pub(in super::super) fn transposed(sizes: &Sizes, depth: usize, weights: &Weights<'_>) -> Self {
        let walk = |phase| Walk::backward(sizes, [depth, phase, phase]);
        let [a, b] = [walk(0).axes, walk(1).axes];
        let sides = [1, 2].map(|axis| Side::new([a[axis], b[axis]], PHASES));
        Self::of(walk(0), sides, weights)
    }
    fn of(walk: Walk, sides: [Side; 2], weights: &Weights<'_>) -> Self {
        let [depth, down, across] = &walk.axes;
        let tiles = [down, across].map(|a| a.positions.div_ceil(OUT));
        Self {
            walk,
            tiles,
            lines: walk.batch * depth.positions * tiles[0],
            sides,
            sources: weights.sources,
            rows: weights.rows,
        }
    }
    /// Whether tiles can do this, and would do it faster.
    pub(in super::super) fn suits(&self, weights: &Weights<'_>) -> bool {
        let small = weights.kernel[1] * weights.kernel[2] <= KERNEL;
        // Those side by side share the transforms.
        let two = self.sides[0].taps == 2 && self.fan() == 1;
        let enough = if two { FEW_OF_TWO } else { FEW };
        let many = weights.groups == 1 && weights.sources.min(weights.rows) >= enough;
        let depth = &self.walk.axes[0];
        let there = depth.positions > 0 && depth.taps > 0;
        let flat = !two || depth.taps == 1;
        let alike = self.sides[0].taps == self.sides[1].taps;
        small && many && there && flat && alike && self.sides.iter().all(|side| side.suits(self.walk.wraps))
    }
    /// Phases of the outputs: each has panels of its own.
    pub(super) fn fan(&self) -> usize {
        self.sides[0].fan * self.sides[1].fan
    }
    /// Rows of a panel, and its phase of the outputs, down and across. Panels of all phases of the same rows are
    /// neighbours.
    pub(super) fn rows(&self, panel: usize) -> (Range<usize>, [usize; 2]) {
        let first = panel / self.fan() * ROWS;
        let (phase, across) = (panel % self.fan(), self.sides[1].fan);
        (
            first..self.rows.min(first + ROWS),
            [phase / across, phase % across],
        )
    }
    /// Whether the weights of a panel are zero at a frequency.
    pub(super) fn nothing(&self, panel: usize, frequency: usize) -> bool {
        if self.fan() == 1 {
            return false;
        }
        let (_, phase) = self.rows(panel);
        let at = [frequency / self.side(), frequency % self.side()];
        (0..2).any(|side| self.sides[side].nothing(phase[side]) == Some(at[side]))
    }
    /// Whether the kernel is one of three by three, where so many multiplications are saved that no other way is faster.
    pub(in super::super) fn three(&self) -> bool {
        self.sides[0].taps == 3
    }
    /// Phases, down and across.
    fn phases(&self) -> [usize; 2] {
        [1, 2].map(|axis| self.walk.axes[axis].step)
    }
    /// Terms of each sum at one depth of the kernel: sources of every phase.
    pub(super) fn terms(&self) -> usize {
        self.phases().iter().product::<usize>() * self.sources
    }
    /// Depth of the kernel, phases down and across, and source of a term.
    pub(super) fn term(&self, inner: usize) -> (usize, [usize; 2], usize) {
        let [_, across] = self.phases();
        let (phase, source) = (inner % self.terms() / self.sources, inner % self.sources);
        (inner / self.terms(), [phase / across, phase % across], source)
    }
    /// Side of a transformed tile.
    pub(super) fn side(&self) -> usize {
        OUT + self.sides[0].taps - 1
    }
    /// Numbers of a transformed tile.
    pub(super) fn frequencies(&self) -> usize {
        self.side() * self.side()
    }
    /// Terms of each sum: those of every depth of the kernel.
    pub(super) fn inner(&self) -> usize {
        self.walk.axes[0].taps * self.terms()
    }
    pub(super) fn panels(&self) -> usize {
        self.rows.div_ceil(ROWS) * self.fan()
    }
    /// So many panels or a few more, such that the phases across of a row are together.
    pub(super) fn whole(&self, panels: usize) -> usize {
        panels.next_multiple_of(self.sides[1].fan)
    }
    /// Numbers from one frequency of a panel of transformed weights to the next: a line more than there are, so that
    /// frequencies do not fall on the same lines of the cache.
    pub(super) fn weight_step(&self) -> usize {
        self.inner() * ROWS + COLUMNS
    }
    /// Numbers of a panel of transformed weights.
    pub(super) fn panel(&self) -> usize {
        self.frequencies() * self.weight_step()
    }
    /// Numbers of all transformed weights.
    pub(super) fn weights(&self) -> usize {
        self.panels() * self.panel()
    }
    /// Sample, depth and row of a line of tiles.
    pub(super) fn place(&self, line: usize) -> [usize; 3] {
        let depth = self.walk.axes[0].positions;
        [
            line / (depth * self.tiles[0]),
            line / self.tiles[0] % depth,
            line % self.tiles[0],
        ]
    }
    /// Whether several depths of the kernel meet the same tiles, and slices are whole columns of tiles.
    pub(super) fn deep(&self) -> bool {
        let (depth, slice) = (&self.walk.axes[0], self.tiles[0] * self.tiles[1]);
        let held = self.frequencies() * self.terms() * depth.source * slice;
        depth.taps > 1 && slice.is_multiple_of(COLUMNS) && held <= SAMPLE
    }
    /// The tiling of the source itself, slice by slice.
    pub(super) fn slices(&self) -> Self {
        let mut walk = self.walk;
        let depth = &mut walk.axes[0];
        (depth.positions, depth.extent, depth.taps) = (depth.source, depth.source, 1);
        (depth.step, depth.offset, depth.first, depth.every) = (1, 0, 0, 1);
        Self {
            walk,
            lines: walk.batch * walk.axes[0].positions * self.tiles[0],
            ..*self
        }
    }
    /// Lines of tiles whose inputs fill `INPUTS`, such that little of the last panel is empty.
    pub(super) fn lines_at_once(&self) -> usize {
        let most = (INPUTS / (self.frequencies() * self.inner())).clamp(COLUMNS, 4 * COLUMNS);
        let filled = |n: &usize| {
            let tiles = n * self.tiles[1];
            tiles as f64 / tiles.next_multiple_of(COLUMNS) as f64
        };
        (1..=(most / self.tiles[1]).clamp(1, self.lines.max(1)))
            .max_by(|a, b| filled(a).total_cmp(&filled(b)))
            .unwrap_or(1)
    }
}
