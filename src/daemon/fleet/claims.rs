//! Which accounts this replica takes, and which it hands over. Pure.
//!
//! Nothing here makes anything safe: two replicas that decide differently are told apart by the claim in the engine, and by
//! the fence of each commit. What is decided is only who tries, so that accounts are spread and come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ring::digest::{SHA256, digest};

use crate::journal::fleet::presence::Presence;
use crate::names::{AccountName, ReplicaName};

use super::groups::Group;

/// Replicas must have been the same for so long before one that lives gives an account away.
pub(super) const QUIET: Duration = Duration::from_secs(10);

/// So long after a newer inventory was seen, whoever still has an older one hands over.
pub(super) const ROLLOUT: Duration = Duration::from_secs(15 * 60);

/// Everything that is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub me: &'a ReplicaName,
    pub presence: &'a Presence,
    /// What this replica owns.
    pub owned: &'a BTreeSet<AccountName>,
    /// Since when nobody owns an account.
    pub free_since: &'a BTreeMap<AccountName, Duration>,
    /// Since when the replicas are the same.
    pub quiet_since: Duration,
    /// Since when another replica has a newer inventory.
    pub behind_since: Option<Duration>,
    pub lease: Duration,
    /// On the same clock as the times above.
    pub now: Duration,
}

/// What is to be done about an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    Take(AccountName),
    /// This replica owns it, and it is another's.
    HandOver(AccountName),
    /// The engine says that this replica has it, and nothing of it is the inventory's any more.
    Release(AccountName),
}

/// What is to be done, and when to look again where nothing happens.
pub(super) fn duties(scene: &Scene<'_>, groups: &[Group]) -> (Vec<Duty>, Option<Duration>) {
    let (mut duties, mut again) = (Vec::new(), None);
    let mut look_at = |time: Duration| again = Some(again.map_or(time, |known: Duration| known.min(time)));
    let eligible = eligible(scene.presence);
    let drained = scene.presence.drained.contains(scene.me);
    for group in groups {
        let ranking = ranking(group.key(), &eligible);
        let place = ranking.iter().position(|replica| *replica == scene.me);
        for account in &group.accounts {
            match scene.presence.claims.get(account).map(|claim| &claim.replica) {
                // What the engine has just acknowledged is seen a moment later.
                None if scene.owned.contains(account) => {}
                None => {
                    let Some(place) = place.and_then(|place| u32::try_from(place).ok()) else { continue };
                    // The first may not reach the provider, or have no room: then the next one tries.
                    let since = scene.free_since.get(account).copied().unwrap_or(scene.now);
                    let due = since + scene.lease * 2 * place;
                    if due <= scene.now { duties.push(Duty::Take(account.clone())) } else { look_at(due) }
                }
                Some(owner) if owner == scene.me && !scene.owned.contains(account) => {
                    // Taken without an answer.
                    duties.push(Duty::Take(account.clone()));
                }
                Some(owner) if owner == scene.me => {
                    let better = ranking.first().is_some_and(|first| *first != scene.me);
                    if !better {
                        continue;
                    }
                    let ready = match (drained, scene.behind_since) {
                        (true, _) => scene.now,
                        (false, Some(since)) => since + ROLLOUT,
                        (false, None) => scene.quiet_since + QUIET,
                    };
                    if ready <= scene.now { duties.push(Duty::HandOver(account.clone())) } else { look_at(ready) }
                }
                Some(_) => {}
            }
        }
    }
    let known = super::groups::accounts(groups);
    let mine = scene.presence.claims.iter().filter(|(_, claim)| claim.replica == *scene.me).map(|(account, _)| account);
    duties.extend(mine.filter(|account| !known.contains(account)).cloned().map(Duty::Release));
    (duties, again)
}

/// Whether a replica that lives has a newer inventory than `me`.
pub(super) fn is_behind(presence: &Presence, me: &ReplicaName) -> bool {
    let newest = presence.members.values().map(|member| member.rank).max();
    presence.members.get(me).map(|member| member.rank) < newest
}

