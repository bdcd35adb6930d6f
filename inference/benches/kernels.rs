//! The matrix kernels by themselves, from memory, beside the memory's own speed:
//!
//!     cargo bench -p inference --bench kernels [-- FILTER]
//!
//! Shapes are those of OPT 1.3b. One token is held to the memory (bytes a second of the whole matrix, so that what is left out counts as
//! speed), many to the arithmetic (operations a second).
#![allow(clippy::unwrap_used, reason = "a program that measures, or stops")]

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use inference::Precision;
use inference::kernels::Product;

const FC1: (usize, usize) = (8192, 2048);
const FC2: (usize, usize) = (2048, 8192);

fn main() {
    divan::main();
}

fn product(bencher: Bencher<'_, '_>, precision: &str, shape: (usize, usize), tokens: usize, zeros: Option<usize>) {
    let mut product = Product::new(Precision::named(precision).unwrap(), shape, tokens, zeros, 0).unwrap();
    let (bytes, operations) = (product.bytes(), product.operations());
    bencher.counter(BytesCount::new(bytes)).counter(ItemsCount::new(operations)).bench_local(move || product.multiply()[0]);
}

const PRECISIONS: [&str; 4] = ["exact", "bf16", "int8", "int4"];

/// fc1 in panels, 1 to 12 tokens.
#[divan::bench(args = PRECISIONS, consts = [1, 4, 8, 12])]
fn decode<const TOKENS: usize>(bencher: Bencher<'_, '_>, precision: &str) {
    product(bencher, precision, FC1, TOKENS, None);
}

/// fc1 in panels, a chunk of a prompt.
#[divan::bench(args = PRECISIONS, consts = [32, 128, 512])]
fn prefill<const TOKENS: usize>(bencher: Bencher<'_, '_>, precision: &str) {
    product(bencher, precision, FC1, TOKENS, None);
}

/// fc2 in bands, one token, so many of a hundred inputs zero.
#[divan::bench(args = PRECISIONS, consts = [0, 50, 70, 90, 95])]
fn behind_relu<const ZEROS: usize>(bencher: Bencher<'_, '_>, precision: &str) {
    product(bencher, precision, FC2, 1, Some(ZEROS));
}

/// fc2 in bands, more tokens, which meet all columns.
#[divan::bench(args = PRECISIONS, consts = [2, 4, 8, 32, 128, 512])]
fn many_behind_relu<const TOKENS: usize>(bencher: Bencher<'_, '_>, precision: &str) {
    product(bencher, precision, FC2, TOKENS, Some(0));
}

/// fc2 in bands, eight tokens that share their zeros: so many of a hundred.
#[divan::bench(args = PRECISIONS, consts = [50, 70, 90])]
fn eight_behind_relu<const ZEROS: usize>(bencher: Bencher<'_, '_>, precision: &str) {
    product(bencher, precision, FC2, 8, Some(ZEROS));
}
