//! Which instructions this CPU has: looked up once, passed to every fast version.

/// A set of instructions, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Nothing beyond what every CPU of the architecture has.
    Plain,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ and VL besides.
    Avx512,
    /// AVX-512 BF16 and VNNI besides: dot products of bfloats and of bytes.
    Avx512Bf16Vnni,
}

impl Tier {
    /// All that run here, the fastest last.
    pub fn available() -> Vec<Tier> {
        #[allow(unused_mut, reason = "other architectures add nothing")]
        let mut tiers = vec![Tier::Plain];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c") {
            tiers.push(Tier::Avx2);
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                tiers.push(Tier::Avx512);
                if is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512vnni") {
                    tiers.push(Tier::Avx512Bf16Vnni);
                }
            }
        }
        tiers
    }

    /// The fastest that runs here.
    pub fn fastest() -> Tier {
        Self::available().last().copied().unwrap_or(Tier::Plain)
    }

    /// Its name, for people and fingerprints.
    pub fn name(self) -> &'static str {
        match self {
            Tier::Plain => "plain",
            Tier::Avx2 => "avx2",
            Tier::Avx512 => "avx512",
            Tier::Avx512Bf16Vnni => "avx512-bf16-vnni",
        }
    }
}
