//! Fit the coefficients of a separable field with its basis fixed.

use armilla_samplers::rng::{Purpose, stream};
use rayon::prelude::*;

use super::{Drawing, Refine};
use crate::{
    device::Device,
    error::Result,
    gram::Quadratic,
    train::{Adam, Event, Order, Trainer, Training, adam, cosine_rate},
    velocity::{VelocityBasis, VelocityNetwork, rows_at_once},
};

/// A batch's gradient is summed in this many parts: fixed, so that it does not depend on the threads.
const PARTS: usize = 8;
/// Times rarer than this in training are not given more weight: their share of the loss would be noise.
const RAREST: f64 = 0.02;

/// The stream of the noise, and the orders of fields and forms.
const NOISE: u64 = 2;
const FIELDS: u64 = 1;
const FORMS: u64 = 2;

/// Minimises the evidence-weighted error in the coefficients' weights; returns the mean loss of the last tenth, or none
/// if it was interrupted.
pub(super) fn refine<D: Device>(
    settings: Refine,
    network: &mut VelocityNetwork<D>,
    training: &Drawing<'_>,
    run: &mut Training<'_>,
) -> Result<Option<f64>> {
    let seed = run.session.seed;
    let fields = training.fields();
    let draws = settings.draws * fields;
    let rows_at_once = rows_at_once(network);
    let passes = draws.div_ceil(rows_at_once);
    let total = passes + settings.steps;
    let mut stream = stream(seed, Purpose::Training, NOISE);
    let mut order = Order::new(seed, FIELDS, fields);
    let times = network.config().times;
    // What each field says about the coefficients: a quadratic form, its weight, and what it belongs to.
    let mut forms: Vec<(Quadratic, Vec<f64>)> = Vec::with_capacity(draws);
    for pass in 0..passes {
        if run.session.is_interrupted() {
            return Ok(None);
        }
        let picks = order.at(forms.len()..draws.min(forms.len() + rows_at_once));
        let batch = training.draw(&picks, &mut stream)?;
        let inputs = batch.inputs(network);
        let width = inputs.len() / batch.times.len();
        let basis = network.basis(batch.x, &batch.times)?;
        let rows = Quadratic::rows(&basis, &batch.u, network.field_len());
        for ((form, input), time) in rows.into_iter().zip(inputs.chunks_exact(width)).zip(&batch.times) {
            let weight = ((1.0 - time.t) / time.scale).powi(2) / (times.density(time.log_snr) + RAREST);
            forms.push((form.scaled(weight / network.field_len() as f64), input.to_vec()));
        }
        (run.session.observe)(Event::Refining {
            done: pass + 1,
            total,
        })?;
    }

    let mlp = &mut network.coefficients.mlp;
    let mut weights = mlp.weights();
    let unclipped = Trainer {
        max_norm: f64::INFINITY,
        ..Trainer::default()
    };
    let mut adam = Adam::new(&weights, &unclipped);
    let mut order = Order::new(seed, FORMS, forms.len());
    let (mut loss, mut counted) = (0.0, 0);
    for step in 0..settings.steps {
        if run.session.is_interrupted() {
            return Ok(None);
        }
        let picks = order.at(step * settings.batch_size..(step + 1) * settings.batch_size);
        let part = picks.len().div_ceil(PARTS);
        let current = &*mlp;
        let parts: Vec<(f64, Vec<Vec<f64>>)> = picks
            .par_chunks(part)
            .map(|picks| {
                let inputs = picks.iter().flat_map(|&i| forms[i].1.iter().copied()).collect();
                let (c, kept) = current.forward(inputs);
                let rows = || {
                    picks
                        .iter()
                        .map(|&i| &forms[i].0)
                        .zip(c.chunks_exact(current.outputs()))
                };
                let value = rows().map(|(form, c)| form.value(c)).sum();
                let dc = rows().flat_map(|(form, c)| form.gradient(c)).collect();
                let mut gradient = current.zero_gradient();
                current.backward(&kept, dc, Some(&mut gradient));
                (value, gradient)
            })
            .collect();
        let share = 1.0 / picks.len() as f64;
        let mut gradient = mlp.zero_gradient();
        for (value, part) in &parts {
            if step * 10 >= settings.steps * 9 {
                loss += value * share;
            }
            for (sum, part) in gradient.iter_mut().zip(part) {
                sum.iter_mut().zip(part).for_each(|(s, p)| *s += p * share);
            }
        }
        counted += usize::from(step * 10 >= settings.steps * 9);
        let gradient: Vec<Vec<f32>> = gradient
            .iter()
            .map(|g| g.iter().map(|g| *g as f32).collect())
            .collect();
        let norm = adam::norm(&gradient);
        let rate = cosine_rate(settings.learning_rate, step, settings.steps, 1);
        if !(loss.is_finite() && norm.is_finite()) {
            let value = if loss.is_finite() { norm } else { loss };
            return Err(run.diverged("loss or gradient of refine", value, step, rate));
        }
        adam.step(&mut weights, &gradient, norm, rate);
        mlp.load(&weights)?;
        (run.session.observe)(Event::Refining {
            done: passes + step + 1,
            total,
        })?;
    }
    Ok(Some(loss / counted.max(1) as f64))
}
