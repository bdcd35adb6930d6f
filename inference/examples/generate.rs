//! Continues a prompt given on the command line: proof that the engine stands alone.
//!
//!     cargo run --release -p inference --example generate -- MODEL_DIR "Once upon a time" [TOKENS] [COPIES]
//!
//! With COPIES the same prompt is answered that many times at once, with as many seeds; the first is printed. Ends with the speed.
#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use inference::{Checkpoint, Engine, Error, Event, LoadOptions, Prompt, Request, Sampling};

fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (Some(dir), Some(prompt)) = (arguments.next(), arguments.next()) else {
        println!("usage: generate MODEL_DIR PROMPT [TOKENS] [COPIES]");
        return Ok(());
    };
    let mut number = |default| arguments.next().and_then(|argument| argument.parse().ok()).unwrap_or(default);
    let (max_tokens, copies) = (number(64), number(1));

    let started = Instant::now();
    let engine = Engine::load(&Checkpoint::open_dir(Path::new(&dir))?, &LoadOptions { running_max: copies, ..LoadOptions::default() })?;
    let info = engine.info();
    println!("{} loaded in {:.2?}: {} threads, {}", engine.fingerprint(), started.elapsed(), info.threads, info.kernels);

    let request = |seed| Request {
        max_tokens,
        sampling: Sampling { temperature: 0.8, top_p: 0.95, seed, ..Sampling::default() },
        ignore_eos: true,
        // A checkpoint without a tokenizer still shows its speed.
        ..Request::new(if engine.tokenizer().is_some() { Prompt::Text(prompt.clone()) } else { Prompt::Ids(vec![2; prompt.len().max(1)]) })
    };
    let mut generations = (0..copies as u64).map(|seed| engine.submit(request(seed))).collect::<Result<Vec<_>, _>>()?;
    let (submitted, mut first_token, mut tokens) = (Instant::now(), None, 0);
    print!("{prompt}");
    for (copy, generation) in generations.iter_mut().enumerate() {
        while let Some(event) = generation.blocking_next() {
            let text = match event {
                Event::Started { .. } => continue,
                Event::Token { text, .. } => {
                    tokens += 1;
                    first_token.get_or_insert_with(Instant::now);
                    text
                }
                Event::Finished { text_tail, .. } => text_tail,
                Event::Failed(error) => return Err(error),
            };
            if copy == 0 {
                print!("{text}");
                // A terminal that is gone is no reason to stop measuring.
                let _ = std::io::stdout().flush();
            }
        }
    }
    let first_token = first_token.unwrap_or(submitted);
    println!(
        "\n{tokens} tokens, {:.1} a second; first token after {:.0} ms",
        (tokens.max(copies) - copies) as f64 / first_token.elapsed().as_secs_f64(),
        (first_token - submitted).as_secs_f64() * 1e3
    );
    Ok(())
}
