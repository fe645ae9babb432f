//! Show everything in two minutes.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Mutex;

use clap::Args;

use super::{note, progress, write_json};
use crate::Result;
use crate::pipeline::demo::DemoProgress;
use crate::pipeline::{DemoSettings, demo};
use crate::simulators::Slab;

/// Simulate, train, infer by every method and compare with the exact posterior, in two minutes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    armilla demo                        into the folder `out`\n  \
    armilla demo --out other --seed 2   other fields, another training\n  \
    armilla infer --run out/run --data out/maps.h5 --index 3 --method hmc --out out/hmc\n\n\
    Lognormal fields are simulated over Omega_m and sigma_8 and written to maps.h5. A flow is trained on them; \
    one map that it never saw is read back from the file and inferred by mle, mh, hmc and grid. As the field's \
    likelihood is known exactly, so is the posterior that they should find: bias and width are measured in its \
    standard deviations. The folder gets demo.json, pictures as PNG and SVG, and all of it on one page, report.html.")]
pub(super) struct Demo {
    /// The folder for everything.
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,
    /// The only source of randomness.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Pixels along a side of the maps.
    #[arg(long, value_name = "N", default_value_t = 32)]
    size: usize,
    /// The map to infer; it is kept out of the training.
    #[arg(long, value_name = "N", default_value_t = 3)]
    index: usize,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Demo {
    pub(super) fn run(&self, out: &mut dyn Write) -> Result<()> {
        let settings = DemoSettings {
            seed: self.seed,
            slab: Slab {
                size: self.size,
                ..Slab::default()
            },
            index: self.index,
            ..DemoSettings::default()
        };
        let bar = progress::bar(0, "", true);
        let shown = bar.clone();
        let training = Mutex::new(progress::Training::new(&bar));
        let watch = move |event: DemoProgress<'_>| match event {
            DemoProgress::Stage(label) => {
                shown.reset();
                shown.set_message(label);
            }
            DemoProgress::Step { done, total } => {
                shown.set_length(total as u64);
                shown.set_position(done as u64);
            }
            DemoProgress::Another { total } => {
                shown.set_length(total as u64);
                shown.inc(1);
            }
            DemoProgress::Training(event) => {
                if let Ok(mut training) = training.lock() {
                    training.event(event);
                }
            }
        };
        let report = demo(&settings, &self.out, watch);
        bar.finish_and_clear();
        let report = report?;
        for warning in report.warnings() {
            note(&warning);
        }
        if self.json {
            return write_json(out, &report);
        }
        writeln!(
            out,
            "map {} of {}, never trained on",
            self.index,
            self.out.join("maps.h5").display()
        )?;
        write!(out, "{}", report.table())?;
        let s = report.seconds;
        writeln!(
            out,
            "seconds: simulate {:.1}, train {:.1}, read {:.1}, infer {:.1}, draw {:.1}; {:.1} in all",
            s.simulate, s.train, s.observe, s.infer, s.draw, s.total
        )?;
        writeln!(out, "pictures: {}", self.out.join("report.html").display())?;
        Ok(())
    }
}
