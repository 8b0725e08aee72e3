//! What a hook asks of the service manager.

use std::path::Path;

use crate::inventory::full_unit_name;

/// The verbs that the rule of the package permits, as `systemctl` spells them.
pub const PERMITTED: [&str; 6] =
    ["reload", "restart", "try-restart", "reload-or-restart", "try-reload-or-restart", "reload-or-try-restart"];

/// A call of `systemctl` for units of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    pub verb: &'a str,
    /// With their suffixes.
    pub units: Vec<String>,
}

/// What `command` asks; `None` where it does not call `systemctl`, or speaks to the manager of a user.
pub fn asked(command: &[String]) -> Option<Asked<'_>> {
    let (program, arguments) = command.split_first()?;
    if Path::new(program).file_name()? != "systemctl" || arguments.iter().any(|argument| argument == "--user") {
        return None;
    }
    let mut words = arguments.iter().map(String::as_str).filter(|argument| !argument.starts_with('-'));
    let verb = words.next()?;
    Some(Asked { verb, units: words.map(full_unit_name).collect() })
}
