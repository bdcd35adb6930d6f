//! The CPU: a pool of threads and, for each operation, how its outputs are shared out among them. A number is computed whole by one
//! thread, in an order that does not depend on how many there are, so results are the same bits with one thread or sixty.

use std::sync::{Arc, Mutex, PoisonError};

use super::shares::{Chunks, Column, Patches, Pieces, Strip, Strips};
use super::threads::Threads;
use crate::error::Error;
use crate::ops::aligned::Aligned;
use crate::ops::attention::{Paged, QUERIES_MAX, Queries, Scratch};
use crate::ops::linear::bands::simd::Unit;
use crate::ops::linear::simd::{Sums, multiply, tile_rows_max};
use crate::ops::linear::{
    self, Activation, Activations, Bands, Block, Columns, Format, Layout, PANEL_ROWS, Panels, TILE_ROWS_MAX, Tile, bands,
};
use crate::ops::pointwise::Finish;
use crate::ops::{Tier, attention, layer_norm, pointwise, simd};

/// Below this many multiplications an operation stays on one thread: waking the others takes longer.
const PARALLEL_FROM: usize = 1 << 16;

/// The most columns behind a ReLU, in percent, for which it pays to read them alone: what lies apart is read more slowly than all in order.
const COLUMNS_MAX: usize = 45;
/// For no more tokens than this, columns are multiplied where they lie.
const IN_PLACE_TOKENS: usize = TILE_ROWS_MAX;

/// The same where all are read, in order: more tokens are worth the panels' better kernels.
fn in_place_tokens(format: Format) -> usize {
    match format {
        Format::F32 | Format::F16 | Format::Bf16Wide | Format::Bf16 | Format::Int8 => IN_PLACE_TOKENS,
        Format::Int4 => 8,
    }
}

/// Tokens that are multiplied by all of a matrix before the next ones are: the most bytes of them that stay in a second cache beside panels.
const GROUP_BYTES: usize = if cfg!(test) { 4 << 10 } else { 512 << 10 };

/// How a band is taken out of memory: bytes of a block of a panel. Two blocks of each panel that is taken stay in the second cache, with the sums
/// and the block's words of all tokens. (Tests have small matrices and want several blocks.)
const BLOCK_BYTES: usize = if cfg!(test) { 1 << 10 } else { 16 << 10 };
/// Panels taken together at most, for few tokens and for more. Few wait for the memory, which is read the faster the longer the runs are.
const TOGETHER_FOR_FEW: usize = 16;
const TOGETHER_FOR_MANY: usize = 8;
const FEW_TOKENS: usize = 48;
/// Tiles of fewer rows, which narrower vectors have, read and write their sums seldom beside what they multiply.
const FEW_ROWS: usize = 4;
/// Sums of panels that are taken together, at most. (At eight bits those of lower bytes: the upper ones' are hardly touched.)
const SUMS_BYTES: usize = 384 << 10;
/// Between the blocks of two panels, so that they do not compete for the same places of a cache.
const APART_BYTES: usize = 128;

/// What is done with the sums of a product, bias included, on their way into the result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum After {
    /// Written.
    Store,
    /// max(·, 0), written.
    Relu,
    /// · Φ(·), written.
    Gelu,
    /// Added to what is there.
    Add,
    /// Multiplied in the first table, then written.
    ScaleFirst(f32),
}

impl After {
    fn in_table(self, number: usize) -> Finish {
        match self {
            After::Store => Finish::Store,
            After::Relu => Finish::Relu,
            After::Gelu => Finish::Gelu,
            After::Add => Finish::Add,
            After::ScaleFirst(factor) => {
                if number == 0 {
                    Finish::Scale(factor)
                } else {
                    Finish::Store
                }
            }
        }
    }
}

fn check(rows: usize, bias: &[f32], tokens: usize, y: &[&mut [f32]]) {
    assert_eq!(y.iter().map(|table| table.len()).sum::<usize>(), tokens * rows, "y must be tokens × rows");
    assert!(bias.is_empty() || bias.len() == rows, "bias of {} must have {rows} numbers, or none", bias.len());
}

