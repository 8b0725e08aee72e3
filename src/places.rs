//! Places: how much work of one account is under way at once, and who is next.
//!
//! Law: a place is held while working, not while waiting; the nearest deadline goes first; no account takes the place of
//! another. A run gives its place up while it waits for hooks, for services, and for a disk that takes its time ([`aside`]), and
//! asks for one again afterwards.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::clock::Time;
use crate::names::AccountName;

/// A fixed number of places for each account. Clones share them.
#[derive(Clone, Debug)]
pub struct Places {
    each: usize,
    accounts: Arc<Mutex<BTreeMap<AccountName, Line>>>,
}

/// The places of one account.
#[derive(Debug, Default)]
struct Line {
    taken: usize,
    asked: u64,
    /// Waiting runs, by deadline and then in the order of asking.
    waiting: BTreeMap<(Time, u64), Waiter>,
}

/// Takes the place that it waited for; gives it back where nobody wants it any more.
struct Waiter(Box<dyn FnOnce(Place) -> Option<Place> + Send>);

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiter")
    }
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    /// None: handed on already.
    of: Option<(Places, AccountName)>,
}

impl Places {
    /// `each` places for each account, at least one.
    pub fn new(each: usize) -> Self {
        Self { each: each.max(1), accounts: Arc::default() }
    }

    /// Waits for a place of `account`. Dropping the future withdraws from the line.
    pub async fn enter(&self, account: &AccountName, deadline: Time) -> Place {
        let (sender, handed) = oneshot::channel();
        match self.admit(account, deadline, move |place| sender.send(place).err()) {
            Some(place) => place,
            // A line with somebody in it stays, and is served by those who leave.
            None => handed.await.expect("a line keeps who waits in it until they are served"),
        }
    }

    /// Gives a place of `account`, where there is one; otherwise `waiter` gets one when its turn comes. It gives the place
    /// back where nobody wants it any more. Who waits so takes no more memory than a line does.
    pub fn admit(
        &self,
        account: &AccountName,
        deadline: Time,
        waiter: impl FnOnce(Place) -> Option<Place> + Send + 'static,
    ) -> Option<Place> {
        let mut accounts = self.accounts();
        let line = accounts.entry(account.clone()).or_default();
        if line.taken < self.each {
            line.taken += 1;
            return Some(self.place(account));
        }
        line.asked += 1;
        line.waiting.insert((deadline, line.asked), Waiter(Box::new(waiter)));
        None
    }

    fn place(&self, account: &AccountName) -> Place {
        Place { of: Some((self.clone(), account.clone())) }
    }

    fn accounts(&self) -> MutexGuard<'_, BTreeMap<AccountName, Line>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the place to the next run in the line of `account`, or frees it where no run waits.
    fn next(&self, account: &AccountName) -> Option<Waiter> {
        let mut accounts = self.accounts();
        let line = accounts.get_mut(account)?;
        if let Some((_, next)) = line.waiting.pop_first() {
            return Some(next);
        }
        line.taken = line.taken.saturating_sub(1);
        if line.taken == 0 {
            accounts.remove(account);
        }
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((places, account)) = self.of.take() else { return };
        while let Some(next) = places.next(&account) {
            match (next.0)(places.place(&account)) {
                None => return,
                // The waiting run is gone: the one after it is next.
                Some(mut place) => place.of = None,
            }
        }
    }
}

tokio::task_local! {
    /// The scheduled run that this task is.
    static RUN: Run;
}

/// A run, with its place while it works.
struct Run {
    places: Places,
    account: AccountName,
    deadline: Time,
    seat: Mutex<Seat>,
}

struct Seat {
    place: Option<Place>,
    /// How many things the run waits for without a place.
    away: usize,
}

impl Run {
    fn seat(&self) -> MutexGuard<'_, Seat> {
        self.seat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does `work` in a `place`, with the `deadline` that it was got for.
pub async fn seated<T>(place: Place, deadline: Time, work: impl Future<Output = T> + Send) -> T {
    let Some((places, account)) = place.of.clone() else { return work.await };
    let seat = Mutex::new(Seat { place: Some(place), away: 0 });
    RUN.scope(Run { places, account, deadline, seat }, work).await
}

/// Waits for something that others do (a hook, a disk), without a place meanwhile. Outside of [`seated`] it just waits.
pub async fn aside<T>(wait: impl Future<Output = T>) -> T {
    let left = RUN.try_with(|run| {
        let mut seat = run.seat();
        seat.away += 1;
        seat.place.take()
    });
    drop(left);
    let result = wait.await;
    let back = RUN.try_with(|run| {
        let mut seat = run.seat();
        seat.away -= 1;
        (seat.away == 0).then(|| (run.places.clone(), run.account.clone(), run.deadline))
    });
    if let Ok(Some((places, account, deadline))) = back {
        let place = places.enter(&account, deadline).await;
        // The run is its task, which is here.
        let _ = RUN.try_with(|run| run.seat().place = Some(place));
    }
    result
}

#[cfg(test)]
mod tests;
