//! `patrold systemd`: derives from the inventory what the service needs.

use std::io::Write as _;
use std::path::Path;

use clap::Args;

use crate::clock::{Clock as _, SystemClock};
use crate::durable::{self, Attributes};
use crate::exit::Exit;
use crate::files;
use crate::host::HOOK_UNITS;
use crate::host::service::{Derived, MADE, Needs, Seen, Wanted, derive, unit_of};
use crate::inventory::{self, Environment};
use crate::view::check::render_report;

use super::{Complaint, Console};

/// Arguments of `patrold systemd`.
#[derive(Clone, Debug, Args)]
pub struct SystemdArgs {
    /// Write the files, as root
    #[arg(long)]
    write: bool,
    /// The service's unit; by default patrold.service, and patrold@NAME.service for /etc/patrold/NAME.toml
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
}

/// Files of the system are readable by everybody, and belong to root.
const PUBLIC: Attributes = Attributes { mode: 0o644, owner: None, group: None, inherit: true };

/// Shows or writes what is derived from the inventory of `config`.
pub(super) fn run(args: &SystemdArgs, config: &Path, console: &mut Console) -> Result<Exit, Complaint> {
    let loaded = inventory::load(config, &Environment::of_process(config), SystemClock.now());
    write!(console.err, "{}", render_report(&loaded.report, console.err_paint))?;
    let Some(inventory) = loaded.inventory else { return Ok(Exit::Invalid) };
    let unit = args.unit.clone().or_else(|| unit_of(config)).unwrap_or_else(|| "patrold.service".to_owned());
    let needs = Needs::of(&inventory);
    let Some(seen) = Seen::gather(&needs, &unit) else {
        return Err(Complaint::failed(format!("this machine has no unit {unit}"))
            .with_help("install the package, or name the unit with --unit"));
    };
    let derived = derive(&needs, &seen, &unit);
    if args.write {
        write(&derived, console)?;
    } else {
        show(&derived, console)?;
    }
    console.out.flush()?;
    for note in &derived.notes {
        console.warn(note)?;
    }
    if derived.files.is_empty() && derived.hook_units.is_empty() {
        console.note(format_args!("{unit} has everything that the inventory needs"))?;
    } else if !args.write {
        console.note("`patrold systemd --write` writes this")?;
    } else {
        console.note(format_args!(
            "now type: systemd-tmpfiles --create; systemctl daemon-reload; systemctl restart {unit}"
        ))?;
    }
    Ok(Exit::Fine)
}

fn show(derived: &Derived, console: &mut Console) -> Result<(), Complaint> {
    for Wanted { path, text } in &derived.files {
        writeln!(console.out, "# {}\n{text}", path.display())?;
    }
    if !derived.hook_units.is_empty() {
        writeln!(console.out, "# {HOOK_UNITS}, these lines in addition:\n{}", derived.hook_units.join("\n"))?;
    }
    Ok(())
}

fn write(derived: &Derived, console: &mut Console) -> Result<(), Complaint> {
    let failed = |path: &Path, why: &dyn std::fmt::Display| {
        Complaint::failed(format!("cannot write {}: {why}", path.display())).with_help("type it as root")
    };
    for Wanted { path, text } in &derived.files {
        let there = existing(path)?;
        if there.as_deref().is_some_and(|there| !there.starts_with(MADE)) {
            return Err(Complaint::failed(format!(
                "{} is there already, and was not made by this command",
                path.display()
            ))
            .with_help("move it away; `patrold systemd` shows what would be written"));
        }
        if there.as_deref() == Some(text) {
            continue;
        }
        let directory = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(directory).map_err(|error| failed(path, &error))?;
        durable::replace(path, text.as_bytes(), PUBLIC).map_err(|error| failed(path, &error))?;
        writeln!(console.out, "wrote {}", path.display())?;
    }
    if !derived.hook_units.is_empty() {
        let path = Path::new(HOOK_UNITS);
        let mut text = existing(path)?.unwrap_or_default();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        for unit in &derived.hook_units {
            text.push_str(unit);
            text.push('\n');
        }
        durable::replace(path, text.as_bytes(), PUBLIC).map_err(|error| failed(path, &error))?;
        writeln!(console.out, "added to {HOOK_UNITS}: {}", derived.hook_units.join(", "))?;
    }
    Ok(())
}

/// What is in `path`; `None`: there is no such file.
fn existing(path: &Path) -> Result<Option<String>, Complaint> {
    match files::read(path, 1 << 20) {
        Ok(content) => Ok(Some(String::from_utf8_lossy(&content).into_owned())),
        Err(files::ReadError::Missing) => Ok(None),
        Err(error) => Err(Complaint::failed(format!("{} {error}", path.display()))),
    }
}
