//! The door to `host/launch.cpp`.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_void};

unsafe extern "C" {
    fn emulator_launch(
        name: *const c_char,
        grid: *const u32,
        block: u32,
        args: *const *mut c_void,
        args_count: usize,
        reverse: bool,
    ) -> *const c_char;
    fn emulator_kernel(i: usize) -> *const c_char;
}

/// The names of the kernels in `inference/src/device/cuda/kernels`.
pub fn kernels() -> Vec<String> {
    // SAFETY: it only reads a constant table, and gives null or a text that lives as long as the program.
    let name = |i| unsafe { emulator_kernel(i).as_ref().map(|name| CStr::from_ptr(name)) };
    (0..).map_while(name).map(|name| name.to_string_lossy().into_owned()).collect()
}

/// Runs a kernel, from its first block to its last, and returns when it has ended. An error says what was wrong, and where: an unknown
/// name, another number of arguments, a block larger than the kernel's BOUNDS, threads that did not meet, an unaligned address. What was
/// written before an error stays written.
///
/// `args` are pointers to the values of the kernel's arguments, as cuLaunchKernel takes them; addresses among those values are the
/// host's. `block` is the number of threads, along x.
///
/// With `reverse`, blocks, and warps and lanes where they need not wait, run in the opposite order, and copies to shared memory come as
/// late as a kernel allows: a kernel that is right gives the same, but for the order in which it adds up atomically.
///
/// # Safety
/// Each of `args` points to a readable value of the type that the kernel has in that place, and what the kernel does with the addresses it
/// is given is sound: they are memory of enough bytes, and nobody else uses what it writes meanwhile.
pub unsafe fn launch(name: &str, grid: [u32; 3], block: u32, args: &[*mut c_void], reverse: bool) -> Result<(), String> {
    let Ok(name) = CString::new(name) else { return Err(format!("{name:?} names no kernel")) };
    // SAFETY: name and grid live until it returns, `args` is as long as it is told, and the rest is the caller's promise. The message it
    // gives is this thread's until its next launch.
    unsafe {
        match emulator_launch(name.as_ptr(), grid.as_ptr(), block, args.as_ptr(), args.len(), reverse).as_ref() {
            None => Ok(()),
            Some(message) => Err(CStr::from_ptr(message).to_string_lossy().into_owned()),
        }
    }
}
