//! The source of copy kernels.

/// Copies pieces of `unit` bytes: 1, 2, 4, 8 or 16.
pub(super) fn of(unit: usize) -> String {
    let piece = match unit {
        1 => "uchar",
        2 => "ushort",
        4 => "uint",
        8 => "ulong",
        _ => "ulong2",
    };
    format!("#define PIECE {piece}\n{}{}", include_str!("places.cl"), include_str!("copy.cl"))
}
