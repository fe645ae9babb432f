//! Kill a run, resume it, and compare its bits with those of a run left alone:
//! `cargo run --release --example resume`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use armilla::samplers::prelude::*;

model! {
    /// A straight line through noisy points.
    struct Line { t: Vec<f64>, y: Vec<f64> }

    intercept ~ Normal(0, 10);
    slope ~ Normal(0, 10);
    noise ~ HalfNormal(5);
    y[i in 0..t.len()] ~ Normal(intercept + slope * t[i], noise);
}

fn sample(checkpoint: Option<&Path>) -> Result<Run, Box<dyn std::error::Error>> {
    let t: Vec<f64> = (0..200).map(|i| 0.05 * f64::from(i)).collect();
    let y = t.iter().map(|t| 1.0 + 2.0 * t + (37.0 * t).sin()).collect();
    let options = RunOptions {
        draws: 20_000,
        checkpoint: checkpoint.map(|folder| Checkpoint {
            every: Duration::from_millis(20),
            ..Checkpoint::new(folder)
        }),
        ..RunOptions::default()
    };
    Ok(Nuts::default().sample(&Line { t, y }.posterior()?, &options)?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Called with a folder, this is the run that will be killed.
    if let Some(folder) = std::env::args_os().nth(1) {
        sample(Some(Path::new(&folder)))?;
        return Ok(());
    }
    let folder = std::env::temp_dir().join(format!("armilla-resume-{}", std::process::id()));
    let mut kills = 0;
    loop {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(&folder)
            .stdout(Stdio::null())
            .spawn()?;
        std::thread::sleep(Duration::from_millis(60 * (kills + 1)));
        if child.try_wait()?.is_some_and(|status| status.success()) {
            break;
        }
        // On Unix this is SIGKILL: the run cannot clean up after itself.
        child.kill()?;
        child.wait()?;
        kills += 1;
        let drawn = std::fs::read_to_string(folder.join("chain-0.csv")).unwrap_or_default();
        let lines = drawn.lines().count().saturating_sub(1);
        println!("killed {kills} times; chain 0 has {lines} draws on disk");
    }
    let resumed = sample(Some(&folder))?;
    let alone = sample(None)?;
    std::fs::remove_dir_all(&folder)?;
    let bits = |run: &Run| -> Vec<u64> { run.draws().flatten().map(|x| x.to_bits()).collect() };
    if bits(&resumed) != bits(&alone) || resumed.evaluations != alone.evaluations {
        return Err("the resumed run differs".into());
    }
    println!(
        "{} draws after {kills} kills, bit for bit those of a run left alone\n\n{}",
        resumed.len(),
        resumed.summary()
    );
    Ok(())
}
