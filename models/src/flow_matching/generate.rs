//! Draw new fields: follow the learned velocity from noise back to data.

use armilla_samplers::rng::{Purpose, stream};
use rand_distr::{Distribution, StandardNormal};

use crate::{
    error::{ModelError, Result},
    likelihoods::NoiseKey,
    path::Time,
    velocity::{Coefficients, VelocityBasis, rows_at_once},
};

/// `count` fields of about unit variance at the parameters `theta` (physical units), one after the other.
///
/// Solves dx/dt = v from noise to data with Heun's method in `steps` steps over the times that the network was
/// trained on, then goes to `x0 = x_t − t v` (Lipman et al. 2023, arXiv 2210.02747).
///
/// # Errors
/// `Invalid` for no step or parameters of another number or outside the training box.
pub fn generate<B: VelocityBasis>(
    network: &B,
    theta: &[f64],
    count: usize,
    steps: usize,
    key: NoiseKey,
) -> Result<Vec<f32>> {
    let coefficients = network.coefficients();
    if steps == 0 || theta.len() != coefficients.dim() || !coefficients.covers(theta) {
        return Err(ModelError::Invalid(format!(
            "cannot generate at {theta:?} in {steps} steps: {} parameters inside the training box are needed",
            coefficients.dim()
        )));
    }
    let n = network.field_len();
    let rows = rows_at_once(network);
    if count > rows {
        // Many fields go in parts, each under a key of its own.
        let mut fields = Vec::with_capacity(count * n);
        for (part, first) in (0..count).step_by(rows).enumerate() {
            let key = key.wrapping_add((part as u64) << 32);
            fields.extend(generate(network, theta, rows.min(count - first), steps, key)?);
        }
        return Ok(fields);
    }
    let velocity = |x: &[f32], t: f64| -> Result<Vec<f32>> {
        let time = Time::from_t(t);
        let scale = time.scale as f32;
        let basis = network.basis(x.iter().map(|x| x / scale).collect(), &vec![time; count])?;
        let c = coefficients.at(&[time], theta);
        let drift = ((2.0 * t - 1.0) / time.scale.powi(2)) as f32;
        let mut v: Vec<f32> = x.iter().map(|x| drift * x).collect();
        for (v, h) in v.chunks_exact_mut(n).zip(basis.chunks_exact(n * c.len())) {
            for (h, c) in h.chunks_exact(n).zip(&c) {
                let weight = *c as f32 / scale;
                v.iter_mut().zip(h).for_each(|(v, h)| *v += weight * h);
            }
        }
        Ok(v)
    };
    let mut stream = stream(key, Purpose::Noise, u64::MAX - 1);
    let mut x: Vec<f32> = (0..count * n)
        .map(|_| StandardNormal.sample(&mut stream))
        .collect();
    let [low, high] = network.log_snr_range();
    let (start, end) = (Time::from_log_snr(low).t, Time::from_log_snr(high).t);
    // Noise of unit variance is a little more than x has where the solution starts.
    x.iter_mut().for_each(|x| *x *= Time::from_t(start).scale as f32);
    let at = |step: usize| start + (end - start) * step as f64 / steps as f64;
    for step in 0..steps {
        let h = (at(step + 1) - at(step)) as f32;
        let first = velocity(&x, at(step))?;
        let there: Vec<f32> = x.iter().zip(&first).map(|(x, v)| x + h * v).collect();
        let second = velocity(&there, at(step + 1))?;
        for ((x, a), b) in x.iter_mut().zip(&first).zip(&second) {
            *x += 0.5 * h * (a + b);
        }
    }
    let last = velocity(&x, end)?;
    x.iter_mut().zip(last).for_each(|(x, v)| *x -= end as f32 * v);
    Ok(x)
}
