use super::*;
use crate::number::{Dual, Number};

/// Central differences with a step of 1e-5 are good to about 1e-10 of the third derivative.
const DIFFERENCES: f64 = 1e-7;
const CLOSED_FORM: f64 = 1e-10;

const SUPPORTS: [Support; 9] = [
    Support::Real,
    Support::Above(0.0),
    Support::Above(-3.0),
    Support::Below(2.0),
    Support::Between(0.1, 0.5),
    Support::Between(-2e3, 1e-3),
    Support::Decades(0.25, 4.0),
    Support::Decades(1e-12, 1e3),
    Support::Between(0.0, 1.0),
];

#[test]
fn every_map_has_its_inverse_and_jacobian() {
    let h = 1e-5;
    for support in SUPPORTS {
        let at = |z: f64| support.constrain(z);
        for i in -40..=40 {
            let z = f64::from(i) * 0.2;
            let (x, ln_jacobian) = support.cast().constrain(Dual::<1>::variable(z, 0));
            assert_eq!((x.value, ln_jacobian.value), at(z));
            let derivative = x.gradient[0];
            // Near an edge x itself holds fewer digits than z.
            let digits = CLOSED_FORM.max(1e-14 * (x.value.abs() + 1.0) / derivative);
            assert!(
                (support.unconstrain(x.value) - z).abs() < digits * (1.0 + z.abs()),
                "{support:?} at {z}"
            );
            let numerical = (at(z + h).0 - at(z - h).0) / (2.0 * h);
            let rounding = 1e-15 * (x.value.abs() + 4.0) / h;
            assert!(
                (numerical - derivative).abs() < DIFFERENCES * derivative + rounding,
                "{support:?} at {z}"
            );
            assert!(
                (derivative.ln() - ln_jacobian.value).abs() < CLOSED_FORM * (1.0 + z.abs()),
                "{support:?} at {z}"
            );
            let numerical = (at(z + h).1 - at(z - h).1) / (2.0 * h);
            assert!(
                (numerical - ln_jacobian.gradient[0]).abs() < DIFFERENCES,
                "{support:?} at {z}"
            );
        }
    }
}

#[test]
fn tails_stay_inside() {
    for support in SUPPORTS {
        let (low, high) = support.bounds();
        for z in [
            -1e300, -1e4, -745.0, -700.0, -40.0, 40.0, 700.0, 710.0, 1e4, 1e300,
        ] {
            let (x, ln_jacobian) = support.cast().constrain(Dual::<1>::variable(z, 0));
            assert!(low < x.value && x.value < high, "{support:?} at {z}: {x:?}");
            for number in [x.gradient[0], ln_jacobian.value, ln_jacobian.gradient[0]] {
                assert!(number.is_finite(), "{support:?} at {z}");
            }
        }
    }
}

#[test]
fn bounds_may_be_unknown_too() {
    let [low, high] = Dual::<2>::variables([1.0, 3.0]);
    let (x, ln_jacobian) = Support::Between(low, high).constrain(Dual::from(1f64.ln()));
    assert_eq!((x.value, x.gradient), (2.0, [0.5, 0.5]));
    assert_eq!(ln_jacobian.gradient, [-0.5, 0.5]);
    let (x, _) = Support::Above(low).constrain(Dual::from(0.0));
    assert_eq!((x.value, x.gradient), (2.0, [1.0, 0.0]));
}

#[test]
fn edges_are_at_infinity() {
    assert_eq!(Support::Above(1.0).unconstrain(1.0), f64::NEG_INFINITY);
    assert_eq!(Support::Below(1.0).unconstrain(1.0), f64::INFINITY);
    assert_eq!(Support::Between(1.0, 2.0).unconstrain(2.0), f64::INFINITY);
    assert_eq!(Support::Decades(1.0, 2.0).unconstrain(1.0), f64::NEG_INFINITY);
    for support in [
        Support::Above(1.0),
        Support::Between(1.0, 2.0),
        Support::Decades(1.0, 2.0),
    ] {
        assert!(support.unconstrain(0.5).is_nan(), "{support:?}");
    }
}

const VECTORS: [VectorSupport; 8] = [
    VectorSupport::Real(3),
    VectorSupport::Simplex(2),
    VectorSupport::Simplex(5),
    VectorSupport::Ordered(1),
    VectorSupport::Ordered(4),
    VectorSupport::CholeskyCorrelation(2),
    VectorSupport::CholeskyCorrelation(3),
    VectorSupport::CholeskyCorrelation(4),
];

