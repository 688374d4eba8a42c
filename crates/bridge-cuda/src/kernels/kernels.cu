// The kernels as entries for the GPU: one for each line of `entries.h`. `kernels.ptx` is made of
// this file by `cargo xtask ptx`.
#include "kernels.h"

#define FIRST ((u64)blockIdx.x * blockDim.x + threadIdx.x)
#define STEP ((u64)gridDim.x * blockDim.x)
#define ENTRY(name) extern "C" __global__ void __launch_bounds__(256) name

// A tile for each block; blocks go on where there are more tiles.
template <class Each>
INLINE void in_tiles(const Each &each, const u8 *source, u8 *target, const Planes &planes, Tile<Each> &tile) {
    KEEP_LOOP for (u32 number = blockIdx.x; number < (u32)planes.tiles; number += gridDim.x) {
        TilePlace at = tile_place(planes, Tile<Each>::SIDE, number);
        load_tile<Each>(source, planes, at, threadIdx.x, threadIdx.y, tile);
        __syncthreads();
        store_tile<Each>(each, target, planes, at, threadIdx.x, threadIdx.y, tile);
        __syncthreads();
    }
}

#define COPY(name, Unit)                                                                            \
    ENTRY(name)(const u8 *source, u8 *target, const Loops loops) {                                  \
        strided(Same<Unit>(), source, target, loops, (u32)FIRST, (u32)STEP);                        \
    }
#define TRANSPOSE(name, Unit)                                                                       \
    ENTRY(name)(const u8 *source, u8 *target, const Planes planes) {                                \
        __shared__ Tile<Same<Unit>> tile;                                                           \
        in_tiles(Same<Unit>(), source, target, planes, tile);                                       \
    }
#define CAST_ANY(name)                                                                              \
    ENTRY(name)(const u8 *source, u8 *target, const u8 *origin, u64 *first_misfit,                  \
                const AnyCast how, const Loops loops) {                                             \
        cast_any(source, target, origin, first_misfit, how, loops, FIRST, STEP);                    \
    }
#define CAST_DENSE(name, From, To, In, Out)                                                         \
    ENTRY(name)(const u8 *source, u8 *target, const u8 *origin, u64 *first_misfit, u32 overflow,    \
                u64 count) {                                                                        \
        Cast<From, To, In, Out> each = {first_misfit, origin, overflow};                            \
        dense(each, source, target, count, FIRST, STEP);                                            \
    }
#define CAST_STRIDED(name, From, To, In, Out)                                                       \
    ENTRY(name)(const u8 *source, u8 *target, const u8 *origin, u64 *first_misfit, u32 overflow,    \
                const Loops loops) {                                                                \
        Cast<From, To, In, Out> each = {first_misfit, origin, overflow};                            \
        strided(each, source, target, loops, (u32)FIRST, (u32)STEP);                                \
    }
#define CAST_TRANSPOSED(name, From, To, In, Out)                                                    \
    ENTRY(name)(const u8 *source, u8 *target, const u8 *origin, u64 *first_misfit, u32 overflow,    \
                const Planes planes) {                                                              \
        typedef Cast<From, To, In, Out> Each;                                                       \
        __shared__ Tile<Each> tile;                                                                 \
        Each each = {first_misfit, origin, overflow};                                               \
        in_tiles(each, source, target, planes, tile);                                               \
    }

#include "entries.h"
