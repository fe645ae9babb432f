//! Train a small perceptron to tell two sets apart.
//!
//! Activations are kept unit by unit, the rows of a batch side by side: so small layers fill wide registers.

use armilla_samplers::rng::Stream;
use rand::{RngExt, seq::SliceRandom};

use crate::ops::simd::{dispatch, multiply_add, sigmoid};

const LAYERS: usize = 3;
/// Those of scikit-learn's classifier, which the benchmark uses, but for a rate three times as high: it finds fine patterns
/// sooner.
const BATCH: usize = 200;
const MOST_EPOCHS: usize = 1000;
const RATE: f32 = 3e-3;
const BETAS: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;
/// An epoch that lowers the loss by less does not count as better.
const BETTER: f64 = 1e-4;
/// So many of them in a row end the training. More than scikit-learn's 10: a fine pattern is found after a long rest.
const PATIENCE: usize = 40;
/// A loss on what is held out that is so much above its lowest ends it too: the rest is learned by heart.
const WORSE: f64 = 0.02;

/// Layers of rectified units, and one number at the end: the log odds that a point is a sample, not of the reference.
pub(super) struct Classifier {
    layers: [Layer; LAYERS],
    steps: i32,
}

struct Layer {
    inputs: usize,
    /// A row of (inputs + 1) numbers for each unit, its bias last.
    weights: Vec<f32>,
    gradient: Vec<f32>,
    moments: [Vec<f32>; 2],
}

/// What goes through the network with a batch.
struct Batch {
    rows: usize,
    /// What goes into each layer, and the outputs.
    values: [Vec<f32>; LAYERS + 1],
    labels: Vec<f32>,
}

impl Classifier {
    /// Weights as scikit-learn draws them: uniform in ±√(6 / (inputs + outputs)), half of that before the sigmoid.
    pub(super) fn new(sizes: [usize; LAYERS + 1], stream: &mut Stream) -> Self {
        let layers = std::array::from_fn(|l| {
            let (inputs, units) = (sizes[l], sizes[l + 1]);
            let factor: f64 = if l + 1 == LAYERS { 2.0 } else { 6.0 };
            let bound = (factor / (inputs + units) as f64).sqrt();
            let count = units * (inputs + 1);
            let draw = |_| (bound * (2.0 * stream.random::<f64>() - 1.0)) as f32;
            Layer {
                inputs,
                weights: (0..count).map(draw).collect(),
                gradient: vec![0.0; count],
                moments: [vec![0.0; count], vec![0.0; count]],
            }
        });
        Self { layers, steps: 0 }
    }

    /// Learns from the `picks` of the `points`, of which the first `reference` are of the reference.
    ///
    /// A tenth of them is held out, and says which epoch was the best.
    pub(super) fn train(
        &mut self,
        points: &[f32],
        mut picks: Vec<usize>,
        reference: usize,
        stream: &mut Stream,
    ) {
        let held_out = picks.split_off(picks.len() - picks.len().div_ceil(10));
        let (mut lowest, mut stale) = (f64::INFINITY, 0);
        let mut best = (self.loss(points, &held_out, reference), self.weights());
        for _ in 0..MOST_EPOCHS {
            picks.shuffle(stream);
            let mut loss = 0.0;
            for picks in picks.chunks(BATCH) {
                let mut batch = self.forward(points, picks, reference);
                loss += batch.loss();
                self.backward(&mut batch);
                self.step();
            }
            loss /= picks.len() as f64;
            let judged = self.loss(points, &held_out, reference);
            if judged < best.0 {
                best = (judged, self.weights());
            }
            stale = if loss > lowest - BETTER { stale + 1 } else { 0 };
            lowest = lowest.min(loss);
            if stale == PATIENCE || judged > best.0 + WORSE {
                break;
            }
        }
        for (layer, weights) in self.layers.iter_mut().zip(best.1) {
            layer.weights = weights;
        }
    }

