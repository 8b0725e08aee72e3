//! `patrold completions` and `patrold man`: what shells and `man` know of the command line, from its own definition.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _, ValueEnum};

use crate::exit::Exit;

use super::{Complaint, Console};

/// Arguments of `patrold completions`.
#[derive(Clone, Debug, Args)]
pub struct CompletionsArgs {
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Shells that completions are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Arguments of `patrold man`.
#[derive(Clone, Debug, Args)]
pub struct ManArgs {
    /// Write a page for each command into this directory, instead of the first one to standard output
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// Prints what a shell has to load.
pub(super) fn completions(args: &CompletionsArgs, console: &mut Console) -> Result<Exit, Complaint> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut command = super::Args::command();
    let name = command.get_name().to_owned();
    // The generator writes to memory: it panics where a write fails, which `patrold completions bash | head` would see.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    std::io::Write::write_all(&mut console.out, &script)?;
    Ok(Exit::Fine)
}

/// Prints the manual page, or writes all of them.
pub(super) fn man(args: &ManArgs, console: &mut Console) -> Result<Exit, Complaint> {
    let command = super::Args::command();
    match &args.directory {
        None => clap_mangen::Man::new(command).render(&mut console.out)?,
        Some(directory) => write_pages(command, directory)?,
    }
    Ok(Exit::Fine)
}

fn write_pages(command: clap::Command, directory: &Path) -> Result<(), Complaint> {
    let failed = |error: std::io::Error| Complaint::failed(format!("cannot write to {}: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(command, directory).map_err(failed)
}
