//! Memory that begins on a cache line: what lies across two is read and written at half the speed.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, Zeroable};

/// Numbers of type T, the first at the beginning of a cache line.
#[derive(Debug)]
pub(crate) struct Aligned<T> {
    lines: Vec<Line>,
    length: usize,
    numbers: PhantomData<T>,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl<T: Pod> Aligned<T> {
    /// Makes it so long. What it had before stays where it was; what is new is 0, or what lay there when it was last as long.
    pub(crate) fn resize(&mut self, length: usize) {
        let lines = (length * size_of::<T>()).div_ceil(size_of::<Line>());
        self.lines.resize(self.lines.len().max(lines), Line::zeroed());
        self.length = length;
    }

    /// The first `length` numbers, for which there is room then; it does not become shorter.
    pub(crate) fn first(&mut self, length: usize) -> &mut [T] {
        self.resize(self.length.max(length));
        &mut self[..length]
    }
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Self { lines: Vec::new(), length: 0, numbers: PhantomData }
    }
}

impl<T: Pod> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.lines)[..self.length]
    }
}

impl<T: Pod> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_on_a_line_and_stay_where_they_are() {
        let mut numbers = Aligned::<u16>::default();
        assert!(numbers.is_empty());
        for length in [1, 31, 33, 4000, 5, 0, 33] {
            numbers.resize(length);
            assert_eq!((numbers.len(), numbers.as_ptr().align_offset(64)), (length, 0));
            if let Some(last) = numbers.last_mut() {
                *last = length as u16;
            }
        }
        assert_eq!((numbers[0], numbers[4], numbers[32]), (1, 5, 33));
        assert_eq!(numbers.first(5).len(), 5);
        assert_eq!(numbers.first(64).len(), 64);
        assert_eq!(numbers.len(), 64, "room stays");
    }
}
