//! Turn weighted draws into smooth densities, and densities into credible contours.

use std::collections::HashMap;

use crate::{Error, Result};

/// The masses that contours enclose.
pub(super) const MASSES: [f64; 2] = [0.68, 0.95];

/// Draws of one posterior that can be drawn: finite, not all equal, with weights that sum to 1.
pub(super) struct Draws<'a> {
    pub values: &'a [Vec<f64>],
    weights: Vec<f64>,
}

impl<'a> Draws<'a> {
    /// # Errors
    ///
    /// No draws, lengths that differ, a number that is not finite, weights that are negative or all zero, constant draws.
    pub fn check(
        what: &str,
        names: &[String],
        values: &'a [Vec<f64>],
        weights: Option<&[f64]>,
    ) -> Result<Self> {
        let fail = |problem: String| Err(Error::Invalid(format!("{what}: {problem}")));
        if values.len() != names.len() {
            return fail(format!("{} parameters but {} names", values.len(), names.len()));
        }
        let count = values.first().map_or(0, Vec::len);
        if count == 0 {
            return fail("there are no draws to plot".into());
        }
        for (name, column) in names.iter().zip(values) {
            if column.len() != count {
                return fail(format!(
                    "{} draws of {name} but {count} of the first parameter",
                    column.len()
                ));
            }
            if let Some(i) = column.iter().position(|x| !x.is_finite()) {
                return fail(format!("draw {i} of {name} is {}", column[i]));
            }
        }
        let mut weights = weights.map_or_else(|| vec![1.0; count], <[f64]>::to_vec);
        let sum: f64 = weights.iter().sum();
        let usable = weights.len() == count && sum.is_finite() && sum > 0.0;
        if !usable || weights.iter().any(|&w| w < 0.0) {
            return fail(format!(
                "weights must be {count} numbers, none negative and not all 0"
            ));
        }
        weights.iter_mut().for_each(|w| *w /= sum);
        for (name, column) in names.iter().zip(values) {
            let mut kept = column
                .iter()
                .zip(&weights)
                .filter(|(_, w)| **w > 0.0)
                .map(|(x, _)| *x);
            let first = kept.next();
            if kept.all(|x| Some(x) == first) {
                return fail(format!("all draws of {name} are equal"));
            }
        }
        Ok(Self { values, weights })
    }

    /// The values below which lie the given fractions of the mass.
    pub fn quantiles<const N: usize>(&self, parameter: usize, fractions: [f64; N]) -> [f64; N] {
        let column = &self.values[parameter];
        let mut order: Vec<usize> = (0..column.len()).collect();
        order.sort_by(|&a, &b| column[a].total_cmp(&column[b]));
        fractions.map(|fraction| {
            let mut mass = 0.0;
            let found = order.iter().find(|&&i| {
                mass += self.weights[i];
                mass >= fraction
            });
            // Rounding may leave the sum of weights just below 1.
            column[*found.unwrap_or(&order[order.len() - 1])]
        })
    }

    pub fn mean_and_sd(&self, parameter: usize) -> (f64, f64) {
        let column = &self.values[parameter];
        let pairs = || column.iter().zip(&self.weights);
        let mean: f64 = pairs().map(|(x, w)| x * w).sum();
        let variance: f64 = pairs().map(|(x, w)| w * (x - mean).powi(2)).sum();
        (mean, variance.sqrt())
    }

    fn correlation(&self, a: usize, b: usize) -> f64 {
        let ((ma, sa), (mb, sb)) = (self.mean_and_sd(a), self.mean_and_sd(b));
        let triples = self.values[a].iter().zip(&self.values[b]).zip(&self.weights);
        let covariance: f64 = triples.map(|((x, y), w)| w * (x - ma) * (y - mb)).sum();
        let correlation = covariance / (sa * sb);
        if correlation.is_finite() {
            correlation.clamp(-1.0, 1.0)
        } else {
            0.0
        }
    }

    /// The number of equally weighted draws that would be as good (Kish 1965).
    fn effective(&self) -> f64 {
        1.0 / self.weights.iter().map(|w| w * w).sum::<f64>()
    }

