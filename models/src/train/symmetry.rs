//! Turn, mirror and shift square fields at random: a law that knows neither place nor direction stays the same.

use armilla_samplers::rng::Stream;
use rand::RngExt;

/// A random symmetry of a square: transposition, two mirrors, and two shifts if it is periodic.
pub(crate) fn symmetry(side: usize, periodic: bool, stream: &mut Stream) -> [usize; 5] {
    let shifts = if periodic { side } else { 1 };
    [2, 2, 2, shifts, shifts].map(|n| stream.random_range(0..n))
}

/// Moves each channel of a field of squares.
pub(crate) fn turn(field: &mut [f32], side: usize, place: [usize; 5]) {
    for channel in field.chunks_exact_mut(side * side) {
        let before = channel.to_vec();
        for (pixel, value) in channel.iter_mut().enumerate() {
            *value = before[moved(pixel, side, place)];
        }
    }
}

/// Where the pixel of the moved field comes from.
fn moved(pixel: usize, side: usize, [transpose, mirror_y, mirror_x, shift_y, shift_x]: [usize; 5]) -> usize {
    let (mut y, mut x) = (pixel / side, pixel % side);
    if transpose == 1 {
        (y, x) = (x, y);
    }
    if mirror_y == 1 {
        y = side - 1 - y;
    }
    if mirror_x == 1 {
        x = side - 1 - x;
    }
    (y + shift_y) % side * side + (x + shift_x) % side
}

#[cfg(test)]
mod tests {
    use super::*;
    use armilla_samplers::rng::{Purpose, stream};

    #[test]
    fn symmetries_move_every_pixel_somewhere() {
        let mut stream = stream(1, Purpose::Training, 0);
        for _ in 0..20 {
            let place = symmetry(6, true, &mut stream);
            let mut seen: Vec<usize> = (0..36).map(|p| moved(p, 6, place)).collect();
            seen.sort();
            assert_eq!(seen, (0..36).collect::<Vec<_>>());
        }
    }
}
