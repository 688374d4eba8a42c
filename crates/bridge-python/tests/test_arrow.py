"""Arrays of Apache Arrow, by the C data interface and the C device interface."""

from __future__ import annotations

import ctypes
import gc
import threading

import numpy as np
import pytest
from arrow_capsules import ARRAY_RELEASE, OnDevice, Producer, new_capsule
from frameworks import without_addresses

from arraybridge import MemoryConversionError, convert, plan

FORMATS = {
    b"c": "int8",
    b"C": "uint8",
    b"s": "int16",
    b"S": "uint16",
    b"i": "int32",
    b"I": "uint32",
    b"l": "int64",
    b"L": "uint64",
    b"e": "float16",
    b"f": "float32",
    b"g": "float64",
}


def doubles(*values):
    return (ctypes.c_double * len(values))(*values)


@pytest.mark.parametrize("kind", [Producer, OnDevice])
@pytest.mark.parametrize(("format", "name"), FORMATS.items())
def test_numbers_are_taken_where_they_lie(kind, format, name):
    memory = (ctypes.c_char * 64).from_buffer_copy(np.arange(3).astype(name).tobytes().ljust(64))
    made = kind(memory, format, 3)
    array = convert(made, "numpy")
    assert array.dtype == name and array.tolist() == [0, 1, 2]
    assert array.ctypes.data == ctypes.addressof(memory)
    assert not array.flags.writeable


@pytest.mark.parametrize("kind", [Producer, OnDevice])
def test_an_array_is_released_once_and_its_type_never(kind):
    made = kind(doubles(1, 2, 3), b"g", 3)
    array = convert(made, "numpy")
    part = array[1:]
    del array
    gc.collect()
    assert made.released == 0 and part.tolist() == [2, 3]
    del part
    gc.collect()
    # The type stays in its capsule, whose destructor releases it.
    assert (made.released, made.schemas_released) == (1, 0)


def test_an_array_is_released_on_whichever_thread_lets_go_of_it():
    made = Producer(doubles(1, 2, 3), b"g", 3)
    kept = [convert(made, "tensor")]
    thread = threading.Thread(target=kept.clear)
    thread.start()
    thread.join()
    gc.collect()
    assert made.released == 1


def test_the_offset_counts_from_the_start_of_the_buffer():
    made = Producer(doubles(0, 1, 2, 3, 4), b"g", 2, offset=3)
    assert convert(made, "numpy").tolist() == [3, 4]


def test_lists_of_one_length_are_further_axes():
    made = Producer(doubles(*range(24)), b"g", 2, lists=(3, 2), offset=1)
    array = convert(made, "numpy")
    assert array.shape == (2, 3, 2)
    np.testing.assert_array_equal(array, np.arange(24.0).reshape(4, 3, 2)[1:3])


def test_the_offset_of_a_lists_elements_counts_too():
    made = Producer(doubles(*range(10)), b"g", 2, lists=(2,))
    child = made.array.children[0].contents
    child.offset, child.length = 3, 7
    assert convert(made, "numpy").tolist() == [[3, 4], [5, 6]]


def test_arrays_without_elements():
    assert convert(Producer(None, b"g", 0), "numpy").shape == (0,)
    assert convert(Producer(None, b"g", 0, lists=(3,)), "numpy").shape == (0, 3)
    assert convert(Producer(None, b"g", 5, lists=(0,)), "numpy").shape == (5, 0)


@pytest.mark.parametrize("nulls", [0, -1])
def test_bits_that_say_that_nothing_is_null(nulls):
    bits = (ctypes.c_uint8 * 2)(0b1111_1000, 0b0000_1111)
    made = Producer(doubles(*range(12)), b"g", 9, offset=3, nulls=nulls, validity=bits)
    assert convert(made, "numpy").tolist() == list(range(3, 12))


