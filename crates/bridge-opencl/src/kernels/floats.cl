// Conversions between floats, bit by bit where a device might differ: NaN keeps its sign and the
// upper bits of its payload and becomes quiet, as on the processors that bridge-host runs on.
#pragma OPENCL FP_CONTRACT OFF

#define INFINITE 0x7F800000u
#define QUIET 0x00400000u

float f32_of_bf16(ushort code)
{
    return as_float((uint)code << 16);
}

float f32_of_f16(ushort code)
{
    uint magnitude = code & 0x7FFFu;
    uint bits = (magnitude << 13) + (112u << 23);
    if (magnitude >= 0x7C00u) {
        bits = INFINITE | (magnitude << 13) | (magnitude > 0x7C00u ? QUIET : 0u);
    } else if (magnitude < 0x0400u) {
        // A subnormal: so many steps of 2^-24, both exact.
        bits = as_uint(convert_float(magnitude) * 5.9604644775390625e-8f);
    }
    return as_float(bits | (uint)(code & 0x8000u) << 16);
}

ushort bf16_of_f32(float value)
{
    uint bits = as_uint(value);
    uint rounded = bits + 0x7FFFu + ((bits >> 16) & 1u);
    return (ushort)(((bits & 0x7FFFFFFFu) > INFINITE ? bits | QUIET : rounded) >> 16);
}

ushort f16_of_f32(float value)
{
    uint bits = as_uint(value);
    uint magnitude = bits & 0x7FFFFFFFu;
    uint code;
    if (magnitude > INFINITE) {
        code = 0x7E00u | ((magnitude >> 13) & 0x3FFu);
    } else if (magnitude < 0x38800000u) {
        // Below the smallest normal: adding 0.5 rounds to steps of 2^-24.
        code = as_uint(as_float(magnitude) + 0.5f) - 0x3F000000u;
    } else {
        code = ((magnitude + 0xFFFu + ((magnitude >> 13) & 1u)) >> 13) - (112u << 10);
        code = min(code, 0x7C00u);
    }
    return (ushort)(code | ((bits >> 16) & 0x8000u));
}

// The f32 nearest toward zero, its last bit set where that is not exact.
float odd_of_magnitude(ulong magnitude)
{
    uint shift = (uint)max(40 - (int)clz(magnitude), 0);
    ulong lost = magnitude & ((1UL << shift) - 1UL);
    uint kept = (uint)(magnitude >> shift) | (lost != 0UL ? 1u : 0u);
    return convert_float(kept) * as_float((127u + shift) << 23);
}

// The integer toward zero, its lowest 64 bits; 0 for infinities and NaN.
long low_bits_of_f32(float value)
{
    uint bits = as_uint(value);
    uint exponent = (bits >> 23) & 0xFFu;
    if (exponent < 127u + 63u) {
        return (long)value;
    }
    uint shift = exponent - 150u;
    ulong magnitude = shift < 64u ? (ulong)((bits & 0x7FFFFFu) | 0x800000u) << shift : 0UL;
    return (long)(bits >> 31 ? 0UL - magnitude : magnitude);
}
