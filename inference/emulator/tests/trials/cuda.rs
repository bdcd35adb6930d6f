//! How these tests launch.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::marker::PhantomData;

/// An argument of a kernel.
pub struct Arg<'a>(Held, PhantomData<&'a mut ()>);

enum Held {
    Address(*mut c_void),
    Number(u32),
    /// A structure, which lies there.
    Value(*mut c_void),
}

/// The address of this memory. (The system's allocator gives at least multiples of 16.)
pub fn memory<T: Copy>(values: &mut [T]) -> Arg<'_> {
    Arg(Held::Address(values.as_mut_ptr().cast()), PhantomData)
}

pub fn number(v: u32) -> Arg<'static> {
    Arg(Held::Number(v), PhantomData)
}

pub fn value<T>(value: &mut T) -> Arg<'_> {
    Arg(Held::Value(std::ptr::from_mut(value).cast()), PhantomData)
}

pub fn launch(name: &str, grid: [u32; 3], block: u32, args: &mut [Arg<'_>], reverse: bool) -> Result<(), String> {
    let pointer = |arg: &mut Arg<'_>| match &mut arg.0 {
        Held::Address(at) => std::ptr::from_mut(at).cast(),
        Held::Number(v) => std::ptr::from_mut(v).cast(),
        Held::Value(at) => *at,
    };
    let pointers: Vec<*mut c_void> = args.iter_mut().map(pointer).collect();
    // SAFETY: the kernels of these tests take what the tests give them, and all of it is as long as they read and write.
    unsafe { emulator::launch(name, grid, block, &pointers, reverse) }
}
