//! Walk over a field: which numbers a kernel meets at each position, in either direction.

use super::{
    gemm::COLUMNS,
    geometry::{Padding, Sizes},
};

/// One dimension of a walk. At position `j` the tap `i` meets `j · step + offset + i · slope` of the source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    /// Extent of the source.
    pub source: usize,
    /// Positions.
    pub positions: usize,
    /// How far the source moves from one position to the next.
    pub step: usize,
    pub offset: isize,
    pub slope: isize,
    /// Taps met, of which the first is `first` in the kernel and the others follow at every `every`.
    pub taps: usize,
    pub first: usize,
    pub every: usize,
    /// Extent of the destination, of which position `j` is `j · spread + phase`.
    pub extent: usize,
    pub spread: usize,
    pub phase: usize,
}

/// A walk over all samples of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    pub axes: [Axis; 3],
    pub batch: usize,
    /// Whether the source goes on at its opposite edge; zeros otherwise.
    pub wraps: bool,
}

/// Neighbouring positions of a panel that lie on one line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Segment {
    pub sample: usize,
    pub position: [usize; 3],
    pub len: usize,
}

/// Numbers of a panel that lie in the source at equal steps; none for zeros.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Run {
    pub at: usize,
    pub len: usize,
    pub source: Option<usize>,
}

/// At most one for each lane.
#[derive(Clone, Copy)]
pub(super) struct List<T> {
    items: [T; COLUMNS],
    len: usize,
}

impl<T: Copy + Default> List<T> {
    pub(super) fn new() -> Self {
        Self {
            items: [T::default(); COLUMNS],
            len: 0,
        }
    }
    pub(super) fn push(&mut self, item: T) {
        self.items[self.len] = item;
        self.len += 1;
    }
    pub(super) fn as_slice(&self) -> &[T] {
        &self.items[..self.len]
    }
}

impl Walk {
    /// The walk of a convolution: from what goes in to every output.
    pub(super) fn forward(sizes: &Sizes) -> Self {
        let g = &sizes.geometry;
        Self {
            axes: std::array::from_fn(|a| Axis {
                source: sizes.input[a],
                positions: sizes.output[a],
                step: g.stride[a],
                offset: -(g.reach[a] as isize),
                slope: 1,
                taps: g.kernel[a],
                first: 0,
                every: 1,
                extent: sizes.output[a],
                spread: 1,
                phase: 0,
            }),
            batch: sizes.batch,
            wraps: g.padding == Padding::Circular,
        }
        .flat()
    }

    /// The walk of its transpose over those inputs that are `phase` beyond a multiple of the strides. A periodic
    /// field must be whole strides long.
    pub(super) fn backward(sizes: &Sizes, phase: [usize; 3]) -> Self {
        let g = &sizes.geometry;
        Self {
            axes: std::array::from_fn(|a| {
                let (stride, at) = (g.stride[a], phase[a] + g.reach[a]);
                let first = at % stride;
                Axis {
                    source: sizes.output[a],
                    positions: sizes.input[a].saturating_sub(phase[a]).div_ceil(stride),
                    step: 1,
                    offset: (at / stride) as isize,
                    slope: -1,
                    taps: g.kernel[a].saturating_sub(first).div_ceil(stride),
                    first,
                    every: stride,
                    extent: sizes.input[a],
                    spread: stride,
                    phase: phase[a],
                }
            }),
            batch: sizes.batch,
            wraps: g.padding == Padding::Circular,
        }
        .flat()
    }

    /// Joins the lines of a walk that leaves every number where it is.
    fn flat(mut self) -> Self {
        let still = |a: &Axis| {
            a.taps == 1 && a.step == 1 && a.spread == 1 && a.offset == 0 && a.source == a.positions
        };
        if self.axes.iter().all(still) {
            let all = self.positions();
            for (i, axis) in self.axes.iter_mut().enumerate() {
                let n = if i == 2 { all } else { 1 };
                (axis.source, axis.positions, axis.extent) = (n, n, n);
            }
        }
        self
    }