/// What a thread multiplies with: it stays in its caches.
#[derive(Debug, Default)]
struct Workspace {
    /// A block of panels taken out of a band, and the next.
    taken: Aligned<u8>,
    sums: Aligned<f32>,
    /// The sums as whole numbers, of weights of eight bits, and of four in bands.
    raw: Aligned<i32>,
}

/// How many panels are multiplied by all tiles block by block. In a band as many of them as lie side by side and leave the sums of so many
/// tokens in the second cache, so that memory is read in long runs; those that share cache lines in any case. No thread has much more to do
/// than it must.
fn together(w: &Layout<'_>, (tokens, tile_rows): (usize, usize), threads: usize) -> usize {
    let Layout::Bands(bands) = w else { return 1 };
    let (all, of, line) = (bands.rows.div_ceil(PANEL_ROWS), bands.panels(), bands.format.panels_of_a_line());
    let sums = tokens * PANEL_ROWS * size_of::<f32>();
    let most = if tokens <= FEW_TOKENS || tile_rows < FEW_ROWS { TOGETHER_FOR_FEW } else { TOGETHER_FOR_MANY };
    let fits = |count: usize| count <= most && count * sums <= SUMS_BYTES;
    let parts = |line: usize| (1..=of).filter(move |count| of.is_multiple_of(*count) && count.is_multiple_of(line));
    // What the busiest thread has.
    let panels = |count: usize| all.div_ceil(count).div_ceil(threads) * count;
    let counts: Vec<usize> = if parts(line).next().is_some() { parts(line).collect() } else { parts(1).collect() };
    let least = counts.iter().map(|count| panels(*count)).min().unwrap_or(all);
    let even = counts.iter().rev().find(|count| fits(**count) && panels(**count) <= least + least / 8);
    *even.or(counts.first()).unwrap_or(&1)
}

/// How many of these tiles are multiplied by all of w before the next ones: as many as fit, in groups of a size. What lies in bands is
/// taken block by block, of which all tiles fit.
fn tiles_at_once(w: &Layout<'_>, tiles: &[Tile<'_>]) -> usize {
    let fit = match (w, tiles.first()) {
        (Layout::Panels(_), Some(tile)) => (GROUP_BYTES / tile.bytes()).max(1),
        _ => tiles.len(),
    };
    tiles.len().div_ceil(tiles.len().div_ceil(fit.max(1)).max(1)).max(1)
}

/// Some tiles of activations that are multiplied together.
#[derive(Debug, Clone, Copy)]
struct Group<'a> {
    tiles: &'a [Tile<'a>],
    /// The number of the first, and of its first token.
    first_tile: usize,
    first_token: usize,
}

impl<'a> Group<'a> {
    /// Of all `tiles`, `at_once` from number `first_tile` on. All but the last of a product have as many rows.
    fn new(tiles: &'a [Tile<'a>], first_tile: usize, at_once: usize) -> Self {
        let group = &tiles[first_tile..(first_tile + at_once).min(tiles.len())];
        Self { tiles: group, first_tile, first_token: first_tile * tiles[0].rows }
    }
}

/// Where the sums of a strip of columns go.
trait Destination {
    /// Those of `rows` tokens from `token` on will come soon.
    fn expect(&mut self, token: usize, rows: usize);
    /// The sums (tokens, width) of tile `tile`, from `token` on.
    fn take(&mut self, tile: usize, token: usize, sums: (&[f32], usize));
}

/// Into tables, with `after` on the way.
struct InTables<'a> {
    cpu: &'a Cpu,
    strip: Strip<'a>,
    bias: &'a [f32],
    after: After,
}

