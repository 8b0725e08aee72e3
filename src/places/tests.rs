use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::*;
use crate::clock::Span;

fn at(seconds: i64) -> Time {
    Time::UNIX_EPOCH + Span::seconds(seconds)
}

fn account(name: &str) -> AccountName {
    name.parse().unwrap()
}

#[tokio::test]
async fn the_nearest_deadline_goes_first_and_equals_go_in_the_order_of_asking() {
    let places = Places::new(1);
    let a = account("a");
    let first = places.enter(&a, at(0)).await;
    let order = Mutex::new(Vec::new());
    let waits = [("late", 90), ("near", 5), ("also near", 5), ("next", 30)].map(|(name, deadline)| {
        let (places, a, order) = (&places, &a, &order);
        async move {
            let place = places.enter(a, at(deadline)).await;
            order.lock().unwrap().push(name);
            drop(place);
        }
    });
    let mut all = pin!(join_all(waits));
    assert!(all.as_mut().now_or_never().is_none(), "nobody gets in while the only place is taken");
    drop(first);
    all.await;
    assert_eq!(*order.lock().unwrap(), ["near", "also near", "next", "late"]);
    assert!(places.accounts().is_empty(), "nothing is kept of an account without work");
}

#[tokio::test]
async fn no_account_takes_the_place_of_another() {
    let places = Places::new(2);
    let _taken = [places.enter(&account("a"), at(0)).await, places.enter(&account("a"), at(0)).await];
    assert!(places.enter(&account("a"), at(0)).now_or_never().is_none());
    assert!(places.enter(&account("b"), at(99)).now_or_never().is_some());
}

#[tokio::test]
async fn who_gives_up_does_not_keep_a_place() {
    let places = Places::new(1);
    let a = account("a");
    let first = places.enter(&a, at(0)).await;
    {
        let mut gone = Box::pin(places.enter(&a, at(1)));
        assert!(gone.as_mut().now_or_never().is_none());
        let mut handed = Box::pin(places.enter(&a, at(2)));
        assert!(handed.as_mut().now_or_never().is_none());
        drop(gone);
        drop(first);
        // It was handed the place, and never looks.
        drop(handed);
    }
    assert!(places.enter(&a, at(3)).now_or_never().is_some());
}

#[tokio::test]
async fn while_two_hundred_runs_wait_aside_one_more_is_served_at_once() {
    let places = Places::new(4);
    let a = account("a");
    let hooks = Semaphore::new(0);
    let ended = AtomicUsize::new(0);
    let waits = (0..200).map(|_| {
        let (places, a, hooks, ended) = (&places, &a, &hooks, &ended);
        async move {
            let place = places.enter(a, at(0)).await;
            let work = async {
                // Two hooks at once, as a run has them.
                join_all([aside(hooks.acquire()), aside(hooks.acquire())]).await;
                ended.fetch_add(1, Ordering::Relaxed);
            };
            seated(place, at(0), work).await;
        }
    });
    let mut waits = pin!(join_all(waits));
    assert!(waits.as_mut().now_or_never().is_none());
    let place = places.enter(&a, at(9)).now_or_never().expect("though its deadline is the latest");
    assert_eq!(seated(place, at(9), async { 7 }).now_or_never(), Some(7));
    hooks.close();
    waits.await;
    assert_eq!(ended.load(Ordering::Relaxed), 200);
    assert!(places.accounts().is_empty());
}

#[tokio::test]
async fn who_is_admitted_later_waits_in_the_same_line_without_a_task() {
    let places = Places::new(1);
    let a = account("a");
    let first = places.admit(&a, at(0), |_| unreachable!("there is room")).unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    for (name, deadline, wants) in [("late", 90, true), ("gone", 5, false), ("next", 30, true)] {
        let order = Arc::clone(&order);
        let waits = places.admit(&a, at(deadline), move |place| {
            order.lock().unwrap().push(name);
            // Who is served at once gives the place to the one after it.
            if wants {
                drop(place);
            } else {
                return Some(place);
            }
            None
        });
        assert!(waits.is_none());
    }
    drop(first);
    assert_eq!(*order.lock().unwrap(), ["gone", "next", "late"]);
    assert!(places.accounts().is_empty());
}

#[tokio::test]
async fn outside_of_a_run_aside_just_waits() {
    assert_eq!(aside(async { 7 }).await, 7);
}
