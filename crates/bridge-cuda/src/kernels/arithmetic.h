// Element types and the arithmetic of casts, as bridge-host does it on the CPU: floats are rounded
// to nearest, ties to even, and toward zero into integers. The same text is compiled for the GPU by
// NVRTC and, for tests, for the CPU by a C++ compiler.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char i8;
typedef signed short i16;
typedef signed int i32;
typedef signed long long i64;

#ifdef __CUDACC_RTC__
#define INLINE __device__ __forceinline__
#define INLINE_MEMBER __device__ __forceinline__
#define KEEP_LOOP _Pragma("unroll 1")
#define LEADING_ZEROS(value) (u32)__clzll((i64)(value))
#else
#define INLINE static inline
#define INLINE_MEMBER inline
#define KEEP_LOOP
#define LEADING_ZEROS(value) (u32)__builtin_clzll(value)
#endif

// What one number is, as `number.rs` counts them.
enum Kind : u32 {
    BOOL, I8, I16, I32, I64, U8, U16, U32, U64, F16, BF16, F32, F64,
    F8E3M4, F8E4M3, F8E4M3B11FNUZ, F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ,
    F6E2M3FN, F6E3M2FN, F4E2M1FN, SCALE,
};

// What becomes of a number that does not fit.
enum Overflow : u32 { REFUSE, SATURATE, WRAP };

template <class To, class From> INLINE To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From), "the widths differ");
    union { From from; To to; } both;
    both.from = from;
    return both.to;
}

// ---- Small floats -----------------------------------------------------------------------------

// Which codes of a format are no finite numbers: IEEE, all ones is NaN, negative zero is NaN, none.
enum Specials : u32 { IEEE, ALL_ONES, NEGATIVE_ZERO, NO_SPECIALS };

struct Format { u32 exponent_bits, mantissa_bits; i32 bias; Specials specials; };

INLINE Format format_of(u32 kind) {
    switch (kind) {
    case F16: return {5, 10, 15, IEEE};
    case F8E3M4: return {3, 4, 3, IEEE};
    case F8E4M3: return {4, 3, 7, IEEE};
    case F8E4M3B11FNUZ: return {4, 3, 11, NEGATIVE_ZERO};
    case F8E4M3FN: return {4, 3, 7, ALL_ONES};
    case F8E4M3FNUZ: return {4, 3, 8, NEGATIVE_ZERO};
    case F8E5M2: return {5, 2, 15, IEEE};
    case F8E5M2FNUZ: return {5, 2, 16, NEGATIVE_ZERO};
    case F6E2M3FN: return {2, 3, 1, NO_SPECIALS};
    case F6E3M2FN: return {3, 2, 3, NO_SPECIALS};
    default: return {2, 1, 1, NO_SPECIALS}; // F4E2M1FN
    }
}

INLINE u32 all_ones_of(Format f) { return (1u << (f.exponent_bits + f.mantissa_bits)) - 1; }

// The code of the largest finite value.
INLINE u32 largest_of(Format f) {
    u32 ones = all_ones_of(f);
    if (f.specials == IEEE) return ones - (1u << f.mantissa_bits);
    return f.specials == ALL_ONES ? ones - 1 : ones;
}

// Exact: every value of every format is an f32. A subnormal is a whole number of smallest steps.
INLINE float decode_small(Format f, u32 code) {
    u32 ones = all_ones_of(f);
    u32 magnitude = code & ones;
    bool negative = (code & (ones + 1)) != 0;
    u32 exponent = magnitude >> f.mantissa_bits;
    u32 mantissa = magnitude & ((1u << f.mantissa_bits) - 1);
    bool top = exponent + 1 == 1u << f.exponent_bits;
    bool nan = (f.specials == IEEE && top && mantissa != 0)
        || (f.specials == ALL_ONES && magnitude == ones)
        || (f.specials == NEGATIVE_ZERO && negative && magnitude == 0);
    u32 sign = negative ? 0x80000000u : 0;
    if (nan) return bits_as<float>(0x7FC00000u | sign);
    if (f.specials == IEEE && top) return bits_as<float>(0x7F800000u | sign);
    if (exponent == 0) {
        u32 step = (u32)(1 - f.bias - (i32)f.mantissa_bits + 127) << 23;
        float value = (float)mantissa * bits_as<float>(step);
        return negative ? -value : value;
    }
    u32 bits = (u32)((i32)exponent - f.bias + 127) << 23 | mantissa << (23 - f.mantissa_bits);
    return bits_as<float>(bits | sign);
}

