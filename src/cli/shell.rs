//! `patrold completions` and `patrold man`: what shells and `man` know of the command line, from its own definition.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _, ValueEnum};

use crate::exit::Exit;

use crate::view::manual::{self, FilePage};

use super::{Complaint, Console, schema};

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
    /// The page to print
    #[arg(value_enum, default_value = "command", value_name = "PAGE", conflicts_with = "directory")]
    page: Page,
    /// Write all pages below this directory, into man1, man5 and man8
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// The pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Page {
    /// The command line: patrold(1)
    Command,
    /// The inventory: patrold.toml(5)
    Inventory,
    /// Provider definitions: patrold-provider(5)
    Provider,
    /// The daemon: patrold(8)
    Daemon,
}

const INVENTORY: FilePage<'_> = FilePage {
    name: "patrold.toml",
    about: "the tokens that patrold keeps alive",
    text: &[
        "The inventory says which tokens are wanted, at which accounts, and where their secrets go. It consists of one file, or \
         of a file that includes others. Secrets never stand in it. Durations are texts such as 14d or 90m, times are RFC 3339, \
         paths are absolute, relative to their file, or begin with ~/.",
        "patrold check finds every mistake at once, with file, line and column; patrold config show prints every default. Unknown \
         keys are errors. The daemon notices a change by itself, and an invalid inventory never replaces a valid one.",
    ],
    files: &[
        ("/etc/patrold/patrold.toml", "The inventory of the machine."),
        ("~/.config/patrold/patrold.toml", "The inventory of a user."),
        ("/usr/share/doc/patrold/config/patrold.toml", "An inventory with every key, to copy from."),
    ],
    also: &[("patrold", "1"), ("patrold-provider", "5"), ("patrold", "8")],
};

const PROVIDER: FilePage<'_> = FilePage {
    name: "patrold-provider",
    about: "definitions of services that mint tokens",
    text: &[
        "A definition says which HTTP requests mint, list, verify, renew and revoke a token of one service. It can name paths, headers \
         and fields; it cannot run code, reach another host or put a secret into a URL. patrold provider show --source NAME prints \
         a built-in one, patrold provider lint FILE asks a definition what rotations go wrong by.",
    ],
    files: &[("/usr/share/doc/patrold/config/providers", "The built-in definitions, and how to write one.")],
    also: &[("patrold", "1"), ("patrold.toml", "5")],
};

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
    console.out.write_all(&script)?;
    Ok(Exit::Fine)
}

/// Prints the manual page, or writes all of them.
pub(super) fn man(args: &ManArgs, console: &mut Console) -> Result<Exit, Complaint> {
    match &args.directory {
        None => print(args.page, &mut console.out)?,
        Some(directory) => write_pages(directory)?,
    }
    Ok(Exit::Fine)
}

fn print(page: Page, out: &mut impl Write) -> io::Result<()> {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    match page {
        Page::Command => clap_mangen::Man::new(super::Args::command()).render(out),
        Page::Inventory => INVENTORY.write(&serde_json::from_str(schema::INVENTORY)?, VERSION, out),
        Page::Provider => PROVIDER.write(&serde_json::from_str(schema::PROVIDER)?, VERSION, out),
        Page::Daemon => manual::write_daemon(VERSION, out),
    }
}

fn write_pages(directory: &Path) -> Result<(), Complaint> {
    let failed = |error: io::Error| Complaint::failed(format!("cannot write to {}: {error}", directory.display()));
    let folder = |name: &str| {
        let folder = directory.join(name);
        std::fs::create_dir_all(&folder).map(|()| folder).map_err(failed)
    };
    clap_mangen::generate_to(super::Args::command(), folder("man1")?).map_err(failed)?;
    let files = [
        (Page::Inventory, folder("man5")?.join("patrold.toml.5")),
        (Page::Provider, folder("man5")?.join("patrold-provider.5")),
        (Page::Daemon, folder("man8")?.join("patrold.8")),
    ];
    for (page, file) in files {
        let mut text = Vec::new();
        print(page, &mut text).map_err(failed)?;
        std::fs::write(file, text).map_err(failed)?;
    }
    Ok(())
}
