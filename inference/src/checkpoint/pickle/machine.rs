//! The machine: a stack, a memo, and the opcodes of a state dict.

use std::collections::HashMap;

use super::value::{Global, Heap, Storage, TensorValue, Value};
use crate::error::Error;

/// The longest text: names of tensors and modules are far shorter.
const TEXT_BYTES_MAX: usize = 1024;
/// The most dimensions of a tensor, and arguments of a call.
const DIMENSIONS_MAX: usize = 8;

pub(super) struct Machine<'a> {
    file: &'a str,
    rest: &'a [u8],
    stack: Vec<Value>,
    /// Heights of the stack at which a MARK stands.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    /// Whether what is not understood is passed over rather than refused.
    passes_over: bool,
    pub(super) heap: Heap,
}

impl<'a> Machine<'a> {
    pub(super) fn new(file: &'a str, pickled: &'a [u8]) -> Self {
        Self { file, rest: pickled, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new(), passes_over: false, heap: Heap::default() }
    }

    /// One that makes something opaque of what it does not understand.
    pub(super) fn passing_over(file: &'a str, pickled: &'a [u8]) -> Self {
        Self { passes_over: true, ..Self::new(file, pickled) }
    }

    /// Runs to the end; gives the value on top of the stack.
    pub(super) fn run(&mut self) -> Result<Value, Error> {
        loop {
            let opcode = self.byte()?;
            match opcode {
                0x80 => self.skip(1)?,                       // PROTO
                0x95 => self.skip(8)?,                       // FRAME
                b'.' => return self.pop(),                   // STOP
                b'(' => self.marks.push(self.stack.len()),   // MARK
                b'N' => self.stack.push(Value::None),        // NONE
                0x88 => self.stack.push(Value::Bool(true)),  // NEWTRUE
                0x89 => self.stack.push(Value::Bool(false)), // NEWFALSE
                b'K' => self.push_int(1)?,                   // BININT1
                b'M' => self.push_int(2)?,                   // BININT2
                b'J' => {
                    let bytes = self.array::<4>()?;
                    self.stack.push(Value::Int(i64::from(i32::from_le_bytes(bytes)))); // BININT
                }
                0x8a => self.push_long()?, // LONG1
                b'G' => {
                    self.skip(8)?;
                    self.stack.push(Value::Float); // BINFLOAT
                }
                b'X' => {
                    let length = u32::from_le_bytes(self.array()?);
                    self.push_text(length as usize)?; // BINUNICODE
                }
                0x8c => {
                    let length = self.byte()?;
                    self.push_text(length.into())?; // SHORT_BINUNICODE
                }
                b'}' => {
                    let dict = self.new_dict();
                    self.stack.push(dict); // EMPTY_DICT
                }
                b']' => {
                    self.heap.lists.push(Vec::new());
                    self.stack.push(Value::List(self.heap.lists.len() - 1)); // EMPTY_LIST
                }
                b')' => self.push_tuple(Vec::new()), // EMPTY_TUPLE
                0x85..=0x87 => {
                    let items = self.pop_many(usize::from(opcode - 0x84))?;
                    self.push_tuple(items); // TUPLE1, TUPLE2, TUPLE3
                }
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push_tuple(items); // TUPLE
                }
                b'a' => {
                    let items = self.pop_many(1)?;
                    self.append(items)?; // APPEND
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.append(items)?; // APPENDS
                }
                b's' => {
                    let items = self.pop_many(2)?;
                    self.set_items(&items)?; // SETITEM
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set_items(&items)?; // SETITEMS
                }
                b'q' => {
                    let place = self.byte()?;
                    self.memoize(place.into())?; // BINPUT
                }
                b'r' => {
                    let place = u32::from_le_bytes(self.array()?);
                    self.memoize(place)?; // LONG_BINPUT
                }
                0x94 => {
                    let place = u32::try_from(self.memo.len()).map_err(|_| self.corrupt("memoizes too much"))?;
                    self.memoize(place)?; // MEMOIZE
                }
                b'h' => {
                    let place = self.byte()?;
                    self.recall(place.into())?; // BINGET
                }
                b'j' => {
                    let place = u32::from_le_bytes(self.array()?);
                    self.recall(place)?; // LONG_BINGET
                }
                b'c' => {
                    let module = self.line()?;
                    let name = self.line()?;
                    self.push_global(&module, &name)?; // GLOBAL
                }
                0x93 => {
                    let (name, module) = (self.pop_text()?, self.pop_text()?);
                    self.push_global(&module, &name)?; // STACK_GLOBAL
                }
                b'Q' => self.persistent_id()?,                         // BINPERSID
                b'R' => self.reduce()?,                                // REDUCE
                0x81 if self.passes_over => self.reduce()?,            // NEWOBJ: a call by another name
                0x8f if self.passes_over => self.push_opaque("a set"), // EMPTY_SET
                0x90 if self.passes_over => {
                    let items = self.pop_to_mark()?;
                    self.append(items)?; // ADDITEMS
                }
                b'B' if self.passes_over => {
                    let length = u32::from_le_bytes(self.array()?);
                    self.skip(length as usize)?;
                    self.push_opaque("bytes"); // BINBYTES
                }
                b'C' if self.passes_over => {
                    let length = self.byte()?;
                    self.skip(length.into())?;
                    self.push_opaque("bytes"); // SHORT_BINBYTES
                }
                b'0' if self.passes_over => drop(self.pop()?), // POP
                b'b' => self.build()?,                         // BUILD
                other => {
                    return Err(Error::unsupported(
                        format!("{}: pickle opcode 0x{other:02x}", self.file),
                        "does not occur in a state dict; it is not run",
                    ));
                }
            }
        }
    }

    fn push_global(&mut self, module: &str, name: &str) -> Result<(), Error> {
        if self.passes_over && Global::named(module, name).is_none() {
            self.push_opaque(&format!("{module}.{name}"));
            return Ok(());
        }
        let global = Global::named(module, name).ok_or_else(|| {
            Error::unsupported(
                format!("{}: {module}.{name}", self.file),
                "is named in the pickle; only OrderedDict, _rebuild_tensor_v2 and the Float, Half and BFloat16 storages are understood, and nothing is run",
            )
        })?;
        self.stack.push(Value::Global(global));
        Ok(())
    }

    /// ('storage', StorageType, key, location, elements): PyTorch's way to point at a member of the archive.
    fn persistent_id(&mut self) -> Result<(), Error> {
        let items = self.pop_tuple()?;
        if self.passes_over
            && let [_, Value::Opaque(what), ..] = items[..]
        {
            self.stack.push(Value::Opaque(what));
            return Ok(());
        }
        let [Value::Str(kind), Value::Global(Global::StorageType(dtype)), Value::Str(key), Value::Str(_), Value::Int(_)] = items[..] else {
            return Err(self.corrupt("points at something that is no storage"));
        };
        if self.heap.strings[kind] != "storage" {
            return Err(self.corrupt("points at something that is no storage"));
        }
        self.heap.storages.push(Storage { dtype, key });
        self.stack.push(Value::Storage(self.heap.storages.len() - 1));
        Ok(())
    }

    /// A call: of OrderedDict, or of _rebuild_tensor_v2(storage, offset, shape, stride, requires_grad, hooks).
    fn reduce(&mut self) -> Result<(), Error> {
        if self.passes_over
            && let [.., callee, _] = self.stack[..]
            && let Some(what) = self.opaque_call(callee)
        {
            self.pop_many(2)?;
            self.stack.push(Value::Opaque(what));
            return Ok(());
        }
        let arguments = self.pop_tuple()?;
        let result = match self.pop()? {
            Value::Global(Global::OrderedDict) if arguments.is_empty() => self.new_dict(),
            Value::Global(Global::RebuildTensor) => {
                let [Value::Storage(storage), Value::Int(offset), Value::Tuple(shape), Value::Tuple(stride), ..] = arguments[..] else {
                    return Err(self.corrupt("rebuilds a tensor from something else than storage, offset, shape and stride"));
                };
                let offset = usize::try_from(offset).map_err(|_| self.corrupt("places a tensor before its storage"))?;
                let (shape, stride) = (self.dimensions(shape)?, self.dimensions(stride)?);
                self.heap.tensors.push(TensorValue { storage, offset, shape, stride });
                Value::Tensor(self.heap.tensors.len() - 1)
            }
            _ => return Err(self.corrupt("calls something that is not understood")),
        };
        self.stack.push(result);
        Ok(())
    }

    /// What makes the result of this call opaque: the callee, or the storage that a tensor would be rebuilt from.
    fn opaque_call(&self, callee: Value) -> Option<usize> {
        match (callee, self.stack.last()) {
            (Value::Opaque(what), _) => Some(what),
            (Value::Global(Global::RebuildTensor), Some(Value::Tuple(arguments))) => match self.heap.tuples[*arguments].first() {
                Some(Value::Opaque(what)) => Some(*what),
                _ => None,
            },
            _ => None,
        }
    }

    fn push_opaque(&mut self, what: &str) {
        self.heap.strings.push(what.to_owned());
        self.stack.push(Value::Opaque(self.heap.strings.len() - 1));
    }

    /// A state dict carries version numbers of the modules as its state; they mean nothing to us.
    fn build(&mut self) -> Result<(), Error> {
        self.pop()?;
        match self.stack.last() {
            Some(Value::Dict(_) | Value::Opaque(_)) => Ok(()),
            _ => Err(self.corrupt("gives a state to something that is no dict")),
        }
    }

    fn dimensions(&self, tuple: usize) -> Result<Vec<usize>, Error> {
        let items = &self.heap.tuples[tuple];
        if items.len() > DIMENSIONS_MAX {
            return Err(self.corrupt(&format!("describes a tensor of {} dimensions", items.len())));
        }
        items
            .iter()
            .map(|item| match item {
                Value::Int(size) => usize::try_from(*size).map_err(|_| self.corrupt("describes a tensor of negative size")),
                _ => Err(self.corrupt("describes a tensor whose sizes are no numbers")),
            })
            .collect()
    }

    fn append(&mut self, items: Vec<Value>) -> Result<(), Error> {
        match self.stack.last() {
            Some(Value::List(list)) => {
                self.heap.lists[*list].extend(items);
                Ok(())
            }
            Some(Value::Opaque(_)) => Ok(()),
            _ => Err(self.corrupt("appends to something that is no list")),
        }
    }

    fn set_items(&mut self, items: &[Value]) -> Result<(), Error> {
        let (pairs, []) = items.as_chunks::<2>() else { return Err(self.corrupt("sets a key without a value")) };
        match self.stack.last() {
            Some(Value::Dict(dict)) => {
                self.heap.dicts[*dict].extend(pairs.iter().map(|[key, value]| (*key, *value)));
                Ok(())
            }
            Some(Value::Opaque(_)) => Ok(()),
            _ => Err(self.corrupt("sets an item of something that is no dict")),
        }
    }

    fn memoize(&mut self, place: u32) -> Result<(), Error> {
        let top = *self.stack.last().ok_or_else(|| self.corrupt("memoizes nothing"))?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<(), Error> {
        let value = *self.memo.get(&place).ok_or_else(|| self.corrupt("recalls what was never memoized"))?;
        self.stack.push(value);
        Ok(())
    }

    fn new_dict(&mut self) -> Value {
        self.heap.dicts.push(Vec::new());
        Value::Dict(self.heap.dicts.len() - 1)
    }

    fn push_tuple(&mut self, items: Vec<Value>) {
        self.heap.tuples.push(items);
        self.stack.push(Value::Tuple(self.heap.tuples.len() - 1));
    }

    fn push_text(&mut self, length: usize) -> Result<(), Error> {
        if length > TEXT_BYTES_MAX && self.passes_over {
            self.skip(length)?;
            self.push_opaque("a long text");
            return Ok(());
        }
        if length > TEXT_BYTES_MAX {
            return Err(self.corrupt(&format!("holds a text of {length} bytes; at most {TEXT_BYTES_MAX} are read")));
        }
        let bytes = self.take(length)?;
        let text = str::from_utf8(bytes).map_err(|_| self.corrupt("holds text that is not UTF-8"))?.to_owned();
        self.heap.strings.push(text);
        self.stack.push(Value::Str(self.heap.strings.len() - 1));
        Ok(())
    }

    fn push_int(&mut self, width: usize) -> Result<(), Error> {
        let value = self.take(width)?.iter().rev().fold(0, |value, byte| value << 8 | i64::from(*byte));
        self.stack.push(Value::Int(value));
        Ok(())
    }

    /// A little-endian two's complement number; ours fit eight bytes.
    fn push_long(&mut self) -> Result<(), Error> {
        let width = usize::from(self.byte()?);
        if width > 8 && self.passes_over {
            self.skip(width)?;
            self.push_opaque("a large number");
            return Ok(());
        }
        if width > 8 {
            return Err(self.corrupt("holds a number of more than 64 bits"));
        }
        let bytes = self.take(width)?;
        let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { -1 } else { 0 };
        let value = bytes.iter().rev().fold(sign, |value: i64, byte| value << 8 | i64::from(*byte));
        self.stack.push(Value::Int(value));
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, Error> {
        // A value below the last mark belongs to whoever set the mark.
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err(self.corrupt("takes from an empty stack"));
        }
        self.stack.pop().ok_or_else(|| self.corrupt("takes from an empty stack"))
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value>, Error> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(count).filter(|height| *height >= floor) {
            Some(height) => Ok(self.stack.split_off(height)),
            None => Err(self.corrupt("takes from an empty stack")),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value>, Error> {
        let height = self.marks.pop().ok_or_else(|| self.corrupt("looks for a mark that is not there"))?;
        Ok(self.stack.split_off(height))
    }

    fn pop_tuple(&mut self) -> Result<Vec<Value>, Error> {
        match self.pop()? {
            Value::Tuple(tuple) if self.heap.tuples[tuple].len() <= DIMENSIONS_MAX => Ok(self.heap.tuples[tuple].clone()),
            _ => Err(self.corrupt("calls with something else than a short tuple")),
        }
    }

    fn pop_text(&mut self) -> Result<String, Error> {
        match self.pop()? {
            Value::Str(text) => Ok(self.heap.strings[text].clone()),
            _ => Err(self.corrupt("names a global by something that is no text")),
        }
    }

    fn byte(&mut self) -> Result<u8, Error> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.corrupt("ends too early"))?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.corrupt("ends too early"))?;
        self.rest = rest;
        Ok(bytes)
    }

    fn skip(&mut self, length: usize) -> Result<(), Error> {
        self.take(length).map(|_| ())
    }

    fn line(&mut self) -> Result<String, Error> {
        const NAME_BYTES_MAX: usize = 256;
        let length = self
            .rest
            .iter()
            .take(NAME_BYTES_MAX)
            .position(|byte| *byte == b'\n')
            .ok_or_else(|| self.corrupt("names a global without end"))?;
        let line = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.skip(1)?;
        Ok(line)
    }

    pub(super) fn corrupt(&self, problem: &str) -> Error {
        Error::corrupt(self.file, format!("the pickle {problem}"))
    }
}