    /// Positions of a sample.
    pub(super) fn positions(&self) -> usize {
        self.axes.iter().map(|a| a.positions).product()
    }
    /// Numbers of a channel of the source.
    pub(super) fn source(&self) -> usize {
        self.axes.iter().map(|a| a.source).product()
    }
    /// Numbers of a channel of the destination.
    pub(super) fn extent(&self) -> usize {
        self.axes.iter().map(|a| a.extent).product()
    }
    pub(super) fn taps(&self) -> usize {
        self.axes.iter().map(|a| a.taps).product()
    }
    /// The taps met, in order, each as its place among those of the axes.
    pub(super) fn tap(&self, i: usize) -> [usize; 3] {
        let [_, h, w] = self.axes.map(|a| a.taps);
        [i / (h * w), i / w % h, i % w]
    }
    /// Where a tap is in a kernel of these sides.
    pub(super) fn in_kernel(&self, i: usize, sides: [usize; 3]) -> usize {
        let tap = self.tap(i);
        let [d, h, w] = std::array::from_fn(|a| self.axes[a].first + self.axes[a].every * tap[a]);
        (d * sides[1] + h) * sides[2] + w
    }

    /// What a panel of positions consists of, over all samples.
    pub(super) fn segments(&self, panel: usize) -> List<Segment> {
        let [_, h, w] = self.axes.map(|a| a.positions);
        let all = self.batch * self.positions();
        let (mut at, end) = (panel * COLUMNS, ((panel + 1) * COLUMNS).min(all));
        let mut list = List::new();
        while at < end {
            let len = (w - at % w).min(end - at);
            let line = at / w;
            list.push(Segment {
                sample: at / self.positions(),
                position: [line / h % self.axes[0].positions, line % h, at % w],
                len,
            });
            at += len;
        }
        list
    }

    /// Where a segment begins in the destination, of which each sample has `channels`.
    pub(super) fn destination(&self, segment: &Segment, channels: usize) -> usize {
        let [d, h, w] =
            std::array::from_fn(|a| segment.position[a] * self.axes[a].spread + self.axes[a].phase);
        let [_, height, width] = self.axes.map(|a| a.extent);
        segment.sample * channels * self.extent() + (d * height + h) * width + w
    }

    /// Where the lanes of a panel find what a tap meets, in the first channel of a source that has `channels`.
    pub(super) fn runs(&self, segments: &[Segment], tap: [usize; 3], channels: usize) -> List<Run> {
        let mut list = List::new();
        let mut at = 0;
        for segment in segments {
            let met: [isize; 3] = std::array::from_fn(|a| {
                let axis = &self.axes[a];
                (segment.position[a] * axis.step) as isize + axis.offset + tap[a] as isize * axis.slope
            });
            let end = at + segment.len;
            match (self.inside(0, met[0]), self.inside(1, met[1])) {
                (Some(d), Some(h)) => {
                    let base = segment.sample * channels * self.source();
                    let line = base + (d * self.axes[1].source + h) * self.axes[2].source;
                    self.line_runs(&mut list, line, met[2], at, end);
                }
                _ => list.push(Run {
                    at,
                    len: segment.len,
                    source: None,
                }),
            }
            at = end;
        }
        if at < COLUMNS {
            list.push(Run {
                at,
                len: COLUMNS - at,
                source: None,
            });
        }
        list
    }

    /// The runs of lanes `at..end`, the first of which meets number `met` of a line.
    fn line_runs(&self, list: &mut List<Run>, line: usize, mut met: isize, mut at: usize, end: usize) {
        let axis = &self.axes[2];
        while at < end {
            let inside = self.inside(2, met);
            let left = end - at;
            let len = match inside {
                Some(w) => (axis.source - w).div_ceil(axis.step).min(left),
                None if met < 0 => met.unsigned_abs().div_ceil(axis.step).min(left),
                None => left,
            };
            list.push(Run {
                at,
                len,
                source: inside.map(|w| line + w),
            });
            at += len;
            met += (len * axis.step) as isize;
        }
    }

    /// Which number of the source is met in a dimension; none beyond its edge.
    pub(super) fn inside(&self, axis: usize, met: isize) -> Option<usize> {
        let extent = self.axes[axis].source as isize;
        if self.wraps {
            Some(met.rem_euclid(extent) as usize)
        } else {
            (0..extent).contains(&met).then_some(met as usize)
        }
    }
}