/// The numbers of x that determine the others.
fn free(support: VectorSupport) -> Vec<usize> {
    match support {
        VectorSupport::CholeskyCorrelation(k) => (0..k)
            .flat_map(|i| (0..i).map(move |j| i * (i + 1) / 2 + j))
            .collect(),
        _ => (0..support.dim()).collect(),
    }
}

#[test]
fn every_map_of_vectors_has_its_inverse_and_jacobian() {
    for support in VECTORS {
        let (dim, len) = (support.dim(), support.len());
        for shift in [-2.0, 0.0, 1.3] {
            let z: Vec<f64> = (0..dim).map(|i| (1.7 * i as f64 + shift).sin() * 1.5).collect();
            let (mut x, mut back) = (vec![0.0; len], vec![0.0; dim]);
            let ln_jacobian = support.constrain(&z, &mut x);
            support.unconstrain(&x, &mut back);
            for (z, back) in z.iter().zip(&back) {
                assert!((z - back).abs() < 1e-12, "{support:?}: {back} for {z}");
            }
            let (h, mut jacobian) = (1e-5, nalgebra::DMatrix::zeros(dim, dim));
            for j in 0..dim {
                let (mut above, mut below) = (vec![0.0; len], vec![0.0; len]);
                let mut stepped = z.clone();
                stepped[j] = z[j] + h;
                let ln_above = support.constrain(&stepped, &mut above);
                stepped[j] = z[j] - h;
                let ln_below = support.constrain(&stepped, &mut below);
                // The dual's derivatives, of x and of the Jacobian.
                let duals: Vec<Dual<1>> = (0..dim)
                    .map(|i| {
                        if i == j {
                            Dual::variable(z[i], 0)
                        } else {
                            Dual::from(z[i])
                        }
                    })
                    .collect();
                let mut dual = vec![Dual::<1>::from(0.0); len];
                let ln_dual = support.constrain(&duals, &mut dual);
                assert!((ln_dual.value() - ln_jacobian).abs() < 1e-14);
                let numerical = (ln_above - ln_below) / (2.0 * h);
                assert!(
                    (ln_dual.gradient[0] - numerical).abs() < DIFFERENCES,
                    "{support:?}"
                );
                for i in 0..len {
                    let numerical = (above[i] - below[i]) / (2.0 * h);
                    assert!(
                        (dual[i].gradient[0] - numerical).abs() < DIFFERENCES,
                        "{support:?}"
                    );
                }
                for (row, &i) in free(support).iter().enumerate() {
                    jacobian[(row, j)] = (above[i] - below[i]) / (2.0 * h);
                }
            }
            let numerical = jacobian.determinant().abs().ln();
            assert!(
                (ln_jacobian - numerical).abs() < DIFFERENCES,
                "{support:?}: {ln_jacobian} for {numerical}"
            );
        }
    }
}

#[test]
fn vectors_stay_in_their_support() {
    for size in [0.0, 3.0, 40.0, 800.0, 1e6] {
        for support in VECTORS {
            let z: Vec<f64> = (0..support.dim())
                .map(|i| if i % 2 == 0 { size } else { -size })
                .collect();
            let mut x = vec![0.0; support.len()];
            let ln_jacobian = support.constrain(&z, &mut x);
            assert!(
                ln_jacobian.is_finite() && x.iter().all(|x| x.is_finite()),
                "{support:?} at {size}: {x:?}"
            );
            match support {
                VectorSupport::Real(_) => {}
                VectorSupport::Simplex(_) => {
                    assert!(x.iter().all(|x| *x > 0.0) && (x.iter().sum::<f64>() - 1.0).abs() < 1e-14);
                }
                // Above the greatest number there is no room for order.
                VectorSupport::Ordered(_) => assert!(x.is_sorted_by(|a, b| a < b || *b == f64::MAX), "{x:?}"),
                VectorSupport::CholeskyCorrelation(k) => {
                    for row in 0..k {
                        let row = &x[row * (row + 1) / 2..][..=row];
                        let length: f64 = row.iter().map(|x| x * x).sum();
                        assert!(
                            row[row.len() - 1] > 0.0 && (length - 1.0).abs() < 1e-14,
                            "{row:?}"
                        );
                    }
                }
            }
        }
    }
}
