//! Products of matrices, how they are loaded, and copies to shared memory.
use half::{bf16, f16};

use super::cuda::{launch, memory, value};

/// Numbers that look random, from -1 to 1.
fn noise(seed: u32, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

/// d + a · b, as plain as can be: a (16, 16) by rows, b (16, 8) by columns, d (16, 8) by rows.
fn product(a: &[f32], b: &[f32], mut d: Vec<f32>) -> Vec<f32> {
    for (place, d) in d.iter_mut().enumerate() {
        for k in 0..16 {
            *d += a[place / 8 * 16 + k] * b[place % 8 * 16 + k];
        }
    }
    d
}

type Kind = (&'static str, fn(f32) -> u16, fn(u16) -> f32);
const HALVES: Kind = ("trial_product_halves", |v| f16::from_f32(v).to_bits(), |bits| f16::from_bits(bits).to_f32());
const BFLOATS: Kind = ("trial_product_bfloats", |v| bf16::from_f32(v).to_bits(), |bits| bf16::from_bits(bits).to_f32());

#[test]
fn a_warp_multiplies_matrices() {
    for (name, narrow, widen) in [HALVES, BFLOATS] {
        for seed in 0..20 {
            let mut a: Vec<u16> = noise(seed, 256).into_iter().map(narrow).collect();
            let mut b: Vec<u16> = noise(seed + 100, 128).into_iter().map(narrow).collect();
            let mut d = noise(seed + 200, 128);
            let wide = |bits: &[u16]| bits.iter().map(|bits| widen(*bits)).collect::<Vec<_>>();
            let expected = product(&wide(&a), &wide(&b), d.clone());
            let mut structure = [a.as_mut_ptr() as u64, b.as_mut_ptr() as u64, d.as_mut_ptr() as u64];
            launch(name, [1, 1, 1], 32, &mut [value(&mut structure)], seed % 2 == 1).unwrap();
            assert_eq!(d, expected, "{name}, bit by bit: sums run in the same order");
        }
    }
}

#[test]
fn matrices_are_loaded_as_they_lie_and_turned() {
    let mut a: Vec<f16> = noise(1, 256).into_iter().map(f16::from_f32).collect();
    let mut b: Vec<f16> = noise(2, 128).into_iter().map(f16::from_f32).collect();
    let by_columns: Vec<f32> = (0..128).map(|i| b[i % 16 * 8 + i / 16].to_f32()).collect();
    let wide: Vec<f32> = a.iter().map(|v| v.to_f32()).collect();
    let expected = product(&wide, &by_columns, vec![0.0; 128]);
    for reverse in [false, true] {
        let mut d = vec![0f32; 128];
        launch("trial_product_loaded", [1, 1, 1], 32, &mut [memory(&mut a), memory(&mut b), memory(&mut d)], reverse).unwrap();
        assert_eq!(d, expected);
    }
}

#[test]
fn a_product_wants_the_whole_warp() {
    let error = launch("trial_product_without_all", [1, 1, 1], 32, &mut [memory(&mut [0u16; 8])], false).unwrap_err();
    assert!(error.contains("multiply_halves is for all 32 lanes of a warp, and 31 are there"), "{error}");
}

#[test]
fn copies_are_there_once_waited_for() {
    for reverse in [false, true] {
        let mut x: Vec<[u32; 4]> = (0..32).map(|i| [i, i + 1, i * 2, 77]).collect();
        let mut y = vec![[9; 4]; 3 * 32];
        launch("trial_copies", [1, 1, 1], 32, &mut [memory(&mut x), memory(&mut y)], reverse).unwrap();
        assert_eq!(y[..32], x);
        assert_eq!(y[32..64], [[0; 4]; 32]);
        // Not waited for: at once, or reversed not yet.
        assert_eq!(y[64..], if reverse { vec![[1; 4]; 32] } else { x });
    }
}
