//! Convolve by dfdx's operations alone: what any device can run, and what the kernels are compared with.
//!
//! What each tap of the kernel sees is gathered, channels last, and multiplied with the weights: neighbours in memory
//! stay neighbours, and the list of what is seen is the same for every channel and field.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use dfdx::{
    shapes::{Axes2, Axes3, Axes4, Axis, Dtype, HasShape},
    tensor::{NoneTape, PutTape, SplitTape, Storage, Tape, Tensor, TensorFromVec, WithEmptyTape},
    tensor_ops::{BroadcastTo, GatherTo, PermuteTo, ReshapeTo, TryAdd, TryConcatAlong, TryMatMul},
};

use super::geometry::{self, Extent, Geometry, Sizes};
use crate::field::{Flat, Values};

/// Numbers that are gathered at once: 256 MB of single precision. A field that takes more goes alone.
/// Small in tests, so that they go through the parts.
const GATHERED: usize = if cfg!(test) { 300 } else { 1 << 26 };

/// The lists of what is seen that are kept with a weight: a network sees fields of one extent, seldom of more.
const KEPT: usize = 2;

/// What the taps of a kernel see, kept on the device with the weight that they belong to.
#[derive(Debug)]
pub struct Kept<D: Storage<usize>>(Arc<Mutex<Lists<D>>>);

type Lists<D> = Vec<(Key, Rounds<D>)>;

/// Whether the convolution goes to finer fields, and its sizes for one field.
type Key = (bool, Sizes);
type Rounds<D> = Vec<Seen<D>>;

/// For each position that comes out and each tap, the position that it sees.
#[derive(Debug, Clone)]
struct Seen<D: Storage<usize>> {
    /// `None` where each position sees itself and nothing else.
    places: Option<Tensor<(usize,), usize, D>>,
    /// Whether some see what lies outside, which is numbered as one past the last position.
    outside: bool,
}

impl<D: Storage<usize>> Default for Kept<D> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<D: Storage<usize>> Clone for Kept<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D: Storage<usize>> Kept<D> {
    fn rounds<E>(
        &self,
        key: Key,
        make: impl FnOnce() -> std::result::Result<Rounds<D>, E>,
    ) -> std::result::Result<Rounds<D>, E> {
        // A list is whole or not there, so that another thread's panic spoils none.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, rounds)) = kept.iter().find(|(k, _)| *k == key) {
            return Ok(rounds.clone());
        }
        let rounds = make()?;
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((key, rounds.clone()));
        Ok(rounds)
    }
}

/// [`conv`](super::conv()) of dfdx's operations.
///
/// # Errors
/// Out of memory on the device.
pub fn composed<E: Dtype, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Values<D, T, E>,
    weight: Flat<D, T, E>,
    bias: Option<Flat<D, T, E>>,
    sizes: &Sizes,
    kept: &Kept<D>,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let (groups, taps) = (sizes.geometry.groups, sizes.geometry.taps());
    let shape = (groups, sizes.outputs / groups, sizes.channels / groups, taps);
    let weight = weight.try_reshape_like(&shape)?;
    let device = x.device().clone();
    let rounds = kept.rounds((false, Sizes { batch: 1, ..*sizes }), || {
        Ok(vec![Seen::on(&device, &seen_by_taps(sizes), taps, sizes.input)?])
    })?;
    product(x, rows_of(weight)?, bias, &rounds)
}

/// [`conv_transposed`](super::conv_transposed), likewise.
///
/// # Errors
/// Out of memory on the device.
pub fn composed_transposed<E: Dtype, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Values<D, T, E>,
    weight: Flat<D, T, E>,
    bias: Option<Flat<D, T, E>>,
    sizes: &Sizes,
    kept: &Kept<D>,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let (groups, taps) = (sizes.geometry.groups, sizes.geometry.taps());
    let shape = (groups, sizes.outputs / groups, sizes.channels / groups, taps);
    let weight = weight
        .try_reshape_like(&shape)?
        .try_permute::<_, Axes4<0, 2, 1, 3>>()?;
    let device = x.device().clone();
    let rounds = kept.rounds((true, Sizes { batch: 1, ..*sizes }), || {
        received(sizes)
            .iter()
            .map(|seen| Seen::on(&device, seen, taps, sizes.output))
            .collect()
    })?;
    product(x, rows_of(weight)?, bias, &rounds)
}