/// Replicas that may take accounts: they live, have the newest inventory of all that live, and are not drained.
fn eligible(presence: &Presence) -> Vec<&ReplicaName> {
    let undrained = || presence.members.iter().filter(|(name, _)| !presence.drained.contains(*name));
    let newest = undrained().map(|(_, member)| member.rank).max();
    undrained().filter(|(_, member)| Some(member.rank) == newest).map(|(name, _)| name).collect()
}

/// Rendezvous hashing: whoever leaves moves only what it had, and whoever comes takes only its own share.
fn ranking<'a>(group: &str, replicas: &[&'a ReplicaName]) -> Vec<&'a ReplicaName> {
    let weight = |replica: &ReplicaName| digest(&SHA256, format!("{group}\0{replica}").as_bytes()).as_ref().to_vec();
    let mut ranking: Vec<_> = replicas.iter().map(|replica| (weight(replica), *replica)).collect();
    ranking.sort_by(|one, other| other.cmp(one));
    ranking.into_iter().map(|(_, replica)| replica).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::fleet::Member;
    use crate::journal::fleet::presence::Claim;

    const SECOND: Duration = Duration::from_secs(1);

    fn replica(name: &str) -> ReplicaName {
        name.parse().unwrap()
    }

    fn presence(members: &[(&str, i64)]) -> Presence {
        let member = |rank| Member {
            version: "1".into(),
            started: crate::clock::Time::UNIX_EPOCH,
            rank,
            inventory: rank.to_string(),
            keys: Vec::new(),
        };
        let members = members.iter().map(|(name, rank)| (replica(name), member(*rank))).collect();
        Presence { members, ..Presence::default() }
    }

    fn groups(count: usize) -> Vec<Group> {
        let group = |number| Group { accounts: vec![format!("a{number:03}").parse().unwrap()], digest: String::new() };
        (0..count).map(group).collect()
    }

    /// What a replica does at `now`, seconds after it saw everything for the first time.
    fn decide(presence: &Presence, me: &str, owned: &BTreeSet<AccountName>, now: u32, groups: &[Group]) -> Vec<Duty> {
        let me = replica(me);
        let free_since = super::super::groups::accounts(groups).into_iter().map(|it| (it.clone(), Duration::ZERO));
        let scene = Scene {
            me: &me,
            presence,
            owned,
            free_since: &free_since.collect(),
            quiet_since: Duration::ZERO,
            behind_since: is_behind(presence, &me).then_some(Duration::ZERO),
            lease: SECOND * 15,
            now: SECOND * now,
        };
        duties(&scene, groups).0
    }

    fn claimed(presence: &mut Presence, account: &AccountName, by: &str) {
        presence.claims.insert(account.clone(), Claim { replica: replica(by), epoch: 1 });
    }

    #[test]
    fn every_free_account_is_taken_by_one_and_all_get_a_share() {
        let (presence, groups) = (presence(&[("a", 1), ("b", 1), ("c", 1)]), groups(300));
        let mut takers: BTreeMap<AccountName, usize> = BTreeMap::new();
        for me in ["a", "b", "c"] {
            let taken = decide(&presence, me, &BTreeSet::new(), 0, &groups);
            assert!((60..140).contains(&taken.len()), "{me} takes {} of 300", taken.len());
            for duty in taken {
                let Duty::Take(account) = duty else { panic!("{duty:?}") };
                *takers.entry(account).or_default() += 1;
            }
        }
        assert_eq!((takers.len(), takers.values().max()), (300, Some(&1)));
    }

    #[test]
    fn who_dies_leaves_the_accounts_of_others_where_they_are() {
        let (before, after, groups) =
            (presence(&[("a", 1), ("b", 1), ("c", 1)]), presence(&[("a", 1), ("b", 1)]), groups(100));
        for me in ["a", "b"] {
            let had = decide(&before, me, &BTreeSet::new(), 0, &groups);
            let has = decide(&after, me, &BTreeSet::new(), 0, &groups);
            assert!(had.iter().all(|duty| has.contains(duty)), "{me}");
        }
    }

    #[test]
    fn an_account_that_the_first_does_not_take_is_taken_by_the_next() {
        let (presence, groups) = (presence(&[("a", 1), ("b", 1)]), groups(1));
        let takers = |now| {
            ["a", "b"]
                .into_iter()
                .filter(|me| !decide(&presence, me, &BTreeSet::new(), now, &groups).is_empty())
                .count()
        };
        assert_eq!((takers(0), takers(29), takers(30)), (1, 1, 2));
    }

    #[test]
    fn an_account_is_handed_over_when_the_replicas_have_been_the_same_for_a_while() {
        let (mut presence, groups) = (presence(&[("a", 1), ("b", 1)]), groups(20));
        let all: BTreeSet<AccountName> = groups.iter().map(|group| group.accounts[0].clone()).collect();
        for account in &all {
            claimed(&mut presence, account, "a");
        }
        assert_eq!(decide(&presence, "a", &all, 9, &groups), []);
        let handed = decide(&presence, "a", &all, 10, &groups);
        assert!((3..17).contains(&handed.len()) && handed.iter().all(|duty| matches!(duty, Duty::HandOver(_))));
        assert_eq!(decide(&presence, "b", &BTreeSet::new(), 100, &groups), [], "what another has is not taken");
    }

    #[test]
    fn who_is_drained_gives_everything_away_at_once_and_takes_nothing() {
        let (mut presence, groups) = (presence(&[("a", 1), ("b", 1)]), groups(20));
        presence.drained.insert(replica("a"));
        assert_eq!(decide(&presence, "a", &BTreeSet::new(), 100, &groups), []);
        let all: BTreeSet<AccountName> = groups.iter().map(|group| group.accounts[0].clone()).collect();
        for account in &all {
            claimed(&mut presence, account, "a");
        }
        assert_eq!(decide(&presence, "a", &all, 0, &groups).len(), 20);
    }

    #[test]
    fn an_older_inventory_takes_nothing_and_keeps_what_it_has_for_the_time_of_a_rollout() {
        let (mut presence, groups) = (presence(&[("a", 1), ("b", 2)]), groups(4));
        assert_eq!(decide(&presence, "a", &BTreeSet::new(), 1000, &groups), [], "the newer one takes what is free");
        assert_eq!(decide(&presence, "b", &BTreeSet::new(), 0, &groups).len(), 4);
        let all: BTreeSet<AccountName> = groups.iter().map(|group| group.accounts[0].clone()).collect();
        for account in &all {
            claimed(&mut presence, account, "a");
        }
        assert_eq!(decide(&presence, "a", &all, 899, &groups), [], "an owner goes on with what it has");
        assert_eq!(decide(&presence, "a", &all, 900, &groups).len(), 4);
        presence.members.remove(&replica("b"));
        assert_eq!(decide(&presence, "a", &all, 1000, &groups), [], "nobody else is there");
    }

    #[test]
    fn what_is_owned_is_not_taken_again_before_the_claim_is_seen() {
        let (presence, groups) = (presence(&[("a", 1)]), groups(3));
        let all: BTreeSet<AccountName> = groups.iter().map(|group| group.accounts[0].clone()).collect();
        assert_eq!(decide(&presence, "a", &all, 0, &groups), []);
    }

    #[test]
    fn what_left_the_inventory_is_given_back() {
        let mut presence = presence(&[("a", 1)]);
        let gone: AccountName = "gone".parse().unwrap();
        claimed(&mut presence, &gone, "a");
        assert_eq!(decide(&presence, "a", &BTreeSet::new(), 0, &[]), [Duty::Release(gone)]);
    }
}