    fn weights(&self) -> [Vec<f32>; LAYERS] {
        self.layers.each_ref().map(|layer| layer.weights.clone())
    }

    /// Mean of the cross entropies.
    fn loss(&self, points: &[f32], picks: &[usize], reference: usize) -> f64 {
        let sum = |picks: &[usize]| self.forward(points, picks, reference).loss();
        picks.chunks(BATCH).map(sum).sum::<f64>() / picks.len() as f64
    }

    /// How many of the `picks` it tells right.
    pub(super) fn right(&self, points: &[f32], picks: &[usize], reference: usize) -> usize {
        let right = |picks: &[usize]| {
            let batch = self.forward(points, picks, reference);
            let told = batch.values[LAYERS].iter().zip(&batch.labels);
            told.filter(|(odds, label)| (**odds > 0.0) == (**label == 1.0))
                .count()
        };
        picks.chunks(BATCH).map(right).sum()
    }

    fn forward(&self, points: &[f32], picks: &[usize], reference: usize) -> Batch {
        let (rows, dim) = (picks.len(), self.layers[0].inputs);
        let mut values: [Vec<f32>; LAYERS + 1] = Default::default();
        values[0] = (0..dim)
            .flat_map(|i| picks.iter().map(move |pick| points[pick * dim + i]))
            .collect();
        for (l, layer) in self.layers.iter().enumerate() {
            let units = layer.weights.len() / (layer.inputs + 1);
            let mut y = vec![0.0; units * rows];
            affine(&layer.weights, &values[l], &mut y, rows);
            if l + 1 < LAYERS {
                y.iter_mut().for_each(|y| *y = y.max(0.0));
            }
            values[l + 1] = y;
        }
        let labels = picks.iter().map(|pick| if *pick < reference { 0.0 } else { 1.0 });
        Batch {
            rows,
            values,
            labels: labels.collect(),
        }
    }

    /// Leaves the gradient of the mean cross entropy in the layers.
    fn backward(&mut self, batch: &mut Batch) {
        let rows = batch.rows;
        let mut dy = std::mem::take(&mut batch.values[LAYERS]);
        for (odds, label) in dy.iter_mut().zip(&batch.labels) {
            *odds = (sigmoid::<false>(*odds) - label) / rows as f32;
        }
        for (l, layer) in self.layers.iter_mut().enumerate().rev() {
            let x = &batch.values[l];
            weight_gradient(x, &dy, &mut layer.gradient, rows);
            if l > 0 {
                let mut dx = vec![0.0; x.len()];
                input_gradient(&layer.weights, &dy, &mut dx, rows);
                for (d, x) in dx.iter_mut().zip(x) {
                    *d = if *x > 0.0 { *d } else { 0.0 };
                }
                dy = dx;
            }
        }
    }

    /// One step of Adam (Kingma & Ba 2015, arXiv 1412.6980).
    fn step(&mut self) {
        self.steps += 1;
        let [first, second] = BETAS.map(|b| 1.0 - b.powi(self.steps));
        let rate = RATE / first;
        for layer in &mut self.layers {
            let [m, v] = &mut layer.moments;
            for (((w, g), m), v) in layer.weights.iter_mut().zip(&layer.gradient).zip(m).zip(v) {
                *m = BETAS[0] * *m + (1.0 - BETAS[0]) * g;
                *v = BETAS[1] * *v + (1.0 - BETAS[1]) * g * g;
                *w -= rate * *m / ((*v / second).sqrt() + EPSILON);
            }
        }
    }
}

impl Batch {
    /// Sum of the cross entropies.
    fn loss(&self) -> f64 {
        let entropy = |(odds, label): (&f32, &f32)| {
            let wrong = if *label == 1.0 { -odds } else { *odds };
            f64::from(wrong.max(0.0) + (-wrong.abs()).exp().ln_1p())
        };
        self.values[LAYERS].iter().zip(&self.labels).map(entropy).sum()
    }
}

