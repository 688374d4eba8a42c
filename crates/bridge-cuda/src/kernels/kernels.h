// The kernels of bridge-cuda: from any layout into new, row-major memory of the same device. What
// one thread does; `entries.h` lists the kernels that are made of it.
#pragma once
#include "arithmetic.h"

enum : u32 { MAX_LOOPS = 64 };

// A loop. `magic` and `shift` divide a place below 2^31 by the extent without a division.
struct Axis { u32 extent, magic, shift, unused; i64 stride; };

INLINE u32 divided(u32 place, const Axis &axis) {
    return ((u32)((u64)place * axis.magic >> 32) + place) >> axis.shift;
}

// Nested loops over elements, the last one fastest; strides in bytes of the source. The target is
// row-major, so an element's place in the order of the loops is its place in the target.
struct Loops {
    u64 count; // below 2^31, but for numbers narrower than a byte
    u32 rank;
    u32 unused;
    Axis axis[MAX_LOOPS];
};

// Where the source's element at this place of the first `rank` loops is.
INLINE i64 offset_of(const Loops &loops, u32 rank, u32 place) {
    i64 offset = 0;
    KEEP_LOOP for (u32 loop = rank; loop > 1; --loop) {
        const Axis &axis = loops.axis[loop - 1];
        u32 next = divided(place, axis);
        offset += (i64)(place - next * axis.extent) * axis.stride;
        place = next;
    }
    return rank > 0 ? offset + (i64)place * loops.axis[0].stride : 0;
}

struct alignas(16) Sixteen { u64 low, high; };

// ---- What is done with each element -----------------------------------------------------------

// It is copied.
template <class Unit> struct Same {
    typedef Unit In;
    typedef Unit Out;
    INLINE_MEMBER Unit operator()(const Unit &from, const u8 *) const { return from; }
};

INLINE void misfit(u64 *first_misfit, u64 place) {
#ifdef __CUDACC_RTC__
    atomicMin(first_misfit, place);
#else
    if (place < *first_misfit) *first_misfit = place;
#endif
}

// It is cast, the kinds of both numbers being known to the compiler. `origin` is where the whole
// target begins.
template <u32 From, u32 To, class Source, class Target> struct Cast {
    typedef Source In;
    typedef Target Out;
    u64 *first_misfit;
    const u8 *origin;
    u32 overflow;
    INLINE_MEMBER Target operator()(const Source &from, const u8 *to) const {
        Target target;
        bool fits = cast_number(From, To, overflow, (const u8 *)&from, 0, (u8 *)&target);
        if (overflow == REFUSE && !fits) misfit(first_misfit, (u64)(to - origin) / sizeof(Target));
        return target;
    }
};

// ---- One after the other ----------------------------------------------------------------------

// Elements that are written in one access: four bytes where they are small.
template <class Out> struct Pack {
    enum : u32 { SIZE = sizeof(Out) < 4 ? 4 / sizeof(Out) : 1 };
    struct alignas(SIZE * sizeof(Out)) Type { Out element[SIZE]; };
};

template <class In, u32 SIZE> struct Read { In element[SIZE]; };

template <class In, u32 SIZE>
INLINE Read<In, SIZE> read(const u8 *source, const Loops &loops, u32 place) {
    Read<In, SIZE> pack;
    u32 rank = loops.rank;
    if (SIZE > 1 && rank > 0) {
        // Mostly they are neighbours along the last loop.
        const Axis &last = loops.axis[rank - 1];
        u32 outer = rank > 1 ? divided(place, last) : 0;
        u32 at = place - outer * last.extent;
        if (at + SIZE <= last.extent) {
            const u8 *from = source + offset_of(loops, rank - 1, outer) + (i64)at * last.stride;
            for (u32 i = 0; i < SIZE; ++i) pack.element[i] = *(const In *)(from + i * last.stride);
            return pack;
        }
    }
    for (u32 i = 0; i < SIZE; ++i) pack.element[i] = *(const In *)(source + offset_of(loops, rank, place + i));
    return pack;
}

// How many packs each thread has under way at a time: the memory is far away.
template <class In, u32 SIZE> struct AtOnce {
    enum : u32 { WANTED = 32 / (SIZE * sizeof(In)), COUNT = WANTED > 4 ? 4 : WANTED < 1 ? 1 : WANTED };
};

