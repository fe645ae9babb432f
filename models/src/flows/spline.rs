//! Bend a number along a monotone spline of rational quadratic pieces (Durkan et al. 2019, arXiv 1906.04032).
//!
//! A number within ±bound stays there; outside nothing changes. The parameters of a number are K widths, K heights and
//! the slopes at the K − 1 inner knots; at the outer knots the slope is 1. Parameters of zero leave every number as it
//! is. All is computed in f64: the inverse solves a quadratic.

/// The least share of the interval that a bin has, and the least slope at a knot: as in the paper.
const LEAST: f64 = 1e-3;
/// What a slope's parameter is moved by, so that zero means a slope of 1: ln(exp(1 − LEAST) − 1).
const OFFSET: f64 = 0.539_742_417_236_952;
/// More bins are a mistake.
pub(super) const MOST_BINS: usize = 64;

/// The spline of `bins` bins on ±`bound`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spline {
    pub(super) bins: usize,
    pub(super) bound: f64,
}

/// Shares of a softmax with a floor, and the bin that a number is in.
struct Axis {
    shares: [f64; MOST_BINS],
}

/// The piece of the spline that a number is in.
struct Piece {
    bin: usize,
    /// Where it begins, on both axes, and its sizes.
    start: [f64; 2],
    size: [f64; 2],
    /// Slopes at both ends.
    ends: [f64; 2],
}

impl Axis {
    fn new(raw: &[f64]) -> Self {
        let most = raw.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut shares = [0.0; MOST_BINS];
        let mut sum = 0.0;
        for (share, raw) in shares.iter_mut().zip(raw) {
            *share = (raw - most).exp();
            sum += *share;
        }
        shares[..raw.len()].iter_mut().for_each(|share| *share /= sum);
        Self { shares }
    }
}

impl Spline {
    /// Parameters a number.
    pub(super) fn parameters(self) -> usize {
        3 * self.bins - 1
    }

    /// What all bins together have above their least sizes.
    fn free(self) -> f64 {
        2.0 * self.bound * (1.0 - LEAST * self.bins as f64)
    }

    fn size(self, axis: &Axis, bin: usize) -> f64 {
        2.0 * self.bound * LEAST + self.free() * axis.shares[bin]
    }

    /// The slope at a knot from its parameter: 1 at zero, and at the outer knots.
    fn slope(self, p: &[f64], knot: usize) -> f64 {
        if knot == 0 || knot == self.bins {
            return 1.0;
        }
        let raw = p[2 * self.bins + knot - 1] + OFFSET;
        // ln(1 + exp(raw)) without overflow.
        LEAST + raw.max(0.0) + (-raw.abs()).exp().ln_1p()
    }

    fn axes(self, p: &[f64]) -> [Axis; 2] {
        [
            Axis::new(&p[..self.bins]),
            Axis::new(&p[self.bins..2 * self.bins]),
        ]
    }

    /// The piece in which `value` lies along `axis`: 0 for x, 1 for y.
    fn piece(self, axes: &[Axis; 2], p: &[f64], axis: usize, value: f64) -> Piece {
        let mut start = [-self.bound; 2];
        let mut bin = 0;
        loop {
            let size = [0, 1].map(|a| self.size(&axes[a], bin));
            // The last bin ends where the interval does, whatever the sum is to rounding.
            if value < start[axis] + size[axis] || bin + 1 == self.bins {
                let ends = [self.slope(p, bin), self.slope(p, bin + 1)];
                return Piece {
                    bin,
                    start,
                    size,
                    ends,
                };
            }
            start = [start[0] + size[0], start[1] + size[1]];
            bin += 1;
        }
    }

    fn is_outside(self, value: f64) -> bool {
        // Also what is no number.
        !(value > -self.bound && value < self.bound)
    }

    /// `y`, and the logarithm of its slope.
    pub(super) fn forward(self, x: f64, p: &[f64]) -> [f64; 2] {
        if self.is_outside(x) {
            return [x, 0.0];
        }
        let piece = self.piece(&self.axes(p), p, 0, x);
        let place = ((x - piece.start[0]) / piece.size[0]).clamp(0.0, 1.0);
        let terms = Terms::new(&piece, place);
        let y = piece.start[1] + piece.size[1] * terms.rise / terms.below;
        [y.clamp(-self.bound, self.bound), terms.log_slope()]
    }

    /// `x`, and the logarithm of the slope there.
    pub(super) fn inverse(self, y: f64, p: &[f64]) -> [f64; 2] {
        if self.is_outside(y) {
            return [y, 0.0];
        }
        let piece = self.piece(&self.axes(p), p, 1, y);
        let [width, height] = piece.size;
        let mean = height / width;
        let up = (y - piece.start[1]).clamp(0.0, height);
        let bend = piece.ends[0] + piece.ends[1] - 2.0 * mean;
        let a = height * (mean - piece.ends[0]) + up * bend;
        let b = height * piece.ends[0] - up * bend;
        let c = -mean * up;
        // The root in [0, 1], in the form that loses no digits.
        let root = (b * b - 4.0 * a * c).max(0.0).sqrt();
        let below = -b - root;
        let place = if below == 0.0 {
            0.0
        } else {
            (2.0 * c / below).clamp(0.0, 1.0)
        };
        let x = piece.start[0] + place * width;
        [
            x.clamp(-self.bound, self.bound),
            Terms::new(&piece, place).log_slope(),
        ]
    }

