// The kernels of bridge-cuda as functions of the CPU: each runs all threads of a launch, one after
// the other. Barriers lie between two runs over the threads of a block.
#include "kernels.h"

struct Grid { u32 blocks, threads_x, threads_y; };

template <class Run> static void each_thread(const Grid &grid, u64 count, Run run) {
    u64 threads = (u64)grid.blocks * grid.threads_x;
    for (u64 thread = 0; thread < threads && thread < count; ++thread) run(thread, threads);
}

template <class Each>
static void in_tiles(const Each &each, const Grid &grid, const u8 *source, u8 *target, const Planes &planes) {
    Tile<Each> tile;
    for (u32 block = 0; block < grid.blocks; ++block)
        for (u64 number = block; number < planes.tiles; number += grid.blocks) {
            TilePlace at = tile_place(planes, Tile<Each>::SIDE, (u32)number);
            for (u32 y = 0; y < grid.threads_y; ++y)
                for (u32 x = 0; x < grid.threads_x; ++x) load_tile<Each>(source, planes, at, x, y, tile);
            for (u32 y = 0; y < grid.threads_y; ++y)
                for (u32 x = 0; x < grid.threads_x; ++x) store_tile<Each>(each, target, planes, at, x, y, tile);
        }
}

#define COPY(name, Unit)                                                                           \
    extern "C" void cpu_##name(Grid grid, const u8 *source, u8 *target, const Loops *loops) {      \
        each_thread(grid, loops->count, [&](u64 thread, u64 threads) {                             \
            strided(Same<Unit>(), source, target, *loops, (u32)thread, (u32)threads);              \
        });                                                                                        \
    }
#define TRANSPOSE(name, Unit)                                                                      \
    extern "C" void cpu_##name(Grid grid, const u8 *source, u8 *target, const Planes *planes) {    \
        in_tiles(Same<Unit>(), grid, source, target, *planes);                                     \
    }
#define CAST_ANY(name)                                                                             \
    extern "C" void cpu_##name(Grid grid, const u8 *source, u8 *target, const u8 *origin,          \
                               u64 *first_misfit, const AnyCast *how, const Loops *loops) {        \
        each_thread(grid, loops->count, [&](u64 thread, u64 threads) {                             \
            cast_any(source, target, origin, first_misfit, *how, *loops, thread, threads);         \
        });                                                                                        \
    }
#define CAST_DENSE(name, From, To, In, Out)                                                        \
    extern "C" void cpu_##name(Grid grid, const u8 *source, u8 *target, const u8 *origin,          \
                               u64 *first_misfit, u32 overflow, const u64 *count) {                \
        Cast<From, To, In, Out> each = {first_misfit, origin, overflow};                           \
        each_thread(grid, *count, [&](u64 thread, u64 threads) {                                   \
            dense(each, source, target, *count, thread, threads);                                  \
        });                                                                                        \
    }
#define CAST_STRIDED(name, From, To, In, Out)                                                      \
    extern "C" void cpu_##name(Grid grid, const u8 *source, u8 *target, const u8 *origin,          \
                               u64 *first_misfit, u32 overflow, const Loops *loops) {              \
        Cast<From, To, In, Out> each = {first_misfit, origin, overflow};                           \
        each_thread(grid, loops->count, [&](u64 thread, u64 threads) {                             \
            strided(each, source, target, *loops, (u32)thread, (u32)threads);                      \
        });                                                                                        \
    }
#define CAST_TRANSPOSED(name, From, To, In, Out)                                                   \
    extern "C" void cpu_##name(Grid grid, const u8 *source, u8 *target, const u8 *origin,          \
                               u64 *first_misfit, u32 overflow, const Planes *planes) {            \
        Cast<From, To, In, Out> each = {first_misfit, origin, overflow};                           \
        in_tiles(each, grid, source, target, *planes);                                             \
    }

#include "entries.h"
