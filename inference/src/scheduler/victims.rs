//! Who gives way when the memory runs out: of the account that holds the most, its newest request.

use std::collections::HashMap;
use std::sync::Arc;

/// What one running sequence holds.
#[derive(Debug, Clone)]
pub(crate) struct Holding {
    pub(crate) account: Arc<str>,
    /// Blocks that come free when it gives way: those it shares with nobody.
    pub(crate) blocks: usize,
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

/// Who gives way so that `missing` blocks come free, in order; `holdings` come in order of arrival. Nobody, if it were for nothing.
/// Where the asker itself has to, it is the last.
pub(crate) fn victims(holdings: &[Holding], asker: &Asker, missing: usize) -> Option<Vec<usize>> {
    let mut held: HashMap<&str, usize> = HashMap::new();
    for holding in holdings {
        *held.entry(&holding.account).or_default() += holding.blocks;
    }
    let enough = match asker {
        Asker::Running(_) | Asker::Last => None,
        Asker::Beginning { account, blocks } => Some(held.get(&**account).copied().unwrap_or(0) + blocks),
    };
    let mut victims = Vec::new();
    let mut freed = 0;
    while freed < missing {
        let candidate = |place: &usize| {
            let Holding { account, may_give_way, .. } = &holdings[*place];
            *may_give_way && !victims.contains(place) && enough.is_none_or(|enough| held[&**account] > enough)
        };
        let victim = (0..holdings.len()).filter(candidate).max_by_key(|place| (held[&*holdings[*place].account], *place))?;
        victims.push(victim);
        freed += holdings[victim].blocks;
        if let Some(held) = held.get_mut(&*holdings[victim].account) {
            *held -= holdings[victim].blocks;
        }
        if matches!(asker, Asker::Running(place) if *place == victim) {
            break;
        }
    }
    Some(victims)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holdings(of: &[(&str, usize, bool)]) -> Vec<Holding> {
        of.iter()
            .map(|(account, blocks, may_give_way)| Holding { account: (*account).into(), blocks: *blocks, may_give_way: *may_give_way })
            .collect()
    }

    fn beginning(account: &str, blocks: usize) -> Asker {
        Asker::Beginning { account: account.into(), blocks }
    }

    #[test]
    fn the_newest_of_the_account_that_holds_most_gives_way() {
        let all = holdings(&[("heavy", 5, true), ("heavy", 5, true), ("light", 6, true)]);
        assert_eq!(victims(&all, &Asker::Running(2), 1), Some(vec![1]));
        assert_eq!(victims(&all, &Asker::Running(2), 6), Some(vec![1, 2]), "the asker itself, when it comes to that, and nobody after it");
        assert_eq!(victims(&all, &Asker::Last, 16), Some(vec![1, 2, 0]));
    }

    #[test]
    fn who_begins_takes_only_from_those_who_hold_more_than_it_then_would() {
        let all = holdings(&[("heavy", 5, true), ("heavy", 5, true), ("light", 3, true)]);
        assert_eq!(victims(&all, &beginning("new", 2), 2), Some(vec![1]));
        assert_eq!(victims(&all, &beginning("new", 10), 2), None);
        assert_eq!(victims(&all, &beginning("heavy", 1), 1), None, "nobody makes room for their own account's next");
        assert_eq!(victims(&all, &beginning("new", 4), 9), Some(vec![1, 0]));
        assert_eq!(victims(&all, &beginning("new", 4), 11), None, "not for nothing");
    }

    #[test]
    fn who_has_given_way_twice_is_left_alone() {
        let all = holdings(&[("heavy", 5, true), ("heavy", 5, false), ("light", 3, true)]);
        assert_eq!(victims(&all, &Asker::Running(2), 1), Some(vec![0]));
        assert_eq!(victims(&holdings(&[("a", 5, false)]), &Asker::Running(0), 1), None);
    }
}