impl Destination for InTables<'_> {
    fn expect(&mut self, token: usize, rows: usize) {
        for table in self.strip.tables() {
            let mut y = self.strip.of_table(table);
            y.rows(token..token + rows).for_each(simd::ask_for);
        }
    }

    fn take(&mut self, _: usize, token: usize, (sums, width): (&[f32], usize)) {
        let first = self.strip.first_col();
        for table in self.strip.tables() {
            let mut y = self.strip.of_table(table);
            let (begin, cols, finish) = (y.begin(), y.cols(), self.after.in_table(table));
            let bias = if self.bias.is_empty() { self.bias } else { &self.bias[first + begin..][..cols] };
            let count = sums.len() / width;
            let mut rows = y.rows(token..token + count);
            let mut rows: [&mut [f32]; TILE_ROWS_MAX] = std::array::from_fn(|_| rows.next().unwrap_or_default());
            pointwise::simd::finish(self.cpu.tier, finish, (&sums[begin..], width), bias, &mut rows[..count]);
        }
    }
}

/// Into activations that lie ready for the next product.
struct Packed<'a> {
    tier: Tier,
    kind: Activation,
    column: Column<'a, u32>,
    /// The strip's, which may be fewer than it is wide.
    cols: usize,
    bias: &'a [f32],
    finish: Finish,
}

impl Destination for Packed<'_> {
    /// Asked for, words took longer to be read in the product that follows: 50 ms of 450 in a prompt of 512.
    fn expect(&mut self, _: usize, _: usize) {}

    fn take(&mut self, tile: usize, _: usize, (sums, width): (&[f32], usize)) {
        let strip = linear::Strip { sums, stride: width, cols: self.cols, bias: self.bias, finish: self.finish };
        linear::pack_strip(self.tier, self.kind, &strip, self.column.piece(tile));
    }
}

/// The threads and kernels that compute.
#[derive(Debug)]
pub(crate) struct Cpu {
    threads: Arc<Threads>,
    tier: Tier,
    /// One for each thread.
    scratch: Vec<Mutex<Scratch>>,
    /// The same for products.
    workspaces: Vec<Mutex<Workspace>>,
}

impl Cpu {
    /// `threads` of 0 takes one for each core.
    pub(crate) fn new(threads: usize, tier: Tier) -> Result<Self, Error> {
        let threads = Arc::new(Threads::new(threads)?);
        let scratch = (0..threads.count()).map(|_| Mutex::default()).collect();
        let workspaces = (0..threads.count()).map(|_| Mutex::default()).collect();
        Ok(Self { threads, tier, scratch, workspaces })
    }

    pub(crate) fn threads(&self) -> &Arc<Threads> {
        &self.threads
    }

    pub(crate) fn tier(&self) -> Tier {
        self.tier
    }

    /// Makes x (tokens, cols) ready to be multiplied by matrices of this format.
    pub(crate) fn pack(&self, format: Format, x: &[f32], cols: usize, packed: &mut Activations) {
        self.pack_in_tiles(format, x, cols, tile_rows_max(self.tier, format.activation()), packed);
    }

    fn pack_in_tiles(&self, format: Format, x: &[f32], cols: usize, tile_rows_max: usize, packed: &mut Activations) {
        let kind = format.activation();
        let (memory, tile, rows) = packed.room(kind, x.len() / cols, cols, tile_rows_max);
        let tiles = Chunks::new(memory, tile, self.threads.count());
        // To round a number and put it in its place takes as long as some multiplications.
        self.share(8 * x.len(), &|thread| {
            while let Some((number, tile)) = tiles.next(thread) {
                let first = number * rows * cols;
                linear::pack_tile(self.tier, kind, &x[first..(first + rows * cols).min(x.len())], cols, tile);
            }
        });
    }

    /// Rows of a matrix, as it holds them: y (numbers, cols).
    pub(crate) fn rows(&self, w: &Panels<'_>, numbers: &[u32], y: &mut [f32]) {
        let rows = Chunks::new(y, w.cols, self.threads.count());
        // A row lies in as many cache lines as it has numbers, and is waited for more than multiplied.
        self.share(16 * w.cols * numbers.len(), &|thread| {
            while let Some((place, row)) = rows.next(thread) {
                w.row(numbers[place] as usize, row);
            }
        });
    }

