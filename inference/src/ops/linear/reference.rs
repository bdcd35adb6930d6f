//! What each format means, as plain as can be: one row of activations by a matrix of weights that were never packed.

use half::{bf16, f16};

use super::pack::{int4, int4_group, int8, int8_scale};
use super::{Format, GROUP};

/// y (rows,) = w (rows, cols) · x (cols,).
pub(super) fn linear(format: Format, w: &[f32], x: &[f32]) -> Vec<f32> {
    w.chunks(x.len())
        .map(|row| match format {
            Format::F32 | Format::F16 | Format::Bf16Wide => in_order(&rounded(format, row), x),
            Format::Bf16 => {
                let x: Vec<f32> = x.iter().map(|x| bf16::from_f32(*x).to_f32()).collect();
                in_order(&rounded(format, row), &x)
            }
            Format::Int8 => int8_row(row, x),
            Format::Int4 => int4_row(row, x),
        })
        .collect()
}

fn in_order(row: &[f32], x: &[f32]) -> f32 {
    row.iter().zip(x).fold(0.0, |sum, (w, x)| w.mul_add(*x, sum))
}

/// The weights of a row as the format holds them.
pub(super) fn rounded(format: Format, row: &[f32]) -> Vec<f32> {
    match format {
        Format::F32 => row.to_vec(),
        Format::F16 => row.iter().map(|w| f16::from_f32(*w).to_f32()).collect(),
        Format::Bf16Wide | Format::Bf16 => row.iter().map(|w| bf16::from_f32(*w).to_f32()).collect(),
        Format::Int8 => {
            let (scale, inverse) = int8_scale(row);
            row.iter().map(|w| f32::from(int8(*w, inverse)) * scale).collect()
        }
        Format::Int4 => row
            .chunks(GROUP)
            .flat_map(|group| {
                let about = int4_group(group);
                group.iter().map(move |w| about.scale.to_f32() * (f32::from(int4(*w, about.zero, about.inverse)) - f32::from(about.zero)))
            })
            .collect(),
    }
}

/// Up to where |x| is ordinary: so many times the mean of those that are not zero nor more than 2.5 times the mean of all, or the highest if
/// that is less. (Means are of |x| in 32,767ths of the highest, and the result is never less than 264 of these.) None where all are as good
/// as zero.
fn ordinary(x: &[f32], means: f32) -> Option<f32> {
    let highest = x.iter().fold(0f32, |highest, x| highest.max(x.abs()));
    if highest < 1e-30 {
        return None;
    }
    let parts: Vec<u32> = x.iter().map(|x| (x.abs() * (32_767.0 / highest)).round_ties_even() as u32).filter(|part| *part > 0).collect();
    let mean = |parts: &[u32]| parts.iter().sum::<u32>() as f32 / parts.len() as f32;
    let counted = (2.5 * mean(&parts)) as u32;
    let counted: Vec<u32> = parts.into_iter().filter(|part| *part <= counted).collect();
    Some(highest * ((means * mean(&counted)).clamp(264.0, 32_767.0) / 32_767.0))
}

/// y = Σ w·x · scale of the row · scale of x, with x whole numbers: the range of the ordinary ones, with 0, is cut into 254 steps, from its
/// lowest on; what is beyond has more bits. The sum is exact; it is rounded in two halves, those of x's upper and lower bytes.
fn int8_row(row: &[f32], x: &[f32]) -> f32 {
    let Some(reach) = ordinary(x, 4.0) else { return 0.0 };
    let (scale, inverse) = int8_scale(row);
    let end = |sign: f32| x.iter().fold(0f32, |end, x| end.max(sign * x)).min(reach);
    let (below, above) = (end(-1.0), end(1.0));
    let steps = 254.0 / (below + above);
    let offset = (below * steps).round_ties_even() as i64;
    let (mut upper, mut lower) = (0i64, 0i64);
    for (w, x) in row.iter().zip(x) {
        let w = i64::from(int8(*w, inverse));
        let x = (x * steps).round_ties_even() as i64 + offset;
        upper += w * x.div_euclid(256);
        lower += w * (x.rem_euclid(256) - offset);
    }
    (upper as f32).mul_add(256.0, lower as f32) * scale * ((below + above) / 254.0)
}

/// x as whole numbers and a scale: 127 is the end of what is ordinary; what is beyond has more bits.
fn whole_numbers(x: &[f32]) -> (Vec<i64>, f32) {
    let Some(reach) = ordinary(x, 6.5) else { return (vec![0; x.len()], 0.0) };
    (x.iter().map(|x| (x * (127.0 / reach)).round_ties_even() as i64).collect(), reach / 127.0)
}

/// y = Σ over groups of (scale of the group · Σ (nibble − zero)·x) · scale of x, with x whole numbers. The sum in a group is exact and
/// below 2²⁴; the groups are added in order.
fn int4_row(row: &[f32], x: &[f32]) -> f32 {
    let (x, x_scale) = whole_numbers(x);
    let sum = row.chunks(GROUP).zip(x.chunks(GROUP)).fold(0f32, |sum, (group, x)| {
        let about = int4_group(group);
        let nibble = |w: &f32| i64::from(int4(*w, about.zero, about.inverse)) - i64::from(about.zero);
        let whole: i64 = group.iter().zip(x).map(|(w, x)| nibble(w) * x).sum();
        about.scale.to_f32().mul_add(whole as f32, sum)
    });
    sum * x_scale
}
