//! Let positions look at each other.

pub(crate) mod cpu;
mod loops;
mod matrix;

use dfdx::{
    shapes::{Axes3, Axis, Dtype, HasShape},
    tensor::{Tape, Tensor, WithEmptyTape},
    tensor_ops::{BroadcastTo, PermuteTo, ReshapeTo, SelectTo, SumTo, TryAdd, TryMatMul, TryMul, TrySub},
};
use serde::{Deserialize, Serialize};

use super::activation::{contiguous, same_shape};
use crate::{
    device::Device,
    error::{ModelError, Result},
    field::{Field, Values},
};

/// How positions look at each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attention {
    /// `Σ_j softmax_j(q_i · k_j / √dim) v_j` (Vaswani et al. 2017, arXiv 1706.03762).
    Full,
    /// `(softmax_positions(k) vᵀ)ᵀ softmax_channels(q) / √dim`: linear in the positions (Shen et al. 2018,
    /// arXiv 1812.01243).
    Linear,
}

/// Sizes of attention: `qkv` is (batch, 3 · heads · dim, positions), what comes out (batch, heads · dim, positions).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heads {
    pub batch: usize,
    pub heads: usize,
    pub dim: usize,
    pub positions: usize,
}

/// Attention of `heads` heads among the positions of each field.
///
/// Shapes: `qkv` (batch, 3 · heads · dim, positions) holds queries, keys and values in that order, the heads of each
/// one after the other; the result is (batch, heads · dim, positions).
///
/// # Errors
/// `Shape` where the channels cannot be divided so.
pub fn attend<D: Device, T: Tape<f32, D>>(
    qkv: Field<D, T>,
    heads: usize,
    kind: Attention,
) -> Result<Field<D, T>> {
    fits(&qkv, heads)?;
    let extent = qkv.extent();
    Ok(Field::of(D::attend(contiguous(qkv)?, heads, kind)?, extent))
}

/// The tangent of [`attend`] along `tangent`; it can itself be differentiated.
///
/// # Errors
/// `Shape` where `qkv` and its tangent differ or the channels cannot be divided so.
pub fn attend_tangent<D: Device, T: Tape<f32, D>>(
    qkv: Field<D, T>,
    tangent: Field<D, T>,
    heads: usize,
    kind: Attention,
) -> Result<Field<D, T>> {
    fits(&qkv, heads)?;
    same_shape("attend_tangent", &qkv, &tangent)?;
    let extent = qkv.extent();
    let y = D::attend_tangent(contiguous(qkv)?, contiguous(tangent)?, heads, kind)?;
    Ok(Field::of(y, extent))
}

fn fits<D: Device, T>(qkv: &Field<D, T>, heads: usize) -> Result<()> {
    let channels = qkv.channels();
    if heads == 0 || !channels.is_multiple_of(3 * heads) {
        let what = format!("{channels} channels are not queries, keys and values of {heads} heads");
        return Err(ModelError::shape("attend", what));
    }
    Ok(())
}

/// Queries, keys and values: (batch · heads, dim, positions) each.
///
/// By selection: the gradient of a slice overwrites, in dfdx 0.13, what other uses of the sliced tensor gave.
fn parts<E: Dtype + From<f32>, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    qkv: Values<D, T, E>,
    heads: usize,
) -> std::result::Result<[Values<D, T, E>; 3], D::Err> {
    let (batch, channels, positions) = *qkv.shape();
    let shape = (batch * heads, channels / 3 / heads, positions);
    let qkv = qkv.try_reshape_like(&(batch, 3usize, channels / 3 * positions))?;
    let part = |from: Values<D, T, E>, n: usize| -> std::result::Result<_, D::Err> {
        let which: Tensor<(usize,), usize, D> =
            from.device().try_tensor_from_vec(vec![n; batch], (batch,))?;
        from.try_select::<(usize, usize), _>(which)?
            .try_reshape_like(&shape)
    };
    let (q, k) = (qkv.with_empty_tape(), qkv.with_empty_tape());
    Ok([part(q, 0)?, part(k, 1)?, part(qkv, 2)?])
}

