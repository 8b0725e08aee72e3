//! `patrold schema`: what editors know of inventories and definitions.
//!
//! The schemas are files of their own. Tests hold them against the readers: an editor must neither refuse what the daemon
//! takes, nor offer a key that it does not know.

use std::io::Write as _;

use clap::{Args, ValueEnum};

use crate::exit::Exit;

use super::{Complaint, Console};

pub(super) const INVENTORY: &str = include_str!("../../config/schema/inventory.schema.json");
pub(super) const PROVIDER: &str = include_str!("../../config/schema/provider.schema.json");
const STORE: &str = include_str!("../../config/schema/store.schema.json");

/// Arguments of `patrold schema`.
#[derive(Clone, Debug, Args)]
pub struct SchemaArgs {
    /// What it describes
    #[arg(value_enum, default_value = "inventory", value_name = "FILE")]
    file: File,
}

/// Files that people write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum File {
    /// The inventory: patrold.toml and what it includes
    Inventory,
    /// A provider definition
    Provider,
    /// A store definition
    Store,
}

/// Prints the schema of one kind of file.
pub(super) fn run(args: &SchemaArgs, console: &mut Console) -> Result<Exit, Complaint> {
    let schema = match args.file {
        File::Inventory => INVENTORY,
        File::Provider => PROVIDER,
        File::Store => STORE,
    };
    console.out.write_all(schema.as_bytes())?;
    Ok(Exit::Fine)
}
