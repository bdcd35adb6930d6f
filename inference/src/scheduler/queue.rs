//! Who waits: a line for each account, and whose turn it is to begin.

use std::collections::VecDeque;
use std::sync::Arc;

/// A request for which there is no room lets so many later ones pass; after that nobody begins before it.
const OVERTAKEN_MAX: u32 = 16;

/// Requests that wait: first come first served within an account, in turn between accounts.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    /// The account at the front is next. None is empty.
    lines: VecDeque<Line<T>>,
}

#[derive(Debug)]
struct Line<T> {
    account: Arc<str>,
    waiting: VecDeque<T>,
    /// How often somebody has begun since the first of these was refused for want of room.
    overtaken: u32,
}

/// Why the first of an account does not begin now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The account has as much running as it may: its own affair.
    Account,
    /// There are too few places or too little memory for it, which are everybody's: others must not pass it for ever.
    Room,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { lines: VecDeque::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.iter().map(|line| line.waiting.len()).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How many of an account wait.
    pub(crate) fn len_of(&self, account: &str) -> usize {
        self.lines.iter().filter(|line| &*line.account == account).map(|line| line.waiting.len()).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.lines.iter().flat_map(|line| &line.waiting)
    }

    /// Puts a request at the end of its account's line.
    pub(crate) fn push(&mut self, account: &Arc<str>, request: T) {
        match self.lines.iter_mut().find(|line| line.account == *account) {
            Some(line) => line.waiting.push_back(request),
            None => self.lines.push_back(Line { account: Arc::clone(account), waiting: VecDeque::from([request]), overtaken: 0 }),
        }
    }

    /// Takes out all of which this is so.
    pub(crate) fn take_out(&mut self, mut is_so: impl FnMut(&T) -> bool) -> Vec<T> {
        let out = self.lines.iter_mut().flat_map(|line| {
            let (out, stay) = std::mem::take(&mut line.waiting).into_iter().partition::<Vec<T>, _>(&mut is_so);
            line.waiting = stay.into();
            out
        });
        let out = out.collect();
        self.lines.retain(|line| !line.waiting.is_empty());
        out
    }

    /// Takes the next to begin: the first of the first account that gets what it needs. Accounts that hold the fewest places, as `held`
    /// tells, come first; of equals the one whose turn was longest ago.
    pub(crate) fn take<R>(&mut self, held: impl Fn(&str) -> usize, mut begin: impl FnMut(&T) -> Result<R, Refused>) -> Option<(T, R)> {
        let mut order: Vec<usize> = (0..self.lines.len()).collect();
        // Nobody begins before one that has been passed too often, however little others hold.
        order.sort_by_key(|place| {
            let line = &self.lines[*place];
            (line.overtaken < OVERTAKEN_MAX, held(&line.account))
        });
        let mut refused = Vec::new();
        for place in order {
            match begin(self.lines[place].waiting.front()?) {
                Err(Refused::Account) => {}
                Err(Refused::Room) if self.lines[place].overtaken >= OVERTAKEN_MAX => return None,
                Err(Refused::Room) => refused.push(place),
                Ok(given) => {
                    for place in refused {
                        self.lines[place].overtaken += 1;
                    }
                    let mut line = self.lines.remove(place)?;
                    let request = line.waiting.pop_front()?;
                    line.overtaken = 0;
                    if !line.waiting.is_empty() {
                        self.lines.push_back(line);
                    }
                    return Some((request, given));
                }
            }
        }
        None
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        std::mem::take(&mut self.lines).into_iter().flat_map(|line| line.waiting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(of: &[(&str, u32)]) -> Queue<u32> {
        let mut queue = Queue::new();
        for (account, request) in of {
            queue.push(&(*account).into(), *request);
        }
        queue
    }

    /// Nobody has anything running.
    fn nothing(_: &str) -> usize {
        0
    }

    fn order(mut queue: Queue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.take(nothing, |_| Ok(())).map(|(request, ())| request)).collect()
    }

    #[test]
    fn accounts_take_turns_and_within_one_the_first_comes_first() {
        assert_eq!(order(queue(&[("heavy", 1), ("heavy", 2), ("heavy", 3), ("light", 10), ("third", 20)])), [1, 10, 20, 2, 3]);
    }

    #[test]
    fn who_has_least_running_comes_first() {
        let mut queue = queue(&[("heavy", 1), ("heavy", 2), ("light", 10), ("light", 11), ("new", 20)]);
        let held = |account: &str| if account == "heavy" { 4 } else { usize::from(account == "light") };
        let order: Vec<u32> = std::iter::from_fn(|| queue.take(held, |_| Ok(())).map(|(request, ())| request)).collect();
        assert_eq!(order, [20, 10, 11, 1, 2]);
    }

    #[test]
    fn who_may_not_begin_holds_up_nobody_else() {
        let mut queue = queue(&[("full", 1), ("other", 2), ("other", 3)]);
        let not_the_first = |request: &u32| if *request == 1 { Err(Refused::Account) } else { Ok(()) };
        assert_eq!([(); 3].map(|()| queue.take(nothing, not_the_first).map(|(request, ())| request)), [Some(2), Some(3), None]);
        assert_eq!((queue.len(), queue.len_of("full"), queue.len_of("other")), (1, 1, 0));
    }

    #[test]
    fn who_needs_much_room_is_passed_only_so_often() {
        let mut queue = queue(&[("large", 1)]);
        for request in 0..100 {
            queue.push(&"small".into(), 100 + request);
        }
        let not_the_first = |request: &u32| if *request == 1 { Err(Refused::Room) } else { Ok(()) };
        let passed = std::iter::from_fn(|| queue.take(nothing, not_the_first)).count();
        assert_eq!(passed, OVERTAKEN_MAX as usize);
        assert_eq!(queue.take(nothing, |_| Ok(())).map(|(request, ())| request), Some(1));
    }

    #[test]
    fn those_who_leave_are_gone() {
        let mut queue = queue(&[("a", 1), ("b", 2), ("a", 3)]);
        assert_eq!(queue.take_out(|request| *request != 3), [1, 2]);
        assert_eq!(order(queue), [3]);
    }
}
