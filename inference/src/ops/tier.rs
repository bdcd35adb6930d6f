//! Which instructions this CPU has: looked up once, passed to every fast version.

/// A set of instructions, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Nothing beyond what every CPU of the architecture has: the references.
    Plain,
    /// AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512F besides.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Tier {
    /// All that run here, the fastest last. Invariant: a tier is only made where its instructions were seen.
    pub(crate) fn available() -> Vec<Tier> {
        #[allow(unused_mut, reason = "other architectures add nothing")]
        let mut tiers = vec![Tier::Plain];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c") {
            tiers.push(Tier::Avx2);
            if is_x86_feature_detected!("avx512f") {
                tiers.push(Tier::Avx512);
            }
        }
        tiers
    }

    /// The fastest that runs here.
    pub(crate) fn fastest() -> Tier {
        Self::available().last().copied().unwrap_or(Tier::Plain)
    }

    /// Its name, for people and fingerprints.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Tier::Plain => "plain",
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => "avx512",
        }
    }
}
