__kernel void run(__global const SOURCE *source, ulong first, __global TARGET *target, ulong count,
                  int rank, long8 extents_in, long8 strides_in
#ifdef REFUSES
                  , __global int *misfit
#endif
                  )
{
    long extents[8], strides[8];
    vstore8(extents_in, 0, extents);
    vstore8(strides_in, 0, strides);
    source += first;
    for (ulong index = get_global_id(0); index < count; index += get_global_size(0)) {
        NUMBER number = number_of(source[place_of(index, rank, extents, strides)]);
#ifdef REFUSES
        if (is_misfit(number)) {
            *misfit = 1;
        }
#endif
        target[index] = converted(number);
    }
}
