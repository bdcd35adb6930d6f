//! Numbers of 16 bits and the bits of words.
use half::{bf16, f16};

use super::cuda::{launch, memory};

#[test]
fn numbers_become_halves_and_bfloats_to_the_nearest() {
    // Every half's neighbourhood: itself, half way to the next, and a little beside that; then what no half can hold.
    let mut x: Vec<f32> = (0..0x7c00)
        .flat_map(|bits| {
            let (v, next) = (f16::from_bits(bits).to_f32(), f16::from_bits(bits + 1).to_f32().min(65536.0));
            let middle = (v + next) / 2.0;
            [v, middle, middle.next_up(), middle.next_down()]
        })
        .collect();
    x.extend([0.0, 65519.0, 65520.0, 1e9, f32::MAX, 1e-8, 1e-40, f32::INFINITY, 3.0, 1.003_906_3, 1.011_718_8, -2.5]);
    x.resize(x.len().next_multiple_of(32), 1.0);
    let n = x.len();
    let (mut halves, mut bfloats, mut back, mut minus) = (vec![0u32; n], vec![0u32; n], vec![0f32; 4 * n], vec![0u32; n]);
    let args = &mut [memory(&mut x), memory(&mut halves), memory(&mut bfloats), memory(&mut back), memory(&mut minus)];
    launch("trial_numbers", [n as u32 / 32, 1, 1], 32, args, false).unwrap();

    let pair = |first: u16, second: u16| u32::from(first) | u32::from(second) << 16;
    for (i, v) in x.iter().copied().enumerate() {
        let half = f16::from_f32(v.clamp(-65504.0, 65504.0));
        let bfloat = bf16::from_f32(v);
        assert_eq!(halves[i], pair(half.to_bits(), (-half).to_bits()), "{v}");
        assert_eq!(bfloats[i], pair(bfloat.to_bits(), (-bfloat).to_bits()), "{v}");
        assert_eq!(back[4 * i..][..4], [half.to_f32(), -half.to_f32(), bfloat.to_f32(), -bfloat.to_f32()]);
        let less = |h: f16| f16::from_f32(h.to_f32() - 1.0).to_bits();
        assert_eq!(minus[i], pair(less(half), less(-half)), "{v}");
    }
}

#[test]
fn bits_are_selected_and_counted_and_the_larger_number_found() {
    let mut y = [0u32; 9];
    launch("trial_bits", [1, 1, 1], 1, &mut [memory(&mut y)], false).unwrap();
    assert_eq!(y, [0x7744_0011, 0x81ff_ff81, 8, 4, u32::MAX, 0.125f32.to_bits(), 0, 0x8000_0000, 1]);
}