@pytest.mark.parametrize("place", range(9))
def test_one_null_is_found_wherever_it_is(place):
    bits = (ctypes.c_uint8 * 2)(0xFF, 0xFF)
    bits[(3 + place) // 8] &= ~(1 << (3 + place) % 8) & 0xFF
    for nulls in (1, -1):
        made = Producer(doubles(*range(12)), b"g", 9, offset=3, nulls=nulls, validity=bits)
        with pytest.raises(MemoryConversionError, match=r"with nulls.*fill_null"):
            convert(made, "numpy")
        assert made.released == 0, "what is refused stays in its capsule"


@pytest.mark.parametrize(("bits", "refused"), [(0b1111_1101, False), (0b1111_0111, True)])
def test_nulls_among_the_elements_of_lists(bits, refused):
    """Only those count that are elements of one of the lists."""
    bits = (ctypes.c_uint8 * 1)(bits)
    made = Producer(doubles(*range(8)), b"g", 2, lists=(2,), offset=1)
    child = made.array.children[0].contents
    child.null_count = 1
    child.buffers[0] = ctypes.addressof(bits)
    if refused:
        with pytest.raises(MemoryConversionError, match="with nulls"):
            convert(made, "numpy")
    else:
        assert convert(made, "numpy").tolist() == [[2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("format", "said"),
    [
        (b"b", r"packs eight into a byte.*cast\(pyarrow\.uint8\(\)\)"),
        (b"u", "text"),
        (b"U", "text"),
        (b"z", "values of bytes"),
        (b"w:3", "values of bytes"),
        (b"tdD", "dates or times"),
        (b"tsn:UTC", "dates or times"),
        (b"d:10,2", "decimal"),
        (b"n", "nothing but nulls"),
        (b"+s", "columns"),
        (b"+l", "several lengths"),
        (b"+r", "each run"),
        (b"+w:x", "no number"),
        (b"+w:-1", "no number"),
        (b"+ud:0,1", "no numbers"),
        (b"", "no numbers"),
        (b"gg", "no numbers"),
        (b"\xff\xfe", "no numbers"),
    ],
)
def test_what_is_no_array_of_numbers(format, said):
    made = Producer(doubles(1, 2), format, 2)
    with pytest.raises(MemoryConversionError, match=said):
        convert(made, "numpy")
    assert made.released == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"array_length": -1}, "length is -1"),
        ({"array_offset": -1}, "offset is -1"),
        ({"array_null_count": -2}, "count of nulls is -2"),
        ({"array_null_count": 1}, "has 1 nulls, but no buffer"),
        ({"array_n_buffers": 1}, "has 1 buffers, and needs 2"),
        ({"array_n_buffers": 3}, "has 3 buffers, and needs 2"),
        ({"array_buffers": None}, "buffers are null"),
        ({"array_length": 2**62}, "does not fit the address space"),
        ({"array_offset": 2**62}, "address space"),
        ({"array_offset": 2**63 - 1}, "address space"),
        ({"array_release": ARRAY_RELEASE()}, "released, or taken by somebody else"),
        ({"schema_format": None}, "format is null"),
    ],
    ids=without_addresses,
)
@pytest.mark.parametrize("kind", [Producer, OnDevice])
def test_what_contradicts_itself(kind, changes, said):
    made = kind(doubles(1, 2), b"g", 2, **changes)
    with pytest.raises(MemoryConversionError, match=said):
        convert(made, "numpy")
    assert made.released == 0


def test_elements_without_a_buffer():
    with pytest.raises(MemoryConversionError, match="buffer is null"):
        convert(Producer(None, b"g", 2), "numpy")


def test_lists_that_contradict_themselves():
    made = Producer(doubles(1, 2, 3, 4), b"g", 2, lists=(2,))
    for field, value, said in (
        ("n_children", 2, "2 arrays as children"),
        ("n_children", 0, "0 arrays as children"),
    ):
        old = getattr(made.array, field)
        setattr(made.array, field, value)
        with pytest.raises(MemoryConversionError, match=said):
            convert(made, "numpy")
        setattr(made.array, field, old)
    made.array.children[0].contents.length = 3
    with pytest.raises(MemoryConversionError, match="need 4 elements, and there are 3"):
        convert(made, "numpy")
    made.array.children[0].contents.length = 4
    made.array.children[0].contents.release = ARRAY_RELEASE()
    with pytest.raises(MemoryConversionError, match="released"):
        convert(made, "numpy")


def test_lists_without_end():
    made = Producer(doubles(1, 2), b"g", 1, lists=(1,))
    made.array.children[0] = ctypes.pointer(made.array)
    made.schema.children[0] = ctypes.pointer(made.schema)
    with pytest.raises(MemoryConversionError, match="more than 64 axes"):
        convert(made, "numpy")


def test_elements_in_a_dictionary():
    made = Producer(doubles(1, 2), b"i", 2)
    other = Producer(doubles(1, 2), b"g", 2)
    made.array.dictionary = ctypes.pointer(other.array)
    with pytest.raises(MemoryConversionError, match="dictionary_decode"):
        convert(made, "numpy")


def test_a_capsule_that_was_taken_already():
    made = Producer(doubles(1, 2), b"g", 2)
    pair = made.__arrow_c_array__()
    made.__arrow_c_array__ = lambda: pair
    first = convert(made, "numpy")
    with pytest.raises(MemoryConversionError, match="taken by somebody else already"):
        convert(made, "numpy")
    assert first.tolist() == [1, 2]
    del first
    gc.collect()
    assert made.released == 1


@pytest.mark.parametrize(
    "answer",
    [
        lambda made: None,
        lambda made: made.capsule("array"),
        lambda made: (made.capsule("schema"),),
        lambda made: (made.capsule("array"), made.capsule("schema")),
        lambda made: (made.capsule("schema"), made.capsule("schema")),
        lambda made: (made.capsule("schema"), made.capsule("device")),
        lambda made: (made.capsule("schema"), 7),
        lambda made: (new_capsule(ctypes.addressof(made.schema), None, None), made.capsule("array")),
    ],
)
def test_what_is_no_pair_of_capsules(answer):
    made = Producer(doubles(1, 2), b"g", 2)
    made.__arrow_c_array__ = lambda: answer(made)
    with pytest.raises(MemoryConversionError, match="did not return a"):
        convert(made, "numpy")
    assert made.released == 0