    /// The spread that a kernel should follow: that of the bulk where there are tails or several modes.
    fn spread(&self, parameter: usize) -> f64 {
        let [low, high] = self.quantiles(parameter, [0.25, 0.75]);
        let (_, sd) = self.mean_and_sd(parameter);
        let robust = (high - low) / 1.349;
        if robust > 0.0 { robust.min(sd) } else { sd }
    }

    /// The weight of the draws of a parameter in each of `bins` bins of `low..high`.
    pub fn histogram(&self, parameter: usize, (low, high): (f64, f64), bins: usize) -> Vec<f64> {
        let width = (high - low) / bins as f64;
        let mut heights = vec![0.0; bins];
        for (&x, &w) in self.values[parameter].iter().zip(&self.weights) {
            if let Some(bin) = bin(x, low, width, bins) {
                heights[bin] += w;
            }
        }
        heights
    }

    /// The density of a parameter in the middle of each of `bins` bins of `low..high`, smoothed by Silverman's rule; its
    /// highest value is 1.
    pub fn marginal(&self, parameter: usize, (low, high): (f64, f64), bins: usize) -> Vec<f64> {
        let width = (high - low) / bins as f64;
        let density = self.histogram(parameter, (low, high), bins);
        let bandwidth = 0.9 * self.spread(parameter) * self.effective().powf(-0.2);
        let mut density = smooth(&density, 1, bins, (bandwidth / width).max(0.6));
        let peak = density.iter().copied().fold(0.0, f64::max);
        if peak > 0.0 {
            density.iter_mut().for_each(|d| *d /= peak);
        }
        density
    }

    /// The joint density of two parameters on `bins`² cells, row by row from the lowest y; it sums to 1.
    pub fn joint(&self, [x, y]: [usize; 2], ranges: [(f64, f64); 2], bins: usize) -> Vec<f64> {
        let widths = ranges.map(|(low, high)| (high - low) / bins as f64);
        let mut density = vec![0.0; bins * bins];
        for ((&a, &b), &w) in self.values[x].iter().zip(&self.values[y]).zip(&self.weights) {
            let column = bin(a, ranges[0].0, widths[0], bins);
            let row = bin(b, ranges[1].0, widths[1], bins);
            if let (Some(column), Some(row)) = (column, row) {
                density[row * bins + column] += w;
            }
        }
        // A kernel along the axes must follow the spread across a narrow ridge, not along it.
        let across = (1.0 - self.correlation(x, y).powi(2)).sqrt().max(0.15);
        let rule = self.effective().powf(-1.0 / 6.0) * across;
        let bandwidth = |parameter: usize, width: f64| (rule * self.spread(parameter) / width).max(0.8);
        let density = smooth(&density, bins, 1, bandwidth(y, widths[1]));
        let mut density = smooth(&density, 1, bins, bandwidth(x, widths[0]));
        let sum: f64 = density.iter().sum();
        if sum > 0.0 {
            density.iter_mut().for_each(|d| *d /= sum);
        }
        density
    }
}

fn bin(x: f64, low: f64, width: f64, bins: usize) -> Option<usize> {
    let place = (x - low) / width;
    // A draw on the upper bound belongs to the last bin.
    let last = place == bins as f64;
    ((0.0..bins as f64).contains(&place) || last).then(|| (place as usize).min(bins - 1))
}

/// Smooth a square or a line along one direction with a Gaussian of `sigma` cells: along rows of `across` cells next to
/// each other (`along` 1), or along columns (`along` the row length). What would leave an end is given back, so that a
/// density cut by a bound of the prior stays high there.
fn smooth(values: &[f64], along: usize, across: usize, sigma: f64) -> Vec<f64> {
    let reach = (4.0 * sigma).ceil() as usize;
    let kernel: Vec<f64> = (0..=reach)
        .map(|k| (-0.5 * (k as f64 / sigma).powi(2)).exp())
        .collect();
    let length = if along == 1 { across } else { values.len() / along };
    let mut out = vec![0.0; values.len()];
    for (i, sum) in out.iter_mut().enumerate() {
        let place = (i / along) % length;
        let (mut total, mut mass) = (0.0, 0.0);
        for other in place.saturating_sub(reach)..(place + reach + 1).min(length) {
            let weight = kernel[other.abs_diff(place)];
            let j = if other < place {
                i - (place - other) * along
            } else {
                i + (other - place) * along
            };
            total += weight * values[j];
            mass += weight;
        }
        *sum = total / mass;
    }
    out
}

