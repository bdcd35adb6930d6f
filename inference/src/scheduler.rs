//! Which sequences take part in a step, and with how many tokens. Sees numbers, no tensors.

/// Shares out a step of `tokens_max` tokens. `pending` says for each sequence, oldest first, how many tokens it has yet to read:
/// one if it is being answered, more while its prompt is read. Answers come first, so that a long prompt does not hold them up; what is left
/// is shared evenly among the prompts, so that a short one does not wait for a long one.
///
/// Invariant: `tokens_max` is at least the number of sequences (see `LoadOptions`), so every sequence moves in every step.
pub(crate) fn share(pending: &[usize], tokens_max: usize) -> Vec<usize> {
    let mut shares: Vec<usize> = pending.iter().map(|tokens| usize::from(*tokens == 1)).collect();
    let mut left = tokens_max.saturating_sub(shares.iter().sum());
    // From the shortest prompt to the longest, each takes its even part of what is left; the short leave theirs to the long.
    let mut prompts: Vec<usize> = (0..pending.len()).filter(|sequence| pending[*sequence] > 1).collect();
    prompts.sort_by_key(|sequence| pending[*sequence]);
    for (taken, sequence) in prompts.iter().enumerate() {
        let part = pending[*sequence].min(left / (prompts.len() - taken));
        shares[*sequence] = part;
        left -= part;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn answers_come_first_and_short_prompts_do_not_wait_for_long_ones() {
        assert_eq!(share(&[1, 1000, 1], 64), [1, 62, 1]);
        assert_eq!(share(&[1000, 10, 1], 64), [53, 10, 1]);
        assert_eq!(share(&[1000, 1000], 64), [32, 32]);
        assert_eq!(share(&[], 64), [0; 0]);
    }

    proptest! {
        #[test]
        fn every_sequence_moves_and_no_step_is_too_large(pending in proptest::collection::vec(1usize..300, 0..20), room in 0usize..100) {
            let tokens_max = pending.len() + room;
            let shares = share(&pending, tokens_max);
            prop_assert!(shares.iter().sum::<usize>() <= tokens_max);
            for (share, pending) in shares.iter().zip(&pending) {
                prop_assert!((1..=*pending).contains(share), "{:?}", shares);
            }
            // Nothing is left idle while somebody could use it.
            prop_assert_eq!(shares.iter().sum::<usize>(), tokens_max.min(pending.iter().sum()));
        }
    }
}