    /// y (tokens, rows) = x (tokens, cols) · wᵀ + bias, with `after` on the way. The rows of w are shared out evenly among the tables
    /// of y. Whoever is free takes the next strip of w.
    pub(crate) fn linear(&self, w: &Layout<'_>, bias: &[f32], x: &Activations, after: After, y: &mut [&mut [f32]]) {
        let (rows, cols) = w.shape();
        check(rows, bias, x.rows(), y);
        let tiles: Vec<Tile<'_>> = x.tiles().collect();
        let (at_once, tile_rows) = (tiles_at_once(w, &tiles), tiles.first().map_or(1, |tile| tile.rows));
        let together = together(w, (x.rows(), tile_rows), self.threads.count());
        let strips = Strips::new(y, x.rows(), (at_once * tile_rows, together * PANEL_ROWS), self.threads.count());
        self.share(rows * cols * x.rows(), &|thread| {
            let mut workspace = self.workspaces[thread].lock().unwrap_or_else(PoisonError::into_inner);
            while let Some(strip) = strips.next(thread) {
                let group = Group::new(&tiles, strip.rows().start / tile_rows, at_once);
                self.strip(w, (strip.number(), together), group, &mut workspace, &mut InTables { cpu: self, strip, bias, after });
            }
        });
    }

    /// Whether so many tokens can go from one product into the next of this format by [`Cpu::linear_packed`], and nobody looks for zeros.
    pub(crate) fn goes_on_packed(&self, format: Format, tokens: usize) -> bool {
        tokens > IN_PLACE_TOKENS && !format.activation().is_scaled()
    }

    /// The same into y made ready to be multiplied by matrices of this format.
    pub(crate) fn linear_packed(&self, w: &Layout<'_>, bias: &[f32], x: &Activations, after: After, format: Format, y: &mut Activations) {
        let ((rows, cols), kind, width) = (w.shape(), format.activation(), PANEL_ROWS);
        assert!(bias.is_empty() || bias.len() == rows, "bias of {} must have {rows} numbers, or none", bias.len());
        assert_eq!(w.format().activation(), kind, "tiles of x and y must be the same");
        let (memory, pieces) = y.room_in_strips(kind, (x.rows(), rows), tile_rows_max(self.tier, kind), width);
        let tiles: Vec<Tile<'_>> = x.tiles().collect();
        let at_once = tiles_at_once(w, &tiles);
        let pieces = Pieces::new(memory, pieces, (at_once, rows.div_ceil(width)), self.threads.count());
        self.share(rows * cols * x.rows(), &|thread| {
            let mut workspace = self.workspaces[thread].lock().unwrap_or_else(PoisonError::into_inner);
            while let Some(column) = pieces.next(thread) {
                let (number, group) = (column.number(), Group::new(&tiles, column.rows().start, at_once));
                let bias = if bias.is_empty() { bias } else { &bias[number * width..((number + 1) * width).min(rows)] };
                let cols = width.min(rows - number * width);
                let mut packed = Packed { tier: self.tier, kind, column, cols, bias, finish: after.in_table(0) };
                self.strip(w, (number, 1), group, &mut workspace, &mut packed);
            }
        });
    }