/// The densities above which lie the given masses of a grid of densities.
pub(super) fn levels(density: &[f64], masses: [f64; 2]) -> [f64; 2] {
    let mut sorted = density.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let total: f64 = sorted.iter().sum();
    masses.map(|mass| {
        let mut sum = 0.0;
        let found = sorted.iter().find(|&&d| {
            sum += d;
            sum >= mass * total
        });
        found.copied().unwrap_or(0.0)
    })
}

/// Values at the nodes of a grid; `values[row * x.len() + column]`.
pub(super) struct Grid {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub values: Vec<f64>,
}

impl Grid {
    /// From densities in the middle of `bins`² cells, continued to the edges of the ranges, so that contours of what a
    /// bound cuts end there.
    pub fn of_cells(density: &[f64], ranges: [(f64, f64); 2], bins: usize) -> Self {
        let nodes = |(low, high): (f64, f64)| {
            let width = (high - low) / bins as f64;
            let middle = (0..bins).map(|k| low + (k as f64 + 0.5) * width);
            std::iter::once(low)
                .chain(middle)
                .chain([high])
                .collect::<Vec<_>>()
        };
        let cell = |k: usize| k.clamp(1, bins) - 1;
        let values = (0..bins + 2)
            .flat_map(|row| (0..bins + 2).map(move |column| (row, column)))
            .map(|(row, column)| density[cell(row) * bins + cell(column)])
            .collect();
        Self {
            x: nodes(ranges[0]),
            y: nodes(ranges[1]),
            values,
        }
    }

    /// The lines where the interpolated values are `level` (marching squares), as chains of points.
    pub fn contours(&self, level: f64) -> Vec<Vec<(f64, f64)>> {
        let columns = self.x.len();
        let value = |row: usize, column: usize| self.values[row * columns + column] - level;
        // A crossing lies on an edge: (node, 0) to its right neighbour or (node, 1) to its upper one.
        type Edge = (usize, u8);
        let point = |(node, direction): Edge| {
            let (row, column) = (node / columns, node % columns);
            let (next_row, next_column) = if direction == 0 {
                (row, column + 1)
            } else {
                (row + 1, column)
            };
            let (a, b) = (value(row, column), value(next_row, next_column));
            // Across an infinite step the crossing is at the finite side's node.
            let t = if (a - b).is_finite() {
                a / (a - b)
            } else if a.is_finite() {
                0.0
            } else {
                1.0
            };
            (
                self.x[column] * (1.0 - t) + self.x[next_column] * t,
                self.y[row] * (1.0 - t) + self.y[next_row] * t,
            )
        };
        let mut joins: HashMap<Edge, Vec<Edge>> = HashMap::new();
        let mut order = Vec::new();
        for row in 0..self.y.len().saturating_sub(1) {
            for column in 0..columns.saturating_sub(1) {
                let node = row * columns + column;
                let inside = [(0, 0), (0, 1), (1, 1), (1, 0)]
                    .map(|(down, right)| value(row + down, column + right) >= 0.0);
                let edges: [Edge; 4] = [(node, 0), (node + 1, 1), (node + columns, 0), (node, 1)];
                let crossed: Vec<Edge> = (0..4)
                    .filter(|&k| inside[k] != inside[(k + 1) % 4])
                    .map(|k| edges[k])
                    .collect();
                let mut join = |a: Edge, b: Edge| {
                    order.push(a);
                    joins.entry(a).or_default().push(b);
                    joins.entry(b).or_default().push(a);
                };
                match crossed[..] {
                    [a, b] => join(a, b),
                    [a, b, c, d] => {
                        // A saddle: the mean decides which corners belong together.
                        let mean = value(row, column)
                            + value(row, column + 1)
                            + value(row + 1, column)
                            + value(row + 1, column + 1);
                        if (mean >= 0.0) == inside[0] {
                            join(a, b);
                            join(c, d);
                        } else {
                            join(a, d);
                            join(b, c);
                        }
                    }
                    _ => {}
                }
            }
        }
        // Open chains start where only one piece ends; what is left after them are rings.
        let open = order.iter().copied().filter(|edge| joins[edge].len() == 1);
        let ends: Vec<Edge> = joins
            .iter()
            .filter(|(_, next)| next.len() == 1)
            .map(|(e, _)| *e)
            .collect();
        let mut starts: Vec<Edge> = open.chain(ends).collect();
        starts.sort_unstable();
        starts.extend(order.iter().copied());
        let mut chains = Vec::new();
        for start in starts {
            let mut chain = vec![point(start)];
            let mut here = start;
            while let Some(next) = joins.get_mut(&here).and_then(Vec::pop) {
                if let Some(back) = joins.get_mut(&next) {
                    if let Some(i) = back.iter().position(|&e| e == here) {
                        back.swap_remove(i);
                    }
                }
                chain.push(point(next));
                here = next;
            }
            if chain.len() > 1 {
                chains.push(chain);
            }
        }
        chains
    }

