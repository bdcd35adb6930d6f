// Matrices of a warp, and numbers of 16 bits.
#include "intrinsics.cuh"

struct Product {
    const u16 *a, *b;   // (16, 16) by rows, (16, 8) by columns
    float* d;           // (16, 8) by rows
};

template <bool BFLOAT>
DEVICE void product(const Product& p) {
    u32 g = threadIdx.x / 4, t = threadIdx.x % 4;
    const u32 *a = (const u32*)p.a, *b = (const u32*)p.b;
    u32 upper = g * 8, lower = (g + 8) * 8;
    float d[4];
    for (u32 i = 0; i < 4; i++) d[i] = p.d[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
    if constexpr (BFLOAT) multiply_bfloats(d, a[upper + t], a[lower + t], a[upper + t + 4], a[lower + t + 4], b[g * 8 + t], b[g * 8 + t + 4]);
    else multiply_halves(d, a[upper + t], a[lower + t], a[upper + t + 4], a[lower + t + 4], b[g * 8 + t], b[g * 8 + t + 4]);
    for (u32 i = 0; i < 4; i++) p.d[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = d[i];
}

#define PRODUCT(NAME, BFLOAT) \
    KERNEL BOUNDS(32, 1) trial_product_##NAME(Product p) { product<BFLOAT>(p); }
PRODUCT(halves, false)
PRODUCT(bfloats, true)

// The same of halves by way of shared memory: a as it lies, b (16, 8) by rows and turned.
KERNEL trial_product_loaded(const u16* a, const u16* b, float* d) {
    SHARED __align__(16) u16 held[16 * 16 + 16 * 8];
    int lane = threadIdx.x;
    copy_beside(held + lane * 8, a + lane * 8, true);
    copy_beside(held + 256 + lane % 16 * 8, b + lane % 16 * 8, true);
    mark_copies();
    wait_for_copies<0>();
    sync_warp();
    u32 as[4], bs[4];
    load_matrices(as, held + lane % 16 * 16 + lane / 16 * 8);
    load_matrices_turned(bs, held + 256 + lane % 16 * 8);
    float sum[4] = {0, 0, 0, 0};
    multiply_halves(sum, as[0], as[1], as[2], as[3], bs[0], bs[1]);
    for (int i = 0; i < 4; i++) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sum[i];
}

KERNEL trial_product_without_all(const u16* a) {
    if (threadIdx.x == 31) return;
    float d[4] = {};
    multiply_halves(d, 0, 0, 0, 0, 0, 0);
}

// The later of two marked copies is still open; zeros come where nothing is wanted.
KERNEL trial_copies(const uint4* x, uint4* y) {
    SHARED uint4 held[3][32];
    uint4 none = make_uint4(1, 1, 1, 1);
    for (int i = 0; i < 3; i++) held[i][threadIdx.x] = none;
    copy_beside(&held[0][threadIdx.x], x + threadIdx.x, true);
    copy_beside(&held[1][threadIdx.x], x + threadIdx.x, false);
    mark_copies();
    copy_beside(&held[2][threadIdx.x], x + threadIdx.x, true);
    mark_copies();
    wait_for_copies<1>();
    sync_warp();
    for (int i = 0; i < 3; i++) y[i * 32 + threadIdx.x] = held[i][threadIdx.x];
}

// Each thread one number: as halves and back, as bfloats and back, and what bytes are selected.
KERNEL trial_numbers(const float* x, u32* halves, u32* bfloats, float* back, u32* minus) {
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    halves[i] = halves_of(x[i], -x[i]);
    bfloats[i] = bfloats_of(x[i], -x[i]);
    back[4 * i] = first_half(halves[i]), back[4 * i + 1] = second_half(halves[i]);
    back[4 * i + 2] = first_bfloat(bfloats[i]), back[4 * i + 3] = second_bfloat(bfloats[i]);
    minus[i] = halves_minus(halves[i], halves_of(1.0f, 1.0f));
}

KERNEL trial_bits(u32* y) {
    y[0] = select_bytes(0x33221100u, 0x77665544u, 0x7401), y[1] = select_bytes(0x33228100u, 0, 0x1991);
    y[2] = ones_in(0xf0f0u), y[3] = last_one_in(0x50u), y[4] = last_one_in(0);
    y[5] = __float_as_uint(exp2_about(-3.0f));
    float none = __uint_as_float(0x7fc00000u), minus = -0.0f;
    y[6] = __float_as_uint(fmaxf(minus, 0.0f)), y[7] = __float_as_uint(fminf(0.0f, minus));
    y[8] = fmaxf(none, 1.0f) == 1.0f && fmaxf(1.0f, none) == 1.0f && fminf(none, 2.0f) == 2.0f && fmaxf(1.0f, 2.0f) == 2.0f;
}
