//! Exit statuses of the process.

use std::process::ExitCode;

/// How a command ended. The numbers are a contract with scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: what was asked for was done.
    Fine,
    /// 1: what was asked for failed.
    Failed,
    /// 2: the command line was wrong, or the inventory is invalid; nothing was begun.
    Invalid,
    /// 3: some of what was asked for was done.
    Partly,
    /// What the program ended with that `patrold exec` ran.
    Program(u8),
}

impl Exit {
    /// The exit status.
    pub fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Failed => 1,
            Self::Invalid => 2,
            Self::Partly => 3,
            Self::Program(status) => status,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}
