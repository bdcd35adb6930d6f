//! Work on many threads that gives way to everything else: looking at tensors while files are hashed, copied and downloaded.

use std::io;

use rayon::ThreadPoolBuilder;
use rustix::process::{getpriority_process, setpriority_process};

/// The priority of its threads, lower the larger (see `setpriority(2)`): where processors are wanted by others it has a tenth of one.
const NICENESS: i32 = 10;

/// Runs `work`, and what it shares out with rayon, on threads of a low priority, as many as there are processors. The error is that no
/// threads are to be had.
pub(super) fn in_background<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    // Linux keeps it for each thread; where it is not allowed, the work is done as any other.
    let lower = |_| _ = getpriority_process(None).and_then(|now| setpriority_process(None, now.max(NICENESS)));
    let pool =
        ThreadPoolBuilder::new().thread_name(|n| format!("background-{n}")).start_handler(lower).build().map_err(io::Error::other)?;
    Ok(pool.install(work))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use rayon::prelude::*;

    use super::*;

    #[test]
    fn what_is_shared_out_has_a_low_priority_and_others_keep_theirs() {
        let before = getpriority_process(None).unwrap();
        let within: Vec<i32> = in_background(|| (0..64).into_par_iter().map(|_| getpriority_process(None).unwrap()).collect()).unwrap();
        assert!(within.iter().all(|niceness| *niceness == NICENESS.max(before)), "{within:?}");
        assert_eq!(getpriority_process(None).unwrap(), before);
        assert!((0..64).into_par_iter().all(|_| getpriority_process(None).unwrap() == before));
    }
}