    /// Multiplies strip `number` of w, which has so many panels, by a group of tiles. Each tile's sums go to where they belong while they are in a
    /// near cache.
    fn strip(
        &self,
        w: &Layout<'_>,
        (number, together): (usize, usize),
        group: Group<'_>,
        workspace: &mut Workspace,
        to: &mut dyn Destination,
    ) {
        let ((rows, cols), format) = (w.shape(), w.format());
        let (tokens, tiles): (usize, _) = (group.tiles.iter().map(|tile| tile.rows).sum(), group.tiles.len());
        let width = together * PANEL_ROWS;
        let of_strip = |number: usize| number * together..((number + 1) * together).min(rows.div_ceil(PANEL_ROWS));
        let panels = of_strip(number);
        // Only blocks of panels taken out of a band follow one another for all tiles, and keep all sums meanwhile.
        let is_banded = matches!(w, Layout::Bands(_));
        let kept = if is_banded { tokens } else { tokens.min(TILE_ROWS_MAX) };
        let Workspace { taken, sums, raw } = workspace;
        let sums = sums.first(kept * width);
        let raw = raw.first(if format == Format::Int8 { 2 * kept * width } else { 0 });
        let blocks: Vec<Block> = Block::all(format, cols, is_banded.then_some(BLOCK_BYTES)).collect();
        // Room for a block of each panel, and for the next.
        let Some(size) = blocks.first().map(|block| block.bytes(format) + APART_BYTES) else { return };
        let room = if is_banded { panels.len() * size } else { 0 };
        let (mut these, mut next) = taken.first(2 * room).split_at_mut(room);
        if let Layout::Bands(bands) = w {
            let rooms = panels.clone().zip(these.chunks_exact_mut(size));
            rooms.for_each(|(panel, room)| bands.take(self.tier, panel, &blocks[0], &mut room[..size - APART_BYTES]));
        }
        for (at, block) in blocks.iter().enumerate() {
            for (place, panel) in panels.clone().enumerate() {
                let mut part = match w {
                    Layout::Panels(matrix) => matrix.part(panel, block, tiles),
                    Layout::Bands(bands) => {
                        let weights = &these[place * size..][..block.bytes(format)];
                        let share = (place, panels.len());
                        let following = of_strip(number + 1);
                        let next = match blocks.get(at + 1) {
                            Some(block) => Some(bands.next(panels.clone(), block, share, Some((&mut *next, size)))),
                            None if following.is_empty() => None,
                            None => Some(bands.next(following, &blocks[0], share, None)),
                        };
                        bands.part(panel, block, weights, tiles, next)
                    }
                };
                let mut token = 0;
                for (turn, tile) in group.tiles.iter().enumerate() {
                    if block.ends() && place + 1 == panels.len() {
                        to.expect(group.first_token + token, tile.rows);
                    }
                    let first = if kept == tokens { token * width } else { 0 };
                    let at = first + place * PANEL_ROWS;
                    let raw = raw.get_mut(2 * at..).unwrap_or_default();
                    // What all tiles have for a block is more than stays in a near cache from one block to the next; the block's other panels find
                    // it in the second.
                    let next = if is_banded && place == 0 { group.tiles.get(turn + 1) } else { None };
                    multiply(self.tier, &mut part, (tile, next), &mut Sums { out: &mut sums[at..], stride: width, raw });
                    if block.ends() && place + 1 == panels.len() {
                        to.take(group.first_tile + turn, group.first_token + token, (&sums[first..][..tile.rows * width], width));
                    }
                    token += tile.rows;
                }
            }
            std::mem::swap(&mut these, &mut next);
        }
    }

    /// The same for the numbers x that a ReLU gave, of which most are zero: columns of w that meet nothing else are not read, where that
    /// is quicker. `columns` and `packed` are for what is found.
    pub(crate) fn linear_behind_relu(
        &self,
        w: &Bands<'_>,
        bias: &[f32],
        x: &[f32],
        (columns, packed): (&mut Columns, &mut Activations),
        after: After,
        y: &mut [&mut [f32]],
    ) {
        let tokens = x.len() / w.cols;
        let most = w.cols * COLUMNS_MAX / 100;
        let are_found = tokens <= IN_PLACE_TOKENS && columns.find(self.tier, w.format, x, w.cols, most);
        if !are_found || columns.are_all() && tokens > in_place_tokens(w.format) {
            self.pack(w.format, x, w.cols, packed);
            self.linear(&Layout::Bands(*w), bias, packed, after, y);
            return;
        }
        check(w.rows, bias, tokens, y);
        // Every thread has something to do: a band, or an equal part of one.
        let threads = self.threads.count();
        let wanted = threads.div_ceil(w.rows.div_ceil(PANEL_ROWS * w.panels()));
        let parts = (wanted..w.panels()).find(|parts| w.panels().is_multiple_of(*parts)).unwrap_or(w.panels());
        let (panels, unit) = (w.rows.div_ceil(PANEL_ROWS), w.panels() / parts);
        self.pack_in_tiles(w.format, columns.numbers(), columns.count(), bands::simd::tile_rows_max(w.format, unit), packed);
        let (columns, packed) = (&*columns, &*packed);
        let strips = Strips::new(y, tokens, (tokens.max(1), unit * PANEL_ROWS), threads);
        self.share(w.rows * columns.count() * tokens, &|thread| {
            let mut workspace = self.workspaces[thread].lock().unwrap_or_else(PoisonError::into_inner);
            while let Some(strip) = strips.next(thread) {
                let begin = strip.number() * unit;
                let panels = begin..(begin + unit).min(panels);
                let stride = bands::simd::stride(panels.len());
                let Workspace { sums, raw, .. } = &mut *workspace;
                let out = sums.first(tokens * stride);
                let raw = raw.first(bands::simd::raw_numbers(w.format) * out.len());
                let unit = Unit { panels, next: begin + unit };
                bands::simd::multiply(self.tier, w, &unit, columns, packed, &mut Sums { out, stride, raw });
                InTables { cpu: self, strip, bias, after }.take(0, 0, (out, stride));
            }
        });
    }

