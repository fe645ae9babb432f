//! Compare the networks with PyTorch: outputs, gradients and derivatives along a direction.
//!
//! Weights, inputs and PyTorch's results are read from the reference data; sizes are those of the files.

use std::path::PathBuf;

use armilla_models::{
    Dual, Field, Module,
    checkpoint::{self, Checkpoint, Precision},
    nets::{Conditioned, Network},
    ops::conv::Arithmetic,
};
use dfdx::{
    tensor::Tape,
    tensor_ops::{Backward, SumTo, TryMul},
};

/// Where these tests run: with the feature `cuda` on the first graphics processor, else on the processor.
#[cfg(not(feature = "cuda"))]
type TestDevice = armilla_models::Cpu;
#[cfg(feature = "cuda")]
type TestDevice = armilla_models::Cuda;

/// Largest difference over the largest number: single precision through some tens of layers.
const SAME: f32 = 1e-4;

/// Gradients below this share of the network's largest are compared on its scale: they are sums of terms that nearly
/// cancel, so that 3 · 10⁻⁷ of the largest is rounding.
const SMALL: f32 = 3e-3;

fn reference(name: &str) -> Option<Checkpoint> {
    let folder = std::env::var_os("ARMILLA_REFERENCE_DATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let path = folder.join("torch").join(format!("{name}.safetensors"));
    if !path.exists() && std::env::var_os("ARMILLA_REFERENCE_DATA").is_none() {
        eprintln!("skipped: {} is missing", path.display());
        return None;
    }
    Some(Checkpoint::from_pytorch(path).unwrap())
}

/// What goes in and what PyTorch made of it.
struct Case {
    checkpoint: Checkpoint,
    network: Network<TestDevice>,
    device: TestDevice,
}

impl Case {
    fn new(name: &str) -> Option<Self> {
        let checkpoint = reference(name)?;
        let device = TestDevice::default();
        let network = checkpoint.network(&device).unwrap();
        Some(Self {
            checkpoint,
            network,
            device,
        })
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        let tensor = self.checkpoint.tensors().iter().find(|t| t.name == name)?;
        Some(tensor.shape.clone())
    }

    fn field(&self, name: &str) -> Option<Field<TestDevice>> {
        let shape = self.shape(name)?;
        let extent: Vec<usize> = std::iter::repeat_n(1, 5 - shape.len())
            .chain(shape[2..].iter().copied())
            .collect();
        let values = self.checkpoint.tensor(name).unwrap();
        let extent = extent.try_into().unwrap();
        Some(Field::new(&self.device, values, shape[0], shape[1], extent).unwrap())
    }

    fn times(&self) -> Vec<f64> {
        let times = self.checkpoint.tensor("io.t").unwrap();
        times.into_iter().map(f64::from).collect()
    }

    fn expect(&self, name: &str, found: &[f32], scale: Option<f32>) {
        let expected = self.checkpoint.tensor(name).unwrap();
        assert_eq!(expected.len(), found.len(), "{name}");
        let largest = expected.iter().fold(1e-30f32, |m, v| m.max(v.abs()));
        let differences = expected.iter().zip(found).map(|(a, b)| (a - b).abs());
        let worst = differences.fold(0.0f32, |m, d| if d.is_nan() { f32::INFINITY } else { m.max(d) });
        let relative = worst / scale.unwrap_or(largest);
        assert!(relative < SAME, "{name} differs by {relative:.1e} of its scale");
    }

    fn loss<T: Tape<f32, TestDevice>>(
        &self,
        y: Field<TestDevice, T>,
    ) -> dfdx::tensor::Tensor<(), f32, TestDevice, T> {
        let probe = self.field("io.probe").unwrap();
        y.into_values().try_mul(probe.into_values()).unwrap().sum()
    }

    fn check_output_and_gradients(mut self) {
        let (x, condition) = (self.field("io.x").unwrap(), self.field("io.cond"));
        let y = self
            .network
            .forward(x.traced(), &self.times(), condition.as_ref().map(Field::traced));
        let y = y.unwrap();
        self.expect("io.y", &y.to_vec(), None);
        let mut gradients = self.loss(y).backward();
        let gradient = |field: &Field<TestDevice>| gradients.get(field.values()).as_vec();
        self.expect("io.grad_x", &gradient(&x), None);
        if let Some(condition) = &condition {
            self.expect("io.grad_cond", &gradient(condition), None);
        }
        // Where a gradient vanishes in theory, rounding is what is left of it.
        let prefix = "grad.";
        let names: Vec<String> = self
            .checkpoint
            .tensors()
            .iter()
            .filter_map(|t| t.name.strip_prefix(prefix).map(str::to_owned))
            .collect();
        let largest = names
            .iter()
            .flat_map(|name| self.checkpoint.tensor(&format!("{prefix}{name}")).unwrap())
            .fold(0.0f32, |m, v| m.max(v.abs()));
        let ours = self.network.gradients(&mut gradients).unwrap();
        let ours: std::collections::BTreeMap<String, Vec<f32>> = self
            .network
            .parameters()
            .into_iter()
            .map(|(name, _)| name)
            .zip(ours)
            .collect();
        assert!(names.len() > 10, "the file holds {} gradients", names.len());
        for name in &names {
            let own = self.checkpoint.tensor(&format!("{prefix}{name}")).unwrap();
            let own = own.iter().fold(SMALL * largest, |m, v| m.max(v.abs()));
            self.expect(&format!("{prefix}{name}"), &ours[name], Some(own));
        }
        // Without the weights, the others are the same.
        self.network.freeze(true);
        let y = self
            .network
            .forward(x.traced(), &self.times(), condition.as_ref().map(Field::traced));
        let gradients = self.loss(y.unwrap()).backward();
        self.expect("io.grad_x", &gradients.get(x.values()).as_vec(), None);
    }

    fn check_tangent(&self) {
        let dual = |value: Option<Field<TestDevice>>, tangent: Option<Field<TestDevice>>| {
            value.zip(tangent).map(|(x, dx)| Dual::new(x, dx).unwrap())
        };
        let x = dual(self.field("io.x"), self.field("io.dx")).unwrap();
        let condition = dual(self.field("io.cond"), self.field("io.dcond"));
        let y = self.network.forward(x, &self.times(), condition).unwrap();
        let (value, tangent) = y.into_parts();
        self.expect("io.y", &value.to_vec(), None);
        self.expect("io.jvp", &tangent.to_vec(), None);
    }

    /// The derivative along a direction, differentiated in reverse, against differences of reverse gradients:
    /// ∂/∂w (d/ds Σ y(x + s dx) · probe) = d/ds ∂/∂w Σ y(x + s dx) · probe for every weight w.
    fn check_gradient_of_tangent(&self) {
        let (x, dx) = (self.field("io.x").unwrap(), self.field("io.dx").unwrap());
        let condition = self.field("io.cond");
        let still = |c: &Field<TestDevice>| Dual::unmoved(c.traced()).unwrap();
        let dual = Dual::new(x.traced(), Field::traced(&dx)).unwrap();
        let y = self
            .network
            .forward(dual, &self.times(), condition.as_ref().map(still))
            .unwrap();
        let (_, tangent) = y.into_parts();
        let mut gradients = self.loss(tangent).backward();
        let found = self.network.gradients(&mut gradients).unwrap().concat();
        // A step that balances the third derivative, and kinks that it crosses, against rounding.
        const STEP: f32 = 3e-3;
        let moved = |step: f32| {
            let values = x
                .to_vec()
                .iter()
                .zip(dx.to_vec())
                .map(|(x, d)| x + step * d)
                .collect();
            let moved = Field::new(&self.device, values, x.batch(), x.channels(), x.extent()).unwrap();
            let c = condition.as_ref().map(Field::traced);
            let y = self.network.forward(moved.traced(), &self.times(), c).unwrap();
            self.network
                .gradients(&mut self.loss(y).backward())
                .unwrap()
                .concat()
        };
        let expected = moved(STEP)
            .into_iter()
            .zip(moved(-STEP))
            .map(|(a, b)| (a - b) / (2.0 * STEP));
        let expected: Vec<f32> = expected.collect();
        let norm = |v: &[f32]| v.iter().map(|v| v * v).sum::<f32>().sqrt();
        let difference: Vec<f32> = expected.iter().zip(&found).map(|(a, b)| a - b).collect();
        let relative = norm(&difference) / norm(&expected);
        assert!(
            relative < 0.03,
            "the gradient of the tangent differs by {relative:.1e}"
        );
    }
}

macro_rules! parity {
    ($($name:ident),*) => {$(
        mod $name {
            use super::Case;
            #[test]
            fn parity_of_output_and_gradients() {
                if let Some(case) = Case::new(stringify!($name)) {
                    case.check_output_and_gradients();
                }
            }
            #[test]
            fn parity_of_the_derivative_along_a_direction() {
                if let Some(case) = Case::new(stringify!($name)) {
                    case.check_tangent();
                }
            }
        }
    )*};
}
parity!(simple_unet, diffusion_hmc_unet, latent_velocity_estimator);

// The gradients of SimpleUnet jump where a ReLU bends, so that differences of them say nothing.
#[test]
fn gradients_of_derivatives_are_those_of_differences() {
    for name in ["diffusion_hmc_unet", "latent_velocity_estimator"] {
        if let Some(case) = Case::new(name) {
            case.check_gradient_of_tangent();
        }
    }
}

/// Products of bf16 change the output by a few times their rounding, and only where nothing is recorded.
#[test]
fn parity_of_reduced_arithmetic() {
    const ROUNDING: f32 = 1.0 / 256.0;
    for name in ["simple_unet", "diffusion_hmc_unet", "latent_velocity_estimator"] {
        let Some(mut case) = Case::new(name) else { continue };
        case.network.freeze(true);
        let (x, condition) = (case.field("io.x").unwrap(), case.field("io.cond"));
        let output = |network: &Network<TestDevice>| {
            let y = network.forward(x.clone(), &case.times(), condition.clone());
            y.unwrap().to_vec()
        };
        let recorded = |network: &Network<TestDevice>| {
            let told = condition.as_ref().map(Field::traced);
            network.forward(x.traced(), &case.times(), told).unwrap().to_vec()
        };
        let expected = recorded(&case.network);
        let mut network = case.network.clone();
        if network.set_arithmetic(Arithmetic::Reduced) == Arithmetic::Full {
            eprintln!("skipped: no instruction for bf16, full precision is used");
            assert_eq!(output(&network), output(&case.network));
            continue;
        }
        assert_eq!(
            recorded(&network),
            expected,
            "{name}: gradients are those of full precision"
        );
        let reduced = output(&network);
        case.expect("io.y", &output(&case.network), None);
        let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
        let apart = |y: &[f32]| {
            let differences = y.iter().zip(&expected).map(|(a, b)| (a - b).abs());
            differences.fold(0f32, |m, d| if d.is_nan() { f32::INFINITY } else { m.max(d) }) / largest
        };
        println!("{name}: {:.1e} of the largest output", apart(&reduced));
        assert!(
            (0.01 * ROUNDING..8.0 * ROUNDING).contains(&apart(&reduced)),
            "{name}"
        );
        // What was kept of the weights goes when they change.
        let weights = network.weights();
        let mut others = weights.clone();
        others
            .0
            .iter_mut()
            .for_each(|w| w.values.iter_mut().for_each(|v| *v *= 0.5));
        network.load(&others).unwrap();
        assert_ne!(output(&network), reduced, "{name}");
        network.load(&weights).unwrap();
        assert_eq!(output(&network), reduced, "{name}");
        // A clone shares nothing that the other's changes could spoil.
        let clone = network.clone();
        network.load(&others).unwrap();
        assert_eq!(output(&clone), reduced, "{name}");
        network.load(&weights).unwrap();
        assert_eq!(network.set_arithmetic(Arithmetic::Exact), Arithmetic::Exact);
        assert!(apart(&output(&network)) < SAME, "{name}");
    }
}

/// Weights kept in half the bytes change the output by a few times their rounding.
#[test]
fn parity_of_weights_of_reduced_precision() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["simple_unet", "diffusion_hmc_unet", "latent_velocity_estimator"] {
        for (precision, rounding) in [(Precision::F16, 2f32.powi(-11)), (Precision::Bf16, 2f32.powi(-8))] {
            let Some(mut case) = Case::new(name) else { continue };
            let path = folder.path().join("half.safetensors");
            checkpoint::save_as(&path, &case.network.weights(), precision).unwrap();
            case.network.load(&checkpoint::load(&path).unwrap()).unwrap();
            let condition = case.field("io.cond");
            let y = case
                .network
                .forward(case.field("io.x").unwrap(), &case.times(), condition);
            let (y, expected) = (y.unwrap().to_vec(), case.checkpoint.tensor("io.y").unwrap());
            let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
            let worst = y
                .iter()
                .zip(&expected)
                .fold(0f32, |m, (a, b)| m.max((a - b).abs()));
            println!(
                "{name}, {precision:?}: {:.1e} of the largest output",
                worst / largest
            );
            // Rounding must be seen, or nothing was rounded; errors of many layers add up like a random walk.
            assert!((0.01 * rounding..8.0 * rounding).contains(&(worst / largest)));
        }
    }
}

#[test]
fn parity_of_the_numbers_of_parameters() {
    use armilla_models::nets::Architecture;
    let device = TestDevice::default();
    let count = |architecture| Network::new(&device, &architecture, 0).unwrap().count();
    assert_eq!(count(Architecture::SimpleUnet(Default::default())), 146_229_505);
    assert_eq!(count(Architecture::AttentionUnet(Default::default())), 31_265_503);
    assert_eq!(
        count(Architecture::LatentVelocityEstimator(Default::default())),
        1_378_752
    );
}
