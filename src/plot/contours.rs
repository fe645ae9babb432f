//! Find the lines along which a surface has one height.

use std::collections::HashMap;

/// Values at the nodes of a grid; `values[row * x.len() + column]`.
pub(super) struct Grid {
    pub x: Vec<f64>,
    pub y: Vec<f64>,
    pub values: Vec<f64>,
}

impl Grid {
    /// From values in the middle of cells, so many along x and y, continued to the edges of the ranges, so that contours of
    /// what a bound cuts end there.
    pub fn of_cells(density: &[f64], ranges: [(f64, f64); 2], cells: [usize; 2]) -> Self {
        let nodes = |(low, high): (f64, f64), bins: usize| {
            let width = (high - low) / bins as f64;
            let middle = (0..bins).map(|k| low + (k as f64 + 0.5) * width);
            std::iter::once(low)
                .chain(middle)
                .chain([high])
                .collect::<Vec<_>>()
        };
        let cell = |k: usize, bins: usize| k.clamp(1, bins) - 1;
        let [columns, rows] = cells;
        let values = (0..rows + 2)
            .flat_map(|row| (0..columns + 2).map(move |column| (row, column)))
            .map(|(row, column)| density[cell(row, rows) * columns + cell(column, columns)])
            .collect();
        Self {
            x: nodes(ranges[0], columns),
            y: nodes(ranges[1], rows),
            values,
        }
    }

    /// The area that each node stands for.
    pub fn areas(&self) -> Vec<f64> {
        let lengths = |nodes: &[f64]| -> Vec<f64> {
            let node = |i: isize| nodes[i.clamp(0, nodes.len() as isize - 1) as usize];
            (0..nodes.len() as isize)
                .map(|i| 0.5 * (node(i + 1) - node(i - 1)))
                .collect()
        };
        let widths = lengths(&self.x);
        let heights = lengths(&self.y);
        heights
            .iter()
            .flat_map(|h| widths.iter().map(move |w| w * h))
            .collect()
    }

    /// The same surface on a grid `factor` times as fine (Catmull and Rom 1974): a ridge that runs across coarse cells
    /// stays one ridge.
    pub fn refined(&self, factor: usize) -> Self {
        let fine = |nodes: &[f64]| -> Vec<f64> {
            let pieces = nodes.windows(2).flat_map(|pair| {
                let step = (pair[1] - pair[0]) / factor as f64;
                (0..factor).map(move |k| pair[0] + k as f64 * step)
            });
            pieces.chain(nodes.last().copied()).collect()
        };
        let columns = self.x.len();
        let along_x: Vec<f64> = self
            .values
            .chunks(columns)
            .flat_map(|row| refine(row, factor))
            .collect();
        let x = fine(&self.x);
        let by_column: Vec<Vec<f64>> = (0..x.len())
            .map(|c| {
                refine(
                    &along_x
                        .iter()
                        .skip(c)
                        .step_by(x.len())
                        .copied()
                        .collect::<Vec<_>>(),
                    factor,
                )
            })
            .collect();
        let y = fine(&self.y);
        let values = (0..y.len())
            .flat_map(|row| by_column.iter().map(move |column| column[row]))
            .collect();
        Self { x, y, values }
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
                if let Some(back) = joins.get_mut(&next)
                    && let Some(i) = back.iter().position(|&e| e == here)
                {
                    back.swap_remove(i);
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

/// How far a summit between nodes may rise above them, in nats. A parabola's rises by an eighth of the range of the four
/// nodes around it; next to a cliff that would be far too much.
const SUMMIT: f64 = 0.5;

/// Cubic interpolation between equally spaced log densities.
fn refine(values: &[f64], factor: usize) -> Vec<f64> {
    let value = |i: isize| values[i.clamp(0, values.len() as isize - 1) as usize];
    let mut fine = Vec::with_capacity(values.len() * factor);
    for i in 0..values.len() as isize - 1 {
        let [a, b, c, d] = [-1, 0, 1, 2].map(|k| value(i + k));
        let (low, high) = (a.min(b).min(c).min(d), a.max(b).max(c).max(d));
        for k in 0..factor {
            let t = k as f64 / factor as f64;
            let cubic =
                b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)));
            fine.push(if k == 0 {
                b
            } else {
                cubic.clamp(low, high + ((high - low) / 8.0).min(SUMMIT) + 1e-12)
            });
        }
    }
    fine.extend(values.last());
    fine
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
    fn refining_keeps_nodes_and_quadratics() {
        let nodes: Vec<f64> = (0..9).map(f64::from).collect();
        let values = nodes
            .iter()
            .flat_map(|y| nodes.iter().map(move |x| x * y - x * x))
            .collect();
        let fine = Grid {
            x: nodes.clone(),
            y: nodes,
            values,
        }
        .refined(4);
        assert_eq!((fine.x.len(), fine.y.len(), fine.values.len()), (33, 33, 33 * 33));
        // A cubic through four points is exact for quadratics away from the border.
        for row in 4..28 {
            for column in 4..28 {
                let (x, y) = (fine.x[column], fine.y[row]);
                assert!((fine.values[row * 33 + column] - (x * y - x * x)).abs() < 1e-12);
            }
        }
    }
}