    /// y (tokens, cols) = the norm of each row of x.
    pub(crate) fn layer_norm(&self, x: &[f32], cols: usize, gain: &[f32], bias: &[f32], epsilon: f32, y: &mut [f32]) {
        let rows = Chunks::new(y, cols, self.threads.count());
        self.share(8 * x.len(), &|thread| {
            while let Some((row, y)) = rows.next(thread) {
                layer_norm::layer_norm(self.tier, &x[row * cols..][..cols], gain, bias, epsilon, y);
            }
        });
    }

    /// out (tokens, hidden): the new tokens of each sequence attend to those before them and to themselves, whose keys and values are
    /// in the cache already. q (tokens, hidden) is scaled. A sequence is told by its new tokens, those before, and its cache.
    pub(crate) fn attention<'a>(
        &self,
        q: &[f32],
        hidden: usize,
        sequences: impl Iterator<Item = (usize, usize, Paged<'a>)>,
        out: &mut [f32],
    ) {
        // What a sequence keeps lies together, head after head; each head's is needed by all tiles of the sequence.
        let (mut tiles, mut bounds, mut groups, mut multiplications) = (Vec::new(), vec![0], vec![0], 0);
        for (tokens, before, kv) in sequences {
            let first = bounds[bounds.len() - 1];
            for tile in (0..tokens).step_by(QUERIES_MAX) {
                bounds.push(first + (tile + QUERIES_MAX).min(tokens));
                tiles.push((before + tile + 1, kv));
            }
            groups.push(tiles.len());
            multiplications += 2 * hidden * tokens * (before + tokens);
        }
        let Some(head_dim) = tiles.first().map(|(_, kv)| kv.head_dim) else { return };
        let patches = Patches::new(out, hidden, (&bounds, &groups), head_dim, self.threads.count());
        self.share(multiplications, &|thread| {
            let mut scratch = self.scratch[thread].lock().unwrap_or_else(PoisonError::into_inner);
            let mut attended = vec![0.0; QUERIES_MAX * head_dim];
            while let Some(mut patch) = patches.next(thread) {
                let ((seen, kv), count) = (tiles[patch.tile()], patch.rows());
                let q = &q[patch.first_row() * hidden + patch.strip() * head_dim..];
                let attended = &mut attended[..count * head_dim];
                let queries = Queries { q, stride: hidden, count, seen, kv, head: patch.strip() };
                attention::simd::attention(self.tier, &queries, &mut scratch, attended);
                for (row, attended) in attended.chunks_exact(head_dim).enumerate() {
                    patch.row(row).copy_from_slice(attended);
                }
            }
        });
    }

    /// Does work of so many multiplications on all threads, or on this one if it is little.
    pub(super) fn share(&self, multiplications: usize, work: &(dyn Fn(usize) + Sync)) {
        if multiplications < PARALLEL_FROM { work(0) } else { self.threads.run(work) }
    }

