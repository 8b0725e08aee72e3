//! The reason why a command failed, with its remedy.

use std::io;

use crate::control::ClientError;
use crate::daemon::StartError;
use crate::demo::show::ShowError;
use crate::exit::Exit;
use crate::outcome::FailureCode;

/// A sentence for standard error, and the exit status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Complaint {
    pub exit: Exit,
    /// Empty where everything was said already.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The failure of a request that it is about.
    pub code: Option<FailureCode>,
}

impl Complaint {
    /// What was asked for failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, message: message.into(), help: None, code: None }
    }

    /// The command line or the inventory is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { exit: Exit::Invalid, message: message.into(), help: None, code: None }
    }

    /// The reasons were printed already.
    pub fn told(exit: Exit) -> Self {
        Self { exit, message: String::new(), help: None, code: None }
    }

    /// Of a request that failed so.
    #[must_use]
    pub fn of(self, code: FailureCode) -> Self {
        Self { code: Some(code), ..self }
    }

    /// With the remedy.
    #[must_use]
    pub fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl From<io::Error> for Complaint {
    fn from(error: io::Error) -> Self {
        Self::failed(format!("cannot write the output: {error}"))
    }
}

impl From<ClientError> for Complaint {
    fn from(error: ClientError) -> Self {
        Self { help: error.help.map(str::to_owned), ..Self::failed(error.message) }
    }
}

impl From<StartError> for Complaint {
    fn from(error: StartError) -> Self {
        match error {
            StartError::Inventory(report) => Self::invalid(format!("the inventory is invalid\n{}", report.trim_end())),
            other => Self { help: other.help().map(str::to_owned), ..Self::failed(other.to_string()) },
        }
    }
}

impl From<ShowError> for Complaint {
    fn from(error: ShowError) -> Self {
        match error {
            ShowError::Start(error) => error.into(),
            ShowError::Io(error) => Self::failed(error.to_string()),
        }
    }
}
