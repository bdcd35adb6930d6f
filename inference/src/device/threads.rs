//! The compute threads: they all do one piece of work at a time, and share out its parts (`shares.rs`) as they go.
//!
//! A step of a small model is a few milliseconds with sixty pieces of work in it, so handing one out must cost a microsecond: threads
//! that have just worked wait by looking for the next piece, and go to sleep only when none comes.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crate::error::Error;

/// How often a waiting thread looks before it sleeps: some tens of microseconds.
const LOOKS: usize = 4_000;

/// How often threads were kept apart.
static CALLS: AtomicUsize = AtomicUsize::new(0);

/// A piece of work, on the stack of whoever waits for it.
type Work = *const (dyn Fn(usize) + Sync);

struct Shared {
    /// Counts the pieces of work. Its value is what a thread waits for to change.
    turn: AtomicUsize,
    /// Threads that have not finished the piece yet.
    busy: AtomicUsize,
    work: Mutex<Option<SendWork>>,
    asleep: Vec<AtomicBool>,
    panicked: AtomicBool,
    ends: AtomicBool,
}

#[derive(Clone, Copy)]
struct SendWork(Work);
// SAFETY: what it points at is Sync, and `Threads::run` keeps it alive until every thread has finished with it.
unsafe impl Send for SendWork {}

/// The compute threads, the caller's own included.
pub(crate) struct Threads {
    shared: Arc<Shared>,
    others: Vec<JoinHandle<()>>,
    /// Held while a piece of work is done, so that two callers take turns.
    turn: Mutex<()>,
}

impl Threads {
    /// `count` of 0 takes one for each core. The caller of [`Threads::run`] counts as one.
    pub(crate) fn new(count: usize) -> Result<Self, Error> {
        let count = if count == 0 { thread::available_parallelism().map_or(1, usize::from) } else { count };
        let shared = Arc::new(Shared {
            turn: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            work: Mutex::new(None),
            asleep: (1..count).map(|_| AtomicBool::new(false)).collect(),
            panicked: AtomicBool::new(false),
            ends: AtomicBool::new(false),
        });
        let mut threads = Self { shared, others: Vec::new(), turn: Mutex::new(()) };
        for number in 0..count - 1 {
            let shared = Arc::clone(&threads.shared);
            let other = thread::Builder::new()
                .name(format!("sluice-compute-{}", number + 1))
                .spawn(move || shared.serve(number))
                .map_err(|problem| Error::Internal { problem: format!("cannot start compute threads: {problem}") })?;
            threads.others.push(other);
        }
        Ok(threads)
    }

    /// Where there is a thread for each processor, keeps each to one of its own, the caller for as long as it lives: what runs a moment between
    /// two steps (a reader who is sent a token) must not leave one processor to two of them and another to none. The threads of the next who call this begin with the
    /// next processor, so that what one thread does alone is not done on the same processor for all models.
    pub(crate) fn keep_apart(&self) {
        let processors = processors();
        if processors.len() == self.count() {
            let first = CALLS.fetch_add(1, Ordering::Relaxed);
            self.run(&|thread| keep_to(processors[(first + thread) % processors.len()]));
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.others.len() + 1
    }

    /// Does `work` on every thread at once, the caller's among them, and returns when all have. It is told the number of the thread,
    /// 0 for the caller's, and shares itself out, by [`Parts`] or otherwise. A panic on any thread is passed on here.
    pub(crate) fn run(&self, work: &(dyn Fn(usize) + Sync)) {
        if self.others.is_empty() {
            return work(0);
        }
        let turn = lock(&self.turn);
        // SAFETY: only the lifetime is changed. All threads are waited for below, also if `work` panics here, before `work` can end;
        // and the pointer is gone then.
        let erased = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Work>(work) };
        *lock(&self.shared.work) = Some(SendWork(erased));
        self.shared.busy.store(self.others.len(), Ordering::Relaxed);
        self.shared.turn.fetch_add(1, Ordering::SeqCst);
        for (asleep, other) in self.shared.asleep.iter().zip(&self.others) {
            if asleep.load(Ordering::SeqCst) {
                other.thread().unpark();
            }
        }
        let own = catch_unwind(AssertUnwindSafe(|| work(0)));
        let mut looks = 0;
        while self.shared.busy.load(Ordering::Acquire) > 0 {
            looks += 1;
            if looks < LOOKS { std::hint::spin_loop() } else { thread::yield_now() }
        }
        *lock(&self.shared.work) = None;
        let panicked = self.shared.panicked.swap(false, Ordering::Relaxed);
        drop(turn);
        match own {
            Err(panic) => resume_unwind(panic),
            Ok(()) => assert!(!panicked, "a compute thread panicked"),
        }
    }
}

