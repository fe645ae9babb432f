//! Parse the command line, call what does the work, and print.
//!
//! One file per command: a struct of arguments with a `run` that writes its result to `out`. To add one, add its module,
//! its variant of `Command` and its arm in `Command::run`.

mod arguments;
mod demo;
mod generate;
mod infer;
mod inspect;
mod interrupt;
pub mod progress;
mod project;
mod simulate;
mod spectrum;
mod train;

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use serde::Serialize;

use crate::{Error, Result};

/// The exit code of everything that went wrong.
const FAILED: u8 = 2;

#[derive(Debug, Parser)]
#[command(
    name = "armilla",
    version,
    about = "Infer the parameters behind an observation",
    subcommand_required = true,
    after_help = "Start with `armilla demo`. Each command explains itself with examples: `armilla train --help`.\n\
                  Whatever goes wrong is said in one line, and the exit code is then 2."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Demo),
    Simulate(simulate::Simulate),
    Train(train::Train),
    Generate(generate::Generate),
    Infer(infer::Infer),
    Inspect(inspect::Inspect),
    Project(project::Project),
    Spectrum(spectrum::Spectrum),
}

impl Command {
    fn run(&self, out: &mut dyn Write) -> Result<()> {
        match self {
            Self::Demo(command) => command.run(out),
            Self::Simulate(command) => command.run(out),
            Self::Train(command) => command.run(out),
            Self::Generate(command) => command.run(out),
            Self::Infer(command) => command.run(out),
            Self::Inspect(command) => command.run(out),
            Self::Project(command) => command.run(out),
            Self::Spectrum(command) => command.run(out),
        }
    }
}

/// Run the program with the arguments of the process.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(e) => return usage(&e),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let result = arguments.command.run(&mut out).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has read enough, as `head` does.
        Err(Error::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => fail(&e.to_string()),
    }
}

/// Write `value` as JSON, which is then alone on standard output.
fn write_json(out: &mut dyn Write, value: &impl Serialize) -> Result<()> {
    serde_json::to_writer_pretty(&mut *out, value).map_err(io::Error::from)?;
    Ok(writeln!(out)?)
}

/// The command as a shell takes it, whatever the path of the program.
fn command_line() -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    let quoted = |argument: String| match argument.is_empty() || !argument.chars().all(plain) {
        true => format!("'{}'", argument.replace('\'', "'\\''")),
        false => argument,
    };
    let arguments = std::env::args_os().skip(1);
    let quoted = arguments.map(|a| quoted(a.to_string_lossy().into_owned()));
    std::iter::once("armilla".to_owned())
        .chain(quoted)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Say something that is no error on standard error.
fn note(text: &str) {
    // With standard error closed there is nobody left to tell.
    let _ = writeln!(io::stderr(), "note: {text}");
}

fn fail(message: &str) -> ExitCode {
    let one_line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    // With standard error closed there is nobody left to tell.
    let _ = writeln!(io::stderr(), "error: {one_line}");
    ExitCode::from(FAILED)
}

/// Print the help that was asked for, or what is wrong with the arguments in one line.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    let text = error.to_string();
    let (what, usage) = text.split_once("Usage:").unwrap_or((&text, ""));
    // The words of the usage line before its first argument name the command.
    let command: Vec<&str> = usage
        .split_whitespace()
        .take_while(|word| word.starts_with(char::is_alphabetic))
        .collect();
    let command = if command.is_empty() {
        "armilla".to_owned()
    } else {
        command.join(" ")
    };
    let what = match error.kind() {
        // Its text is the whole help.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            "a command is missing".to_owned()
        }
        _ => {
            let what = what.split("For more information").next().unwrap_or(what);
            let lines = what.trim_start_matches("error:").lines().map(str::trim);
            lines
                .filter(|line| !line.is_empty())
                .collect::<Vec<_>>()
                .join("; ")
                .replace(":;", ":")
        }
    };
    fail(&format!("{what}; see `{command} --help`"))
}
