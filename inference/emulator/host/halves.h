// Numbers of 16 bits on a host. Rounded to nearest, ties to even, as the card does.
#pragma once
#ifdef __F16C__
#include <immintrin.h>
#endif

namespace emulator {
inline float single_of_half(u32 bits) {
#ifdef __F16C__
    return _cvtsh_ss((unsigned short)bits);
#else
    // Exponents move up by 112: a multiplication, which makes subnormal numbers right too.
    u32 magnitude = (bits & 0x7fff) << 13;
    float v = __uint_as_float(magnitude) * 0x1p112f;
    if (magnitude >= 0x0f800000u) v = __uint_as_float(magnitude | 0x7f800000u);
    return copysignf(v, bits & 0x8000 ? -1.0f : 1.0f);
#endif
}

inline u32 half_of_single(float v) {
#ifdef __F16C__
    return _cvtss_sh(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    u32 bits = __float_as_uint(v), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return sign | 0x7e00;
    if (magnitude >= 0x477ff000u) return sign | 0x7c00;
    if (magnitude < 0x38800000u) return sign | (__float_as_uint(__uint_as_float(magnitude) + 0.5f) - 0x3f000000u);
    return sign | ((magnitude - 0x38000000u + 0xfff + (magnitude >> 13 & 1)) >> 13);
#endif
}

inline u32 bfloat_of_single(float v) {
    u32 bits = __float_as_uint(v);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
}

inline u32 halves_of(float first, float second) {
    first = fminf(fmaxf(first, -65504.0f), 65504.0f);
    second = fminf(fmaxf(second, -65504.0f), 65504.0f);
    return emulator::half_of_single(first) | emulator::half_of_single(second) << 16;
}
inline u32 bfloats_of(float first, float second) { return emulator::bfloat_of_single(first) | emulator::bfloat_of_single(second) << 16; }
inline float first_half(u32 word) { return emulator::single_of_half(word & 0xffff); }
inline float second_half(u32 word) { return emulator::single_of_half(word >> 16); }
inline float first_bfloat(u32 word) { return __uint_as_float(word << 16); }
inline float second_bfloat(u32 word) { return __uint_as_float(word & 0xffff0000u); }

// The difference of two halves has few enough bits that rounding it to a single first changes nothing.
inline u32 halves_minus(u32 a, u32 b) {
    return emulator::half_of_single(first_half(a) - first_half(b)) | emulator::half_of_single(second_half(a) - second_half(b)) << 16;
}
