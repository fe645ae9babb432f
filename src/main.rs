//! The program `armilla`.

use std::process::ExitCode;

fn main() -> ExitCode {
    armilla::cli::run()
}
