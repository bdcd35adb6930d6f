//! One NVIDIA card: its memory, and the order in which it works. The only code that speaks to the driver.

mod cuda;

pub(crate) use cuda::{Buffer, Card, Mark, Pinned, Recording};
