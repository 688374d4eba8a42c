// The place of element `index` in row-major order.
long place_of(ulong index, int rank, const long *extents, const long *strides)
{
    long place = 0;
    for (int axis = rank - 1; axis > 0; --axis) {
        ulong extent = (ulong)extents[axis];
        place += (long)(index % extent) * strides[axis];
        index /= extent;
    }
    return place + (long)index * strides[0];
}
