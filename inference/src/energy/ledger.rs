//! Who gets how much of what a card's energy counter counts. Pure: readings and times come in, joules stand on tallies.
//!
//! The counter moves some ten times a second, steps are shorter. So a step's time is noted on the tallies of the answers it computed,
//! shared by tokens, and when the counter is seen to have moved, what it counted above idle goes to the time noted since it last moved.
//! What an answer that ends has not been given by then is its time at the watts of the last such window. So is what lies between the
//! beginning of work and the first move: that move counts from one that nobody saw.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A card that has computed nothing for so long draws what it draws idle: the driver's watts are means over a second.
const RESTED_S: f64 = 3.0;
/// Work that begins after so long a pause begins a window of its own: what little the card drew meanwhile is not worth its uncertainty.
const PAUSE_S: f64 = 0.25;
/// The counter is read no more often: the driver takes its time, and moves it ten times a second.
const READ_EVERY_S: f64 = 0.025;
/// How long it is remembered what computing costs, in time of steps.
const BUSY_MEMORY_S: f64 = 2.0;
/// A counter that does not move for so long while the card computes is not one.
const STILL_S: f64 = 10.0;

/// What one answer, or one model, has taken.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    joules: f64,
    /// Time of the card that is not paid for yet.
    open_s: f64,
    /// What an open second costs, as far as is known.
    watts: Option<f64>,
    standing: Standing,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// No card has computed it.
    #[default]
    Unmetered,
    Metered,
    /// Some of it was computed while nobody could tell what it takes.
    Unknown,
}

impl Tally {
    /// An estimate, above what the card draws idle; `None` if it cannot be told.
    pub(crate) fn joules(&self) -> Option<f64> {
        let taken = self.lock();
        match taken.standing {
            Standing::Unmetered | Standing::Unknown => None,
            Standing::Metered if taken.open_s == 0.0 => Some(taken.joules),
            Standing::Metered => taken.watts.map(|watts| taken.joules + taken.open_s * watts),
        }
    }

    /// What has been measured of it, whatever else there was.
    pub(crate) fn measured_joules(&self) -> f64 {
        self.lock().joules
    }

    /// Notes time; says whether none was open before.
    fn note(&self, seconds: f64, watts: Option<f64>) -> bool {
        let mut taken = self.lock();
        if taken.standing == Standing::Unmetered {
            taken.standing = Standing::Metered;
        }
        taken.watts = watts;
        let was_open = taken.open_s > 0.0;
        taken.open_s += seconds;
        !was_open && seconds > 0.0
    }

    /// Pays for what is open; without a price it stays unknown for good.
    fn settle(&self, watts: Option<f64>) {
        let mut taken = self.lock();
        let open_s = mem::take(&mut taken.open_s);
        match watts {
            Some(watts) => taken.joules += open_s * watts,
            None => taken.standing = Standing::Unknown,
        }
    }

    fn give_up(&self) {
        self.lock().standing = Standing::Unknown;
    }

    /// Every change is whole when the lock is let go.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counter as it was.
#[derive(Debug, Clone, Copy)]
struct Reading {
    millijoules: u64,
    at_s: f64,
    /// Whether it was seen to move to this.
    moved: bool,
}

/// What computing costs above idle: joules, and the time of steps they were for, in which what is older counts less. One window alone
/// tells little: a move of the counter is seen up to [`READ_EVERY_S`] late, or a step.
#[derive(Debug, Default)]
struct Busy {
    joules: f64,
    seconds: f64,
}

impl Busy {
    fn take(&mut self, joules: f64, seconds: f64) {
        let rest = (-seconds / BUSY_MEMORY_S).exp();
        self.joules = self.joules * rest + joules;
        self.seconds = self.seconds * rest + seconds;
    }

    fn watts(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.joules / self.seconds)
    }
}

/// What is known of a card. Times are in seconds since any moment.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    idle_watts: Option<f64>,
    busy: Busy,
    last: Option<Reading>,
    /// Those with open time.
    open: Vec<Tally>,
    /// Time of steps since the last reading.
    computed_s: f64,
    /// Steps under way: of several models, if they share the card.
    steps: usize,
    /// When the last one ended.
    ended_s: f64,
    /// When it was last asked for a reading, and whether that has not come yet.
    asked_s: f64,
    is_asked: bool,
    /// The next reading is the first of a window.
    begins: bool,
    fault: Option<&'static str>,
}

impl Ledger {
    /// Of a card that may still be busy with whatever was done to it before `now_s`.
    pub(crate) fn new(now_s: f64) -> Self {
        Self { ended_s: now_s, ..Self::default() }
    }

