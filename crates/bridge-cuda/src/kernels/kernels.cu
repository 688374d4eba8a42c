// The kernels of bridge-cuda: from any layout into new, row-major memory of the same device.
// `kernels.ptx` is made of this file by `cargo xtask ptx`.
#include "arithmetic.h"

const u32 MAX_LOOPS = 64;

// Nested loops over elements, the last one fastest; strides in bytes. The target is row-major, so an
// element's place in the order of the loops is its place in the target.
struct Loops {
    u64 count;
    u32 rank;
    u32 unused;
    u64 extent[MAX_LOOPS];
    i64 stride[MAX_LOOPS];
};

// Where the source's element at this place of the order is.
template <class Index> INLINE i64 offset_of(const Loops &loops, Index place) {
    i64 offset = 0;
    KEEP_LOOP for (u32 loop = loops.rank; loop > 1; --loop) {
        Index extent = (Index)loops.extent[loop - 1];
        Index next = place / extent;
        offset += (i64)(place - next * extent) * loops.stride[loop - 1];
        place = next;
    }
    return loops.rank > 0 ? offset + (i64)place * loops.stride[0] : 0;
}

struct alignas(16) Sixteen { u64 low, high; };

// ---- Copying ----------------------------------------------------------------------------------

template <class Unit, class Index>
INLINE void copy(const u8 *source, u8 *target, const Loops &loops, u64 first, u64 step) {
    KEEP_LOOP for (u64 place = first; place < loops.count; place += step) {
        ((Unit *)target)[place] = *(const Unit *)(source + offset_of(loops, (Index)place));
    }
}

// Planes whose densest axis in the source (`line`) is not the target's (`row`), tile by tile through
// shared memory, so that both sides are accessed in runs. `others` leads to the planes; where they
// begin in the target follows from `others.stride` in the second table.
struct Planes {
    u64 row_extent, line_extent;
    i64 row_stride;      // bytes in the source between neighbours along the target's densest axis
    i64 line_stride;     // bytes in the target between neighbours along the source's densest axis
    u64 tiles;           // of all planes together
    Loops others;        // strides in the source
    i64 target_stride[MAX_LOOPS];
};

const u32 TILE = 32;
const u32 TILE_ROWS = 8;

struct TilePlace { u64 row, line; i64 source, target; };

INLINE TilePlace tile_place(const Planes &planes, u64 tile) {
    u64 along_row = (planes.row_extent + TILE - 1) / TILE;
    u64 along_line = (planes.line_extent + TILE - 1) / TILE;
    TilePlace place;
    place.row = tile % along_row * TILE;
    tile /= along_row;
    place.line = tile % along_line * TILE;
    u64 plane = tile / along_line;
    place.source = 0;
    place.target = 0;
    KEEP_LOOP for (u32 loop = planes.others.rank; loop > 0; --loop) {
        u64 extent = planes.others.extent[loop - 1];
        i64 index = (i64)(plane % extent);
        plane /= extent;
        place.source += index * planes.others.stride[loop - 1];
        place.target += index * planes.target_stride[loop - 1];
    }
    return place;
}

template <class Unit>
INLINE void load_tile(const u8 *source, const Planes &planes, u64 tile, u32 x, u32 y, Unit (*held)[TILE + 1]) {
    TilePlace at = tile_place(planes, tile);
    // Neighbouring threads read neighbours along the source's densest axis.
    u64 line = at.line + x;
    KEEP_LOOP for (u32 j = y; j < TILE; j += TILE_ROWS) {
        u64 row = at.row + j;
        if (line < planes.line_extent && row < planes.row_extent) {
            const u8 *from = source + at.source + (i64)line * (i64)sizeof(Unit) + (i64)row * planes.row_stride;
            held[j][x] = *(const Unit *)from;
        }
    }
}

