#if __OPENCL_C_VERSION__ < 120
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

double f64_of_f32(float value)
{
    uint bits = as_uint(value);
    if ((bits & 0x7FFFFFFFu) > INFINITE) {
        ulong payload = (ulong)((bits & 0x7FFFFFu) | QUIET) << 29;
        return as_double((ulong)(bits >> 31) << 63 | 0x7FF0000000000000UL | payload);
    }
    return convert_double(value);
}

float f32_of_f64(double value)
{
    ulong bits = as_ulong(value);
    if ((bits & 0x7FFFFFFFFFFFFFFFUL) > 0x7FF0000000000000UL) {
        uint payload = (uint)((bits >> 29) & 0x7FFFFFUL) | QUIET;
        return as_float((uint)(bits >> 63) << 31 | INFINITE | payload);
    }
    return convert_float_rte(value);
}

// The f32 nearest toward zero, its last bit set where that is not exact.
float odd_of_f64(double value)
{
    float near = f32_of_f64(value);
    if (value != value) {
        return as_float(as_uint(near) | 1u);
    }
    double back = convert_double(near);
    uint away = fabs(back) > fabs(value) ? 1u : 0u;
    uint inexact = back != value ? 1u : 0u;
    return as_float((as_uint(near) - away) | inexact);
}

// The integer toward zero, its lowest 64 bits; 0 for infinities and NaN.
long low_bits_of_f64(double value)
{
    ulong bits = as_ulong(value);
    uint exponent = (uint)(bits >> 52) & 0x7FFu;
    if (exponent < 1023u + 63u) {
        return (long)value;
    }
    uint shift = exponent - 1075u;
    ulong mantissa = (bits & 0xFFFFFFFFFFFFFUL) | 0x10000000000000UL;
    ulong magnitude = shift < 64u ? mantissa << shift : 0UL;
    return (long)(bits >> 63 ? 0UL - magnitude : magnitude);
}
