//! Plain code, compiled once for each tier: the compiler vectorises it for the instructions it may use.
#![allow(unsafe_code)]

/// Defines a function that does what the plain function behind `=` does, compiled for every tier; it takes the tier first. The plain
/// function must be `#[inline(always)]`, or it is compiled for none.
macro_rules! every_tier {
    ($(#[$about:meta])* fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? = $plain:path) => {
        $(#[$about])*
        #[allow(unsafe_code, reason = "the call of a function compiled for instructions that were seen")]
        pub(crate) fn $name(tier: crate::ops::Tier, $($argument: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2($($argument: $type),*) $(-> $result)? {
                $plain($($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            fn avx512($($argument: $type),*) $(-> $result)? {
                $plain($($argument),*)
            }
            match tier {
                crate::ops::Tier::Plain => $plain($($argument),*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: a tier is only made where this CPU was seen to have its instructions; the code itself is safe.
                crate::ops::Tier::Avx2 => unsafe { avx2($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                crate::ops::Tier::Avx512 | crate::ops::Tier::Avx512Bf16Vnni => unsafe { avx512($($argument),*) },
                #[cfg(not(target_arch = "x86_64"))]
                _ => unreachable!("a tier is only made where its instructions were seen"),
            }
        }
    };
}

pub(crate) use every_tier;

/// Asks for memory that will soon be written, into the second cache: the first can wait for few lines at a time, and whoever computes
/// meanwhile needs it.
#[inline]
pub(crate) fn ask_for(numbers: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in numbers.chunks(16) {
        // SAFETY: asking for a cache line changes nothing.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(line.as_ptr().cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = numbers;
}
