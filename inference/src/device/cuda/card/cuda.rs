//! The driver, through cudarc's bindings, which look for libcuda when it is first asked for. Everything that is begun on a card happens in
//! one order, that of its stream.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_uint, c_void};
use std::ops::{Deref, DerefMut, Range};
use std::sync::Arc;

use bytemuck::Pod;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use super::super::kernels::{MODULES, Module};
use super::super::tables::{StepArgs, TileMap};
use crate::error::{Error, MemoryLimit};

/// CUDA 12.0, as the driver counts: machine code of 12.8 runs on all of 12.
const DRIVER_MIN: i32 = 12_000;

/// Whether all blocks of a kernel are on the card at once, or may begin before the kernel before them has ended.
#[derive(Clone, Copy)]
enum Together {
    Yes,
    No,
}

/// A card in use.
#[derive(Debug, Clone)]
pub(crate) struct Card {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    modules: Vec<sys::CUmodule>,
    functions: HashMap<String, sys::CUfunction>,
    name: String,
    capability: (i32, i32),
    processors: usize,
}

// SAFETY: the driver's handles may be used from any thread (CUDA driver API, "Difference between the driver and runtime APIs"); those of
// a graph, which may not, are in `Recording`, which is not `Sync`.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

fn failed(what: &str, error: DriverError) -> Error {
    let name = error.error_name().map_or_else(|_| format!("{error:?}"), |name| name.to_string_lossy().into_owned());
    Error::Internal { problem: format!("the card could not {what}: {name}") }
}

impl Card {
    /// Whether there is a driver at all.
    pub(crate) fn has_driver() -> bool {
        // SAFETY: only looks whether the library can be found.
        unsafe { sys::is_culib_present() }
    }

    /// Takes the card of this number into use and loads the kernels. `Unsupported`, with what to do, if there is no driver, no such card,
    /// or none that the kernels are built for.
    pub(crate) fn open(ordinal: i32) -> Result<Self, Error> {
        let none = |problem: String| Error::unsupported("device", problem);
        if !Self::has_driver() {
            return Err(none(
                "cuda needs NVIDIA's driver (libcuda.so), which this machine has not; install it, or compute on the CPU".into(),
            ));
        }
        result::init().map_err(|error| none(format!("the driver found no card it can use: {}", failed("begin", error))))?;
        let mut version = 0;
        // SAFETY: the driver writes one number.
        unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().map_err(|error| failed("tell its driver's version", error))?;
        if version < DRIVER_MIN {
            let (major, minor) = (version / 1000, version % 1000 / 10);
            return Err(none(format!(
                "the driver is of CUDA {major}.{minor}; the kernels need 12.0 or later (driver 570, better): install a newer one"
            )));
        }
        let device = result::device::get(ordinal).map_err(|_| none(format!("there is no card number {ordinal}")))?;
        let attribute = |attribute| {
            // SAFETY: the device was just found.
            unsafe { result::device::get_attribute(device, attribute) }.map_err(|error| failed("tell what it is", error))
        };
        let capability = (
            attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
            attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
        );
        let processors = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?.unsigned_abs() as usize;
        let name = result::device::get_name(device).map_err(|error| failed("tell its name", error))?;
        if capability < (8, 0) {
            let (major, minor) = capability;
            return Err(none(format!("{name} is of compute capability {major}.{minor}; the kernels need 8.0 (Ampere) or later")));
        }
        // SAFETY: the primary context is retained once and released once, in `Drop`.
        let context = unsafe { result::primary_ctx::retain(device) }.map_err(|error| failed("be taken into use", error))?;
        let mut inner = Inner {
            device,
            context,
            stream: std::ptr::null_mut(),
            modules: Vec::new(),
            functions: HashMap::new(),
            name,
            capability,
            processors,
        };
        inner.bind()?;
        inner.stream = result::stream::create(result::stream::StreamKind::NonBlocking).map_err(|error| failed("make a stream", error))?;
        for module in MODULES {
            inner.load(module)?;
        }
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.inner.name
    }