template <class Unit>
INLINE void store_tile(u8 *target, const Planes &planes, u64 tile, u32 x, u32 y, Unit (*held)[TILE + 1]) {
    TilePlace at = tile_place(planes, tile);
    // Neighbouring threads write neighbours along the target's densest axis.
    u64 row = at.row + x;
    KEEP_LOOP for (u32 j = y; j < TILE; j += TILE_ROWS) {
        u64 line = at.line + j;
        if (line < planes.line_extent && row < planes.row_extent) {
            u8 *to = target + at.target + (i64)line * planes.line_stride + (i64)row * (i64)sizeof(Unit);
            *(Unit *)to = held[x][j];
        }
    }
}

// ---- Casting ----------------------------------------------------------------------------------

struct Cast {
    u32 from, to, overflow;
    u32 packed_bits; // of a number that is narrower than a byte; the source is row-major then
    u32 from_bytes;  // of a number
    u32 to_bytes;
    u32 widen;       // whether a zero imaginary part follows each number
    u32 unused;
};

INLINE void misfit(u64 *first_misfit, u64 place) {
#ifdef __CUDACC_RTC__
    atomicMin(first_misfit, place);
#else
    if (place < *first_misfit) *first_misfit = place;
#endif
}

// A number of `packed_bits` bits, the first in the lowest bits of the first byte.
INLINE u32 packed_code(const u8 *source, u64 place, u32 bits, u64 count) {
    u64 first_bit = place * bits;
    u64 byte = first_bit / 8;
    u64 bytes = (count * bits + 7) / 8;
    u32 held = source[byte] | (byte + 1 < bytes ? (u32)source[byte + 1] << 8 : 0);
    return held >> (first_bit % 8) & ((1u << bits) - 1);
}

template <class Index>
INLINE void cast(const u8 *source, u8 *target, u64 *first_misfit, const Cast &how, const Loops &loops, u64 first, u64 step) {
    KEEP_LOOP for (u64 place = first; place < loops.count; place += step) {
        const u8 *from = source;
        u32 code = 0;
        if (how.packed_bits != 0) code = packed_code(source, place, how.packed_bits, loops.count);
        else from += offset_of(loops, (Index)place);
        u64 size = how.to_bytes;
        u8 *to = target + place * (how.widen ? 2 * size : size);
        bool fits = cast_number(how.from, how.to, how.overflow, from, code, to);
        if (how.widen) KEEP_LOOP for (u64 byte = 0; byte < size; ++byte) to[size + byte] = 0;
        if (how.overflow == REFUSE && !fits) misfit(first_misfit, place);
    }
}

// Numbers without gaps on both sides, four at a time, their kinds known to the compiler.
template <u32 From, u32 To, class Source, class Target>
INLINE void cast_dense(const u8 *source, u8 *target, u64 *first_misfit, u64 count, u32 overflow, u64 first, u64 step) {
    struct alignas(4 * sizeof(Source)) Four { Source number[4]; };
    struct alignas(4 * sizeof(Target)) FourOut { Target number[4]; };
    u64 fours = count / 4;
    KEEP_LOOP for (u64 place = first; place < fours; place += step) {
        Four from = ((const Four *)source)[place];
        FourOut to;
        for (u32 i = 0; i < 4; ++i) {
            bool fits = cast_number(From, To, overflow, (const u8 *)&from.number[i], 0, (u8 *)&to.number[i]);
            if (overflow == REFUSE && !fits) misfit(first_misfit, 4 * place + i);
        }
        ((FourOut *)target)[place] = to;
    }
    KEEP_LOOP for (u64 place = 4 * fours + first; place < count; place += step) {
        bool fits = cast_number(From, To, overflow, source + place * sizeof(Source), 0, target + place * sizeof(Target));
        if (overflow == REFUSE && !fits) misfit(first_misfit, place);
    }
}

// ---- Entries ----------------------------------------------------------------------------------