template <class Each>
INLINE void strided(const Each &each, const u8 *source, u8 *target, const Loops &loops, u32 first, u32 step) {
    typedef typename Each::In In;
    typedef typename Each::Out Out;
    typedef typename Pack<Out>::Type Written;
    const u32 SIZE = Pack<Out>::SIZE, AT_ONCE = AtOnce<In, SIZE>::COUNT;
    u32 count = (u32)loops.count;
    u32 packs = SIZE == 1 || (u64)target % sizeof(Written) == 0 ? count / SIZE : 0;
    KEEP_LOOP for (u32 place = first; place < packs; place += AT_ONCE * step) {
        Read<In, SIZE> from[AT_ONCE];
        for (u32 i = 0; i < AT_ONCE; ++i) {
            u32 pack = place + i * step;
            if (pack < packs) from[i] = read<In, SIZE>(source, loops, pack * SIZE);
        }
        for (u32 i = 0; i < AT_ONCE; ++i) {
            u32 pack = place + i * step;
            if (pack >= packs) break;
            Written *to = (Written *)target + pack;
            Written written;
            for (u32 j = 0; j < SIZE; ++j) written.element[j] = each(from[i].element[j], (u8 *)to + j * sizeof(Out));
            *to = written;
        }
    }
    if constexpr (SIZE > 1) {
        KEEP_LOOP for (u32 place = packs * SIZE + first; place < count; place += step) {
            Out *to = (Out *)target + place;
            *to = each(read<In, 1>(source, loops, place).element[0], (u8 *)to);
        }
    }
}

// ---- In tiles ---------------------------------------------------------------------------------

// Planes whose densest axis in the source (`line`) is not the target's (`row`), tile by tile through
// shared memory, so that both sides are accessed in runs. Tiles are counted along the rows, then
// along the lines, then over the planes, to which `others` leads; where those begin in the target
// follows from `target_stride`.
struct Planes {
    u32 row_extent, line_extent;
    i64 row_stride;      // bytes in the source between neighbours along the target's densest axis
    i64 line_stride;     // bytes in the target between neighbours along the source's densest axis
    u64 tiles;           // of all planes together
    Axis along_row, along_line; // how many tiles there are
    Loops others;        // strides in the source
    i64 target_stride[MAX_LOOPS];
};

enum : u32 { TILE_X = 32, TILE_Y = 8 }; // the threads of a block

// A tile has as many elements along both sides. Those of small elements are larger, so that they are
// worth their block, and padded so that the threads of a warp meet different banks along each axis.
template <class Each> struct Tile {
    enum : u32 {
        SMALL = sizeof(typename Each::In) <= 2 && sizeof(typename Each::Out) <= 2,
        SIDE = SMALL ? 64 : 32,
        PAD = SMALL ? 2 : 1,
        X = SIDE / TILE_X,
        Y = SIDE / TILE_Y,
    };
    typename Each::In held[SIDE][SIDE + PAD];
};

struct TilePlace { u32 row, line; i64 source, target; };

INLINE TilePlace tile_place(const Planes &planes, u32 side, u32 tile) {
    TilePlace place;
    u32 next = divided(tile, planes.along_row);
    place.row = (tile - next * planes.along_row.extent) * side;
    u32 plane = divided(next, planes.along_line);
    place.line = (next - plane * planes.along_line.extent) * side;
    place.source = 0;
    place.target = 0;
    KEEP_LOOP for (u32 loop = planes.others.rank; loop > 0; --loop) {
        const Axis &axis = planes.others.axis[loop - 1];
        u32 outer = divided(plane, axis);
        u32 index = plane - outer * axis.extent;
        plane = outer;
        place.source += index * axis.stride;
        place.target += index * planes.target_stride[loop - 1];
    }
    return place;
}

template <class Each>
INLINE void load_tile(const u8 *source, const Planes &planes, const TilePlace &at, u32 x, u32 y, Tile<Each> &tile) {
    typedef typename Each::In In;
    const u32 X = Tile<Each>::X, Y = Tile<Each>::Y;
    // Neighbouring threads read neighbours along the source's densest axis.
    const u8 *from = source + at.source + (i64)(at.row + y) * planes.row_stride + (i64)(at.line + x) * (i64)sizeof(In);
    In read[Y][X];
    for (u32 j = 0; j < Y; ++j) {
        for (u32 i = 0; i < X; ++i) {
            if (at.row + y + j * TILE_Y < planes.row_extent && at.line + x + i * TILE_X < planes.line_extent)
                read[j][i] = *(const In *)(from + (i64)(j * TILE_Y) * planes.row_stride + i * TILE_X * sizeof(In));
        }
    }
    for (u32 j = 0; j < Y; ++j) {
        for (u32 i = 0; i < X; ++i) tile.held[y + j * TILE_Y][x + i * TILE_X] = read[j][i];
    }
}