    /// Where it sits, as other libraries name it; `None` if the driver does not say.
    pub(crate) fn bus_id(&self) -> Option<String> {
        let mut name = [0u8; 32];
        // SAFETY: the driver writes a text and its end into so many bytes at most.
        unsafe { sys::cuDeviceGetPCIBusId(name.as_mut_ptr().cast(), name.len() as i32, self.inner.device) }.result().ok()?;
        CStr::from_bytes_until_nul(&name).ok()?.to_str().ok().map(str::to_owned)
    }

    /// Compute capability, major and minor.
    pub(crate) fn capability(&self) -> (i32, i32) {
        self.inner.capability
    }

    /// Multiprocessors.
    pub(crate) fn processors(&self) -> usize {
        self.inner.processors
    }

    /// Bytes that nobody has, and all there are.
    pub(crate) fn memory(&self) -> Result<(u64, u64), Error> {
        self.inner.bind()?;
        let (free, total) = result::mem_get_info().map_err(|error| failed("tell its memory", error))?;
        Ok((free as u64, total as u64))
    }

    /// `TooLarge`, with the numbers, if so many bytes are not free `now`, or are more than there are at all.
    pub(crate) fn hold(&self, needed_bytes: u64, now: bool) -> Result<(), Error> {
        let (free, total) = self.memory()?;
        if needed_bytes <= if now { free } else { total } {
            return Ok(());
        }
        Err(Error::TooLarge { needed_bytes, limit: MemoryLimit::Card, budget_bytes: total, held_bytes: total - free })
    }

    /// Zeroed memory. `TooLarge` if there is none left.
    pub(crate) fn alloc(&self, bytes: usize) -> Result<Buffer, Error> {
        self.inner.bind()?;
        let bytes = bytes.max(16).next_multiple_of(256);
        // SAFETY: freed once, in `Drop` of the buffer.
        let address = unsafe { result::malloc_sync(bytes) }.map_err(|error| match error.0 {
            sys::cudaError_enum::CUDA_ERROR_OUT_OF_MEMORY => self.too_large(bytes as u64),
            _ => failed("give memory", error),
        })?;
        let buffer = Buffer { card: self.clone(), address };
        // SAFETY: the memory is there and as long.
        unsafe { result::memset_d8_async(address, 0, bytes, self.inner.stream) }.map_err(|error| failed("clear memory", error))?;
        Ok(buffer)
    }

    fn too_large(&self, needed_bytes: u64) -> Error {
        let (free, total) = self.memory().unwrap_or_default();
        Error::TooLarge { needed_bytes, limit: MemoryLimit::Card, budget_bytes: total, held_bytes: total.saturating_sub(free) }
    }

    /// Host memory that the card reads and writes by itself.
    pub(crate) fn pinned(&self, bytes: usize) -> Result<Pinned, Error> {
        self.inner.bind()?;
        let bytes = bytes.max(16);
        // SAFETY: freed once, in `Drop`; written over at once, so that it may be read.
        let address = unsafe {
            let address = result::malloc_host(bytes, 0).map_err(|error| failed("pin memory of the machine", error))?.cast::<u8>();
            address.write_bytes(0, bytes);
            address
        };
        Ok(Pinned { card: self.clone(), address, bytes })
    }

    /// Begins to copy a part of `from` to the card. Until a mark made after it has been waited for, that part must not be written.
    pub(crate) fn copy_in(&self, to: u64, from: &Pinned, part: Range<usize>) -> Result<(), Error> {
        self.inner.bind()?;
        // SAFETY: the host's bytes are pinned, and live until the stream has been waited for (`Pinned::drop`); `to` is a buffer's.
        unsafe { result::memcpy_htod_async(to, &from[part], self.inner.stream) }.map_err(|error| failed("take what it was given", error))
    }