impl<D: Storage<usize> + TensorFromVec<usize>> Seen<D> {
    /// From a list of taps × positions.
    fn on(
        device: &D,
        seen: &[Option<usize>],
        taps: usize,
        extent: Extent,
    ) -> std::result::Result<Self, D::Err> {
        let (positions, results) = (extent.iter().product::<usize>(), seen.len() / taps);
        let itself = taps == 1 && results == positions;
        if itself && seen.iter().enumerate().all(|(at, source)| *source == Some(at)) {
            return Ok(Self {
                places: None,
                outside: false,
            });
        }
        let places = (0..results)
            .flat_map(|at| (0..taps).map(move |tap| seen[tap * results + at].unwrap_or(positions)))
            .collect();
        Ok(Self {
            places: Some(device.try_tensor_from_vec(places, (seen.len(),))?),
            outside: seen.contains(&None),
        })
    }
}

/// (groups, outputs, channels, taps) as (groups, taps · channels, outputs), the order in which patches are gathered.
fn rows_of<E: Dtype, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    weight: Tensor<(usize, usize, usize, usize), E, D, T>,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let (groups, outputs, channels, taps) = *weight.shape();
    weight
        .try_permute::<_, Axes4<0, 3, 2, 1>>()?
        .try_reshape_like(&(groups, taps * channels, outputs))
}

/// `y[b,(g,o),p] = bias[(g,o)] + Σ_{k,c} weight[g,(k,c),o] · x[b,(g,c),seen[p,k]]`, summed over the rounds, of which
/// there is one at least.
fn product<E: Dtype, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Values<D, T, E>,
    weight: Values<D, T, E>,
    bias: Option<Flat<D, T, E>>,
    rounds: &[Seen<D>],
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let (batch, channels, positions) = *x.shape();
    let device = x.device().clone();
    let mut fields = x.try_permute::<_, Axes3<0, 2, 1>>()?.try_contiguous()?;
    if rounds.iter().any(|seen| seen.outside) {
        // A last position of zeros is what lies outside.
        let zeros = device.try_zeros_like(&(batch, 1usize, channels))?;
        let shape = (batch, positions + 1, channels);
        fields = (fields, zeros)
            .try_concat_along(Axis::<1>)?
            .try_reshape_like(&shape)?;
    }
    let (fields, tape) = fields.split_tape();
    let (weight, more) = weight.split_tape();
    let places = |seen: &Seen<D>| seen.places.as_ref().map_or(positions, |p| p.shape().0);
    let most = rounds.iter().map(places).max().unwrap_or(positions);
    let at_once = (GATHERED / (most * channels).max(1)).max(1);
    let (y, parts) = of_fields::<E, D, T>(&fields, &weight, rounds, 0..batch, at_once)?.split_tape();
    let y = y.put_tape(tape.merge(more).merge(parts));
    match bias {
        Some(bias) => {
            let shape = *y.shape();
            y.try_add(bias.try_broadcast_like::<_, Axes2<0, 2>>(&shape)?)
        }
        None => Ok(y),
    }
}

/// What comes out for some of the fields (batch, positions, channels), no more than `at_once` of them together.
fn of_fields<E: Dtype, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    fields: &Values<D, NoneTape, E>,
    weight: &Values<D, NoneTape, E>,
    rounds: &[Seen<D>],
    which: Range<usize>,
    at_once: usize,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    if which.len() > at_once {
        let middle = which.start + which.len() / 2;
        let a = of_fields::<E, D, T>(fields, weight, rounds, which.start..middle, at_once)?;
        let b = of_fields::<E, D, T>(fields, weight, rounds, middle..which.end, at_once)?;
        let shape = (which.len(), a.shape().1, a.shape().2);
        return (a, b).try_concat_along(Axis::<0>)?.try_reshape_like(&shape);
    }
    let mut part = fields.retaped::<T>();
    if which.len() < fields.shape().0 {
        // By gathering: the gradient of a slice overwrites, in dfdx 0.13, what the other parts gave.
        let (count, which) = (which.len(), which.collect());
        let which = fields.device().try_tensor_from_vec(which, (count,))?;
        part = part.try_gather::<(usize, usize, usize), (usize,)>(which)?;
    }
    let mut y = of_round(part.with_empty_tape(), weight.retaped(), &rounds[0])?;
    for seen in &rounds[1..] {
        y = y.try_add(of_round(part.with_empty_tape(), weight.retaped(), seen)?)?;
    }
    let (y, tape) = y.split_tape();
    Ok(y.put_tape(tape.merge(part.split_tape().1)))
}

