//! Propose a place for a walker from the places of others: `Move`.

use rand::{Rng, RngExt};
use rand_distr::StandardNormal;

/// The largest factor by which a stretch changes a distance (Goodman & Weare 2010).
const STRETCH: f64 = 2.0;
/// The relative scatter of the factor of a difference (Nelson et al. 2014).
const SCATTER: f64 = 0.01;
/// How often a difference is taken as a whole, which leads from mode to mode (ter Braak 2006).
const WHOLE: f64 = 0.1;
/// The factors of a snooker move (ter Braak & Vrugt 2008).
const SNOOKER: std::ops::Range<f64> = 1.2..2.2;

/// How a walker is proposed to move, given those of the other half.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// Along the line through one of them (Goodman & Weare 2010, doi:10.2140/camcos.2010.5.65). Made for
    /// posteriors whose parameters are scaled or correlated in any way.
    Stretch,
    /// By the difference of two of them (ter Braak 2006, doi:10.1007/s11222-006-8769-1; Nelson et al. 2014,
    /// arXiv 1311.5229), mostly scaled by 2.38 / √(2 dim), one time in ten as a whole. Often better than
    /// stretches above a few parameters, and able to change between modes.
    Differential,
    /// Along the line through one of them, by the difference of two others along it (ter Braak & Vrugt
    /// 2008, doi:10.1007/s11222-008-9104-9). To be mixed with others.
    Snooker,
}

impl Move {
    /// Writes a proposal for the walker at `from` to `to`, and gives what is added to the log ratio of
    /// densities. `others` holds at least three walkers.
    #[inline]
    pub(super) fn propose(self, from: &[f64], others: &[f64], rng: &mut impl Rng, to: &mut [f64]) -> f64 {
        let dim = from.len();
        let count = others.len() / dim;
        let walker = |index: usize| &others[index * dim..(index + 1) * dim];
        // What the volume grows by where distances to a fixed point grow by a factor.
        let volume = |factor: f64| (dim as f64 - 1.0) * factor.ln();
        match self {
            Self::Stretch => {
                let anchor = walker(below(count, rng));
                // The density of the factor is even in its square root.
                let root = rng.random::<f64>() * (STRETCH - 1.0) + 1.0;
                let factor = root * root / STRETCH;
                for ((to, from), anchor) in to.iter_mut().zip(from).zip(anchor) {
                    *to = anchor + factor * (from - anchor);
                }
                if dim == 1 { 0.0 } else { volume(factor) }
            }
            Self::Differential => {
                let [a, b] = distinct(count, rng);
                let whole = rng.random::<f64>() < WHOLE;
                let factor = if whole {
                    1.0
                } else {
                    2.38 / (2.0 * dim as f64).sqrt()
                };
                let factor = factor * (1.0 + SCATTER * rng.sample::<f64, _>(StandardNormal));
                let differences = walker(a).iter().zip(walker(b));
                for ((to, from), (a, b)) in to.iter_mut().zip(from).zip(differences) {
                    *to = from + factor * (a - b);
                }
                0.0
            }
            Self::Snooker => {
                let [anchor, a, b] = distinct(count, rng);
                let (anchor, a, b) = (walker(anchor), walker(a), walker(b));
                let factor = rng.random_range(SNOOKER);
                let (mut along, mut distance) = (0.0, 0.0);
                for i in 0..dim {
                    let line = from[i] - anchor[i];
                    along += (a[i] - b[i]) * line;
                    distance += line * line;
                }
                // Where the two coincide there is no line, and the walker stays.
                let step = if distance > 0.0 {
                    factor * along / distance
                } else {
                    0.0
                };
                for ((to, from), anchor) in to.iter_mut().zip(from).zip(anchor) {
                    *to = from + step * (from - anchor);
                }
                let grown = (1.0 + step).abs();
                // A walker that lands on the other could never come back.
                if dim == 1 { 0.0 } else { volume(grown) }
            }
        }
    }
}

/// A number from 0 to below `count`, which is far below 2³².
#[inline]
fn below(count: usize, rng: &mut impl Rng) -> usize {
    ((u64::from(rng.random::<u32>()) * count as u64) >> 32) as usize
}

/// Different numbers below `count`, in random order.
fn distinct<const N: usize>(count: usize, rng: &mut impl Rng) -> [usize; N] {
    let mut chosen = [0; N];
    for i in 0..N {
        loop {
            chosen[i] = below(count, rng);
            if !chosen[..i].contains(&chosen[i]) {
                break;
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Purpose, stream};

    /// Walkers that do not move, and a standard normal in two dimensions on which others do: each move alone
    /// must leave the normal as it is.
    #[test]
    fn every_move_leaves_a_density_invariant() {
        let others = [0.5, -1.0, 1.5, 0.3, -0.7, 0.2, -1.2, -0.9, 0.1, 1.4];
        let density = |z: &[f64]| -0.5 * (z[0] * z[0] + z[1] * z[1]);
        for which in [Move::Stretch, Move::Differential, Move::Snooker] {
            let mut rng = stream(3, Purpose::Chain, which as u64);
            let (count, steps) = (100_000, 3);
            let (mut squares, mut fourths) = (0.0, 0.0);
            for _ in 0..count {
                let mut z = [rng.sample(StandardNormal), rng.sample(StandardNormal)];
                for _ in 0..steps {
                    let mut to = [0.0; 2];
                    let correction = which.propose(&z, &others, &mut rng, &mut to);
                    let ratio: f64 = density(&to) - density(&z) + correction;
                    if rng.random::<f64>() < ratio.exp() {
                        z = to;
                    }
                }
                let square = z[0] * z[0] + z[1] * z[1];
                squares += square / f64::from(count);
                fourths += square * square / f64::from(count);
            }
            // The square is exponential with mean 2 and variance 4, its own square has mean 8 and variance 320.
            let error = f64::from(count).sqrt();
            assert!((squares - 2.0).abs() < 5.0 * 2.0 / error, "{which:?}: {squares}");
            assert!(
                (fourths - 8.0).abs() < 5.0 * 320f64.sqrt() / error,
                "{which:?}: {fourths}"
            );
        }
    }

    #[test]
    fn partners_differ_and_are_all_met() {
        let mut rng = stream(4, Purpose::Chain, 0);
        let mut met = [0; 3];
        for _ in 0..3000 {
            let chosen: [usize; 3] = distinct(3, &mut rng);
            assert!(chosen[0] != chosen[1] && chosen[1] != chosen[2] && chosen[0] != chosen[2]);
            met[chosen[0]] += 1;
        }
        // Each a third of the time, with a standard deviation of 26.
        assert!(
            met.iter().all(|&times| (f64::from(times) - 1000.0).abs() < 130.0),
            "{met:?}"
        );
    }
}