    /// The value at a point, by bilinear interpolation.
    pub fn at(&self, x: f64, y: f64) -> f64 {
        let place = |nodes: &[f64], v: f64| {
            let i = nodes.partition_point(|&node| node <= v).clamp(1, nodes.len() - 1) - 1;
            (i, ((v - nodes[i]) / (nodes[i + 1] - nodes[i])).clamp(0.0, 1.0))
        };
        let ((column, u), (row, v)) = (place(&self.x, x), place(&self.y, y));
        let value = |r: usize, c: usize| self.values[r * self.x.len() + c];
        (value(row, column) * (1.0 - u) + value(row, column + 1) * u) * (1.0 - v)
            + (value(row + 1, column) * (1.0 - u) + value(row + 1, column + 1) * u) * v
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contours_of_a_cone_are_circles() {
        let nodes: Vec<f64> = (0..41).map(|k| f64::from(k) / 20.0 - 1.0).collect();
        let values = nodes
            .iter()
            .flat_map(|y| nodes.iter().map(move |x| -x.hypot(*y)))
            .collect();
        let grid = Grid {
            x: nodes.clone(),
            y: nodes,
            values,
        };
        let chains = grid.contours(-0.5);
        assert_eq!(chains.len(), 1);
        assert_eq!(chains[0].first(), chains[0].last());
        // Linear interpolation of a cone on a grid of 0.05 errs by less than h²/8r.
        assert!(chains[0].iter().all(|(x, y)| (x.hypot(*y) - 0.5).abs() < 1e-3));
        // One that the border cuts stays open, in four pieces.
        assert_eq!(grid.contours(-1.2).len(), 4);
        assert!(grid.contours(0.5).is_empty());
    }

    #[test]
    fn levels_enclose_their_mass() {
        let nodes: Vec<f64> = (0..201).map(|k| f64::from(k) / 20.0 - 5.0).collect();
        let density: Vec<f64> = nodes
            .iter()
            .flat_map(|y| nodes.iter().map(move |x| (-0.5 * (x * x + y * y)).exp()))
            .collect();
        for (level, mass) in levels(&density, MASSES).into_iter().zip(MASSES) {
            // In two dimensions a Gaussian encloses 1 − density/peak; cells of 0.05 resolve that to 1 %.
            assert!((level - (1.0 - mass)).abs() < 0.01, "{level}");
        }
    }

    #[test]
    fn a_bound_keeps_a_flat_density_flat() {
        let names = ["a".to_owned()];
        let values = vec![
            (0..20000)
                .map(|i| (f64::from(i) + 0.5) / 20000.0)
                .collect::<Vec<_>>(),
        ];
        let draws = Draws::check("test", &names, &values, None).unwrap();
        let density = draws.marginal(0, (0.0, 1.0), 100);
        assert!(density.iter().all(|&d| d > 0.99), "{density:?}");
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        let names = ["a".to_owned()];
        let check = |values: &[Vec<f64>], weights: Option<&[f64]>| {
            Draws::check("run", &names, values, weights).is_err()
        };
        assert!(check(&[], None) && check(&[vec![]], None) && check(&[vec![1.0, f64::NAN]], None));
        assert!(check(&[vec![2.0; 5]], None));
        for weights in [
            &[0.0, 0.0][..],
            &[1.0],
            &[-1.0, 2.0],
            &[f64::NAN, 1.0],
            &[1.0, 0.0],
        ] {
            assert!(check(&[vec![1.0, 2.0]], Some(weights)), "{weights:?}");
        }
        assert!(!check(&[vec![1.0, 2.0]], Some(&[1.0, 3.0])));
    }
}
