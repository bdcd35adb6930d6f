//! Whose the room in the KV cache is, block by block. Counts only: the numbers themselves lie with the device.

mod blocks;

pub(crate) use blocks::Blocks;
