//! Tiles of a matrix: what is outside of it is zero, and nobody may wait for what was not asked for.
use super::cuda::{launch, value};

const ROWS: usize = 40;
const ROW_BYTES: usize = 208;

/// A matrix, as the kernel is told of it.
#[repr(C, align(64))]
struct Map([u64; 16]);

/// As the kernel is told.
#[repr(C)]
struct Copied {
    map: u64,
    out: u64,
    byte: u32,
    row: u32,
    is_strip: u32,
    waits_for: u32,
}

/// What of the matrix comes to lie in the tile, or the strip, that begins there.
fn copied(matrix: &[u8], (byte, row): (u32, u32), is_strip: bool, waits_for: u32) -> Result<Vec<u8>, String> {
    let tile_bytes = if is_strip { 16 } else { 128 };
    let mut map = Map([0; 16]);
    map.0[..4].copy_from_slice(&[matrix.as_ptr() as u64, ROW_BYTES as u64, ROWS as u64, tile_bytes as u64]);
    let mut out = vec![1u8; 16 * tile_bytes];
    let mut told =
        Copied { map: (&raw const map) as u64, out: out.as_mut_ptr() as u64, byte, row, is_strip: u32::from(is_strip), waits_for };
    launch("trial_tile", [1, 1, 1], 32, &mut [value(&mut told)], false).map(|()| out)
}

#[test]
fn tiles_and_strips_are_those_of_the_matrix_and_zeros_outside() {
    let matrix: Vec<u8> = (0..ROWS * ROW_BYTES).map(|place| (place * 31 % 251) as u8 + 1).collect();
    for is_strip in [false, true] {
        let width = if is_strip { 16 } else { 128 };
        for (byte, row) in [(0, 0), (128, 16), (192, 32), (208, 0), (0, 48)] {
            let within = |line: usize, place: usize| line < ROWS && place < ROW_BYTES;
            let expected: Vec<u8> = (0..16 * width)
                .map(|at| (row as usize + at / width, byte as usize + at % width))
                .map(|(line, place)| if within(line, place) { matrix[line * ROW_BYTES + place] } else { 0 })
                .collect();
            assert_eq!(copied(&matrix, (byte, row), is_strip, 0).unwrap(), expected, "from byte {byte} of row {row} on");
        }
    }
}

#[test]
fn whoever_waits_for_a_tile_that_nobody_asked_for_is_told() {
    let failed = copied(&[0; ROWS * ROW_BYTES], (0, 0), false, 1).unwrap_err();
    assert!(failed.contains("nobody has asked for"), "{failed}");
}
