//! `hash-speed BYTES REPEATS`: how fast this core computes the digests of a release. Prints a line for each: name, and GB/s at the median.
//! All in memory and on one thread: SHA-256 and BLAKE3 by themselves, one after the other over the same bytes, and our one pass, which
//! computes them for the whole and again for every chunk of 16 MiB.

use std::error::Error;
use std::hint::black_box;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use server::integrity::Hasher;
use sha2::{Digest, Sha256};

/// What a reader hands over at a time.
const PIECE_BYTES: usize = 1 << 20;

fn main() -> ExitCode {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let [bytes, repeats] = arguments[..] else {
        let _ = writeln!(io::stderr(), "usage: hash-speed BYTES REPEATS");
        return ExitCode::FAILURE;
    };
    match run(bytes, repeats.max(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "hash-speed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(bytes: usize, repeats: usize) -> Result<(), Box<dyn Error>> {
    let content: Vec<u8> = (0..bytes as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    let sha256 = || black_box(Sha256::digest(black_box(&content)));
    let blake3 = || black_box(*blake3::hash(black_box(&content)).as_bytes());
    let one_pass = || {
        let mut hasher = Hasher::new(content.len() as u64);
        content.chunks(PIECE_BYTES).for_each(|piece| hasher.update(piece).expect("no more than was announced"));
        black_box(hasher.finish().expect("as much as was announced"));
    };
    // In turns, so that what else happens on the machine meets all of them.
    let mut times: [Vec<Duration>; 3] = Default::default();
    for _ in 0..repeats {
        times[0].push(took(|| _ = sha256()));
        times[1].push(took(|| _ = blake3()));
        times[2].push(took(one_pass));
    }
    let [sha256, blake3, one_pass] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    });
    let speed = |seconds: f64| bytes as f64 / seconds / 1e9;
    let mut out = io::stdout().lock();
    for (name, seconds) in [("sha256", sha256), ("blake3", blake3), ("both, one after the other", sha256 + blake3), ("one pass", one_pass)]
    {
        writeln!(out, "{name}\t{:.3}", speed(seconds))?;
    }
    Ok(writeln!(out, "share\t{:.3}", (sha256 + blake3) / one_pass)?)
}

fn took(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}
