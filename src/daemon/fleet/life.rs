//! The sign of life of a replica.

use std::time::Duration;

use tokio::time::sleep;

use crate::event;
use crate::journal::fleet::{FleetJournal, boot};

/// Keeps the lease alive until the engine has ended it: true. `back`: called when the engine answers again.
pub(super) async fn keep(journal: &FleetJournal, back: impl Fn()) -> bool {
    let third = journal.lease().ttl() / 3;
    let (mut warned, mut failed) = (false, false);
    loop {
        sleep(third).await;
        journal.write_marks().await;
        loop {
            match journal.keep_alive(third.min(Duration::from_millis(1500))).await {
                Ok(true) => {
                    if warned {
                        tracing::info!(event = event::FLEET_JOINED, "the engine answers again");
                    }
                    if std::mem::take(&mut failed) {
                        back();
                    }
                    warned = false;
                    break;
                }
                Ok(false) => return true,
                Err(error) => {
                    failed = true;
                    if !warned && journal.lease().left(boot()).is_none() {
                        warned = true;
                        tracing::error!(
                            event = event::FLEET_AWAY,
                            %error,
                            "the engine does not answer; nothing is begun until it does, and consumers keep what they have"
                        );
                    }
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}