dispatch! {
    /// y = W x + b for `rows` columns at once.
    fn affine(w: &[f32], x: &[f32], y: &mut [f32], rows: usize) = affine_body
}

#[inline(always)]
fn affine_body<const FMA: bool>(w: &[f32], x: &[f32], y: &mut [f32], rows: usize) {
    for (w, y) in w.chunks_exact(x.len() / rows + 1).zip(y.chunks_exact_mut(rows)) {
        y.fill(w[w.len() - 1]);
        for (w, x) in w.iter().zip(x.chunks_exact(rows)) {
            y.iter_mut()
                .zip(x)
                .for_each(|(y, x)| *y = multiply_add::<FMA>(*w, *x, *y));
        }
    }
}

dispatch! {
    /// dx += Wᵀ dy.
    fn input_gradient(w: &[f32], dy: &[f32], dx: &mut [f32], rows: usize) = input_gradient_body
}

#[inline(always)]
fn input_gradient_body<const FMA: bool>(w: &[f32], dy: &[f32], dx: &mut [f32], rows: usize) {
    for (w, dy) in w.chunks_exact(dx.len() / rows + 1).zip(dy.chunks_exact(rows)) {
        for (w, dx) in w.iter().zip(dx.chunks_exact_mut(rows)) {
            dx.iter_mut()
                .zip(dy)
                .for_each(|(x, y)| *x = multiply_add::<FMA>(*w, *y, *x));
        }
    }
}

dispatch! {
    /// dW = dy xᵀ, and db.
    fn weight_gradient(x: &[f32], dy: &[f32], dw: &mut [f32], rows: usize) = weight_gradient_body
}

#[inline(always)]
fn weight_gradient_body<const FMA: bool>(x: &[f32], dy: &[f32], dw: &mut [f32], rows: usize) {
    // Sums that do not wait for each other.
    const LANES: usize = 16;
    for (dw, dy) in dw.chunks_exact_mut(x.len() / rows + 1).zip(dy.chunks_exact(rows)) {
        for (dw, x) in dw.iter_mut().zip(x.chunks_exact(rows)) {
            let (mut sums, whole) = ([0.0f32; LANES], rows / LANES * LANES);
            for (x, y) in x.chunks_exact(LANES).zip(dy.chunks_exact(LANES)) {
                for l in 0..LANES {
                    sums[l] = multiply_add::<FMA>(x[l], y[l], sums[l]);
                }
            }
            let rest: f32 = x[whole..].iter().zip(&dy[whole..]).map(|(x, y)| x * y).sum();
            *dw = sums.iter().sum::<f32>() + rest;
        }
        let bias = dw.len() - 1;
        dw[bias] = dy.iter().sum();
    }
}

#[cfg(test)]
mod tests {
    use armilla_samplers::rng::{Purpose, stream};

    use super::*;

    #[test]
    fn the_gradient_meets_finite_differences() {
        let mut draws = stream(1, Purpose::Training, 0);
        let mut classifier = Classifier::new([2, 5, 5, 1], &mut draws);
        let points: Vec<f32> = (0..74).map(|_| 2.0 * draws.random::<f32>() - 1.0).collect();
        let picks: Vec<usize> = (0..37).collect();
        let loss = |classifier: &mut Classifier| {
            let mut batch = classifier.forward(&points, &picks, 20);
            let loss = batch.loss() / 37.0;
            classifier.backward(&mut batch);
            loss
        };
        for l in 0..LAYERS {
            for i in 0..classifier.layers[l].weights.len() {
                let mut at = |delta: f32| {
                    classifier.layers[l].weights[i] += delta;
                    let value = loss(&mut classifier);
                    classifier.layers[l].weights[i] -= delta;
                    value
                };
                let numeric = (at(1e-2) - at(-1e-2)) / 2e-2;
                at(0.0);
                let exact = f64::from(classifier.layers[l].gradient[i]);
                // A unit may switch within the step.
                assert!((exact - numeric).abs() < 3e-3, "{l} {i}: {exact} {numeric}");
            }
        }
    }
}
