//! What the engine asks of a card's driver, told by a driver that has no card (tests/pretend/cuda.c): what runs there is tried elsewhere
//! (`inference`'s stories on an emulated card, and `tests/card.rs` on a real one).

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tests::Installation;

/// A model's folder, that of the demo.
fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo/opt-verse-6m")
}

/// A driver that writes down what it is asked for.
struct Driver {
    folder: tempfile::TempDir,
}

impl Driver {
    fn built() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libcuda.so.1");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("pretend/cuda.c");
        let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status().unwrap();
        assert!(built.success());
        std::os::unix::fs::symlink(&library, folder.path().join("libcuda.so")).unwrap();
        Self { folder }
    }

    /// Four tokens behind a prompt of eight, on a card that `cannot`; what came of it, and what the driver was asked for.
    fn answer(&self, cannot: &str, precision: &str) -> (Output, Vec<String>) {
        let log = self.folder.path().join("log");
        let _ = std::fs::remove_file(&log);
        let place = Installation::fresh();
        let mut bench = place.sluice(&["bench"]);
        bench.arg(model()).args(["--device", "cuda", "--precision", precision, "--batch", "1", "--prompt", "8", "--new", "4"]);
        bench.args(["--prefill", "0", "--repeat", "1", "--json"]);
        bench.env("LD_LIBRARY_PATH", self.folder.path()).env("PRETEND", cannot).env("PRETEND_LOG", &log);
        let output = bench.output().unwrap();
        (output, std::fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect())
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_step_of_one_answer_is_one_kernel_whose_blocks_are_there_at_once() {
    let driver = Driver::built();
    for precision in ["exact", "bf16", "int8", "int4"] {
        let (output, asked) = driver.answer("", precision);
        assert!(output.status.success(), "{precision}: {}", said(&output));
        let steps: Vec<&String> = asked.iter().filter(|line| line.starts_with("step_")).collect();
        // One of nothing, at loading, then one for each token behind the prompt.
        assert!(steps.len() >= 4, "{precision}: {asked:?}");
        for step in steps {
            assert!(step.contains(" 264 blocks of 256, ") && step.ends_with(", together"), "two on each processor: {step}");
            let bytes: usize = step.split(", ").nth(1).unwrap().trim_end_matches(" bytes").parse().unwrap();
            assert!(bytes < 113 * 1024, "two of them share a processor's 227 KiB: {step}");
        }
    }
}

#[test]
fn where_blocks_cannot_all_be_there_the_step_is_computed_kernel_by_kernel() {
    let driver = Driver::built();
    for cannot in ["no room", "not together", "ampere"] {
        let (output, asked) = driver.answer(cannot, "exact");
        assert!(output.status.success(), "{cannot}: {}", said(&output));
        assert!(!asked.iter().any(|line| line.starts_with("step_")), "{cannot}: {asked:?}");
        assert!(asked.iter().any(|line| line.starts_with("product_half_8 ")), "{cannot}: {asked:?}");
        assert!(asked.iter().filter(|line| *line == "replays").count() >= 3, "each token is a recording begun anew: {asked:?}");
        let early = asked.iter().any(|line| line.ends_with(", early"));
        assert_eq!(early, cannot != "ampere", "{cannot}: {asked:?}");
    }
}

#[test]
fn what_a_driver_refuses_is_told_with_what_to_do() {
    let driver = Driver::built();
    for (cannot, told) in [
        ("old driver", "the driver is of CUDA 11.8; the kernels need 12.0 or later"),
        ("small", "of the card's"),
        ("fails", "CUDA_ERROR_LAUNCH_FAILED"),
    ] {
        let (output, _) = driver.answer(cannot, "exact");
        assert!(!output.status.success() && said(&output).contains(told), "{cannot}: {}", said(&output));
    }
}
