//! `patrold run`: the daemon.

use std::path::Path;

use crate::daemon::serve::{Ended, serve};
use crate::exit::Exit;

use super::Complaint;

/// Runs the daemon until a signal ends it.
pub fn run(config: &Path) -> Result<Exit, Complaint> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match runtime.block_on(serve(config, |_| {})) {
        Ok(Ended::Drained) => Ok(Exit::Fine),
        Ok(Ended::Aborted) => Ok(Exit::Failed),
        Err(error) => Err(error.into()),
    }
}