    /// Begins to copy to `to` from byte `at` on, which holds it once the card has been waited for.
    pub(crate) fn copy_out(&self, to: &mut Pinned, at: usize, bytes: usize, from: u64) -> Result<(), Error> {
        self.inner.bind()?;
        // SAFETY: as above.
        unsafe { result::memcpy_dtoh_async(&mut to[at..at + bytes], from, self.inner.stream) }
            .map_err(|error| failed("give what it made", error))
    }

    /// Begins to copy within the card.
    pub(crate) fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<(), Error> {
        self.inner.bind()?;
        // SAFETY: both are parts of buffers that their owner keeps.
        unsafe { result::memcpy_dtod_async(to, from, bytes, self.inner.stream) }.map_err(|error| failed("copy its memory", error))
    }

    /// Begins a kernel of so many blocks of so many threads. On cards that can, it may begin before the one before it has ended, up to
    /// where it waits for it.
    pub(crate) fn launch<A: Pod>(&self, kernel: &str, grid: [u32; 3], threads: u32, args: &A) -> Result<(), Error> {
        self.begin(kernel, grid, threads, 0, args, Together::No)
    }

    fn begin<A: Pod>(
        &self,
        kernel: &str,
        grid: [u32; 3],
        threads: u32,
        shared_bytes: usize,
        args: &A,
        together: Together,
    ) -> Result<(), Error> {
        let function =
            *self.inner.functions.get(kernel).ok_or_else(|| Error::Internal { problem: format!("there is no kernel `{kernel}`") })?;
        self.inner.bind()?;
        let (id, value) = match together {
            Together::Yes => (sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_COOPERATIVE, sys::CUlaunchAttributeValue { cooperative: 1 }),
            Together::No => (
                sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
                sys::CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 },
            ),
        };
        let mut attribute = sys::CUlaunchAttribute { id, pad: [0; 4], value };
        let config = sys::CUlaunchConfig {
            gridDimX: grid[0] as c_uint,
            gridDimY: grid[1] as c_uint,
            gridDimZ: grid[2] as c_uint,
            blockDimX: threads as c_uint,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: shared_bytes as c_uint,
            hStream: self.inner.stream,
            attrs: &raw mut attribute,
            numAttrs: c_uint::from(self.inner.capability.0 >= 9),
        };
        let mut arguments = [std::ptr::from_ref(args).cast_mut().cast::<c_void>()];
        // SAFETY: the kernel takes one argument, the structure of this name in tables.cuh; the driver copies it before it returns. What its
        // addresses lead to is the caller's, who keeps the buffers as long as the stream works on them.
        unsafe { sys::cuLaunchKernelEx(&raw const config, function, arguments.as_mut_ptr(), std::ptr::null_mut()) }
            .result()
            .map_err(|error| failed(&format!("begin `{kernel}`"), error))
    }

    /// A matrix by rows, of bytes, as the engine that copies is told of it: in tiles of 16 rows and 128 bytes, or in strips of 16 bytes.
    /// Address and bytes of a row are multiples of 16.
    pub(crate) fn tile_map(&self, address: u64, row_bytes: usize, rows: usize, tile_bytes: usize) -> Result<TileMap, Error> {
        self.inner.bind()?;
        let mut map = TileMap([0; 16]);
        let (sizes, strides) = ([row_bytes as u64, rows as u64], [row_bytes as u64]);
        let swizzle = match tile_bytes {
            128 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
            _ => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_NONE,
        };
        // SAFETY: the driver writes 128 bytes to a place of 64's alignment, and reads two sizes, one stride and two boxes.
        unsafe {
            sys::cuTensorMapEncodeTiled(
                (&raw mut map).cast(),
                sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_UINT8,
                2,
                address as *mut c_void,
                sizes.as_ptr(),
                strides.as_ptr(),
                [tile_bytes as u32, 16].as_ptr(),
                [1u32, 1].as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                swizzle,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        }
        .result()
        .map_err(|error| failed("be told of a matrix", error))?;
        Ok(map)
    }

    /// How many blocks of a step's kernel the card works on at once, which so can meet; 0 if it cannot run it.
    pub(crate) fn blocks_together(&self, kernel: &str, threads: u32, shared_bytes: usize) -> usize {
        // Tiles are copied by compute capability 9.0 alone, as the kernels are built.
        let Some(&function) = self.inner.functions.get(kernel).filter(|_| self.inner.capability == (9, 0)) else { return 0 };
        let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let mut blocks = 0;
        let told = self.inner.bind().is_ok_and(|()| {
            // SAFETY: the function lives; the driver writes one number.
            unsafe {
                sys::cuFuncSetAttribute(function, attribute, shared_bytes as i32).result().is_ok()
                    && sys::cuOccupancyMaxActiveBlocksPerMultiprocessor(&raw mut blocks, function, threads as i32, shared_bytes)
                        .result()
                        .is_ok()
            }
        });
        if told { blocks.unsigned_abs() as usize * self.inner.processors } else { 0 }
    }

    /// Begins a step's kernel, whose blocks are all on the card at once.
    pub(crate) fn launch_step(&self, kernel: &str, blocks: usize, threads: u32, shared_bytes: usize, args: &StepArgs) -> Result<(), Error> {
        self.begin(kernel, [blocks as u32, 1, 1], threads, shared_bytes, args, Together::Yes)
    }

    /// Waits until everything that was begun is done.
    pub(crate) fn wait(&self) -> Result<(), Error> {
        self.inner.bind()?;
        // SAFETY: the stream lives as long as the card.
        unsafe { result::stream::synchronize(self.inner.stream) }.map_err(|error| failed("end what it was doing", error))
    }

    /// A point in the order of work.
    pub(crate) fn mark(&self) -> Result<Mark, Error> {
        self.inner.bind()?;
        let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING).map_err(|error| failed("make a mark", error))?;
        let mark = Mark { card: self.clone(), event };
        // SAFETY: both live.
        unsafe { result::event::record(event, self.inner.stream) }.map_err(|error| failed("set a mark", error))?;
        Ok(mark)
    }

    /// Notes what `work` begins, without beginning it, to be begun as one thing again and again.
    pub(crate) fn record(&self, work: impl FnOnce() -> Result<(), Error>) -> Result<Recording, Error> {
        self.inner.bind()?;
        let stream = self.inner.stream;
        // SAFETY: the stream lives; whatever `work` says, the capture is ended.
        let graph = unsafe {
            result::stream::begin_capture(stream, sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
                .map_err(|error| failed("begin to take notes", error))?;
            let worked = work();
            let graph = result::stream::end_capture(stream).map_err(|error| failed("take notes", error));
            match (worked, graph) {
                (Ok(()), graph) => graph?,
                (Err(error), graph) => {
                    if let Ok(graph) = graph {
                        let _ = result::graph::destroy(graph);
                    }
                    return Err(error);
                }
            }
        };
        let flags = sys::CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
        // SAFETY: the graph was just made; it is destroyed once, here or in `Drop`.
        let exec = unsafe { result::graph::instantiate(graph, flags) };
        let exec = exec.map_err(|error| {
            // SAFETY: as above.
            let _ = unsafe { result::graph::destroy(graph) };
            failed("make one thing of its notes", error)
        })?;
        Ok(Recording { card: self.clone(), graph, exec })
    }

    /// Begins what was noted.
    pub(crate) fn replay(&self, recording: &Recording) -> Result<(), Error> {
        self.inner.bind()?;
        // SAFETY: the graph lives, and its buffers do, since their owner has both.
        unsafe { result::graph::launch(recording.exec, self.inner.stream) }.map_err(|error| failed("begin a step", error))
    }

    /// The stream, for libraries that begin work themselves.
    pub(in super::super) fn stream(&self) -> sys::CUstream {
        self.inner.stream
    }

    /// Makes this thread's calls go to the card.
    pub(in super::super) fn bind(&self) -> Result<(), Error> {
        self.inner.bind()
    }
}