// The largest f32 that rounds to a finite value: the tie goes to the even code.
INLINE float limit_of(Format f) {
    u32 half_step = 1u << (22 - f.mantissa_bits);
    u32 largest = largest_of(f);
    return bits_as<float>(bits_as<u32>(decode_small(f, largest)) + half_step - (largest & 1));
}

INLINE u32 encode_small(Format f, u32 overflow, float value) {
    u32 ones = all_ones_of(f);
    u32 largest = largest_of(f);
    u32 nan = f.specials == NEGATIVE_ZERO ? ones + 1
        : f.specials == IEEE ? (ones >> f.mantissa_bits << f.mantissa_bits) | 1u << (f.mantissa_bits - 1)
        : ones;
    u32 beyond = f.specials == IEEE ? largest + 1
        : f.specials != NO_SPECIALS && overflow == WRAP ? nan : largest;
    u32 shift = 23 - f.mantissa_bits;
    u32 smallest_normal = (u32)(127 + 1 - f.bias) << 23;
    u32 bits = bits_as<u32>(value);
    u32 magnitude = bits & 0x7FFFFFFFu;
    u32 code;
    if (magnitude < smallest_normal) {
        // Adding the number whose last place is the smallest subnormal rounds subnormals.
        u32 aligner = (u32)(127 + 1 - f.bias + (i32)shift) << 23;
        code = bits_as<u32>(bits_as<float>(magnitude) + bits_as<float>(aligner)) - aligner;
    } else {
        u32 rounded = magnitude + ((1u << (shift - 1)) - 1) + (magnitude >> shift & 1);
        code = (rounded >> shift) - ((u32)(127 - f.bias) << f.mantissa_bits);
    }
    if (code > largest) code = beyond;
    if (magnitude > 0x7F800000u) code = nan;
    u32 sign = (bits >> 31) << (f.exponent_bits + f.mantissa_bits);
    return f.specials == NEGATIVE_ZERO && code == 0 ? code : code | sign;
}

// The GPU has instructions for IEEE half precision; what they make of a NaN is another NaN.
#ifdef __CUDACC_RTC__
INLINE float decode_f16(u16 code) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(code));
    return value;
}
INLINE u16 encode_f16(float value) {
    u16 code;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(code) : "f"(value));
    return code;
}
#else
INLINE float decode_f16(u16 code) { return decode_small(format_of(F16), code); }
INLINE u16 encode_f16(float value) { return (u16)encode_small(format_of(F16), WRAP, value); }
#endif