    /// From gradients in `y` and the logarithm of the slope to that in `x`; those in the parameters are written to `dp`.
    pub(super) fn backward(self, x: f64, p: &[f64], [dy, d_log]: [f64; 2], dp: &mut [f64]) -> f64 {
        dp.fill(0.0);
        if self.is_outside(x) {
            return dy;
        }
        let axes = self.axes(p);
        let piece = self.piece(&axes, p, 0, x);
        let [width, height] = piece.size;
        let place = ((x - piece.start[0]) / width).clamp(0.0, 1.0);
        let t = Terms::new(&piece, place);
        let (rest, square) = (1.0 - place, t.below * t.below);
        // Of y = start + height · rise / below and of its logarithmic slope, in the place, the mean slope (with the
        // height fixed) and the slopes at the ends.
        let mix = |rise: f64, below: f64, above: f64, more: f64| {
            dy * height * (rise * t.below - t.rise * below) / square
                + d_log * (more + above / t.above - 2.0 * below / t.below)
        };
        let [first, last] = piece.ends;
        let turn = rest - place;
        let d_place = mix(
            2.0 * t.mean * place + first * turn,
            t.bend * turn,
            2.0 * (last * place + t.mean * turn - first * rest),
            0.0,
        );
        let d_mean = mix(
            place * place,
            1.0 - 2.0 * t.product,
            2.0 * t.product,
            2.0 / t.mean,
        );
        let d_first = mix(t.product, t.product, rest * rest, 0.0);
        let d_last = mix(0.0, t.product, place * place, 0.0);
        let d_width = -(place * d_place + t.mean * d_mean) / width;
        let d_height = dy * t.rise / t.below + d_mean / width;
        // Every earlier bin moves the start.
        let starts = [-d_place / width, dy];
        for (axis, (d_size, d_start)) in [d_width, d_height].into_iter().zip(starts).enumerate() {
            let shares = &axes[axis].shares[..self.bins];
            let of = |bin: usize| match bin.cmp(&piece.bin) {
                std::cmp::Ordering::Less => d_start,
                std::cmp::Ordering::Equal => d_size,
                std::cmp::Ordering::Greater => 0.0,
            };
            let mean: f64 = shares
                .iter()
                .enumerate()
                .map(|(bin, share)| share * of(bin))
                .sum();
            for (bin, share) in shares.iter().enumerate() {
                dp[axis * self.bins + bin] = self.free() * share * (of(bin) - mean);
            }
        }
        for (knot, d_slope) in [(piece.bin, d_first), (piece.bin + 1, d_last)] {
            if knot > 0 && knot < self.bins {
                let at = 2 * self.bins + knot - 1;
                dp[at] = d_slope / (1.0 + (-(p[at] + OFFSET)).exp());
            }
        }
        d_place / width
    }
}

/// What value and slope at a place of a piece are made of.
struct Terms {
    mean: f64,
    bend: f64,
    /// place · (1 − place)
    product: f64,
    rise: f64,
    above: f64,
    below: f64,
}

impl Terms {
    fn new(piece: &Piece, place: f64) -> Self {
        let mean = piece.size[1] / piece.size[0];
        let [first, last] = piece.ends;
        let rest = 1.0 - place;
        let (product, bend) = (place * rest, first + last - 2.0 * mean);
        Self {
            mean,
            bend,
            product,
            rise: mean * place * place + first * product,
            above: last * place * place + 2.0 * mean * product + first * rest * rest,
            below: mean + bend * product,
        }
    }

    fn log_slope(&self) -> f64 {
        2.0 * self.mean.ln() + self.above.ln() - 2.0 * self.below.ln()
    }
}

#[cfg(test)]
mod tests {
    use armilla_samplers::rng::{Purpose, stream};
    use rand::RngExt;

    use super::*;

    /// The quadratic solved in f64.
    const BACK: f64 = 1e-9;
    /// Central differences of 1e-6 within a piece.
    const SMOOTH: f64 = 1e-5;

    const SPLINE: Spline = Spline { bins: 7, bound: 3.0 };

    fn parameters(scale: f64, seed: u64) -> Vec<f64> {
        let mut stream = stream(seed, Purpose::Noise, 0);
        (0..SPLINE.parameters())
            .map(|_| scale * (2.0 * stream.random::<f64>() - 1.0))
            .collect()
    }

    /// Where bins begin along an axis.
    fn knots(p: &[f64], axis: usize) -> Vec<f64> {
        let axes = SPLINE.axes(p);
        let mut knots = vec![-SPLINE.bound];
        (0..SPLINE.bins).for_each(|bin| knots.push(knots[bin] + SPLINE.size(&axes[axis], bin)));
        knots
    }

