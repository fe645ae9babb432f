//! Turn weighted draws into smooth densities.

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
        let mut density = smooth_line(&density, (bandwidth / width).max(0.6));
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
        let rule = self.effective().powf(-1.0 / 6.0);
        let bandwidth = |parameter: usize, width: f64| (rule * self.spread(parameter) / width).max(0.6);
        let sigmas = [bandwidth(x, widths[0]), bandwidth(y, widths[1])];
        let mut density = smooth_square(&density, bins, sigmas, self.correlation(x, y));
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

/// Smooth a line of cells with a Gaussian of `sigma` cells. What would leave an end is given back, so that a density cut
/// by a bound of the prior stays high there.
fn smooth_line(values: &[f64], sigma: f64) -> Vec<f64> {
    let reach = (4.0 * sigma).ceil() as usize;
    let kernel: Vec<f64> = (0..=reach)
        .map(|k| (-0.5 * (k as f64 / sigma).powi(2)).exp())
        .collect();
    let around = |place: usize| place.saturating_sub(reach)..(place + reach + 1).min(values.len());
    (0..values.len())
        .map(|place| {
            let (mut total, mut mass) = (0.0, 0.0);
            for other in around(place) {
                let weight = kernel[other.abs_diff(place)];
                total += weight * values[other];
                mass += weight;
            }
            total / mass
        })
        .collect()
}

/// Smooth a square of cells with a Gaussian of the given widths in cells along x and y, as correlated as the draws are: a
/// narrow ridge is smoothed along itself. Ends are treated as in [`smooth_line`].
fn smooth_square(values: &[f64], bins: usize, sigmas: [f64; 2], correlation: f64) -> Vec<f64> {
    // A kernel narrower across than a cell would leave the cells visible.
    let rho = correlation.clamp(-0.95, 0.95);
    let reach = sigmas.map(|sigma| (3.5 * sigma).ceil() as isize);
    let mut kernel = Vec::new();
    for dy in -reach[1]..=reach[1] {
        for dx in -reach[0]..=reach[0] {
            let (u, v) = (dx as f64 / sigmas[0], dy as f64 / sigmas[1]);
            let square = (u * u - 2.0 * rho * u * v + v * v) / (1.0 - rho * rho);
            if square < 12.5 {
                kernel.push((dx, dy, (-0.5 * square).exp()));
            }
        }
    }
    let size = bins as isize;
    let (mut totals, mut masses) = (vec![0.0; values.len()], vec![0.0; values.len()]);
    for &(dx, dy, weight) in &kernel {
        let columns = (-dx).max(0)..size.min(size - dx);
        for row in (-dy).max(0)..size.min(size - dy) {
            for column in columns.clone() {
                let (here, there) = (row * size + column, (row + dy) * size + column + dx);
                totals[here as usize] += weight * values[there as usize];
                masses[here as usize] += weight;
            }
        }
    }
    totals
        .iter()
        .zip(masses)
        .map(|(total, mass)| total / mass)
        .collect()
}

/// The densities above which lie the given masses, where each density stands for an area.
pub(super) fn levels(density: &[f64], areas: &[f64], masses: [f64; 2]) -> [f64; 2] {
    let mut order: Vec<(f64, f64)> = density.iter().zip(areas).map(|(&d, &a)| (d, d * a)).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let total: f64 = order.iter().map(|(_, mass)| mass).sum();
    masses.map(|mass| {
        let mut sum = 0.0;
        let found = order.iter().find(|(_, m)| {
            sum += m;
            sum >= mass * total
        });
        found.map_or(0.0, |(d, _)| *d)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_enclose_their_mass() {
        let nodes: Vec<f64> = (0..201).map(|k| f64::from(k) / 20.0 - 5.0).collect();
        let density: Vec<f64> = nodes
            .iter()
            .flat_map(|y| nodes.iter().map(move |x| (-0.5 * (x * x + y * y)).exp()))
            .collect();
        for (level, mass) in levels(&density, &vec![1.0; density.len()], MASSES)
            .into_iter()
            .zip(MASSES)
        {
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
