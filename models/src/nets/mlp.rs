//! Map a few numbers to a few others: a multilayer perceptron on the host, in f64, with its derivatives.
//!
//! It stands where a likelihood is evaluated thousands of times at a few dozen rows: too small for a
//! device, and asked from many threads.

use armilla_samplers::rng::Stream;
use rand::RngExt;

use crate::{
    error::Result,
    ops::simd::dispatch,
    weights::{Weight, Weights},
};

/// Linear layers with SiLU between them.
#[derive(Debug, Clone)]
pub struct Mlp {
    layers: Vec<Layer>,
}

#[derive(Debug, Clone)]
struct Layer {
    inputs: usize,
    outputs: usize,
    /// (inputs, outputs): a row of weights for each input.
    weight: Vec<f64>,
    bias: Vec<f64>,
}

/// What a forward pass leaves for the backward one: the input of each layer, and what goes into each SiLU.
#[derive(Debug, Clone)]
pub struct Activations {
    inputs: Vec<Vec<f64>>,
    before: Vec<Vec<f64>>,
}

impl Mlp {
    /// Layers of these sizes; weights start uniform in ±1/√inputs, the last layer's at a tenth of that.
    pub fn new(sizes: &[usize], stream: &mut Stream) -> Self {
        let last = sizes.len().saturating_sub(2);
        let layer = |(i, pair): (usize, &[usize])| {
            let bound = if i == last { 0.1 } else { 1.0 } / (pair[0] as f64).sqrt();
            // Rounded to f32, as a checkpoint keeps them.
            let mut draw = || f64::from((bound * (2.0 * stream.random::<f64>() - 1.0)) as f32);
            let weight = (0..pair[0] * pair[1]).map(|_| draw()).collect();
            Layer {
                inputs: pair[0],
                outputs: pair[1],
                weight,
                bias: (0..pair[1]).map(|_| draw()).collect(),
            }
        };
        Self {
            layers: sizes.windows(2).enumerate().map(layer).collect(),
        }
    }

    /// Numbers that come out for each row.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |l| l.outputs)
    }

    /// (rows × inputs) → (rows × outputs), and what the backward pass needs.
    pub fn forward(&self, x: Vec<f64>) -> (Vec<f64>, Activations) {
        let mut kept = Activations {
            inputs: Vec::new(),
            before: Vec::new(),
        };
        let mut x = x;
        for (i, layer) in self.layers.iter().enumerate() {
            let mut y = Vec::with_capacity(x.len() / layer.inputs * layer.outputs);
            for _ in 0..x.len() / layer.inputs {
                y.extend_from_slice(&layer.bias);
            }
            multiply(&x, &layer.weight, &mut y, layer.inputs, layer.outputs);
            kept.inputs.push(x);
            if i + 1 < self.layers.len() {
                x = y.iter().map(|a| a * sigmoid(*a)).collect();
                kept.before.push(y);
            } else {
                x = y;
            }
        }
        (x, kept)
    }

    /// From the gradient of the outputs to that of the inputs (rows × inputs); with `weights`, adds the gradient
    /// of every weight to it, in the order of [`Mlp::weights`].
    pub fn backward(
        &self,
        kept: &Activations,
        dy: Vec<f64>,
        mut weights: Option<&mut [Vec<f64>]>,
    ) -> Vec<f64> {
        let mut dy = dy;
        for (i, layer) in self.layers.iter().enumerate().rev() {
            if i + 1 < self.layers.len() {
                for (d, a) in dy.iter_mut().zip(&kept.before[i]) {
                    let s = sigmoid(*a);
                    *d *= s * (1.0 + a * (1.0 - s));
                }
            }
            if let Some(weights) = &mut weights {
                accumulate(
                    &kept.inputs[i],
                    &dy,
                    &mut weights[2 * i],
                    layer.inputs,
                    layer.outputs,
                );
                for dy in dy.chunks_exact(layer.outputs) {
                    weights[2 * i + 1].iter_mut().zip(dy).for_each(|(b, d)| *b += d);
                }
            }
            let mut dx = vec![0.0; kept.inputs[i].len()];
            multiply_transposed(&dy, &layer.weight, &mut dx, layer.inputs, layer.outputs);
            dy = dx;
        }
        dy
    }

    /// Zeros in the shape of the gradient.
    pub fn zero_gradient(&self) -> Vec<Vec<f64>> {
        self.layers
            .iter()
            .flat_map(|l| [vec![0.0; l.weight.len()], vec![0.0; l.bias.len()]])
            .collect()
    }

    /// A copy of the weights, `0.weight` (inputs, outputs), `0.bias`, `1.weight`, …
    pub fn weights(&self) -> Weights {
        let named = |(i, l): (usize, &Layer)| {
            let narrow = |v: &[f64]| v.iter().map(|v| *v as f32).collect();
            [
                Weight::new(
                    format!("{i}.weight"),
                    vec![l.inputs, l.outputs],
                    narrow(&l.weight),
                ),
                Weight::new(format!("{i}.bias"), vec![l.outputs], narrow(&l.bias)),
            ]
        };
        Weights(self.layers.iter().enumerate().flat_map(named).collect())
    }

    /// Replaces the weights.
    ///
    /// # Errors
    /// `Invalid` where names or shapes differ.
    pub fn load(&mut self, weights: &Weights) -> Result<()> {
        let own = self.weights();
        let widened: Vec<Vec<f64>> = weights
            .matched(own.shapes())?
            .iter()
            .map(|v| v.iter().map(|v| f64::from(*v)).collect())
            .collect();
        for (layer, pair) in self.layers.iter_mut().zip(widened.chunks_exact(2)) {
            layer.weight.copy_from_slice(&pair[0]);
            layer.bias.copy_from_slice(&pair[1]);
        }
        Ok(())
    }
}