impl Inner {
    fn bind(&self) -> Result<(), Error> {
        // SAFETY: the context is retained as long as `self` lives.
        unsafe { result::ctx::set_current(self.context) }.map_err(|error| failed("be turned to", error))
    }

    /// Loads the machine code for this card, or what the driver compiles for it.
    fn load(&mut self, module: &Module) -> Result<(), Error> {
        let image = module.image(self.capability);
        let mut text = image.to_vec();
        text.push(0); // PTX ends with one; machine code does not mind.
        // SAFETY: the image is a whole module; it is unloaded once, in `Drop`.
        let loaded = unsafe { result::module::load_data(text.as_ptr().cast()) };
        let loaded = loaded.map_err(|error| failed(&format!("load the kernels of {}; a newer driver may help", module.name), error))?;
        self.modules.push(loaded);
        for kernel in module.kernels {
            let name = CString::new(*kernel).map_err(|_| Error::Internal { problem: format!("a kernel cannot be called {kernel:?}") })?;
            // SAFETY: the module is loaded.
            let function = unsafe { result::module::get_function(loaded, name) };
            self.functions.insert((*kernel).to_owned(), function.map_err(|error| failed(&format!("find `{kernel}`"), error))?);
        }
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.bind().is_err() {
            return;
        }
        // SAFETY: each handle is this card's and given back once; nothing is at work, as buffers wait before they go.
        unsafe {
            for module in self.modules.drain(..) {
                let _ = result::module::unload(module);
            }
            if !self.stream.is_null() {
                let _ = result::stream::destroy(self.stream);
            }
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

/// Memory of a card.
#[derive(Debug)]
pub(crate) struct Buffer {
    card: Card,
    address: u64,
}

impl Buffer {
    pub(crate) fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // What is at work may still read it.
        let _ = self.card.wait();
        // SAFETY: allocated once, freed once.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

/// Host memory that the card reads and writes by itself.
#[derive(Debug)]
pub(crate) struct Pinned {
    card: Card,
    address: *mut u8,
    bytes: usize,
}

// SAFETY: it is memory like any other, owned by one.
unsafe impl Send for Pinned {}
// SAFETY: as above; shared references only read.
unsafe impl Sync for Pinned {}

impl Deref for Pinned {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes, written once, owned.
        unsafe { std::slice::from_raw_parts(self.address, self.bytes) }
    }
}

impl DerefMut for Pinned {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed by one alone.
        unsafe { std::slice::from_raw_parts_mut(self.address, self.bytes) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = self.card.wait();
        // SAFETY: allocated once, freed once.
        let _ = unsafe { result::free_host(self.address.cast()) };
    }
}

/// A point in the order of work.
#[derive(Debug)]
pub(crate) struct Mark {
    card: Card,
    event: sys::CUevent,
}

// SAFETY: an event may be waited for from any thread.
unsafe impl Send for Mark {}

impl Mark {
    /// Waits until all that was begun before it is done.
    pub(crate) fn wait(self) -> Result<(), Error> {
        self.card.inner.bind()?;
        // SAFETY: the event lives.
        unsafe { result::event::synchronize(self.event) }.map_err(|error| failed("reach a mark", error))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        // SAFETY: made once, destroyed once; the driver waits by itself.
        let _ = unsafe { result::event::destroy(self.event) };
    }
}

/// Work that is begun as one thing. (A CUDA graph.)
#[derive(Debug)]
pub(crate) struct Recording {
    card: Card,
    graph: sys::CUgraph,
    exec: sys::CUgraphExec,
}

// SAFETY: a graph may be used by any one thread at a time; it is not `Sync`.
unsafe impl Send for Recording {}

impl Drop for Recording {
    fn drop(&mut self) {
        let _ = self.card.wait();
        // SAFETY: both made once, destroyed once.
        unsafe {
            let _ = result::graph::exec_destroy(self.exec);
            let _ = result::graph::destroy(self.graph);
        }
    }
}
