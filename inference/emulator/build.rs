//! Compiles the kernels for the host, and writes a table of them: which there are, the preprocessor tells.
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where kernels lie, and whether they are those of this crate's own tests.
const FOLDERS: [(&str, bool); 2] = [("../src/device/cuda/kernels", false), ("tests/kernels", true)];
const HOST: &str = "host";

struct Kernel {
    name: String,
    /// An expression in C++, from its BOUNDS.
    threads_max: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    #[expect(clippy::disallowed_methods, reason = "a build script is told by its environment")]
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let mut build = compiler();
    let mut tables = Vec::new();
    for (folder, trial) in FOLDERS {
        println!("cargo::rerun-if-changed={folder}");
        for source in sources(Path::new(folder))? {
            let table = format!("{}{}", if trial { "trial_" } else { "" }, stem(&source));
            let unit = out.join(format!("{table}.cpp"));
            let kernels = kernels(&preprocessed(&source)?)?;
            fs::write(&unit, unit_of(&source.canonicalize()?, &table, &kernels)?)?;
            build.file(unit);
            tables.push((table, trial));
        }
    }
    println!("cargo::rerun-if-changed={HOST}");
    let registry = out.join("registry.cpp");
    fs::write(&registry, registry_of(&tables)?)?;
    build.file(registry);
    for name in ["fiber", "machine", "settle", "launch"] {
        build.file(format!("{HOST}/{name}.cpp"));
    }
    build.try_compile("emulated")?;
    Ok(())
}

/// Optimised in every profile. A product and a sum may become one rounding, here as on a card, whichever the compiler likes: where two kernels
/// must come to the same bits, they may not leave it to a compiler. Kernels read the same memory as words and as halves, which the card's
/// compiler lets them.
fn compiler() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(2).debug(true).warnings(false).define("EMULATED", None).include(HOST).include(FOLDERS[0].0);
    build.flag("-ffp-contract=fast").flag("-fno-math-errno").flag("-fno-strict-aliasing");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c") {
        build.flag_if_supported("-mavx2").flag_if_supported("-mfma").flag_if_supported("-mf16c");
    }
    build
}

fn sources(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    found.retain(|path| path.extension().is_some_and(|extension| extension == "cu"));
    found.sort();
    Ok(found)
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn preprocessed(source: &Path) -> Result<String, Box<dyn Error>> {
    let mut build = compiler();
    build.define("EMULATOR_SCAN", None).flag("-P").flag("-x").flag("c++");
    let mut command = build.try_get_compiler()?.to_command();
    let output = command.arg("-E").arg(source).output()?;
    if !output.status.success() {
        return Err(format!("{}: {}", source.display(), String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Every `emulator_kernel [emulator_bounds(threads)] name(`.
fn kernels(text: &str) -> Result<Vec<Kernel>, Box<dyn Error>> {
    let mut found: Vec<Kernel> = Vec::new();
    for piece in text.split("emulator_kernel").skip(1) {
        let mut rest = piece.trim_start();
        let mut threads_max = "1024".to_owned();
        if let Some(bounds) = rest.strip_prefix("emulator_bounds") {
            let end = closing(bounds).ok_or("BOUNDS without an end")?;
            threads_max = bounds[..=end].trim().to_owned();
            rest = bounds[end + 1..].trim_start();
        }
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            return Err(format!("a KERNEL has no name: {}", rest.chars().take(80).collect::<String>()).into());
        }
        if !found.iter().any(|kernel| kernel.name == name) {
            found.push(Kernel { name, threads_max });
        }
    }
    Ok(found)
}

/// Where the first bracket of `text` is closed.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => open += 1,
            ')' if open == 1 => return Some(at),
            ')' => open -= 1,
            _ => {}
        }
    }
    None
}

/// A kernel file and its table, in a namespace without a name: files may use the same names for different things.
fn unit_of(source: &Path, table: &str, kernels: &[Kernel]) -> Result<String, std::fmt::Error> {
    let mut text = String::from("#include \"intrinsics.cuh\"\n#include \"kernel.h\"\nnamespace {\n");
    writeln!(text, "#include \"{}\"\n}}", source.display())?;
    writeln!(text, "extern const emulator::Kernel table_{table}[] = {{")?;
    for Kernel { name, threads_max } in kernels {
        let call = format!("[](void* const* args) {{ emulator::call(&{name}, args); }}");
        writeln!(text, "    {{\"{name}\", emulator::arguments_of(&{name}), {threads_max}, {call}}},")?;
    }
    writeln!(text, "    {{}}\n}};\nextern const size_t count_{table} = {};", kernels.len())?;
    Ok(text)
}

fn registry_of(tables: &[(String, bool)]) -> Result<String, std::fmt::Error> {
    let mut text = String::from("#include \"intrinsics.cuh\"\n#include \"kernel.h\"\n");
    for (table, _) in tables {
        writeln!(text, "extern const emulator::Kernel table_{table}[];\nextern const size_t count_{table};")?;
    }
    writeln!(text, "namespace emulator {{\nextern const Table tables[] = {{")?;
    for (table, trial) in tables {
        writeln!(text, "    {{table_{table}, count_{table}, {trial}}},")?;
    }
    writeln!(text, "    {{}}\n}};\nextern const size_t tables_count = {};\n}}", tables.len())?;
    Ok(text)
}