impl Shared {
    fn serve(&self, number: usize) {
        let mut seen = 0;
        loop {
            self.wait(number, seen);
            if self.ends.load(Ordering::Acquire) {
                return;
            }
            seen += 1;
            let work = *lock(&self.work);
            if let Some(SendWork(work)) = work {
                // SAFETY: whoever gave it waits until `busy` says that we are done with it.
                let work = unsafe { &*work };
                if catch_unwind(AssertUnwindSafe(|| work(number + 1))).is_err() {
                    self.panicked.store(true, Ordering::Relaxed);
                }
            }
            self.busy.fetch_sub(1, Ordering::Release);
        }
    }

    /// Returns when `turn` is no longer `seen`.
    fn wait(&self, number: usize, seen: usize) {
        for _ in 0..LOOKS {
            if self.turn.load(Ordering::Acquire) != seen {
                return;
            }
            std::hint::spin_loop();
        }
        self.asleep[number].store(true, Ordering::SeqCst);
        while self.turn.load(Ordering::SeqCst) == seen {
            thread::park();
        }
        self.asleep[number].store(false, Ordering::SeqCst);
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Release);
        self.shared.turn.fetch_add(1, Ordering::SeqCst);
        for other in self.others.drain(..) {
            other.thread().unpark();
            // It has caught its own panics.
            let _ = other.join();
        }
    }
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Threads").field("count", &self.count()).finish_non_exhaustive()
    }
}

/// The numbers of the processors that this thread may run on; none where that is not told.
#[cfg(target_os = "linux")]
fn processors() -> Vec<usize> {
    let allowed = rustix::thread::sched_getaffinity(None);
    allowed.map_or(Vec::new(), |allowed| (0..rustix::thread::CpuSet::MAX_CPU).filter(|number| allowed.is_set(*number)).collect())
}

#[cfg(not(target_os = "linux"))]
fn processors() -> Vec<usize> {
    Vec::new()
}

/// Keeps the calling thread to this processor. What a sandbox forbids is done without.
#[cfg(target_os = "linux")]
fn keep_to(processor: usize) {
    let mut own = rustix::thread::CpuSet::new();
    own.set(processor);
    let _ = rustix::thread::sched_setaffinity(None, &own);
}

#[cfg(not(target_os = "linux"))]
fn keep_to(_: usize) {}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;
    use crate::device::Parts;

    #[test]
    fn a_panic_reaches_the_caller_and_the_threads_work_on() {
        let threads = Threads::new(3).unwrap();
        let parts = Parts::new(30, 3);
        let failed = catch_unwind(AssertUnwindSafe(|| {
            threads.run(&|thread| {
                while let Some(part) = parts.next(thread) {
                    assert!(part != 7, "seven");
                }
            });
        }));
        assert!(failed.is_err());
        let done = AtomicUsize::new(0);
        threads.run(&|_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.load(Ordering::Relaxed), 3);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn where_each_processor_has_a_thread_they_keep_to_them() {
        let all = processors();
        let kept = |count: usize| {
            let threads = Threads::new(count).unwrap();
            let places = Mutex::new(vec![Vec::new(); count]);
            thread::scope(|scope| {
                // A thread of its own calls, as that of the engine does.
                scope.spawn(|| {
                    threads.keep_apart();
                    threads.run(&|number| lock(&places)[number] = processors());
                });
            });
            places.into_inner().unwrap()
        };
        let (mut own, mut next) = (kept(all.len()), kept(all.len()));
        assert!(all.len() == 1 || own[0] != next[0], "the next begin elsewhere");
        for places in [&mut own, &mut next] {
            places.sort();
            assert_eq!(*places, all.iter().map(|own| vec![*own]).collect::<Vec<_>>());
        }
        assert_eq!(kept(all.len() + 1), vec![all.clone(); all.len() + 1], "more than there are take turns anywhere");
        assert_eq!(processors(), all, "whoever made them is as free as before");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the threads go to sleep only if nothing comes for a while")]
    fn sleepers_are_woken() {
        let threads = Threads::new(2).unwrap();
        for _ in 0..3 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            let done = AtomicUsize::new(0);
            threads.run(&|_| {
                done.fetch_add(1, Ordering::Relaxed);
            });
            assert_eq!(done.load(Ordering::Relaxed), 2);
        }
    }
}