template <class Each>
INLINE void store_tile(const Each &each, u8 *target, const Planes &planes, const TilePlace &at, u32 x, u32 y, const Tile<Each> &tile) {
    typedef typename Each::Out Out;
    const u32 X = Tile<Each>::X, Y = Tile<Each>::Y;
    // Neighbouring threads write neighbours along the target's densest axis.
    u8 *to = target + at.target + (i64)(at.line + y) * planes.line_stride + (i64)(at.row + x) * (i64)sizeof(Out);
    for (u32 j = 0; j < Y; ++j) {
        for (u32 i = 0; i < X; ++i) {
            u8 *place = to + (i64)(j * TILE_Y) * planes.line_stride + i * TILE_X * sizeof(Out);
            if (at.line + y + j * TILE_Y < planes.line_extent && at.row + x + i * TILE_X < planes.row_extent)
                *(Out *)place = each(tile.held[x + i * TILE_X][y + j * TILE_Y], place);
        }
    }
}

// ---- Casts of any kinds -----------------------------------------------------------------------

struct AnyCast {
    u32 from, to, overflow;
    u32 packed_bits; // of a number that is narrower than a byte; the source is row-major then
    u32 from_bytes;  // of a number
    u32 to_bytes;
    u32 widen;       // whether a zero imaginary part follows each number
    u32 unused;
};

// A number of `packed_bits` bits, the first in the lowest bits of the first byte.
INLINE u32 packed_code(const u8 *source, u64 place, u32 bits, u64 count) {
    u64 first_bit = place * bits;
    u64 byte = first_bit / 8;
    u64 bytes = (count * bits + 7) / 8;
    u32 held = source[byte] | (byte + 1 < bytes ? (u32)source[byte + 1] << 8 : 0);
    return held >> (first_bit % 8) & ((1u << bits) - 1);
}

INLINE void cast_any(const u8 *source, u8 *target, const u8 *origin, u64 *first_misfit, const AnyCast &how, const Loops &loops, u64 first, u64 step) {
    u64 size = how.to_bytes;
    u64 written = how.widen ? 2 * size : size;
    KEEP_LOOP for (u64 place = first; place < loops.count; place += step) {
        const u8 *from = source;
        u32 code = 0;
        if (how.packed_bits != 0) code = packed_code(source, place, how.packed_bits, loops.count);
        else from += offset_of(loops, loops.rank, (u32)place);
        u8 *to = target + place * written;
        bool fits = cast_number(how.from, how.to, how.overflow, from, code, to);
        if (how.widen) KEEP_LOOP for (u64 byte = 0; byte < size; ++byte) to[size + byte] = 0;
        if (how.overflow == REFUSE && !fits) misfit(first_misfit, (u64)(to - origin) / written);
    }
}

// ---- Casts without gaps on both sides, four numbers at a time ------------------------------------

template <class Each>
INLINE void dense(const Each &each, const u8 *source, u8 *target, u64 count, u64 first, u64 step) {
    typedef typename Each::In In;
    typedef typename Each::Out Out;
    struct alignas(4 * sizeof(In)) Four { In number[4]; };
    struct alignas(4 * sizeof(Out)) FourOut { Out number[4]; };
    u64 fours = count / 4;
    KEEP_LOOP for (u64 place = first; place < fours; place += 2 * step) {
        bool two = place + step < fours;
        Four from[2];
        from[0] = ((const Four *)source)[place];
        if (two) from[1] = ((const Four *)source)[place + step];
        for (u32 i = 0; i < 2; ++i) {
            if (i == 1 && !two) break;
            FourOut *out = (FourOut *)target + place + i * step;
            FourOut to;
            for (u32 j = 0; j < 4; ++j) to.number[j] = each(from[i].number[j], (u8 *)out + j * sizeof(Out));
            *out = to;
        }
    }
    KEEP_LOOP for (u64 place = 4 * fours + first; place < count; place += step) {
        Out *to = (Out *)target + place;
        *to = each(((const In *)source)[place], (u8 *)to);
    }
}