fn turned<E: Dtype + From<f32>, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    x: Values<D, T, E>,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    x.try_permute::<_, Axes3<0, 2, 1>>()
}

/// [`attend`] of dfdx's operations: what any device can run.
///
/// # Errors
/// Out of memory on the device.
pub fn composed<E: Dtype + From<f32>, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    qkv: Values<D, T, E>,
    heads: usize,
    kind: Attention,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let (batch, channels, positions) = *qkv.shape();
    let scale = 1.0 / ((channels / 3 / heads) as f32).sqrt();
    let [q, k, v] = parts(qkv, heads)?;
    let y = match kind {
        Attention::Linear => {
            let q = q.try_softmax::<Axis<1>>()?.try_mul(E::from(scale))?;
            let context = v.try_matmul(turned(k.try_softmax::<Axis<2>>()?)?)?;
            context.try_matmul(q)?
        }
        Attention::Full => {
            let looks = turned(q.try_mul(E::from(scale))?)?
                .try_matmul(k)?
                .try_softmax::<Axis<2>>()?;
            v.try_matmul(turned(looks)?)?
        }
    };
    y.try_reshape_like(&(batch, channels / 3, positions))
}

/// `s (d − Σ s d / scale)` for `s = scale · softmax`.
macro_rules! softmax_tangent {
    ($s:expr, $d:expr, $axis:ty, $scale:expr) => {{
        let (s, d) = ($s, $d);
        let shape = *s.shape();
        let mean = s
            .with_empty_tape()
            .try_mul(d.with_empty_tape())?
            .try_sum::<_, $axis>()?
            .try_mul(E::from(1.0 / $scale))?;
        s.try_mul(d.try_sub(mean.try_broadcast_like::<_, $axis>(&shape)?)?)?
    }};
}

/// [`attend_tangent`], likewise.
///
/// # Errors
/// Out of memory on the device.
pub fn composed_tangent<E: Dtype + From<f32>, D: dfdx::tensor_ops::Device<E>, T: Tape<E, D>>(
    qkv: Values<D, T, E>,
    tangent: Values<D, T, E>,
    heads: usize,
    kind: Attention,
) -> std::result::Result<Values<D, T, E>, D::Err> {
    let (batch, channels, positions) = *qkv.shape();
    let scale = 1.0 / ((channels / 3 / heads) as f32).sqrt();
    let [q, k, v] = parts(qkv, heads)?;
    let [dq, dk, dv] = parts(tangent, heads)?;
    let y = match kind {
        Attention::Linear => {
            let q = q.try_softmax::<Axis<1>>()?.try_mul(E::from(scale))?;
            let dq = softmax_tangent!(q.with_empty_tape(), dq, Axis<1>, scale);
            let k = k.try_softmax::<Axis<2>>()?;
            let dk = softmax_tangent!(k.with_empty_tape(), dk, Axis<2>, 1.0);
            let context = v.with_empty_tape().try_matmul(turned(k.with_empty_tape())?)?;
            let moved = dv.try_matmul(turned(k)?)?.try_add(v.try_matmul(turned(dk)?)?)?;
            moved.try_matmul(q)?.try_add(context.try_matmul(dq)?)?
        }
        Attention::Full => {
            let q = turned(q.try_mul(E::from(scale))?)?;
            let dq = turned(dq.try_mul(E::from(scale))?)?;
            let looks = q
                .with_empty_tape()
                .try_matmul(k.with_empty_tape())?
                .try_softmax::<Axis<2>>()?;
            let moved = dq.try_matmul(k)?.try_add(q.try_matmul(dk)?)?;
            let moved = softmax_tangent!(looks.with_empty_tape(), moved, Axis<2>, 1.0);
            v.try_matmul(turned(moved)?)?
                .try_add(dv.try_matmul(turned(looks)?)?)?
        }
    };
    y.try_reshape_like(&(batch, channels / 3, positions))
}
