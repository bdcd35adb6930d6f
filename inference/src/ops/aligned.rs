//! Memory that begins on a cache line: what lies across two is read and written at half the speed.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Numbers of type T, the first at the beginning of a cache line. Memory is only taken from the system as it is first written.
#[derive(Debug)]
pub(crate) struct Aligned<T> {
    words: Vec<u64>,
    /// The first word that is used.
    first: usize,
    length: usize,
    numbers: PhantomData<T>,
}

impl<T: Pod> Aligned<T> {
    /// Makes it so long. What it had before stays where it was; what is new is 0, or what lay there when it was last as long.
    pub(crate) fn resize(&mut self, length: usize) {
        let (words, had) = ((length * size_of::<T>()).div_ceil(size_of::<u64>()), self.words.len() - self.first);
        if words > had {
            // Asked for as zeros, which the system has without anybody writing them; half as much again, so that growing step by step is not slow.
            let mut roomier = vec![0_u64; words.max(had + had / 2) + LINE / size_of::<u64>()];
            let first = roomier.as_ptr().align_offset(LINE);
            roomier[first..first + had].copy_from_slice(&self.words[self.first..]);
            (self.words, self.first) = (roomier, first);
        }
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
        Self { words: Vec::new(), first: 0, length: 0, numbers: PhantomData }
    }
}

impl<T: Pod> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.words[self.first..])[..self.length]
    }
}

impl<T: Pod> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.words[self.first..])[..self.length]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
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

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_nobody_wrote_to_is_not_taken() {
        let resident_kib = || -> usize {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
            line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
        };
        let before = resident_kib();
        let mut numbers = Aligned::<f32>::default();
        numbers.resize(64 << 20);
        numbers[63 << 20] = 1.0;
        let taken = resident_kib().saturating_sub(before);
        assert!(taken < 64 << 10, "{taken} KiB of {} are taken", 256 << 10);
    }
}
