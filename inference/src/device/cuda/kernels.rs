//! The kernels as machine code, compiled by `make kernels` from `kernels/*.cu` and kept beside them, so that neither building nor running
//! needs a compiler of CUDA's.

/// The kernels of one source file.
pub(crate) struct Module {
    pub(crate) name: &'static str,
    /// As the source calls them.
    pub(crate) kernels: &'static [&'static str],
    sm_80: &'static [u8],
    sm_89: &'static [u8],
    sm_90a: &'static [u8],
    ptx: &'static [u8],
}

impl Module {
    /// The machine code for a card of this compute capability. Code for 8.0 runs on all of 8.x, that for 8.9 better on 8.9; code for 9.0 on
    /// 9.0 alone. For what comes later the driver compiles the intermediate code.
    pub(crate) fn image(&self, capability: (i32, i32)) -> &'static [u8] {
        match capability {
            (8, 9) => self.sm_89,
            (8, _) => self.sm_80,
            (9, 0) => self.sm_90a,
            _ => self.ptx,
        }
    }
}

macro_rules! module {
    ($name:literal, $($kernel:literal),+ $(,)?) => {
        Module {
            name: $name,
            kernels: &[$($kernel),+],
            sm_80: include_bytes!(concat!("kernels/built/", $name, ".sm_80.cubin")),
            sm_89: include_bytes!(concat!("kernels/built/", $name, ".sm_89.cubin")),
            sm_90a: include_bytes!(concat!("kernels/built/", $name, ".sm_90a.cubin")),
            ptx: include_bytes!(concat!("kernels/built/", $name, ".ptx")),
        }
    };
}

/// All there are.
pub(crate) static MODULES: &[Module] = &[
    module!("rows", "embed_rows", "norm_rows_4096", "norm_rows_12288", "split_qkv", "activate_rows", "add_bias_rows", "widen_rows"),
    module!(
        "product",
        "product_half_8",
        "product_half_16",
        "product_half_32",
        "product_half_64",
        "product_half_64_wide",
        "product_bfloat_8",
        "product_bfloat_16",
        "product_bfloat_32",
        "product_bfloat_64",
        "product_bfloat_64_wide",
        "product_int8_8",
        "product_int8_16",
        "product_int8_32",
        "product_int8_64",
        "product_int4_8",
        "product_int4_16",
        "product_int4_32",
        "product_int4_64",
    ),
    module!(
        "columns",
        "columns_half_8",
        "columns_half_16",
        "columns_half_32",
        "columns_half_64",
        "columns_bfloat_8",
        "columns_bfloat_16",
        "columns_bfloat_32",
        "columns_bfloat_64",
        "columns_int8_8",
        "columns_int8_16",
        "columns_int8_32",
        "columns_int8_64",
    ),
    module!("step", "step_half", "step_bfloat", "step_int8", "step_int4"),
    module!("attend", "attend_16", "attend_64", "attend_80", "attend_128"),
    module!("attend_prompt", "attend_prompt_16", "attend_prompt_64", "attend_prompt_80", "attend_prompt_128"),
];

/// Equal for equal machine code of all kernels: what a card of this compute capability computes may differ from build to build.
pub(crate) fn digest(capability: (i32, i32)) -> String {
    let mut hasher = blake3::Hasher::new();
    MODULES.iter().for_each(|module| {
        hasher.update(module.image(capability));
    });
    hasher.finalize().to_hex()[..8].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_are_those_of_the_sources() {
        let mut named: Vec<&str> = MODULES.iter().flat_map(|module| module.kernels).copied().collect();
        named.sort_unstable();
        let mut there = emulator::kernels();
        there.sort_unstable();
        assert_eq!(named, there);
    }

    #[test]
    fn other_code_has_another_digest() {
        let all: std::collections::HashSet<String> = [(8, 0), (8, 9), (9, 0), (10, 0)].map(digest).into();
        assert_eq!(all.len(), 4);
        assert_eq!(digest((8, 0)), digest((8, 6)), "which runs the same");
    }

    #[test]
    fn each_card_gets_the_code_it_can_run() {
        for module in MODULES {
            for capability in [(8, 0), (8, 6), (8, 9), (9, 0)] {
                assert!(module.image(capability).starts_with(b"\x7fELF"), "{} for {capability:?}", module.name);
            }
            assert!(module.image((10, 0)).windows(7).any(|part| part == b".target"), "{}", module.name);
        }
    }
}