    /// Why nothing is known any more, if it is so.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        self.fault
    }

    /// Whether energy above idle can be told.
    pub(crate) fn is_known(&self) -> bool {
        self.idle_watts.is_some() && self.fault.is_none()
    }

    /// A step begins. Says whether the counter is to be read ([`Ledger::read`]); no step waits for that, as the driver takes milliseconds to
    /// answer.
    pub(crate) fn begin(&mut self, now_s: f64) -> bool {
        let paused_s = now_s - self.ended_s;
        let goes_on = self.last.is_some() && paused_s < PAUSE_S;
        let begins = self.steps == 0 && self.fault.is_none() && !self.begins && !goes_on;
        self.steps += 1;
        if !begins {
            return false;
        }
        self.settle(self.busy.watts());
        self.begins = true;
        self.ask(now_s)
    }

    /// A step that took `took_s` ends; `shares` are the tokens it computed for each answer, `model` the tally of all answers together. Says
    /// whether the counter is to be read.
    pub(crate) fn end(&mut self, now_s: f64, took_s: f64, shares: &[(&Tally, usize)], model: &Tally) -> bool {
        self.steps = self.steps.saturating_sub(1);
        self.ended_s = now_s;
        if self.fault.is_some() {
            shares.iter().for_each(|(tally, _)| tally.give_up());
            return false;
        }
        let tokens: usize = shares.iter().map(|(_, count)| count).sum();
        let seconds = |count: usize| took_s * count as f64 / tokens.max(1) as f64;
        let watts = self.busy.watts();
        let noted = shares.iter().map(|(tally, count)| (*tally, seconds(*count))).chain([(model, seconds(tokens))]);
        for (tally, seconds) in noted {
            if tally.note(seconds, watts) {
                self.open.push(tally.clone());
            }
        }
        self.computed_s += seconds(tokens);
        now_s - self.asked_s >= READ_EVERY_S && self.ask(now_s)
    }

    /// At most one reading is on its way.
    fn ask(&mut self, now_s: f64) -> bool {
        if !self.is_asked {
            (self.asked_s, self.is_asked) = (now_s, true);
            return true;
        }
        if now_s - self.asked_s >= STILL_S {
            self.give_up("it does not answer");
        }
        false
    }

    /// Whether the card has rested for so long that what it draws is what it draws idle.
    pub(crate) fn has_rested(&self, now_s: f64) -> bool {
        self.steps == 0 && now_s - self.ended_s >= RESTED_S
    }

    /// What the card draws, as it told while it rested.
    pub(crate) fn draws_idle(&mut self, watts: f64) {
        self.idle_watts = Some(watts);
    }

    /// A step that was begun never ends.
    pub(crate) fn abandon(&mut self) {
        self.steps = self.steps.saturating_sub(1);
    }

    /// The counter has been read, at `now_s`: maybe while a step goes on. `None`: it cannot be.
    pub(crate) fn read(&mut self, now_s: f64, millijoules: Option<u64>) {
        self.is_asked = false;
        if self.fault.is_some() {
            return;
        }
        let Some(millijoules) = millijoules else { return self.give_up("it cannot be read") };
        let begins = mem::take(&mut self.begins);
        let Some(last) = self.last.filter(|_| !begins) else {
            return self.start_from(Reading { millijoules, at_s: now_s, moved: false });
        };
        match millijoules.checked_sub(last.millijoules) {
            None => self.give_up("it went backwards"),
            Some(0) if now_s - last.at_s >= STILL_S => self.give_up("it stands still while the card computes"),
            Some(0) => {}
            Some(counted) => self.moved(last, now_s, counted),
        }
    }

    /// The counter has moved by `counted` millijoules.
    fn moved(&mut self, last: Reading, now_s: f64, counted: u64) {
        let above_idle = self.idle_watts.map(|idle_watts| (counted as f64 / 1e3 - idle_watts * (now_s - last.at_s)).max(0.0));
        let computed_s = self.computed_s;
        self.start_from(Reading { millijoules: last.millijoules + counted, at_s: now_s, moved: true });
        let Some(joules) = above_idle.filter(|_| computed_s > 0.0) else { return self.settle(None) };
        if last.moved {
            self.busy.take(joules, computed_s);
            self.settle(Some(joules / computed_s));
        } else if let Some(watts) = self.busy.watts() {
            self.settle(Some(watts));
        } else {
            // Rough, and better than nothing; what is open waits for the next move.
            self.busy.take(joules, computed_s);
        }
    }

    fn start_from(&mut self, reading: Reading) {
        self.last = Some(reading);
        self.computed_s = 0.0;
    }

    fn settle(&mut self, watts: Option<f64>) {
        self.open.drain(..).for_each(|tally| tally.settle(watts));
    }

    fn give_up(&mut self, fault: &'static str) {
        self.fault = Some(fault);
        self.settle(None);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;

    const IDLE: f64 = 100.0;
    const BUSY: f64 = 500.0;

    /// A card whose counter moves every tenth of a second.
    struct Card {
        now_s: f64,
        joules: f64,
        ledger: Ledger,
        model: Tally,
    }

    impl Card {
        fn new() -> Self {
            // Between two moves of the counter.
            Self { now_s: 0.03, joules: 0.03 * IDLE, ledger: Ledger::new(0.03), model: Tally::default() }
        }

        fn rests(&mut self, seconds: f64) {
            self.passes(seconds, IDLE);
            if self.ledger.has_rested(self.now_s) {
                self.ledger.draws_idle(IDLE);
            }
        }

        fn passes(&mut self, seconds: f64, watts: f64) {
            // In hundredths, so that the counter keeps what was at its last move.
            let mut left = seconds;
            while left > 1e-9 {
                let piece = left.min(0.01);
                let (before, after) = (self.now_s, self.now_s + piece);
                self.joules += piece * watts;
                self.now_s = after;
                left -= piece;
                if (before * 10.0 + 1e-6).floor() < (after * 10.0 + 1e-6).floor() {
                    COUNTER.set((self.joules * 1e3) as u64);
                }
            }
        }

        fn step(&mut self, took_s: f64, shares: &[(&Tally, usize)]) {
            let wanted = self.ledger.begin(self.now_s);
            self.tell(wanted, Some(COUNTER.get()));
            self.passes(took_s, BUSY);
            let wanted = self.ledger.end(self.now_s, took_s, shares, &self.model);
            self.tell(wanted, Some(COUNTER.get()));
        }

        fn tell(&mut self, is_wanted: bool, millijoules: Option<u64>) {
            if is_wanted {
                self.ledger.read(self.now_s, millijoules);
            }
        }
    }

    thread_local! {
        static COUNTER: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }

    fn close(told: Option<f64>, expected: f64, within: f64) {
        let told = told.expect("it is known");
        assert!((told - expected).abs() <= within, "{told} J, not {expected} ± {within}");
    }

    #[test]
    fn a_long_answer_gets_what_was_drawn_above_idle() {
        let (mut card, answer) = (Card::new(), Tally::default());
        card.rests(5.0);
        (0..200).for_each(|_| card.step(0.01, &[(&answer, 1)]));
        // 2 s at 400 W above idle.
        close(answer.joules(), 800.0, 20.0);
        close(Some(card.model.measured_joules()), 800.0, 60.0);
        assert!(card.ledger.is_known());
    }

    #[test]
    fn a_step_is_shared_by_tokens() {
        let (mut card, long, short) = (Card::new(), Tally::default(), Tally::default());
        card.rests(5.0);
        (0..200).for_each(|_| card.step(0.01, &[(&long, 3), (&short, 1)]));
        close(long.joules(), 600.0, 15.0);
        close(short.joules(), 200.0, 5.0);
        assert!((long.joules().unwrap() - 3.0 * short.joules().unwrap()).abs() < 1e-6);
    }

    #[test]
    fn what_was_idle_between_is_nobody_s() {
        let (mut card, first, second) = (Card::new(), Tally::default(), Tally::default());
        card.rests(5.0);
        (0..100).for_each(|_| card.step(0.01, &[(&first, 1)]));
        card.rests(3600.0);
        (0..100).for_each(|_| card.step(0.01, &[(&second, 1)]));
        close(first.joules(), 400.0, 20.0);
        close(second.joules(), 400.0, 20.0);
    }

    /// Shorter than the counter's step, and told when it ends, by the watts that were measured before.
    #[test]
    fn a_short_answer_is_told_at_its_end() {
        let (mut card, long, short) = (Card::new(), Tally::default(), Tally::default());
        card.rests(5.0);
        (0..200).for_each(|_| card.step(0.01, &[(&long, 1)]));
        card.rests(10.0);
        card.step(0.02, &[(&short, 1)]);
        close(short.joules(), 8.0, 0.5);
    }

    #[test]
    fn nothing_is_told_before_anything_was_measured() {
        let (mut card, hasty, untouched) = (Card::new(), Tally::default(), Tally::default());
        // The card has not rested: what it draws idle is not known, and not guessed.
        (0..200).for_each(|_| card.step(0.01, &[(&hasty, 1)]));
        assert_eq!((hasty.joules(), untouched.joules()), (None, None));
        assert!(!card.ledger.is_known());
        // Rested, but no window has been seen.
        let (mut card, first) = (Card::new(), Tally::default());
        card.rests(5.0);
        card.step(0.001, &[(&first, 1)]);
        assert_eq!(first.joules(), None);
    }

    #[test]
    fn two_models_on_a_card_pay_for_their_own_time() {
        let (mut card, other, answers) = (Card::new(), Tally::default(), [Tally::default(), Tally::default()]);
        card.rests(5.0);
        for _ in 0..100 {
            card.step(0.01, &[(&answers[0], 1)]);
            let model = mem::replace(&mut card.model, other.clone());
            card.step(0.03, &[(&answers[1], 7)]);
            card.model = model;
        }
        close(answers[0].joules(), 400.0, 20.0);
        close(answers[1].joules(), 1200.0, 30.0);
        close(other.joules(), 1200.0, 30.0);
    }

    #[test]
    fn a_counter_that_cannot_be_believed_is_given_up() {
        type Broken = fn(u64) -> Option<u64>;
        let faults: [(Broken, &str); 3] = [(|_| None, "read"), (|now| Some(now - 60_000_000), "backwards"), (|_| Some(7), "backwards")];
        for (broken, words) in faults {
            let (mut card, before, after) = (Card::new(), Tally::default(), Tally::default());
            card.joules += 70_000.0;
            card.rests(5.0);
            (0..50).for_each(|_| card.step(0.01, &[(&before, 1)]));
            assert!(before.joules().is_some());
            assert!(!card.ledger.begin(card.now_s), "the window goes on");
            card.passes(0.2, BUSY);
            let wanted = card.ledger.end(card.now_s, 0.2, &[(&before, 1)], &card.model);
            card.tell(wanted, broken(COUNTER.get()));
            assert!(card.ledger.fault().unwrap().contains(words), "{:?}", card.ledger.fault());
            card.rests(10.0);
            (0..50).for_each(|_| card.step(0.01, &[(&after, 1)]));
            assert_eq!((before.joules(), after.joules(), card.ledger.is_known()), (None, None, false));
        }
    }

    #[test]
    fn a_counter_that_stands_still_is_given_up() {
        let (mut card, answer) = (Card::new(), Tally::default());
        card.rests(5.0);
        for _ in 0..1_100 {
            let wanted = card.ledger.begin(card.now_s);
            card.tell(wanted, Some(7));
            card.now_s += 0.01;
            let wanted = card.ledger.end(card.now_s, 0.01, &[(&answer, 1)], &card.model);
            card.tell(wanted, Some(7));
        }
        assert!(card.ledger.fault().unwrap().contains("stands still"));
        assert_eq!(answer.joules(), None);
    }

    /// The driver takes its time, and steps do not wait for it.
    #[test]
    fn a_reading_that_comes_late_tells_the_same() {
        let (mut card, answer) = (Card::new(), Tally::default());
        card.rests(5.0);
        let mut on_its_way = false;
        for _ in 0..400 {
            let begun = card.ledger.begin(card.now_s);
            card.passes(0.002, BUSY);
            // What was asked for a step ago is told in the middle of this one, and nothing else is asked for before.
            assert!(!on_its_way || !begun);
            card.tell(mem::replace(&mut on_its_way, begun), Some(COUNTER.get()));
            card.passes(0.003, BUSY);
            let ended = card.ledger.end(card.now_s, 0.005, &[(&answer, 1)], &card.model);
            assert!(!on_its_way || !ended);
            on_its_way |= ended;
        }
        close(answer.joules(), 800.0, 20.0);
    }

    #[test]
    fn a_driver_that_does_not_answer_is_given_up() {
        let (mut card, answer) = (Card::new(), Tally::default());
        card.rests(5.0);
        for _ in 0..1_100 {
            card.ledger.begin(card.now_s);
            card.passes(0.01, BUSY);
            card.ledger.end(card.now_s, 0.01, &[(&answer, 1)], &card.model);
        }
        assert!(card.ledger.fault().unwrap().contains("does not answer"));
        assert_eq!((answer.joules(), card.ledger.open.len()), (None, 0));
    }

    /// A step that dies on the way is not waited for.
    #[test]
    fn who_dies_in_a_step_does_not_keep_the_card_busy() {
        let (mut card, answer) = (Card::new(), Tally::default());
        let wanted = card.ledger.begin(card.now_s);
        card.tell(wanted, Some(0));
        card.ledger.abandon();
        card.rests(5.0);
        (0..200).for_each(|_| card.step(0.01, &[(&answer, 1)]));
        close(answer.joules(), 800.0, 20.0);
    }
}
