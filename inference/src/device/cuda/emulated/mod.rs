//! A card that is none: the same face as [`super::card`], with the machine's memory and the emulator's kernels. For tests.

mod cuda;

pub(crate) use cuda::fail_from_now_on;
pub(crate) use cuda::{Buffer, Card, Mark, Pinned, Recording};
pub(super) use cuda::{read, write};
