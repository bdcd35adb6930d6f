//! Who runs, with which memory. A sequence gets the blocks for its prompt when it begins and one more whenever it has filled one;
//! when there are none, somebody gives way, loses its memory and reads its tokens again later.
//!
//! Why it always goes on: whoever has given way twice gets all the memory it may come to need at once before it resumes, before anybody
//! else begins, and never gives way again; so it ends, and everybody gives way at most twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pace::Pace;
use super::queue::Refused;
use super::shares::{Demand, FairShares};
use super::victims::{Asker, Holding, victims};
use crate::error::Error;
use crate::kv_cache::{Chain, KvCache};
use crate::line::Line;
use crate::opt::{BLOCK_TOKENS, Kv};
use crate::request::FinishReason;
use crate::sequence::{About, Progress, Running, Waiting};

/// One that cannot resume for want of memory lets so many others begin; after that nobody does before it.
const OVERTAKEN_MAX: u32 = 16;

/// How much may run and wait, in all and of one account; how many tokens a step reads, and how long those of prompts may take while
/// somebody is being answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) running_max: usize,
    pub(crate) account_running_max: usize,
    pub(crate) waiting_max: usize,
    pub(crate) account_waiting_max: usize,
    pub(crate) step_tokens_max: usize,
    pub(crate) stall_max: Duration,
}

/// The sequences that have been taken up, and the memory of all.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) limits: Limits,
    cache: KvCache,
    /// Tokens of answers are computed in another way than those of prompts, and nobody's answer is another's prompt.
    answers_apart: bool,
    /// By arrival.
    running: Vec<Running>,
    /// Those that have given way, by arrival.
    paused: Vec<Running>,
    shares: FairShares,
    arrivals: u64,
    overtaken: u32,
    preemptions: u64,
    /// Prompt tokens that were looked for among what others had read, and those found.
    prefix: (u64, u64),
}

/// What a step is to do.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// For each running sequence, how many tokens it reads; none sits this step out.
    pub(crate) shares: Vec<usize>,
    /// Tokens of prompts among them: all but those of answers under way.
    pub(crate) prompt_tokens: usize,
    /// Blocks to copy before, from and to: sequences that shared one go on differently.
    pub(crate) copies: Vec<(u32, u32)>,
}

impl Batch {
    pub(crate) fn new(blocks: usize, limits: Limits, answers_apart: bool) -> Self {
        Self {
            limits,
            cache: KvCache::new(blocks),
            answers_apart,
            running: Vec::new(),
            paused: Vec::new(),
            shares: FairShares::default(),
            arrivals: 0,
            overtaken: 0,
            preemptions: 0,
            prefix: (0, 0),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.paused.is_empty()
    }

    pub(crate) fn running_mut(&mut self) -> &mut [Running] {
        &mut self.running
    }

    /// Everybody who has been taken up.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Running> {
        self.running.iter().chain(&self.paused)
    }

    pub(crate) fn cache(&self) -> &KvCache {
        &self.cache
    }

    pub(crate) fn preemptions(&self) -> u64 {
        self.preemptions
    }

    /// Prompt tokens that were looked for among what others had read, and those found.
    pub(crate) fn prefix_tokens(&self) -> (u64, u64) {
        self.prefix
    }

    /// Drops sequences whose reader has left or whose time is up.
    pub(crate) fn let_go(&mut self, now: Instant) {
        let gone = |sequence: &mut Running| sequence.is_abandoned() || sequence.is_late(now);
        let gone: Vec<Running> = self.running.extract_if(.., gone).chain(self.paused.extract_if(.., gone)).collect();
        for sequence in gone {
            let kv = if sequence.is_abandoned() { sequence.abandon() } else { sequence.fail(&Error::TooLate) };
            self.cache.release(kv.blocks());
        }
    }

    /// Takes up again those that gave way, then new ones, while there are places and memory.
    pub(crate) fn admit(&mut self, line: &Line, about: About<'_>) {
        while self.resume() {
            let mut places: HashMap<Arc<str>, usize> = HashMap::new();
            for sequence in self.all() {
                *places.entry(Arc::clone(sequence.account())).or_default() += sequence.places();
            }
            let held = |account: &str| places.get(account).copied().unwrap_or(0);
            let Some((waiting, (kv, chain))) = line.take(held, |waiting| self.room_to_begin(waiting)) else { return };
            self.arrivals += 1;
            let computes = waiting.computes();
            let sequence = waiting.start(self.arrivals, kv, chain, about);
            if computes {
                self.overtaken += u32::from(!self.paused.is_empty());
                self.running.push(sequence);
            } else {
                self.end_at_once(sequence);
            }
        }
    }

