__kernel void run(__global const PIECE *source, ulong first, __global PIECE *target, ulong count,
                  int rank, long8 extents_in, long8 strides_in)
{
    long extents[8], strides[8];
    vstore8(extents_in, 0, extents);
    vstore8(strides_in, 0, strides);
    source += first;
    for (ulong index = get_global_id(0); index < count; index += get_global_size(0)) {
        target[index] = source[place_of(index, rank, extents, strides)];
    }
}
