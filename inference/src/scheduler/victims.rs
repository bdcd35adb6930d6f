//! Who gives way when the memory runs out: of the account that holds the most, its newest request.

use std::collections::HashMap;
use std::sync::Arc;

/// What one running sequence holds.
#[derive(Debug, Clone)]
pub(crate) struct Holding<'a> {
    pub(crate) account: &'a Arc<str>,
    pub(crate) blocks: &'a [u32],
    /// Whether it may be asked to give way (again).
    pub(crate) may_give_way: bool,
}

/// Who needs memory.
#[derive(Debug, Clone)]
pub(crate) enum Asker {
    /// A running sequence, by its place. It may itself be the one to give way.
    Running(usize),
    /// One that is to begin and would come to hold so many blocks: only those who hold more than its account then would give way to it.
    Beginning { account: Arc<str>, blocks: usize },
    /// One that has given way as often as anybody may: whoever can gives way to it.
    Last,
}

/// Who gives way so that `missing` blocks come free, in order; `holdings` come in order of arrival, and `shares` tells how many sequences
/// a block belongs to. Nobody, if it were for nothing. Where the asker itself has to, it is the last.
pub(crate) fn victims(holdings: &[Holding<'_>], shares: impl Fn(u32) -> u32, asker: &Asker, missing: usize) -> Option<Vec<usize>> {
    let mut held = Held::of(holdings, shares);
    let enough = match asker {
        Asker::Running(_) | Asker::Last => None,
        Asker::Beginning { account, blocks } => Some(held.by(account) + blocks),
    };
    let mut victims = Vec::new();
    let mut freed = 0;
    while freed < missing {
        let candidate = |place: &usize| {
            let Holding { account, may_give_way, .. } = &holdings[*place];
            *may_give_way && !victims.contains(place) && enough.is_none_or(|enough| held.by(account) > enough)
        };
        // Of one account rather those who give something by themselves than those who share all they hold.
        let weight = |place: &usize| (held.by(holdings[*place].account), held.would_free(&holdings[*place]) > 0, *place);
        let victim = (0..holdings.len()).filter(candidate).max_by_key(weight)?;
        freed += held.give(&holdings[victim]);
        victims.push(victim);
        if matches!(asker, Asker::Running(place) if *place == victim) {
            break;
        }
    }
    Some(victims)
}

/// What is held while some give way: a block comes free with the last of those it belongs to.
struct Held<'a> {
    by_account: HashMap<&'a str, usize>,
    shares: HashMap<u32, u32>,
}

