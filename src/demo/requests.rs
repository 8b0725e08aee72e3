//! The log of requests that the loopback provider received: what tests assert the daemon's behaviour on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, watch};

use super::{Fault, Service};
use crate::clock::Time;
use crate::provider::Operation;

/// How many requests are kept: the oldest make room for the newest.
const KEPT: usize = 100_000;

/// How many arrivals a slow follower may be behind before it misses some.
const FOLLOWED: usize = 1024;

/// One request, entered when it arrives.
#[derive(Clone, Debug)]
pub struct RequestRecord {
    /// Counts from 0 over all services, in the order of arrival.
    pub number: u64,
    pub at: Time,
    pub service: Service,
    /// What it asked for; `None` for whatever is not one of the five operations.
    pub operation: Option<Operation>,
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The name or description that a mint asked for, or the id or name that a revocation was about.
    pub about: Option<String>,
    /// The misbehaviour that was ordered for it.
    pub fault: Option<Fault>,
    /// The status of the answer; `None` while there is none, and where the client never got one.
    pub status: Option<u16>,
}

/// The log. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct RequestLog {
    state: Arc<Mutex<Log>>,
    arrivals: broadcast::Sender<RequestRecord>,
    /// How often something was entered or answered.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Log {
    /// The number of the next request.
    next: u64,
    records: VecDeque<RequestRecord>,
}

impl Default for RequestLog {
    fn default() -> Self {
        Self { state: Arc::default(), arrivals: broadcast::Sender::new(FOLLOWED), changes: watch::Sender::default() }
    }
}

impl RequestLog {
    /// Enters a request and returns its number; `record.number` is set here.
    pub(super) fn enter(&self, mut record: RequestRecord) -> u64 {
        let mut log = self.lock();
        record.number = log.next;
        log.next += 1;
        if log.records.len() == KEPT {
            log.records.pop_front();
        }
        // Without a follower there is nobody to tell.
        let _ = self.arrivals.send(record.clone());
        log.records.push_back(record);
        self.changes.send_modify(|changes| *changes += 1);
        log.next - 1
    }

    pub(super) fn follow(&self) -> broadcast::Receiver<RequestRecord> {
        self.arrivals.subscribe()
    }

    /// Notes what the request `number` was answered.
    pub(super) fn answered(&self, number: u64, status: u16) {
        let mut log = self.lock();
        let from_the_end = log.next - number;
        let at = usize::try_from(from_the_end).ok().and_then(|back| log.records.len().checked_sub(back));
        if let Some(record) = at.and_then(|at| log.records.get_mut(at)) {
            record.status = Some(status);
        }
        self.changes.send_modify(|changes| *changes += 1);
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn all(&self) -> Vec<RequestRecord> {
        self.lock().records.iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
