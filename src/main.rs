//! The program: arguments in, exit status out. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser as _;
use patrold::cli::{self, Args};
use patrold::exit::Exit;

fn main() -> ExitCode {
    match Args::try_parse() {
        Ok(args) => cli::run(&args).into(),
        Err(refused) => {
            // A closed pipe is no reason to complain; what else could be told, and where?
            let _ = refused.print();
            if refused.use_stderr() { Exit::Invalid.into() } else { Exit::Fine.into() }
        }
    }
}
