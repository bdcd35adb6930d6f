//! One matrix by itself, multiplied as the forward pass does it: for those who measure kernels (`benches/kernels.rs`).

use crate::device::{After, Cpu};
use crate::error::Error;
use crate::mmap::HugePages;
use crate::ops::Tier;
use crate::ops::aligned::Aligned;
use crate::ops::linear::{Activations, Bands, Columns, Format, Layout, PANEL_ROWS, Panels, Source, bands, pack_panel};
use crate::options::Precision;
use crate::sampler::rng::uniform;

/// More than the caches hold: so many bytes of copies are multiplied in turn.
const BYTES: usize = 1 << 29;

/// A matrix of arbitrary numbers, in so many copies that each comes from memory, and what it is multiplied by.
#[derive(Debug)]
pub struct Product {
    cpu: Cpu,
    format: Format,
    rows: usize,
    cols: usize,
    behind_relu: bool,
    memory: HugePages,
    copies: usize,
    turn: usize,
    x: Vec<f32>,
    y: Aligned<f32>,
    packed: Activations,
    columns: Columns,
}

impl Product {
    /// A matrix (rows, cols), held as this precision holds halves, for `tokens` tokens, on `threads` threads (0: one for each core) with
    /// the CPU's best instructions. With `zeros`, it lies as behind a ReLU, and so many of a hundred inputs are zero, the same for all
    /// tokens. `Internal` if memory or threads cannot be had.
    pub fn new(
        precision: Precision,
        (rows, cols): (usize, usize),
        tokens: usize,
        zeros: Option<usize>,
        threads: usize,
    ) -> Result<Self, Error> {
        let format = match precision {
            Precision::Exact => Format::F16,
            Precision::Bf16 => Format::Bf16,
            Precision::Int8 => Format::Int8,
            Precision::Int4 => Format::Int4,
        };
        let cpu = Cpu::new(threads, Tier::fastest())?;
        let size = format.bytes(rows, cols);
        let copies = BYTES.div_ceil(size);
        let mut memory = HugePages::zeroed(copies * size)?;
        let (first, others) = memory.split_at_mut(size);
        let each = if zeros.is_some() { bands::panels_of_a_band(format, rows) } else { 1 };
        for (number, chunk) in first.chunks_mut(each * format.panel_bytes(cols)).enumerate() {
            match zeros {
                Some(_) => bands::pack_band(format, &Arbitrary, (rows, cols), number * each * PANEL_ROWS, chunk),
                None => pack_panel(format, &Arbitrary, (rows, cols), number * PANEL_ROWS, chunk),
            }
        }
        others.chunks_exact_mut(size).for_each(|copy| copy.copy_from_slice(first));
        let x = |place: usize| match zeros {
            Some(zeros) if scatter(place % cols) % 100 < zeros => 0.0,
            Some(_) => normal(place).abs() + 1e-3,
            None => normal(place),
        };
        let mut y = Aligned::default();
        y.resize(tokens * rows);
        Ok(Self {
            cpu,
            format,
            rows,
            cols,
            behind_relu: zeros.is_some(),
            memory,
            copies,
            turn: 0,
            x: (0..tokens * cols).map(x).collect(),
            y,
            packed: Activations::default(),
            columns: Columns::default(),
        })
    }

    /// Bytes of the matrix.
    pub fn bytes(&self) -> usize {
        self.format.bytes(self.rows, self.cols)
    }

    /// Multiplications and additions of one product.
    pub fn operations(&self) -> usize {
        2 * self.rows * self.x.len()
    }

    /// Packs the inputs and multiplies them by the next copy of the matrix.
    pub fn multiply(&mut self) -> &[f32] {
        let Self { cpu, format, rows, cols, x, y, packed, columns, .. } = self;
        let size = format.bytes(*rows, *cols);
        self.turn = (self.turn + 1) % self.copies;
        let bytes = &self.memory[self.turn * size..][..size];
        if self.behind_relu {
            cpu.linear_behind_relu(&Bands::new(*format, *rows, *cols, bytes), &[], x, (columns, packed), After::Store, &mut [y]);
        } else {
            cpu.pack(*format, x, *cols, packed);
            cpu.linear(&Layout::Panels(Panels::new(*format, *rows, *cols, bytes)), &[], packed, After::Store, &mut [y]);
        }
        &self.y
    }
}

struct Arbitrary;

impl Source for Arbitrary {
    fn row(&self, n: usize, first: usize, out: &mut [f32]) {
        out.iter_mut().enumerate().for_each(|(place, out)| *out = arbitrary(n * 8191 + first + place));
    }
}

/// Normally distributed, as a layer norm about gives them: some stand out. (Box and Muller.)
pub(crate) fn normal(place: usize) -> f32 {
    let [size, angle] = [0, 1].map(|choice| uniform(0, choice, place as u64));
    ((-2.0 * (1.0 - size).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()) as f32
}

/// Between −1 and 1.
fn arbitrary(place: usize) -> f32 {
    scatter(place) as f32 / 32_768.0 - 1.0
}

/// A number below 65,536 that looks random. (Knuth's multiplicative hash.)
fn scatter(place: usize) -> usize {
    (place as u32 ^ 0x5bd1_e995).wrapping_mul(2_654_435_761) as usize >> 16
}