// Calls ENTRY(name, arguments..., body) for every kernel; how an entry is made differs between the
// GPU and the CPU.
#define EVERY_COPY(ENTRY)                                                                           \
    ENTRY(copy_1_narrow, u8, u32) ENTRY(copy_1_wide, u8, u64)                                       \
    ENTRY(copy_2_narrow, u16, u32) ENTRY(copy_2_wide, u16, u64)                                     \
    ENTRY(copy_4_narrow, u32, u32) ENTRY(copy_4_wide, u32, u64)                                     \
    ENTRY(copy_8_narrow, u64, u32) ENTRY(copy_8_wide, u64, u64)                                     \
    ENTRY(copy_16_narrow, Sixteen, u32) ENTRY(copy_16_wide, Sixteen, u64)
#define EVERY_TRANSPOSE(ENTRY)                                                                      \
    ENTRY(transpose_1, u8) ENTRY(transpose_2, u16) ENTRY(transpose_4, u32)                          \
    ENTRY(transpose_8, u64) ENTRY(transpose_16, Sixteen)
#define EVERY_CAST(ENTRY) ENTRY(cast_narrow, u32) ENTRY(cast_wide, u64)
#define EVERY_DENSE_CAST(ENTRY)                                                                     \
    ENTRY(cast_f16_f32, F16, F32, u16, float) ENTRY(cast_f32_f16, F32, F16, float, u16)             \
    ENTRY(cast_bf16_f32, BF16, F32, u16, float) ENTRY(cast_f32_bf16, F32, BF16, float, u16)         \
    ENTRY(cast_f64_f32, F64, F32, double, float) ENTRY(cast_f32_f64, F32, F64, float, double)       \
    ENTRY(cast_u8_f32, U8, F32, u8, float) ENTRY(cast_f32_u8, F32, U8, float, u8)                   \
    ENTRY(cast_u8_f16, U8, F16, u8, u16) ENTRY(cast_i32_f32, I32, F32, i32, float)                  \
    ENTRY(cast_i64_f32, I64, F32, i64, float) ENTRY(cast_i64_i32, I64, I32, i64, i32)               \
    ENTRY(cast_i32_i64, I32, I64, i32, i64)                                                         \
    ENTRY(cast_f32_f8e4m3fn, F32, F8E4M3FN, float, u8)                                              \
    ENTRY(cast_f8e4m3fn_f32, F8E4M3FN, F32, u8, float)

#ifdef __CUDACC_RTC__

#define FIRST ((u64)blockIdx.x * blockDim.x + threadIdx.x)
#define STEP ((u64)gridDim.x * blockDim.x)

#define COPY(name, Unit, Index)                                                                     \
    extern "C" __global__ void name(const u8 *source, u8 *target, const Loops loops) { \
        copy<Unit, Index>(source, target, loops, FIRST, STEP);                                      \
    }
#define TRANSPOSE(name, Unit)                                                                       \
    extern "C" __global__ void name(const u8 *source, u8 *target, const Planes planes) { \
        __shared__ Unit held[TILE][TILE + 1];                                                       \
        for (u64 tile = blockIdx.x; tile < planes.tiles; tile += gridDim.x) {                       \
            load_tile<Unit>(source, planes, tile, threadIdx.x, threadIdx.y, held);                  \
            __syncthreads();                                                                        \
            store_tile<Unit>(target, planes, tile, threadIdx.x, threadIdx.y, held);                 \
            __syncthreads();                                                                        \
        }                                                                                           \
    }
#define CAST(name, Index)                                                                           \
    extern "C" __global__ void name(const u8 *source, u8 *target, u64 *first_misfit,                \
                                    const Cast how, const Loops loops) { \
        cast<Index>(source, target, first_misfit, how, loops, FIRST, STEP);                         \
    }
#define DENSE_CAST(name, From, To, Source, Target)                                                  \
    extern "C" __global__ void name(const u8 *source, u8 *target, u64 *first_misfit, u64 count, u32 overflow) { \
        cast_dense<From, To, Source, Target>(source, target, first_misfit, count, overflow, FIRST, STEP); \
    }

EVERY_COPY(COPY)
EVERY_TRANSPOSE(TRANSPOSE)
EVERY_CAST(CAST)
EVERY_DENSE_CAST(DENSE_CAST)

#endif