    /// Who reads how much in the next step: while somebody is being answered, no more of prompts than `pace` allows. Everybody in it has
    /// memory for it afterwards.
    pub(crate) fn plan(&mut self, pace: Pace) -> Plan {
        let demand = |sequence: &Running| Demand { account: Arc::clone(sequence.account()), tokens: sequence.pending() };
        let demands: Vec<Demand> = self.running.iter().map(demand).collect();
        // Answers under way come first, also for memory.
        let (answers, prompts): (Vec<usize>, Vec<usize>) = (0..demands.len()).partition(|place| demands[*place].tokens == 1);
        let step_tokens = match answers.len() {
            0 => self.limits.step_tokens_max,
            answers => answers.saturating_add(pace.prompt_tokens_in(self.limits.stall_max)).min(self.limits.step_tokens_max),
        };
        let mut plan = Plan { shares: self.shares.share(&demands, step_tokens), ..Plan::default() };
        let mut gave_way = vec![false; demands.len()];
        for place in answers.into_iter().chain(prompts.iter().copied()) {
            if plan.shares[place] > 0 && !gave_way[place] && !self.grow(place, &mut plan, &mut gave_way) {
                plan.shares[place] = 0;
            }
        }
        plan.prompt_tokens = prompts.into_iter().map(|place| plan.shares[place]).sum();
        let mut gone = gave_way.iter();
        self.paused.extend(self.running.extract_if(.., |_| *gone.next().expect("one for each sequence")));
        self.paused.sort_by_key(Running::arrival);
        let mut gone = gave_way.iter();
        plan.shares.retain(|_| !gone.next().expect("one for each sequence"));
        plan
    }

    /// The blocks that the step has filled can be found by others from now on.
    pub(crate) fn keep_what_was_read(&mut self) {
        for sequence in &mut self.running {
            let (chain, tokens, blocks) = sequence.chain(self.answers_apart);
            self.cache.keep(chain, tokens, blocks);
        }
    }

    /// Lets go of what has ended; `progress` is that of the running sequences, in order. `born` have just forked off, and share the
    /// blocks of those they come from.
    pub(crate) fn settle(&mut self, progress: Vec<Progress>, born: Vec<(Running, Progress)>) {
        for (sequence, _) in &born {
            self.cache.share(sequence.kv().blocks());
        }
        let before = std::mem::take(&mut self.running);
        for (sequence, progress) in before.into_iter().zip(progress).chain(born) {
            match progress {
                Progress::Goes => self.running.push(sequence),
                Progress::Ends(reason) => self.cache.release(sequence.finish(reason).blocks()),
                Progress::Fails(error) => self.cache.release(sequence.fail(&error).blocks()),
            }
        }
        self.running.sort_by_key(Running::arrival);
    }

    /// Breaks everything off.
    pub(crate) fn fail_all(&mut self, error: &Error) {
        for sequence in self.running.drain(..).chain(self.paused.drain(..)) {
            self.cache.release(sequence.fail(error).blocks());
        }
    }

    /// Makes this sequence give way, as if memory had run out.
    #[cfg(test)]
    pub(crate) fn preempt(&mut self, place: usize) {
        if !self.running[place].is_last_try() {
            self.give_way(place);
            self.paused.push(self.running.remove(place));
            self.paused.sort_by_key(Running::arrival);
        }
    }

    fn end_at_once(&mut self, mut sequence: Running) {
        for fork in sequence.fork() {
            fork.finish(FinishReason::Length);
        }
        let kv = sequence.finish(FinishReason::Length);
        self.cache.release(kv.blocks());
    }

    fn places(&self) -> usize {
        self.running.iter().map(Running::places).sum()
    }

    /// Resumes who can. Says whether new ones may begin: not while one on its last try, or one overtaken too often, waits for its memory.
    fn resume(&mut self) -> bool {
        let mut refused: Vec<Arc<str>> = Vec::new();
        // Those on their last try first, then by arrival.
        self.paused.sort_by_key(|sequence| (!sequence.is_last_try(), sequence.arrival()));
        let mut place = 0;
        while place < self.paused.len() {
            let sequence = &self.paused[place];
            if self.places() + sequence.places() > self.limits.running_max {
                return false;
            }
            let account = Arc::clone(sequence.account());
            let last_try = sequence.is_last_try();
            if refused.contains(&account) {
                place += 1;
                continue;
            }
            let skip = sequence.skippable(self.answers_apart);
            let tokens = if last_try { sequence.tokens_max().max(sequence.tokens().len()) } else { sequence.tokens().len() };
            let (found, chain) = self.cache.find(&account, sequence.tokens(), skip);
            let asker = if last_try {
                Asker::Last
            } else {
                Asker::Beginning { account: Arc::clone(&account), blocks: tokens.div_ceil(BLOCK_TOKENS) }
            };
            match self.memory(found, tokens, &asker) {
                Some(kv) => {
                    // Whoever gave way for it is behind it in the list, or has been put there before: look again from the start.
                    let mut sequence = self.paused.remove(place);
                    sequence.resume(kv, chain);
                    self.running.push(sequence);
                    self.running.sort_by_key(Running::arrival);
                    self.overtaken = if place == 0 { 0 } else { self.overtaken + 1 };
                    place = 0;
                    refused.clear();
                }
                None if last_try || self.overtaken >= OVERTAKEN_MAX => return false,
                None => {
                    refused.push(account);
                    place += 1;
                }
            }
        }
        true
    }