fn sigmoid(a: f64) -> f64 {
    1.0 / (1.0 + (-a).exp())
}

dispatch! {
    /// y += x · w for (rows, inputs) · (inputs, outputs).
    fn multiply(x: &[f64], w: &[f64], y: &mut [f64], inputs: usize, outputs: usize) = multiply_body
}

#[inline(always)]
fn multiply_body<const FMA: bool>(x: &[f64], w: &[f64], y: &mut [f64], inputs: usize, outputs: usize) {
    // A block of outputs stays in registers while the inputs pass.
    const BLOCK: usize = 16;
    for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs)) {
        let whole = outputs / BLOCK * BLOCK;
        for o in (0..whole).step_by(BLOCK) {
            let mut sum = [0.0; BLOCK];
            sum.copy_from_slice(&y[o..o + BLOCK]);
            for (x, w) in x.iter().zip(w.chunks_exact(outputs)) {
                let w = &w[o..o + BLOCK];
                for l in 0..BLOCK {
                    sum[l] = if FMA {
                        x.mul_add(w[l], sum[l])
                    } else {
                        x * w[l] + sum[l]
                    };
                }
            }
            y[o..o + BLOCK].copy_from_slice(&sum);
        }
        for o in whole..outputs {
            y[o] += x
                .iter()
                .zip(w.chunks_exact(outputs))
                .map(|(x, w)| x * w[o])
                .sum::<f64>();
        }
    }
}

dispatch! {
    /// dx = dy · wᵀ, row by row.
    fn multiply_transposed(dy: &[f64], w: &[f64], dx: &mut [f64], inputs: usize, outputs: usize) = multiply_transposed_body
}

#[inline(always)]
fn multiply_transposed_body<const FMA: bool>(
    dy: &[f64],
    w: &[f64],
    dx: &mut [f64],
    inputs: usize,
    outputs: usize,
) {
    const LANES: usize = 8;
    for (dx, dy) in dx.chunks_exact_mut(inputs).zip(dy.chunks_exact(outputs)) {
        for (dx, w) in dx.iter_mut().zip(w.chunks_exact(outputs)) {
            let mut sum = [0.0f64; LANES];
            let (w, d) = (w.as_chunks::<LANES>(), dy.as_chunks::<LANES>());
            for (w, d) in w.0.iter().zip(d.0) {
                for l in 0..LANES {
                    sum[l] = if FMA {
                        w[l].mul_add(d[l], sum[l])
                    } else {
                        w[l] * d[l] + sum[l]
                    };
                }
            }
            *dx = sum.iter().sum::<f64>() + w.1.iter().zip(d.1).map(|(w, d)| w * d).sum::<f64>();
        }
    }
}

dispatch! {
    /// dw += xᵀ · dy, summed over rows in order.
    fn accumulate(x: &[f64], dy: &[f64], dw: &mut [f64], inputs: usize, outputs: usize) = accumulate_body
}

#[inline(always)]
fn accumulate_body<const FMA: bool>(x: &[f64], dy: &[f64], dw: &mut [f64], inputs: usize, outputs: usize) {
    for (x, dy) in x.chunks_exact(inputs).zip(dy.chunks_exact(outputs)) {
        for (x, dw) in x.iter().zip(dw.chunks_exact_mut(outputs)) {
            for (w, d) in dw.iter_mut().zip(dy) {
                *w = if FMA { x.mul_add(*d, *w) } else { x * d + *w };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use armilla_samplers::rng::{Purpose, stream};

    use super::*;

    /// Central differences of a smooth function in f64.
    const SMOOTH: f64 = 1e-7;

    #[test]
    fn gradients_meet_finite_differences() {
        let mut stream = stream(3, Purpose::Weights, 0);
        let mlp = Mlp::new(&[3, 8, 5, 2], &mut stream);
        let x: Vec<f64> = (0..6).map(|i| 0.3 * i as f64 - 0.7).collect();
        let probe = [0.7, -1.1, 0.4, 0.9];
        let value = |mlp: &Mlp, x: &[f64]| -> f64 {
            mlp.forward(x.to_vec())
                .0
                .iter()
                .zip(probe)
                .map(|(y, p)| y * p)
                .sum()
        };
        let (_, kept) = mlp.forward(x.clone());
        let mut weights = mlp.zero_gradient();
        let dx = mlp.backward(&kept, probe.to_vec(), Some(&mut weights));
        let h = 1e-5;
        for i in 0..x.len() {
            let mut up = x.clone();
            up[i] += h;
            let mut down = x.clone();
            down[i] -= h;
            let numeric = (value(&mlp, &up) - value(&mlp, &down)) / (2.0 * h);
            assert!((dx[i] - numeric).abs() < SMOOTH, "{i}: {} {numeric}", dx[i]);
        }
        for (part, gradient) in weights.iter().enumerate() {
            for (n, g) in gradient.iter().enumerate() {
                let layer = part / 2;
                let mut up = mlp.clone();
                let mut down = mlp.clone();
                let (u, d) = if part % 2 == 0 {
                    (&mut up.layers[layer].weight[n], &mut down.layers[layer].weight[n])
                } else {
                    (&mut up.layers[layer].bias[n], &mut down.layers[layer].bias[n])
                };
                *u += h;
                *d -= h;
                let numeric = (value(&up, &x) - value(&down, &x)) / (2.0 * h);
                assert!((g - numeric).abs() < SMOOTH, "{part}.{n}: {g} {numeric}");
            }
        }
    }
}
