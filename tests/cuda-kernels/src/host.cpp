// The kernels of bridge-cuda as functions of the CPU: each runs all threads of a launch, one after
// the other. Barriers lie between two runs over the threads of a block.
#include "kernels.cu"

struct Grid { u32 blocks, threads_x, threads_y; };

#define COPY(name, Unit, Index)                                                                    \
    extern "C" void cpu_##name(Grid grid, const u8 *source, u8 *target, const Loops *loops) {      \
        u64 threads = (u64)grid.blocks * grid.threads_x;                                           \
        for (u64 thread = 0; thread < threads && thread < loops->count; ++thread)                  \
            copy<Unit, Index>(source, target, *loops, thread, threads);                            \
    }
#define TRANSPOSE(name, Unit)                                                                      \
    extern "C" void cpu_##name(Grid grid, const u8 *source, u8 *target, const Planes *planes) {    \
        Unit held[TILE][TILE + 1];                                                                 \
        for (u32 block = 0; block < grid.blocks; ++block)                                          \
            for (u64 tile = block; tile < planes->tiles; tile += grid.blocks) {                    \
                for (u32 y = 0; y < grid.threads_y; ++y)                                           \
                    for (u32 x = 0; x < grid.threads_x; ++x)                                       \
                        load_tile<Unit>(source, *planes, tile, x, y, held);                        \
                for (u32 y = 0; y < grid.threads_y; ++y)                                           \
                    for (u32 x = 0; x < grid.threads_x; ++x)                                       \
                        store_tile<Unit>(target, *planes, tile, x, y, held);                       \
            }                                                                                      \
    }
#define CAST(name, Index)                                                                          \
    extern "C" void cpu_##name(Grid grid, const u8 *source, u8 *target, u64 *first_misfit,         \
                               const Cast *how, const Loops *loops) {                              \
        u64 threads = (u64)grid.blocks * grid.threads_x;                                           \
        for (u64 thread = 0; thread < threads && thread < loops->count; ++thread)                  \
            cast<Index>(source, target, first_misfit, *how, *loops, thread, threads);              \
    }
#define DENSE_CAST(name, From, To, Source, Target)                                                 \
    extern "C" void cpu_##name(Grid grid, const u8 *source, u8 *target, u64 *first_misfit,         \
                               u64 count, u32 overflow) {                                          \
        u64 threads = (u64)grid.blocks * grid.threads_x;                                           \
        for (u64 thread = 0; thread < threads && thread < count; ++thread)                         \
            cast_dense<From, To, Source, Target>(source, target, first_misfit, count, overflow,    \
                                                 thread, threads);                                 \
    }

EVERY_COPY(COPY)
EVERY_TRANSPOSE(TRANSPOSE)
EVERY_CAST(CAST)
EVERY_DENSE_CAST(DENSE_CAST)