    #[test]
    fn parameters_of_zero_change_nothing() {
        let p = vec![0.0; SPLINE.parameters()];
        for x in [-5.0, -3.0, -1.1, 0.0, 0.3, 2.999, 3.0, 8.0] {
            let [y, log_slope] = SPLINE.forward(x, &p);
            assert!((y - x).abs() < 1e-14 && log_slope.abs() < 1e-14, "{x}");
        }
    }

    #[test]
    fn inverse_slope_and_gradients_are_those_of_the_map() {
        let h = 1e-6;
        for seed in 0..4 {
            let p = parameters(1.5, seed);
            for i in 0..40 {
                let x = -3.2 + 0.163 * i as f64;
                let [y, log_slope] = SPLINE.forward(x, &p);
                let [back, same] = SPLINE.inverse(y, &p);
                assert!((back - x).abs() < BACK && (same - log_slope).abs() < 1e-7, "{x}");
                let slope = (SPLINE.forward(x + h, &p)[0] - SPLINE.forward(x - h, &p)[0]) / (2.0 * h);
                assert!(
                    (slope.ln() - log_slope).abs() < SMOOTH,
                    "{x}: {} {log_slope}",
                    slope.ln()
                );
                let probe = |x: f64, p: &[f64]| {
                    let [y, l] = SPLINE.forward(x, p);
                    0.7 * y - 1.3 * l
                };
                let mut dp = vec![0.0; p.len()];
                let dx = SPLINE.backward(x, &p, [0.7, -1.3], &mut dp);
                let numeric = (probe(x + h, &p) - probe(x - h, &p)) / (2.0 * h);
                assert!(
                    (dx - numeric).abs() < SMOOTH * numeric.abs().max(1.0),
                    "{x}: {dx} {numeric}"
                );
                for j in 0..p.len() {
                    let ends = [h, -h].map(|h| {
                        let mut p = p.clone();
                        p[j] += h;
                        probe(x, &p)
                    });
                    let numeric = (ends[0] - ends[1]) / (2.0 * h);
                    let near = SMOOTH * numeric.abs().max(1.0);
                    assert!((dp[j] - numeric).abs() < near, "{x} {j}: {} {numeric}", dp[j]);
                }
            }
        }
    }

    #[test]
    fn knots_meet_with_their_slopes() {
        let p = parameters(1.0, 5);
        let [xs, ys] = [0, 1].map(|axis| knots(&p, axis));
        for (knot, (x, y)) in xs.iter().zip(&ys).enumerate() {
            let slope = SPLINE.slope(&p, knot);
            for x in [x - 1e-9, *x, x + 1e-9] {
                let [found, log_slope] = SPLINE.forward(x, &p);
                assert!(
                    (found - y).abs() < 1e-7 && (log_slope - slope.ln()).abs() < 1e-6,
                    "{knot}"
                );
            }
            assert!((SPLINE.inverse(*y, &p)[0] - x).abs() < 1e-7);
        }
        assert_eq!([SPLINE.slope(&p, 0), SPLINE.slope(&p, SPLINE.bins)], [1.0, 1.0]);
    }

    #[test]
    fn beyond_the_bound_nothing_changes() {
        let p = parameters(2.0, 6);
        let mut dp = vec![1.0; p.len()];
        for x in [-1e30, -3.0, 3.0, 3.5, f64::INFINITY] {
            assert_eq!(SPLINE.forward(x, &p), [x, 0.0]);
            assert_eq!(SPLINE.inverse(x, &p), [x, 0.0]);
            assert_eq!(SPLINE.backward(x, &p, [0.7, 0.4], &mut dp), 0.7);
            assert!(dp.iter().all(|d| *d == 0.0));
        }
        assert!(SPLINE.forward(f64::NAN, &p)[0].is_nan());
    }

    #[test]
    fn extreme_parameters_stay_monotone_and_finite() {
        for (seed, scale) in [(1, 30.0), (2, 1e3), (3, 1e6), (4, 1e30)] {
            let p = parameters(scale, seed);
            // But for the last digit.
            let mut last = -SPLINE.bound;
            let mut inner: Vec<f64> = knots(&p, 0).into_iter().map(|x| x.min(SPLINE.bound)).collect();
            inner.extend((0..600).map(|i| -2.999 + 0.01 * i as f64).filter(|x| *x < 3.0));
            inner.sort_by(f64::total_cmp);
            for x in inner {
                let [y, log_slope] = SPLINE.forward(x, &p);
                assert!(
                    y >= last - 1e-12 && y <= SPLINE.bound && log_slope.is_finite(),
                    "{scale} {x}: {y} {log_slope}"
                );
                last = y;
                let mut dp = vec![0.0; p.len()];
                let dx = SPLINE.backward(x, &p, [1.0, 1.0], &mut dp);
                assert!(dx.is_finite() && dp.iter().all(|d| d.is_finite()), "{scale} {x}");
                let [back, _] = SPLINE.inverse(y, &p);
                assert!(back.abs() <= SPLINE.bound);
            }
        }
    }
}
