//! The source of cast kernels, one a pair of element types and a rule for overflow. The results are
//! those of bridge-host.

use std::fmt::Write;

use bridge_core::{DataType, Overflow};

use super::number::{Number, f32_literal, f64_literal, floats_with_integer_part_in, literal};

/// The largest `f32` that rounds to a finite `f16`.
const F16_LIMIT: f32 = f32::from_bits(0x477F_EFFF);
/// The largest `f32` that rounds to a finite bfloat16.
const BF16_LIMIT: f32 = f32::from_bits(0x7F7F_7FFF);
/// The largest `f64` that rounds to a finite `f32`.
const F32_LIMIT: f64 = f64::from_bits(0x47EF_FFFF_EFFF_FFFF);

/// Converts elements of one type to another. `None` where one of them is no number of OpenCL C's.
pub(super) fn of(from: DataType, to: DataType, overflow: Overflow) -> Option<String> {
    let (source, target) = (Number::of(from)?, Number::of(to)?);
    let number = source.computed();
    let mut text = String::new();
    if overflow == Overflow::Refuse {
        text.push_str("#define REFUSES\n");
    }
    text.push_str(include_str!("floats.cl"));
    if [source, target].contains(&Number::F64) {
        text.push_str(include_str!("doubles.cl"));
    }
    text.push_str(include_str!("places.cl"));
    let names = [("SOURCE", source), ("NUMBER", number), ("TARGET", target)];
    for (name, number) in names {
        let _ = writeln!(text, "#define {name} {}", number.stored());
    }
    let decoded = match source {
        Number::Bool => "code != 0",
        Number::F16 => "f32_of_f16(code)",
        Number::BF16 => "f32_of_bf16(code)",
        _ => "code",
    };
    let misfit = misfit(number, target).unwrap_or_else(|| "0".to_owned());
    let converted = converted(number, target, overflow);
    for (result, name, argument, value) in [
        ("NUMBER", "number_of", "SOURCE code", decoded),
        ("int", "is_misfit", "NUMBER x", &misfit),
        ("TARGET", "converted", "NUMBER x", &converted),
    ] {
        let _ = writeln!(text, "{result} {name}({argument})\n{{\n    return {value};\n}}");
    }
    text.push_str(include_str!("cast.cl"));
    Some(text)
}

/// Whether `x` does not fit the target; `None` where everything does.
fn misfit(number: Number, target: Number) -> Option<String> {
    let finite_above = |x: &str, limit: &str, infinity: &str| {
        format!("fabs({x}) > {limit} && fabs({x}) < {infinity}")
    };
    match target {
        Number::Bool | Number::F64 => None,
        Number::F32 => (number == Number::F64)
            .then(|| finite_above("x", &f64_literal(F32_LIMIT), &f64_literal(f64::INFINITY))),
        Number::F16 | Number::BF16 => {
            let limit = if target == Number::F16 { F16_LIMIT } else { BF16_LIMIT };
            let odd = odd(number);
            Some(finite_above(&odd, &f32_literal(limit), &f32_literal(f32::INFINITY)))
        }
        Number::Integer { .. } => {
            let (low, high) = target.range()?;
            match number.range() {
                None => {
                    let wide = number == Number::F64;
                    let (lowest, highest) = floats_with_integer_part_in(wide, low, high);
                    Some(format!("!({lowest} <= x && x <= {highest})"))
                }
                Some((lowest, highest)) => {
                    let too_low = (low > lowest).then(|| format!("x < {}", literal(low, number)));
                    let too_high =
                        (high < highest).then(|| format!("x > {}", literal(high, number)));
                    let checks: Vec<String> = too_low.into_iter().chain(too_high).collect();
                    (!checks.is_empty()).then(|| checks.join(" || "))
                }
            }
        }
    }
}

/// `x` as an `f32` that a second rounding, to fewer bits, rounds as it would round `x`.
fn odd(number: Number) -> String {
    match number {
        Number::F64 => "odd_of_f64(x)".to_owned(),
        Number::Integer { signed: true, .. } => {
            "(x < 0 ? -odd_of_magnitude(0UL - (ulong)(long)x) : odd_of_magnitude((ulong)x))"
                .to_owned()
        }
        Number::Integer { .. } => "odd_of_magnitude((ulong)x)".to_owned(),
        _ => "x".to_owned(),
    }
}

/// `x` as the target's number.
fn converted(number: Number, target: Number, overflow: Overflow) -> String {
    let is_integer = number.range().is_some();
    match target {
        _ if number == target => "x".to_owned(),
        Number::Bool if number == Number::F32 => "(as_uint(x) & 0x7FFFFFFFu) != 0u".to_owned(),
        Number::Bool if number == Number::F64 => "(as_ulong(x) << 1) != 0UL".to_owned(),
        Number::Bool => "x != 0".to_owned(),
        Number::F16 => format!("f16_of_f32({})", odd(number)),
        Number::BF16 => format!("bf16_of_f32({})", odd(number)),
        Number::F32 if is_integer => "convert_float_rte(x)".to_owned(),
        Number::F64 if is_integer => "convert_double_rte(x)".to_owned(),
        Number::F32 => "f32_of_f64(x)".to_owned(),
        Number::F64 => "f64_of_f32(x)".to_owned(),
        Number::Integer { .. } => {
            let (low, high) = target.range().unwrap_or_default();
            let stored = target.stored();
            match (number.range(), overflow) {
                (Some(_), Overflow::Refuse | Overflow::Wrap) | (None, Overflow::Refuse) => {
                    format!("({stored})x")
                }
                (Some((lowest, highest)), Overflow::Saturate) => {
                    let mut text = format!("({stored})x");
                    if low > lowest {
                        let (bound, value) = (literal(low, number), literal(low, target));
                        text = format!("x < {bound} ? {value} : {text}");
                    }
                    if high < highest {
                        let (bound, value) = (literal(high, number), literal(high, target));
                        text = format!("x > {bound} ? {value} : ({text})");
                    }
                    text
                }
                (None, Overflow::Saturate) => {
                    let wide = number == Number::F64;
                    let (lowest, highest) = floats_with_integer_part_in(wide, low, high);
                    let (low, high) = (literal(low, target), literal(high, target));
                    format!(
                        "x != x ? ({stored})0 : x < {lowest} ? {low} : x > {highest} ? {high} : \
                         ({stored})x"
                    )
                }
                (None, Overflow::Wrap) if number == Number::F64 => {
                    format!("({stored})low_bits_of_f64(x)")
                }
                (None, Overflow::Wrap) => format!("({stored})low_bits_of_f32(x)"),
            }
        }
    }
}