INLINE u32 encode_bf16(float value) {
    u32 bits = bits_as<u32>(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (bits | 0x00400000u) >> 16;
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}

// The 8-bit scale, 2 to the power of `code - 127`; 255 is NaN.
INLINE float decode_scale(u32 code) {
    if (code == 0xFF) return bits_as<float>(0x7FC00000u);
    return bits_as<float>(code == 0 ? 0x00400000u : code << 23);
}

#define SCALE_LOWEST bits_as<float>(0x00300000u)
#define SCALE_LIMIT bits_as<float>(0x7F400000u)

INLINE u32 encode_scale(float value, u32 overflow) {
    u32 bits = bits_as<u32>(value);
    if (value != value) return 0xFF;
    if (value < SCALE_LOWEST) return overflow == WRAP ? 0xFF : 0;
    if (value > SCALE_LIMIT) return overflow == WRAP ? 0xFF : 0xFE;
    if (bits < 0x00800000u) return bits > 0x00600000u;
    return (bits + 0x003FFFFFu + (bits >> 23 & 1)) >> 23;
}

// ---- Rounding to odd: rounding once more, to at most 22 bits, is then right -----------------------

INLINE float odd_f32(u64 magnitude) {
    u32 shift = magnitude >> 24 == 0 ? 0 : 40 - LEADING_ZEROS(magnitude);
    u64 lost = magnitude & (((u64)1 << shift) - 1);
    u64 kept = magnitude >> shift | (lost != 0);
    return (float)kept * bits_as<float>((127 + shift) << 23);
}
INLINE float odd_f32(i64 value) {
    if (value > -(1 << 24) && value < 1 << 24) return (float)(i32)value;
    float magnitude = odd_f32((u64)(value < 0 ? 0 - (u64)value : (u64)value));
    return value < 0 ? -magnitude : magnitude;
}
INLINE float odd_f32(float value) { return value; }
INLINE float odd_f32(double value) {
    float near = (float)value;
    double magnitude = value < 0 ? -value : value;
    float near_magnitude = near < 0 ? -near : near;
    u32 away = (double)near_magnitude > magnitude;
    u32 inexact = (double)near != value;
    if (value != value) return near;
    return bits_as<float>((bits_as<u32>(near) - away) | inexact);
}

// ---- Numbers that the processor computes with -----------------------------------------------------

// The limits of an integer of `bits` bits.
INLINE i64 lowest_of(bool is_signed, u32 bits) { return is_signed ? (i64)(~(u64)0 << (bits - 1)) : 0; }
INLINE u64 highest_of(bool is_signed, u32 bits) { return ~(u64)0 >> (64 - bits + (is_signed ? 1 : 0)); }

INLINE i64 to_integer(i64 value, bool is_signed, u32 bits, u32 overflow, bool &fits) {
    if (overflow == WRAP) return value;
    i64 lowest = lowest_of(is_signed, bits);
    u64 highest = highest_of(is_signed, bits);
    if (value < lowest) { fits = false; return lowest; }
    if (value > 0 && (u64)value > highest) { fits = false; return (i64)highest; }
    return value;
}
INLINE i64 to_integer(u64 value, bool is_signed, u32 bits, u32 overflow, bool &fits) {
    if (overflow == WRAP) return (i64)value;
    u64 highest = highest_of(is_signed, bits);
    if (value > highest) { fits = false; return (i64)highest; }
    return (i64)value;
}
INLINE i64 low_bits(double value) {
    const double two_to_63 = 9223372036854775808.0;
    if (value < two_to_63 && value > -two_to_63) return (i64)value;
    u64 bits = bits_as<u64>(value);
    u32 exponent = (u32)(bits >> 52) & 0x7FF;
    u64 mantissa = (bits & (((u64)1 << 52) - 1)) | (u64)1 << 52;
    u64 magnitude = exponent - 1075 < 64 ? mantissa << (exponent - 1075) : 0;
    return (i64)(bits >> 63 ? 0 - magnitude : magnitude);
}
INLINE i64 to_integer(double value, bool is_signed, u32 bits, u32 overflow, bool &fits) {
    if (overflow == WRAP) return low_bits(value);
    i64 lowest = lowest_of(is_signed, bits);
    u64 highest = highest_of(is_signed, bits);
    // One above the highest is a power of two and exact; one below the lowest is, up to 32 bits.
    double above = bits == 64 ? (is_signed ? 9223372036854775808.0 : 18446744073709551616.0)
                              : (double)(highest + 1);
    bool too_low = is_signed && bits == 64 ? value < (double)lowest : value <= (double)lowest - 1.0;
    if (value != value) { fits = false; return 0; }
    if (too_low) { fits = false; return lowest; }
    if (value >= above) { fits = false; return (i64)highest; }
    if (!is_signed && bits == 64 && value >= 9223372036854775808.0) return (i64)(u64)value;
    return (i64)value;
}
// As above, without double precision, which few GPUs are fast at.
INLINE i64 to_integer(float value, bool is_signed, u32 bits, u32 overflow, bool &fits) {
    if (overflow == WRAP) return low_bits((double)value);
    i64 lowest = lowest_of(is_signed, bits);
    u64 highest = highest_of(is_signed, bits);
    float above = bits == 64 ? (is_signed ? 9223372036854775808.0f : 18446744073709551616.0f)
                             : (float)(highest + 1);
    bool too_low = is_signed && bits >= 32 ? value < (float)lowest : value <= (float)lowest - 1.0f;
    if (value != value) { fits = false; return 0; }
    if (too_low) { fits = false; return lowest; }
    if (value >= above) { fits = false; return (i64)highest; }
    if (bits < 32) return (i32)value;
    if (!is_signed && bits == 64 && value >= 9223372036854775808.0f) return (i64)(u64)value;
    return (i64)value;
}

template <class V> INLINE float to_f32(V value, bool &) { return (float)value; }
INLINE float to_f32(double value, bool &fits) {
    // From half a step above the largest f32 on, finite numbers round to infinity.
    double magnitude = value < 0 ? -value : value;
    if (magnitude >= 3.4028235677973366e38 && magnitude <= 1.7976931348623157e308) fits = false;
    return (float)value;
}

// Whether an f32 fits a small float.
INLINE bool fits_small(u32 kind, float value) {
    float magnitude = value < 0 ? -value : value;
    if (kind == SCALE) return !(value < SCALE_LOWEST || value > SCALE_LIMIT);
    if (kind == BF16) return !(magnitude > bits_as<float>(0x7F7F7FFFu) && magnitude < bits_as<float>(0x7F800000u));
    Format f = format_of(kind);
    float limit = limit_of(f);
    if (f.specials == IEEE) return !(magnitude > limit && magnitude < bits_as<float>(0x7F800000u));
    return f.specials == NO_SPECIALS ? magnitude <= limit : !(magnitude > limit);
}

// ---- Loading and storing one number ---------------------------------------------------------------

// Writes `value` at `to` as a number of `kind`; whether it fits. Where it does not and is refused,
// what is written means nothing.
template <class V> INLINE bool store(u32 kind, u32 overflow, V value, u8 *to) {
    bool fits = true;
    switch (kind) {
    case BOOL: *to = value != 0; break;
    case I8: *(i8 *)to = (i8)to_integer(value, true, 8, overflow, fits); break;
    case I16: *(i16 *)to = (i16)to_integer(value, true, 16, overflow, fits); break;
    case I32: *(i32 *)to = (i32)to_integer(value, true, 32, overflow, fits); break;
    case I64: *(i64 *)to = to_integer(value, true, 64, overflow, fits); break;
    case U8: *to = (u8)to_integer(value, false, 8, overflow, fits); break;
    case U16: *(u16 *)to = (u16)to_integer(value, false, 16, overflow, fits); break;
    case U32: *(u32 *)to = (u32)to_integer(value, false, 32, overflow, fits); break;
    case U64: *(u64 *)to = (u64)to_integer(value, false, 64, overflow, fits); break;
    case F32: *(float *)to = to_f32(value, fits); break;
    case F64: *(double *)to = (double)value; break;
    default: {
        float near = odd_f32(value);
        if (overflow == REFUSE) fits = fits_small(kind, near);
        if (kind == F16) *(u16 *)to = encode_f16(near);
        else if (kind == BF16) *(u16 *)to = (u16)encode_bf16(near);
        else if (kind == SCALE) *to = (u8)encode_scale(near, overflow);
        else *to = (u8)encode_small(format_of(kind), overflow, near);
    }
    }
    return fits;
}

INLINE i64 load_integer(u32 kind, const u8 *source) {
    switch (kind) {
    case BOOL: return *source != 0;
    case I8: return *(const i8 *)source;
    case I16: return *(const i16 *)source;
    case I32: return *(const i32 *)source;
    case I64: return *(const i64 *)source;
    case U8: return *source;
    case U16: return *(const u16 *)source;
    default: return *(const u32 *)source;
    }
}

INLINE float load_float(u32 kind, const u8 *source, u32 code) {
    switch (kind) {
    case F32: return *(const float *)source;
    case F16: return decode_f16(*(const u16 *)source);
    case BF16: return bits_as<float>((u32)*(const u16 *)source << 16);
    case SCALE: return decode_scale(*source);
    case F6E2M3FN: case F6E3M2FN: case F4E2M1FN: return decode_small(format_of(kind), code);
    default: return decode_small(format_of(kind), *source);
    }
}

// Reads a number of kind `from` and writes it as one of kind `to`; whether it fits. `code` stands
// for the number where its width is below a byte.
INLINE bool cast_number(u32 from, u32 to, u32 overflow, const u8 *source, u32 code, u8 *target) {
    if (from == F64) return store(to, overflow, *(const double *)source, target);
    if (from == U64) return store(to, overflow, *(const u64 *)source, target);
    if (from < F16) return store(to, overflow, load_integer(from, source), target);
    return store(to, overflow, load_float(from, source, code), target);
}
