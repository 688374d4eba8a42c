"""Every name that users of arraybridge 0.2 and 0.5 import is there; those that are not are in docs/departures.md."""

from __future__ import annotations

import importlib

import pytest

NAMES = """
array_geometry: ArrayGeometry
array_payload: ArrayPayload
arrays: Array
conversion: ConversionCounters ConversionObserver ConversionRecord ConversionRoute ConversionTotal DLPackExchange
    DeviceMove HostCopy HostExchange IgnoreConversions ObserverOfThisContext RouteDeclinedError SharedHostBuffer
    StaysInPlace
converters: convert_memory detect_memory_type
converters_registry: ConverterBase _ensure_module get_converter
decorators: DtypeConversion DtypeConversionConfig DtypeConversionRequest DtypeConversionRunner
    FixedDtypeConversionRunner Float32DtypeConversionRunner Float64DtypeConversionRunner Int16DtypeConversionRunner
    Int32DtypeConversionRunner KeywordOnlySignatureExtension NativeOutputDtypeConversionRunner
    PreserveInputDtypeConfig PreserveInputDtypeConversionRunner SliceBySliceRuntimeParameter ThreadGPUContext
    Uint16DtypeConversionRunner Uint8DtypeConversionRunner cupy decorator_func getter_func jax memory_types numpy
    pyclesperanto tensorflow torch wrap_dtype_preserving_callable
devices: AcceleratorDevice Device HostDevice NamedDevice
dtype_scaling: _scale_generic
exceptions: MemoryConversionError
gpu_cleanup: cleanup_all_gpu_frameworks cleanup_cupy_gpu cleanup_func cleanup_jax_gpu cleanup_numpy_gpu
    cleanup_pyclesperanto_gpu cleanup_tensorflow_gpu cleanup_torch_gpu
libraries: AcceleratorDevices ArrayLibrary ArrayMath CudaLibrary CupyLibrary DLPackImport DLPackPayload
    DLPackProtocolExport HostDevices InPlaceAssignment JaxLibrary MutableArrays NumpyArrayApi NumpyBufferSharing
    NumpyLibrary PyclesperantoLibrary TensorflowLibrary TorchLibrary
oom_recovery: _clear_cache_for_memory_type _execute_with_oom_recovery _is_oom_error
slice_processing: process_slices
stack_utils: _allocate_stack_array _enforce_gpu_device_requirements _is_2d _is_3d stack_slices unstack_slices
types: MemoryContractAttribute MemoryType
utils: _ModulePlaceholder _ensure_module _get_device_id _move_to_device _set_device _supports_cuda_array_interface
    _supports_dlpack optional_import
"""

#: What every library of `ArrayLibrary.all()` can be asked.
OF_LIBRARIES = """
    named for_module_name of recognized_module_names is_installed loaded_module import_module import_if_installed
    array_module host_devices accelerator_devices available_devices device_of require_device device_scope
    activate_device move_to_device execution_wrapper is_oom_error cleanup_loaded cleanup_all_loaded
    run_with_oom_recovery imports_dlpack imports_dlpack_from exports_dlpack_from exports_dlpack_data export_dlpack
    unrecorded_to_numpy unrecorded_from_numpy shares_numpy_buffer_on host_address_of to_numpy from_numpy convert_to
    nbytes_of accepts stack_arrays scale_dtype dtype_name astype reshape broadcast_to ones_like logical_and max min
    mean sum prepend_axis assign
"""


def modules():
    name, found = "", {}
    for word in NAMES.split():
        if word.endswith(":"):
            name = word[:-1]
            found[name] = []
        else:
            found[name].append(word)
    return found.items()


@pytest.mark.parametrize(("module", "names"), modules())
def test_modules(module, names):
    imported = importlib.import_module(f"arraybridge.{module}")
    assert [name for name in names if not hasattr(imported, name)] == []


def test_methods_of_libraries():
    from arraybridge.libraries import ArrayLibrary

    for library in ArrayLibrary.all():
        # Asked of the class: a property may import the framework.
        assert [name for name in OF_LIBRARIES.split() if not hasattr(type(library), name)] == []


def test_a_memory_type_leads_to_its_library():
    from arraybridge.libraries import ArrayLibrary
    from arraybridge.types import MemoryType

    for member in MemoryType:
        assert member.library is ArrayLibrary.named(member.value)


def test_what_a_function_says_of_itself_is_read_and_written():
    from arraybridge.decorators import numpy
    from arraybridge.types import MemoryContractAttribute

    declared, plain, named = numpy(lambda image: image), lambda image: image, {}
    attribute = MemoryContractAttribute.INPUT
    assert attribute == "input_memory_type"
    assert attribute.read(declared) == "numpy"
    assert attribute.read(plain) is None and attribute.read(plain, "jax") == "jax"
    attribute.write(plain, "torch")
    attribute.write(named, "cupy")
    assert attribute.read(plain) == plain.input_memory_type == "torch"
    assert attribute.read(named) == named["input_memory_type"] == "cupy"
    plain.input_memory_type = 3
    with pytest.raises(TypeError, match=r"not 3"):
        attribute.read(plain)


def test_names_by_accident_are_the_last_of_their_kind():
    from arraybridge import decorators, gpu_cleanup

    assert decorators.decorator_func is decorators.pyclesperanto
    assert gpu_cleanup.cleanup_func is gpu_cleanup.cleanup_pyclesperanto_gpu
    module = decorators.getter_func()
    assert getattr(module, "__name__", "pyclesperanto") == "pyclesperanto"
