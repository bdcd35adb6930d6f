//! Choices read from the fuzzer's bytes, one after the other; when they end, everything is 0.

pub struct Said<'a>(pub &'a [u8]);

impl Said<'_> {
    pub fn byte(&mut self) -> u8 {
        let [byte] = self.bytes();
        byte
    }

    pub fn flag(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::from(u16::from_le_bytes(self.bytes())) % end
    }

    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    /// Any float at all: often one that makes sense, at times NaN.
    pub fn float(&mut self) -> f32 {
        let sensible = [0.0, 1.0, 0.5, 0.9, 1e-6, 1e-30, 2.0, 100.0, -1.0, -100.0, f32::NAN, f32::INFINITY];
        match usize::from(self.byte()) {
            place if place < 16 => *sensible.get(place).unwrap_or(&1.5),
            place if place < 240 => place as f32 / 239.0,
            _ => f32::from_le_bytes(self.bytes()),
        }
    }

    pub fn long(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }

    /// A text of up to 31 bytes.
    pub fn text(&mut self) -> String {
        let length = usize::from(self.byte() % 32).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let length = N.min(self.0.len());
        let (said, rest) = self.0.split_at(length);
        bytes[..length].copy_from_slice(said);
        self.0 = rest;
        bytes
    }
}
