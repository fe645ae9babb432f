//! Draw every figure once into `docs/gallery`: `cargo run --release --example gallery`.

mod calibration;
mod chains;
mod flows;
mod maps;
mod posteriors;

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use armilla::pipeline::{InferSettings, Inference, Method, PriorBox, infer};
use armilla::samplers::RunOptions;
use armilla::samplers::rng::{Purpose, Stream, stream};
use armilla::simulators::{LognormalField, Simulator, Slab};

/// What was drawn, in order.
pub struct Gallery {
    folder: PathBuf,
    index: String,
}

impl Gallery {
    /// Draws one picture and lists it.
    pub fn add(
        &mut self,
        name: &str,
        function: &str,
        caption: &str,
        draw: impl FnOnce(&Path) -> armilla::Result<()>,
    ) -> armilla::Result<()> {
        draw(&self.folder.join(format!("{name}.png")))?;
        let _ = writeln!(
            self.index,
            "\n## `{function}`\n\n{caption}\n\n![{caption}]({name}.png)"
        );
        Ok(())
    }
}

/// A lognormal field with known parameters, and what is inferred from it by the exact likelihood.
pub struct Example {
    /// What simulates.
    pub field: LognormalField,
    /// What it made at [`TRUTH`].
    pub map: Vec<f64>,
    prior: PriorBox,
}

/// Ω_m and σ_8 of the field.
pub const TRUTH: [f64; 2] = [0.31, 0.82];
/// Pixels along a side of it.
pub const SIDE: usize = 32;

impl Example {
    /// Infers the parameters from it.
    pub fn infer(&self, method: Method, draws: usize) -> armilla::Result<Inference> {
        let mut settings = InferSettings::new(method, 1);
        settings.draws = draws;
        let likelihood = self.field.observe(&self.map)?;
        infer(
            &self.prior,
            likelihood,
            Some(&TRUTH),
            &settings,
            &RunOptions::default(),
        )
    }
}

/// Random numbers, other ones for each index.
pub fn random(index: u64) -> Stream {
    stream(5, Purpose::Simulation, index)
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from("docs/gallery");
    std::fs::create_dir_all(&folder)?;
    let index = "# Gallery\n\nEvery figure of `armilla::plot`, drawn by `cargo run --release --example gallery` from \
                 simulated lognormal fields and from random numbers. Each is one function call, and goes to PNG or SVG.\n"
        .to_owned();
    let mut gallery = Gallery { folder, index };
    let field = LognormalField::new(Slab::default())?;
    let map = field.simulate(&TRUTH, &mut random(0))?;
    let prior = PriorBox(vec!["Omega_m=0.1:0.5".parse()?, "sigma_8=0.6:1".parse()?]);
    let example = Example { field, map, prior };
    maps::draw(&mut gallery, &example)?;
    posteriors::draw(&mut gallery, &example)?;
    chains::draw(&mut gallery, &example)?;
    calibration::draw(&mut gallery)?;
    flows::draw(&mut gallery)?;
    std::fs::write(gallery.folder.join("README.md"), gallery.index)?;
    Ok(())
}
