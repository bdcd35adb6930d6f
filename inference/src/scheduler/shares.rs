//! How the tokens of a step are shared out: answers under way first, then prompts by deficit round robin between accounts
//! (Shreedhar and Varghese, "Efficient fair queuing using deficit round robin", 1996), first come first served within one.

use std::collections::VecDeque;
use std::sync::Arc;

/// Tokens an account's prompts are read in one turn: one block.
const QUANTUM_TOKENS: usize = 32;

/// What one sequence has yet to read.
#[derive(Debug, Clone)]
pub(crate) struct Demand {
    pub(crate) account: Arc<str>,
    /// One if it is being answered, more while its prompt is read.
    pub(crate) tokens: usize,
}

/// Whose turn it is to have prompts read; goes on from step to step.
#[derive(Debug, Default)]
pub(crate) struct FairShares {
    turns: VecDeque<Turn>,
}

#[derive(Debug)]
struct Turn {
    account: Arc<str>,
    /// What is left of a turn that the end of a step has cut short.
    left: usize,
}

impl FairShares {
    /// Shares out a step of `tokens_max` tokens, at least one for each of `demands`, which come in order of arrival. Nothing is left while somebody could use it.
    pub(crate) fn share(&mut self, demands: &[Demand], tokens_max: usize) -> Vec<usize> {
        let mut shares: Vec<usize> = demands.iter().map(|demand| usize::from(demand.tokens == 1)).collect();
        let mut left = tokens_max.saturating_sub(shares.iter().sum());
        let reads = |account: &Arc<str>| demands.iter().any(|demand| demand.tokens > 1 && demand.account == *account);
        self.turns.retain(|turn| reads(&turn.account));
        for demand in demands.iter().filter(|demand| demand.tokens > 1) {
            if self.turns.iter().all(|turn| turn.account != demand.account) {
                self.turns.push_back(Turn { account: Arc::clone(&demand.account), left: 0 });
            }
        }
        while left > 0
            && let Some(mut turn) = self.turns.pop_front()
        {
            if turn.left == 0 {
                turn.left = QUANTUM_TOKENS;
            }
            let mut wants_more = false;
            for (demand, share) in demands.iter().zip(&mut shares).filter(|(demand, _)| demand.tokens > 1 && demand.account == turn.account)
            {
                let part = (demand.tokens - *share).min(turn.left).min(left);
                *share += part;
                turn.left -= part;
                left -= part;
                wants_more |= *share < demand.tokens;
            }
            match (wants_more, turn.left) {
                (false, _) => {}
                (true, 0) => self.turns.push_back(turn),
                // The step is full: the turn goes on in the next.
                (true, _) => self.turns.push_front(turn),
            }
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn demands(of: &[(&str, usize)]) -> Vec<Demand> {
        of.iter().map(|(account, tokens)| Demand { account: (*account).into(), tokens: *tokens }).collect()
    }

    fn share(of: &[(&str, usize)], tokens_max: usize) -> Vec<usize> {
        FairShares::default().share(&demands(of), tokens_max)
    }

    #[test]
    fn answers_come_first_and_accounts_read_alike() {
        assert_eq!(share(&[("a", 1), ("a", 1000), ("a", 1)], 64), [1, 62, 1]);
        assert_eq!(share(&[("a", 1000), ("b", 1000)], 64), [32, 32]);
        assert_eq!(share(&[("a", 1000), ("a", 1000), ("a", 1000), ("b", 1000)], 128), [64, 0, 0, 64], "not by the number of requests");
        assert_eq!(share(&[("a", 1000), ("b", 10)], 128), [118, 10], "what one does not need is the other's");
        assert_eq!(share(&[], 64), [0; 0]);
    }

    #[test]
    fn a_turn_that_a_step_cuts_short_goes_on_in_the_next() {
        let mut shares = FairShares::default();
        let both = demands(&[("a", 1000), ("b", 1000)]);
        let steps: Vec<Vec<usize>> = (0..4).map(|_| shares.share(&both, 16)).collect();
        assert_eq!(steps, [[16, 0], [16, 0], [0, 16], [0, 16]]);
    }

    proptest! {
        #[test]
        fn answers_move_in_every_step_and_no_step_is_too_large_or_wasted(of in proptest::collection::vec((0u8..4, 1usize..300), 0..20), room in 0usize..200) {
            let demands: Vec<Demand> = of.iter().map(|(account, tokens)| Demand { account: account.to_string().into(), tokens: *tokens }).collect();
            let tokens_max = demands.len() + room;
            let mut fair = FairShares::default();
            for _ in 0..3 {
                let shares = fair.share(&demands, tokens_max);
                for (share, demand) in shares.iter().zip(&demands) {
                    prop_assert!(*share <= demand.tokens && (demand.tokens > 1 || *share == 1), "{:?}", shares);
                }
                prop_assert_eq!(shares.iter().sum::<usize>(), tokens_max.min(demands.iter().map(|demand| demand.tokens).sum()));
            }
        }

        /// Accounts that always have prompts to read never come further apart than one turn, however many prompts each has and however
        /// large the steps are.
        #[test]
        fn busy_accounts_read_the_same_but_for_one_turn(prompts in proptest::collection::vec(1usize..5, 1..6), steps in proptest::collection::vec(0usize..300, 1..40)) {
            let mut fair = FairShares::default();
            let all: Vec<usize> = prompts.iter().enumerate().flat_map(|(account, prompts)| vec![account; *prompts]).collect();
            let names: Vec<String> = (0..prompts.len()).map(|account| account.to_string()).collect();
            let demands = demands(&all.iter().map(|account| (names[*account].as_str(), 2000)).collect::<Vec<_>>());
            let mut read = vec![0; prompts.len()];
            for step in steps {
                for (account, share) in all.iter().zip(fair.share(&demands, step)) {
                    read[*account] += share;
                }
                let apart = read.iter().max().unwrap_or(&0) - read.iter().min().unwrap_or(&0);
                prop_assert!(apart <= QUANTUM_TOKENS, "{read:?}");
            }
        }

        /// However many prompts a heavy account has, a light one's is read at half the pace of a step at least.
        #[test]
        fn a_heavy_account_does_not_hold_up_a_light_one(heavy in 1usize..12, prompt in 2usize..500, tokens_max in 16usize..256) {
            let mut fair = FairShares::default();
            let mut tokens = prompt;
            let mut steps = 0;
            while tokens > 0 {
                let mut all = vec![("heavy", 2000); heavy];
                all.push(("light", tokens));
                tokens -= fair.share(&demands(&all), tokens_max)[heavy];
                steps += 1;
            }
            prop_assert!(steps <= (2 * prompt + 2 * QUANTUM_TOKENS).div_ceil(tokens_max) + 1, "{steps} steps");
        }
    }
}
