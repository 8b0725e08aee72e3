//! Users and groups of the machine, each looked up once.
//!
//! `/etc/passwd` and `/etc/group` are read as files; a name that is not there is asked for with `getent`, which knows
//! LDAP and the like. Going through the C library's lookup instead would need unsafe code and a dynamic linker.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::process::{Command, Stdio};

/// Numbers of users and groups by name.
#[derive(Debug)]
pub struct Owners {
    users: Database,
    groups: Database,
}

impl Owners {
    /// Reads the machine's own databases. One that cannot be read counts as empty: `getent` may still answer.
    pub fn of_machine() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            users: Database::new("passwd", &read("/etc/passwd")),
            groups: Database::new("group", &read("/etc/group")),
        }
    }

    /// The number of the user `name`, which may be a number itself.
    pub fn user(&self, name: &str) -> Option<u32> {
        self.users.number(name)
    }

    /// The number of the group `name`, which may be a number itself.
    pub fn group(&self, name: &str) -> Option<u32> {
        self.groups.number(name)
    }
}

/// `name:password:number:…` lines.
#[derive(Debug)]
struct Database {
    /// What `getent` calls it.
    name: &'static str,
    numbers: RefCell<HashMap<String, Option<u32>>>,
}

impl Database {
    fn new(name: &'static str, text: &str) -> Self {
        let entries = text.lines().filter_map(entry).map(|(name, number)| (name.to_owned(), Some(number)));
        Self { name, numbers: RefCell::new(entries.collect()) }
    }

    fn number(&self, name: &str) -> Option<u32> {
        // The highest number means "leave as it is" to chown(2).
        if let Ok(number) = name.parse::<u32>() {
            return Some(number).filter(|number| *number != u32::MAX);
        }
        if let Some(known) = self.numbers.borrow().get(name) {
            return *known;
        }
        let number = self.ask(name);
        self.numbers.borrow_mut().insert(name.to_owned(), number);
        number
    }

    fn ask(&self, name: &str) -> Option<u32> {
        if name.starts_with('-') || name.contains(['\0', ':', '\n']) {
            return None;
        }
        let answer = Command::new("getent").args([self.name, name]).stdin(Stdio::null()).stderr(Stdio::null()).output();
        let text = String::from_utf8(answer.ok()?.stdout).ok()?;
        let (found, number) = entry(text.lines().next()?)?;
        (found == name).then_some(number)
    }
}

fn entry(line: &str) -> Option<(&str, u32)> {
    let mut fields = line.split(':');
    let name = fields.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
    Some((name, fields.nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_found() {
        let users =
            Database::new("passwd", "root:x:0:0::/root:/bin/sh\n# gone:x:7:7\ngps:x:812:812::/:/bin/false\nbad\n");
        for (name, number) in [
            ("root", Some(0)),
            ("gps", Some(812)),
            ("4711", Some(4711)),
            ("4294967295", None),
            ("no-such-user-anywhere", None),
            ("-v", None),
        ] {
            assert_eq!(users.number(name), number, "{name}");
        }
    }
}
