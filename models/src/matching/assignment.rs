//! Pair rows with columns at the least cost.

/// The column of each row, so that the sum of `cost` (n × n, row by row) is the least: O(n³).
///
/// Rows are added one after the other, each along a shortest augmenting path under dual prices that keep all reduced
/// costs non-negative (Jonker & Volgenant 1987, doi 10.1007/BF02278710). Of several best pairings it gives the same one
/// each time.
pub(super) fn assign(cost: &[f64], n: usize) -> Vec<usize> {
    debug_assert_eq!(cost.len(), n * n);
    const NONE: usize = usize::MAX;
    let (mut row_price, mut column_price) = (vec![0.0; n], vec![0.0; n]);
    let mut row_of = vec![NONE; n];
    let (mut distance, mut before, mut left) = (vec![0.0; n], vec![NONE; n], Vec::with_capacity(n));
    for start in 0..n {
        distance.fill(f64::INFINITY);
        before.fill(NONE);
        left.clear();
        left.extend(0..n);
        let (mut row, mut through, mut reached) = (start, NONE, 0.0);
        // Settled columns, each with its distance.
        let mut settled = Vec::new();
        let end = loop {
            let costs = &cost[row * n..(row + 1) * n];
            let (mut best, mut nearest) = (f64::INFINITY, 0);
            for (at, &column) in left.iter().enumerate() {
                let reduced = reached + costs[column] - row_price[row] - column_price[column];
                if reduced < distance[column] {
                    distance[column] = reduced;
                    before[column] = through;
                }
                if distance[column] < best {
                    (best, nearest) = (distance[column], at);
                }
            }
            let column = left.swap_remove(nearest);
            reached = distance[column];
            settled.push(column);
            if row_of[column] == NONE {
                break column;
            }
            (row, through) = (row_of[column], column);
        };
        row_price[start] += reached;
        for &column in &settled[..settled.len() - 1] {
            let slack = reached - distance[column];
            column_price[column] -= slack;
            row_price[row_of[column]] += slack;
        }
        // Back along the path each column takes the row of the one before.
        let mut column = end;
        loop {
            let earlier = before[column];
            if earlier == NONE {
                row_of[column] = start;
                break;
            }
            row_of[column] = row_of[earlier];
            column = earlier;
        }
    }
    let mut column_of = vec![0; n];
    row_of
        .iter()
        .enumerate()
        .for_each(|(column, &row)| column_of[row] = column);
    column_of
}

#[cfg(test)]
mod tests {
    use armilla_samplers::rng::{Purpose, stream};
    use rand::RngExt;

    use super::*;

    fn total(cost: &[f64], n: usize, columns: &[usize]) -> f64 {
        columns.iter().enumerate().map(|(i, j)| cost[i * n + j]).sum()
    }

    /// The least sum over all permutations.
    fn brute_force(cost: &[f64], n: usize) -> f64 {
        fn go(cost: &[f64], n: usize, row: usize, taken: &mut Vec<bool>) -> f64 {
            if row == n {
                return 0.0;
            }
            let mut best = f64::INFINITY;
            for column in 0..n {
                if !taken[column] {
                    taken[column] = true;
                    best = best.min(cost[row * n + column] + go(cost, n, row + 1, taken));
                    taken[column] = false;
                }
            }
            best
        }
        go(cost, n, 0, &mut vec![false; n])
    }

    #[test]
    fn no_permutation_costs_less() {
        let mut stream = stream(4, Purpose::Noise, 0);
        for n in 1..=7 {
            for round in 0..40 {
                // Whole numbers tie often.
                let cost: Vec<f64> = (0..n * n)
                    .map(|_| match round % 2 {
                        0 => 20.0 * stream.random::<f64>() - 10.0,
                        _ => stream.random_range(-3..4) as f64,
                    })
                    .collect();
                let columns = assign(&cost, n);
                let mut seen = columns.clone();
                seen.sort_unstable();
                assert_eq!(seen, (0..n).collect::<Vec<_>>());
                let (found, best) = (total(&cost, n, &columns), brute_force(&cost, n));
                assert!((found - best).abs() < 1e-9, "{n}: {found} {best}");
            }
        }
        assert!(assign(&[], 0).is_empty());
    }

    #[test]
    fn on_a_line_the_order_is_kept() {
        let n = 300;
        let mut stream = stream(5, Purpose::Noise, 0);
        let [a, b]: [Vec<f64>; 2] = std::array::from_fn(|_| (0..n).map(|_| stream.random()).collect());
        let cost: Vec<f64> = (0..n * n).map(|k| -a[k / n] * b[k % n]).collect();
        let columns = assign(&cost, n);
        let mut rows: Vec<usize> = (0..n).collect();
        rows.sort_by(|i, j| a[*i].total_cmp(&a[*j]));
        assert!(rows.windows(2).all(|w| b[columns[w[0]]] < b[columns[w[1]]]));
    }
}