    /// y += x.
    pub(crate) fn add(&self, x: &[f32], y: &mut [f32]) {
        pointwise::add(x, y);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
    use super::*;
    use crate::ops::linear::{Source, pack_panel};

    struct Scattered;

    impl Source for Scattered {
        fn row(&self, n: usize, first: usize, out: &mut [f32]) {
            out.iter_mut().enumerate().for_each(|(place, out)| *out = scattered(8191 * n + first + place));
        }
    }

    /// Between −1 and 1.
    fn scattered(place: usize) -> f32 {
        ((place as u32).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    /// The same matrix in bands and in panels. Several blocks, bands and strips, the last of each shorter.
    #[test]
    fn many_tokens_get_from_bands_the_bits_that_they_get_from_panels() {
        for format in [Format::F32, Format::F16, Format::Bf16Wide, Format::Bf16, Format::Int8, Format::Int4] {
            for (rows, cols) in [(290, 515), (2560, 140)] {
                let each = bands::panels_of_a_band(format, rows);
                let (mut in_panels, mut in_bands) = (vec![0; format.bytes(rows, cols)], vec![0; format.bytes(rows, cols)]);
                for (number, panel) in in_panels.chunks_mut(format.panel_bytes(cols)).enumerate() {
                    pack_panel(format, &Scattered, (rows, cols), number * PANEL_ROWS, panel);
                }
                for (number, band) in in_bands.chunks_mut(each * format.panel_bytes(cols)).enumerate() {
                    bands::pack_band(format, &Scattered, (rows, cols), number * each * PANEL_ROWS, band);
                }
                let panels = Layout::Panels(Panels::new(format, rows, cols, &in_panels));
                let bands = Layout::Bands(Bands::new(format, rows, cols, &in_bands));
                for (threads, tokens) in [(1, 13), (2, 50), (3, 90), (7, 13), (2, 1)] {
                    let cpu = Cpu::new(threads, Tier::fastest()).unwrap();
                    let x: Vec<f32> = (0..tokens * cols).map(|place| scattered(place) * if place % 97 == 0 { 50.0 } else { 1.0 }).collect();
                    let mut packed = Activations::default();
                    cpu.pack(format, &x, cols, &mut packed);
                    let [one, other] = [&panels, &bands].map(|w| {
                        let mut y = vec![f32::NAN; tokens * rows];
                        cpu.linear(w, &[], &packed, After::Store, &mut [&mut y]);
                        y
                    });
                    assert!(one == other, "{format:?} of {rows} × {cols}, {tokens} tokens, {threads} threads");
                }
            }
        }
    }

    #[test]
    fn panels_are_taken_together_where_they_fit_and_no_thread_waits_for_another() {
        for (format, rows, tokens, threads, count) in [
            (Format::Bf16, 2048, 32, 2, 16),
            (Format::Int8, 2048, 32, 2, 16),
            (Format::Int4, 2048, 32, 2, 16),
            // Many tokens leave less room; panels that share a line stay together.
            (Format::Bf16, 2048, 48, 2, 16),
            (Format::Bf16, 2048, 49, 2, 8),
            (Format::Bf16, 2048, 512, 2, 4),
            (Format::Int8, 2048, 512, 2, 4),
            (Format::Bf16, 2048, 2048, 2, 1),
            (Format::Int8, 2048, 2048, 2, 2),
            (Format::Int4, 2048, 2048, 2, 4),
            // 22 panels are the least that the busiest of three can have.
            (Format::Int8, 2048, 32, 3, 8),
            (Format::Int8, 2048, 32, 64, 2),
            // 80 panels, the last band being shorter.
            (Format::Bf16, 2560, 32, 2, 14),
            (Format::Bf16, 2560, 32, 6, 14),
            (Format::Int8, 290, 32, 2, 5),
        ] {
            let bytes = vec![0; format.bytes(rows, 64)];
            let bands = Layout::Bands(Bands::new(format, rows, 64, &bytes));
            assert_eq!(
                together(&bands, (tokens, tokens.min(TILE_ROWS_MAX)), threads),
                count,
                "{format:?} of {rows} rows, {tokens} tokens, {threads} threads"
            );
        }
    }
}
