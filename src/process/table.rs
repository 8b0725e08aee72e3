//! What the kernel tells of a process in `/proc/PID/stat`, `proc_pid_stat(5)`.

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The name of its program, at most 15 bytes.
    pub name: String,
    /// It has ended, and nobody waited for it yet.
    pub is_zombie: bool,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// In ticks since the machine was started. With its number, it names one process for ever.
    pub started: u64,
}

impl Process {
    /// The process `pid`. None: there is none, or the kernel does not tell.
    pub fn read(pid: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// What `stat` says.
    pub fn parse(stat: &str) -> Option<Self> {
        const STARTED: usize = 19;
        // Its name may contain anything, also blanks and parentheses.
        let (before, after) = stat.rsplit_once(')')?;
        let fields: Vec<_> = after.split_ascii_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse().ok();
        Some(Self {
            name: before.split_once('(')?.1.to_owned(),
            is_zombie: *fields.first()? == "Z",
            parent: number(1)?,
            group: number(2)?,
            session: number(3)?,
            started: fields.get(STARTED)?.parse().ok()?,
        })
    }
}

/// The number of every process that can be seen. Empty where `/proc` cannot be read.
pub fn pids() -> Vec<i32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let rest = "-1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0 0";
        let process = |name: &str, is_zombie| Process {
            name: name.to_owned(),
            is_zombie,
            parent: 1,
            group: 5,
            session: 3,
            started: 4711,
        };
        for (sentence, stat, expected) in [
            ("it has ended", format!("7 (sleep) Z 1 5 3 0 {rest}"), Some(process("sleep", true))),
            ("it runs", format!("7 (sleep) S 1 5 3 0 {rest}"), Some(process("sleep", false))),
            ("a name like a status", format!("7 (a) Z 9 (b) S 1 5 3 0 {rest}"), Some(process("a) Z 9 (b", false))),
            ("it breaks off", "7 (sleep) S 1 5 3 0".to_owned(), None),
            ("nonsense", "7".to_owned(), None),
        ] {
            assert_eq!(Process::parse(&stat), expected, "{sentence}");
        }
    }

    #[test]
    fn this_process_is_in_the_table() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(pids().contains(&own) && Process::read(own).is_some_and(|process| !process.is_zombie));
    }
}
