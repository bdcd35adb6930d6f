// Numbers of 16 bits, halves or bfloats, as activations and weights are held and multiplied.
#pragma once
#include "intrinsics.cuh"

constexpr int WARP = 32;
constexpr int WARPS = 8;     // of a block that multiplies

struct Halves {
    static DEVICE u32 of(float first, float second) { return halves_of(first, second); }
    static DEVICE float first(u32 word) { return first_half(word); }
    static DEVICE float second(u32 word) { return second_half(word); }
    static DEVICE void multiply(float (&d)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) { multiply_halves(d, a0, a1, a2, a3, b0, b1); }
};

struct Bfloats {
    static DEVICE u32 of(float first, float second) { return bfloats_of(first, second); }
    static DEVICE float first(u32 word) { return first_bfloat(word); }
    static DEVICE float second(u32 word) { return second_bfloat(word); }
    static DEVICE void multiply(float (&d)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) { multiply_bfloats(d, a0, a1, a2, a3, b0, b1); }
};

template <class E>
DEVICE u16 one_of(float v) { return (u16)E::of(v, 0.0f); }
template <class E>
DEVICE float value_of(u16 bits) { return E::first((u32)bits); }

// Eight numbers of 16 bits that lie together.
template <class E>
DEVICE void widen8(uint4 v, float (&out)[8]) {
    out[0] = E::first(v.x), out[1] = E::second(v.x), out[2] = E::first(v.y), out[3] = E::second(v.y);
    out[4] = E::first(v.z), out[5] = E::second(v.z), out[6] = E::first(v.w), out[7] = E::second(v.w);
}

// Four signed bytes as halves: exact. (1024 + u is the half 0x6400 | u for a byte u; u = byte + 128.)
DEVICE void halves_of_bytes(u32 bytes, u32& first, u32& second) {
    u32 u = bytes ^ 0x80808080u;
    first = halves_minus(select_bytes(u, 0x64646464u, 0x4140), 0x64806480u);
    second = halves_minus(select_bytes(u, 0x64646464u, 0x4342), 0x64806480u);
}

// What a norm is made of (Ba et al., arXiv 1607.06450). Products that are added are written as one rounding or as two, never left to the
// compiler: each kernel that computes them must come to the same bits.
DEVICE float4 less(float4 v, float mean) { return make_float4(v.x - mean, v.y - mean, v.z - mean, v.w - mean); }
DEVICE float sum_of(float4 v) { return (v.x + v.y) + (v.z + v.w); }
DEVICE float squares_of(float4 v) { return fmaf(v.x, v.x, fmaf(v.y, v.y, fmaf(v.z, v.z, v.w * v.w))); }
DEVICE float4 scaled(float4 v, float factor, float4 gain, float4 bias) {
    return make_float4(fmaf(v.x * factor, gain.x, bias.x), fmaf(v.y * factor, gain.y, bias.y), fmaf(v.z * factor, gain.z, bias.z),
                       fmaf(v.w * factor, gain.w, bias.w));
}

// Sums over the lanes of a warp, the same bits in each.
DEVICE float warp_sum(float v) {
#pragma unroll
    for (int mask = WARP / 2; mask > 0; mask /= 2) v += from_lane_xor(v, mask);
    return v;
}
DEVICE float warp_max(float v) {
#pragma unroll
    for (int mask = WARP / 2; mask > 0; mask /= 2) v = fmaxf(v, from_lane_xor(v, mask));
    return v;
}

template <bool BFLOAT>
struct Choose {
    using E = Halves;
};
template <>
struct Choose<true> {
    using E = Bfloats;
};
