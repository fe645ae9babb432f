//! Set one panel for each parameter in rows and columns.

use super::canvas::Rect;
use super::panel::BELOW;
use super::style::{COLUMN, PAGE};

/// More panels than this cannot be read.
pub(super) const MAX_PANELS: usize = 36;

/// Where the panels of a figure are: one fills a column of a journal, more share a page.
pub(super) struct Tiles {
    pub width: f64,
    count: usize,
    columns: usize,
    left: f64,
    gap: f64,
    panel: (f64, f64),
}

/// What stays free to the right.
const RIGHT: f64 = 10.0;
/// What stays free above a panel.
const ABOVE: f64 = 7.0;

impl Tiles {
    /// `left` points stay free at the left of the figure and `gap` between its columns.
    pub fn new(count: usize, left: f64, gap: f64) -> Self {
        let columns = match count {
            0 | 1 => 1,
            2 | 4 => 2,
            _ => 3,
        };
        let width = if columns == 1 { COLUMN } else { PAGE };
        let inner = width - left - RIGHT - (columns - 1) as f64 * gap;
        let wide = inner / columns as f64;
        Self {
            width,
            count,
            columns,
            left,
            gap,
            panel: (wide, (0.62 * wide).min(118.0)),
        }
    }

    /// The height of all rows.
    pub fn height(&self) -> f64 {
        let rows = self.count.div_ceil(self.columns) as f64;
        rows * (self.panel.1 + BELOW + ABOVE) + 2.0
    }

    /// The place of panel `k` under `top`.
    pub fn place(&self, k: usize, top: f64) -> Rect {
        let (row, column) = (k / self.columns, k % self.columns);
        let (wide, high) = self.panel;
        let left = self.left + column as f64 * (wide + self.gap);
        (
            left,
            top + ABOVE + row as f64 * (high + BELOW + ABOVE),
            wide,
            high,
        )
    }

    /// Whether panel `k` is the first of its row.
    pub fn starts_row(&self, k: usize) -> bool {
        k.is_multiple_of(self.columns)
    }
}