impl<'a> Held<'a> {
    fn of(holdings: &[Holding<'a>], shares: impl Fn(u32) -> u32) -> Self {
        let mut held = Self { by_account: HashMap::new(), shares: HashMap::new() };
        for holding in holdings {
            let by_account = held.by_account.entry(holding.account).or_default();
            for block in holding.blocks {
                // Blocks are shared within an account only, and are held once.
                *by_account += usize::from(held.shares.insert(*block, shares(*block)).is_none());
            }
        }
        held
    }

    fn by(&self, account: &str) -> usize {
        self.by_account.get(account).copied().unwrap_or(0)
    }

    fn would_free(&self, holding: &Holding<'_>) -> usize {
        holding.blocks.iter().filter(|block| self.shares[*block] == 1).count()
    }

    /// Takes away what a sequence holds; says how much comes free.
    fn give(&mut self, holding: &Holding<'_>) -> usize {
        let mut freed = 0;
        for block in holding.blocks {
            let shares = self.shares.get_mut(block).expect("every holding's blocks are counted");
            *shares -= 1;
            freed += usize::from(*shares == 0);
        }
        if let Some(held) = self.by_account.get_mut(&**holding.account) {
            *held -= freed;
        }
        freed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Story {
        account: Arc<str>,
        blocks: Vec<u32>,
        may_give_way: bool,
    }

    /// Sequences of these accounts, each with so many blocks of its own.
    fn apart(of: &[(&str, u32, bool)]) -> Vec<Story> {
        let mut next = 0;
        let story = |(account, blocks, may_give_way): &(&str, u32, bool)| {
            next += blocks;
            Story { account: (*account).into(), blocks: (next - blocks..next).collect(), may_give_way: *may_give_way }
        };
        of.iter().map(story).collect()
    }

    fn victims(of: &[Story], asker: &Asker, missing: usize) -> Option<Vec<usize>> {
        let shares = |block| of.iter().filter(|story| story.blocks.contains(&block)).count() as u32;
        let holdings: Vec<Holding<'_>> =
            of.iter().map(|Story { account, blocks, may_give_way }| Holding { account, blocks, may_give_way: *may_give_way }).collect();
        super::victims(&holdings, shares, asker, missing)
    }

    fn beginning(account: &str, blocks: usize) -> Asker {
        Asker::Beginning { account: account.into(), blocks }
    }

    #[test]
    fn the_newest_of_the_account_that_holds_most_gives_way() {
        let all = apart(&[("heavy", 5, true), ("heavy", 5, true), ("light", 6, true)]);
        assert_eq!(victims(&all, &Asker::Running(2), 1), Some(vec![1]));
        assert_eq!(victims(&all, &Asker::Running(2), 6), Some(vec![1, 2]), "the asker itself, when it comes to that, and nobody after it");
        assert_eq!(victims(&all, &Asker::Last, 16), Some(vec![1, 2, 0]));
    }

    #[test]
    fn who_begins_takes_only_from_those_who_hold_more_than_it_then_would() {
        let all = apart(&[("heavy", 5, true), ("heavy", 5, true), ("light", 3, true)]);
        assert_eq!(victims(&all, &beginning("new", 2), 2), Some(vec![1]));
        assert_eq!(victims(&all, &beginning("new", 10), 2), None);
        assert_eq!(victims(&all, &beginning("heavy", 1), 1), None, "nobody makes room for their own account's next");
        assert_eq!(victims(&all, &beginning("new", 4), 9), Some(vec![1, 0]));
        assert_eq!(victims(&all, &beginning("new", 4), 11), None, "not for nothing");
    }

    #[test]
    fn who_has_given_way_twice_is_left_alone() {
        let all = apart(&[("heavy", 5, true), ("heavy", 5, false), ("light", 3, true)]);
        assert_eq!(victims(&all, &Asker::Running(2), 1), Some(vec![0]));
        assert_eq!(victims(&apart(&[("a", 5, false)]), &Asker::Running(0), 1), None);
    }

    #[test]
    fn what_is_shared_comes_free_with_the_last_who_gives_way() {
        let fork = |own: u32| Story { account: "heavy".into(), blocks: vec![0, 1, 2, own], may_give_way: true };
        let all = [fork(3), fork(4), Story { account: "light".into(), blocks: vec![5, 6], may_give_way: true }];
        assert_eq!(victims(&all, &Asker::Running(0), 1), Some(vec![1]));
        assert_eq!(victims(&all, &beginning("new", 2), 5), Some(vec![1, 0]), "two of their own and the three that they share");
        assert_eq!(victims(&all, &beginning("new", 2), 6), None);
        assert_eq!(victims(&all, &Asker::Last, 6), Some(vec![1, 0, 2]));
        assert_eq!(victims(&all, &beginning("new", 5), 1), None, "five blocks are held, not eight");
    }

    #[test]
    fn who_shares_all_they_hold_gives_way_only_where_it_helps() {
        let story = |blocks: &[u32]| Story { account: "heavy".into(), blocks: blocks.to_vec(), may_give_way: true };
        let all = [story(&[0, 1]), story(&[0, 2]), story(&[0])];
        assert_eq!(victims(&all, &Asker::Last, 2), Some(vec![1, 0]));
        assert_eq!(victims(&all, &Asker::Last, 3), Some(vec![1, 0, 2]));
    }
}
