//! A hostile pytorch_model.bin: the zip archive, and the pickle in one that is right.

use std::io::{Cursor, Write};

use inference::checkpoint::{convert, tensors};
use safetensors::SafeTensors;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::files::{CONFIG, Folder, assert_clear};
use super::safetensors::agree;

/// Takes the bytes for the whole archive.
pub fn archive(data: &[u8]) {
    let folder = Folder::of(&[("config.json", CONFIG), ("pytorch_model.bin", data)]);
    let checkpoint = folder.checkpoint();
    let found = match tensors(&checkpoint) {
        Err(error) => return assert_clear(&error),
        Ok(found) => found,
    };
    assert!(found.tensors().iter().all(|tensor| tensor.bytes().len() <= data.len()));
    // What was taken is the same in the other format, as the reference implementation reads it.
    let out = Folder::of(&[("config.json", CONFIG)]);
    match convert(&checkpoint, out.path(), u64::MAX, &|_| {}) {
        Err(error) => assert_clear(&error),
        Ok(written) => {
            let converted = std::fs::read(&written[0].path).unwrap();
            let theirs = SafeTensors::deserialize(&converted).expect("a file the reference implementation reads");
            agree(&found, &theirs);
            agree(&tensors(&out.checkpoint()).expect("a file we read"), &theirs);
        }
    }
}

/// Takes the bytes for data.pkl, beside three storages of 64 bytes.
pub fn pickle(data: &[u8]) {
    let numbers: Vec<u8> = (0..64).collect();
    let mut bytes = Cursor::new(Vec::new());
    let mut zip = ZipWriter::new(&mut bytes);
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, body) in [("m/data.pkl", data), ("m/data/0", &numbers), ("m/data/1", &numbers), ("m/data/2", &numbers)] {
        zip.start_file(name, stored).unwrap();
        zip.write_all(body).unwrap();
    }
    zip.finish().unwrap();
    archive(&bytes.into_inner());
}