    /// Memory for a request that waits, if it may begin: for its prompt at least.
    fn room_to_begin(&mut self, waiting: &Waiting) -> Result<(Kv, Chain), Refused> {
        let account = &waiting.request.account;
        let running_of: usize = self.running.iter().filter(|sequence| sequence.account() == account).map(Running::places).sum();
        let over_cap = running_of > 0 && running_of + waiting.choices() > self.limits.account_running_max;
        let after_another = self.paused.iter().any(|sequence| sequence.account() == account);
        if over_cap || after_another {
            return Err(Refused::Account);
        }
        if self.places() + waiting.choices() > self.limits.running_max {
            return Err(Refused::Room);
        }
        if !waiting.computes() {
            return Ok((Kv::in_blocks(Vec::new()), self.cache.root(account)));
        }
        let skip = if waiting.request.scores_prompt() { 0 } else { waiting.prompt.len() - 1 };
        let (found, chain) = self.cache.find(account, &waiting.prompt, skip);
        let blocks = waiting.prompt.len().div_ceil(BLOCK_TOKENS);
        let cached_tokens = found.len() * BLOCK_TOKENS;
        let asker = Asker::Beginning { account: Arc::clone(account), blocks };
        let kv = self.memory(found, waiting.prompt.len(), &asker).ok_or(Refused::Room)?;
        self.prefix.0 += waiting.prompt.len() as u64;
        self.prefix.1 += cached_tokens as u64;
        Ok((kv, chain))
    }

    /// A memory with room for `tokens`, of which those in `found` are there already. Others may have to give way.
    fn memory(&mut self, found: Vec<u32>, tokens: usize, asker: &Asker) -> Option<Kv> {
        let count = tokens.div_ceil(BLOCK_TOKENS) - found.len();
        if count > self.free() {
            match self.victims(asker, count - self.free()) {
                Some(victims) => victims.into_iter().for_each(|place| self.give_way(place)),
                None => {
                    self.cache.release(&found);
                    return None;
                }
            }
            // Every running sequence has blocks, but for those that have just given way.
            self.paused.extend(self.running.extract_if(.., |sequence| sequence.kv().blocks().is_empty()));
        }
        let blocks = self.cache.take(count).expect("who gave way gave enough");
        let tokens = found.len() * BLOCK_TOKENS;
        let mut kv = Kv::holding(found, tokens);
        kv.extend(blocks);
        Some(kv)
    }

    /// Blocks for the next `share` tokens of the sequence at `place`, and one of its own if others read the one it is to write to.
    /// False if it has to sit out, or has itself given way.
    fn grow(&mut self, place: usize, plan: &mut Plan, gave_way: &mut [bool]) -> bool {
        loop {
            let kv = self.running[place].kv();
            let more = (kv.tokens() + plan.shares[place]).div_ceil(BLOCK_TOKENS).saturating_sub(kv.blocks().len());
            let shared = !kv.tokens().is_multiple_of(BLOCK_TOKENS) && self.cache.is_shared(kv.blocks()[kv.tokens() / BLOCK_TOKENS]);
            if let Some(mut blocks) = self.cache.take(more + usize::from(shared)) {
                let kv = self.running[place].kv_mut();
                if shared && let Some(own) = blocks.pop() {
                    let others = kv.replace_last(own);
                    self.cache.release(&[others]);
                    plan.copies.push((others, own));
                }
                kv.extend(blocks);
                return true;
            }
            let missing = more + usize::from(shared) - self.free();
            let Some(victims) = self.victims(&Asker::Running(place), missing) else { return false };
            for victim in victims {
                self.give_way(victim);
                gave_way[victim] = true;
                plan.shares[victim] = 0;
            }
            if gave_way[place] {
                return false;
            }
        }
    }

    /// Who gives way to `asker` so that `missing` blocks come free.
    fn victims(&self, asker: &Asker, missing: usize) -> Option<Vec<usize>> {
        let holding = |place: usize| {
            let sequence = &self.running[place];
            let may_give_way = !sequence.is_last_try() && !sequence.kv().blocks().is_empty();
            Holding { account: sequence.account(), blocks: sequence.kv().blocks(), may_give_way }
        };
        let holdings: Vec<Holding<'_>> = (0..self.running.len()).map(holding).collect();
        victims(&holdings, |block| self.cache.shares(block), asker, missing)
    }

    fn free(&self) -> usize {
        self.cache.total() - self.cache.in_use()
    }

    fn give_way(&mut self, place: usize) {
        let root = self.cache.root(self.running[place].account());
        let kv = self.running[place].give_way(root);
        self.cache.release(kv.blocks());
        self.preemptions += 1;
    }
}