/// One round: patches (groups, batch · positions, taps · channels) times weights.
fn of_round<E: Dtype, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    fields: Values<D, T, E>,
    weight: Values<D, T, E>,
    seen: &Seen<D>,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let (batch, _, channels) = *fields.shape();
    let (groups, inner, outputs) = *weight.shape();
    let taps = inner / (channels / groups);
    let patches = match &seen.places {
        None => fields,
        Some(places) => {
            let all = (batch, places.shape().0);
            let places = places.clone().try_broadcast_like::<_, Axis<0>>(&all)?;
            fields.try_gather::<(usize, usize, usize), (usize, usize)>(places)?
        }
    };
    let results = patches.shape().1 / taps;
    let shape = (groups, batch * results, inner);
    let patches = match groups {
        1 => patches.try_reshape_like(&shape)?,
        _ => patches
            .try_reshape_like(&(batch * results, taps, groups, channels / groups))?
            .try_permute::<_, Axes4<2, 0, 1, 3>>()?
            .try_reshape_like(&shape)?,
    };
    patches
        .try_matmul(weight)?
        .try_reshape_like(&(groups, batch, results, outputs))?
        .try_permute::<_, Axes4<1, 0, 3, 2>>()?
        .try_reshape_like(&(batch, groups * outputs, results))
}

/// What each fine position receives, the other way round, for each tap. One that a tap reaches from two coarse ones,
/// around a periodic edge, has as many rounds.
fn received(sizes: &Sizes) -> Vec<Vec<Option<usize>>> {
    let taps = sizes.geometry.taps();
    let [fine, coarse] = [sizes.input, sizes.output].map(|e| e.iter().product::<usize>());
    let mut rounds = vec![vec![None; taps * fine]];
    for (at, source) in seen_by_taps(sizes).into_iter().enumerate() {
        let Some(source) = source else { continue };
        let slot = at / coarse * fine + source;
        let free = rounds.iter().position(|round| round[slot].is_none());
        let round = free.unwrap_or_else(|| {
            rounds.push(vec![None; taps * fine]);
            rounds.len() - 1
        });
        rounds[round][slot] = Some(at % coarse);
    }
    rounds
}

/// For each tap and each position that comes out, the position that the tap sees there, if it is inside.
fn seen_by_taps(sizes: &Sizes) -> Vec<Option<usize>> {
    let Geometry {
        kernel,
        stride,
        reach,
        padding,
        ..
    } = sizes.geometry;
    let place = |i: usize, [_, h, w]: Extent| [i / (h * w), i / w % h, i % w];
    let outputs = sizes.output.iter().product::<usize>();
    let mut seen = Vec::with_capacity(sizes.geometry.taps() * outputs);
    for tap in (0..sizes.geometry.taps()).map(|t| place(t, kernel)) {
        for out in (0..outputs).map(|o| place(o, sizes.output)) {
            let mut at = Some(0);
            for axis in 0..3 {
                let far = out[axis] * stride[axis] + tap[axis];
                let n = sizes.input[axis];
                let inside = (reach[axis]..n + reach[axis]).contains(&far);
                at = match padding {
                    geometry::Padding::Zeros if !inside => None,
                    _ => at.map(|at| at * n + (far + n - reach[axis]) % n),
                };
            }
            seen.push(at);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use dfdx::tensor::{Cpu, TensorFromVec};

    use super::*;

    #[test]
    fn what_taps_see_is_kept_for_any_batch_and_the_oldest_goes() {
        let kept = Kept::default();
        let device = Cpu::default();
        let run = |batch: usize, width: usize| {
            let input = [1, 1, width];
            let geometry = Geometry::same([1, 1, 3], geometry::Padding::Zeros);
            let sizes = Sizes {
                batch,
                channels: 1,
                outputs: 1,
                input,
                output: input,
                geometry,
            };
            let x = device.tensor_from_vec(vec![1.0f64; batch * width], (batch, 1, width));
            let weight = device.tensor_from_vec(vec![1.0, 10.0, 100.0], (3,));
            composed(x, weight, None, &sizes, &kept).unwrap().as_vec()
        };
        let widths = || -> Vec<usize> {
            kept.0
                .lock()
                .unwrap()
                .iter()
                .map(|((_, s), _)| s.input[2])
                .collect()
        };
        assert_eq!(run(2, 3), [110.0, 111.0, 11.0, 110.0, 111.0, 11.0]);
        assert_eq!(run(1, 3), [110.0, 111.0, 11.0]);
        assert_eq!(widths(), [3]);
        assert_eq!(run(1, 2), [110.0, 11.0]);
        assert_eq!(run(1, 1), [10.0]);
        assert_eq!(widths(), [2, 1]);
    }
}