def test_an_exception_is_the_cause():
    class Broken:
        def __arrow_c_array__(self, requested_schema=None):
            raise ValueError("not on the host")

    with pytest.raises(MemoryConversionError, match="not on the host") as caught:
        convert(Broken(), "numpy")
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"device_device_type": 0}, "device type 0"),
        ({"device_device_type": -1}, "device type is -1"),
        ({"device_device_type": 2}, "ordinal -1 is negative"),
        ({"device_device_type": 2, "device_device_id": 2**40}, "number 1099511627776"),
        ({"device_device_type": 4, "device_device_id": 0}, "no addresses"),
        ({"device_sync_event": 4096}, "ready only after an event"),
    ],
    ids=without_addresses,
)
def test_devices_that_contradict_themselves(changes, said):
    made = OnDevice(doubles(1, 2), b"g", 2, **changes)
    with pytest.raises(MemoryConversionError, match=said):
        convert(made, "numpy")
    assert made.released == 0


def test_memory_of_a_gpu(no_gpu):
    def on_gpu(kind=2, **changes):
        return OnDevice(
            doubles(1, 2), b"g", 2, device_device_type=kind, device_device_id=1, **changes
        )

    made = on_gpu()
    tensor = convert(made, "tensor")
    assert (tensor.device, tensor.readonly) == ("cuda:1", True)
    del tensor
    gc.collect()
    assert made.released == 1
    with pytest.raises(MemoryConversionError, match="no NVIDIA driver"):
        convert(on_gpu(), "numpy")
    with pytest.raises(MemoryConversionError, match=r"memory of rocm:1.*tensor\.cpu\(\)"):
        convert(on_gpu(10), "numpy")
    bits = (ctypes.c_uint8 * 1)(0xFF)
    with pytest.raises(MemoryConversionError, match="nobody has counted"):
        plan(on_gpu(nulls=-1, validity=bits), "tensor")


def test_a_stream_of_arrays_says_what_to_do():
    class Chunked:
        def __arrow_c_stream__(self, requested_schema=None):
            raise AssertionError("nobody asked")

    with pytest.raises(MemoryConversionError, match="combine_chunks"):
        convert(Chunked(), "numpy")


def test_frameworks_take_it(torch):
    made = Producer(doubles(1, 2, 3), b"g", 3)
    tensor = convert(made, "torch")
    assert tensor.tolist() == [1, 2, 3]
    tensor[0] = 7  # a copy, since nobody may write to Arrow's arrays
    assert made.keep[0][0] == 1


class TestPyarrow:
    """With the real one, where it is installed."""

    @pytest.fixture
    def pa(self):
        return pytest.importorskip("pyarrow")

    def test_numbers(self, pa):
        source = pa.array([1.0, 2.0, 3.0])
        array = convert(source, "numpy")
        assert array.tolist() == [1, 2, 3] and not array.flags.writeable
        assert array.ctypes.data == source.buffers()[1].address
        assert convert(source[1:], "numpy").tolist() == [2, 3]

    def test_every_type_of_numbers(self, pa):
        for name in FORMATS.values():
            source = pa.array(np.arange(3).astype(name))
            array = convert(source, "numpy")
            assert array.dtype == name and array.tolist() == [0, 1, 2]

    def test_lists(self, pa):
        source = pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int32(), 2))
        assert convert(source, "numpy").tolist() == [[1, 2], [3, 4], [5, 6]]
        assert convert(source[1:], "numpy").tolist() == [[3, 4], [5, 6]]

    def test_nulls(self, pa):
        with pytest.raises(MemoryConversionError, match="fill_null"):
            convert(pa.array([1, None, 3]), "numpy")
        assert convert(pa.array([None, 2, 3])[1:], "numpy").tolist() == [2, 3]

    @pytest.mark.parametrize("values", [[True, False], ["a"], [[1], [2, 3]], [{"a": 1}]])
    def test_what_is_refused(self, pa, values):
        with pytest.raises(MemoryConversionError, match="an array of Arrow of"):
            convert(pa.array(values), "numpy")

    def test_tables_and_chunks(self, pa):
        for source in (pa.chunked_array([[1], [2]]), pa.table({"a": [1]})):
            with pytest.raises(MemoryConversionError, match="combine_chunks"):
                convert(source, "numpy")

    def test_memory_is_given_back(self, pa):
        pool = pa.default_memory_pool()
        before = pool.bytes_allocated()
        array = convert(pa.array([1.0] * 100_000), "numpy")
        gc.collect()
        assert pool.bytes_allocated() > before and array.sum() == 100_000
        del array
        gc.collect()
        assert pool.bytes_allocated() == before
