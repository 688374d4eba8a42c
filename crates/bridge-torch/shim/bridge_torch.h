// What Rust calls of libtorch that tch has no function for. Every function catches every exception: it
// returns a BridgeTorchStatus, and bridge_torch_message() says what went wrong on this thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace at {
class Tensor;
}

extern "C" {

enum BridgeTorchStatus : int32_t {
  BRIDGE_TORCH_OK = 0,
  BRIDGE_TORCH_FAILED = 1,
  BRIDGE_TORCH_OUT_OF_MEMORY = 2,       // of a device
  BRIDGE_TORCH_OUT_OF_HOST_MEMORY = 3,  // bridge_torch_requested() says how much was asked for
};

// Why a tensor's memory cannot be handed over as plain elements: bits of BridgeTorchView::obstacles.
enum BridgeTorchObstacle : uint32_t {
  BRIDGE_TORCH_UNDEFINED = 1u << 0,
  BRIDGE_TORCH_REQUIRES_GRAD = 1u << 1,
  BRIDGE_TORCH_CONJUGATED = 1u << 2,
  BRIDGE_TORCH_NEGATED = 1u << 3,
  BRIDGE_TORCH_SPARSE = 1u << 4,
  BRIDGE_TORCH_MKLDNN = 1u << 5,
  BRIDGE_TORCH_QUANTIZED = 1u << 6,
  BRIDGE_TORCH_NESTED = 1u << 7,
  BRIDGE_TORCH_META = 1u << 8,
  BRIDGE_TORCH_NO_STORAGE = 1u << 9,
};

// What else there is to know of a tensor's storage: bits of BridgeTorchView::traits.
enum BridgeTorchTrait : uint32_t {
  BRIDGE_TORCH_ALONE = 1u << 0,          // nothing but this handle keeps the storage
  BRIDGE_TORCH_LAZILY_COPIED = 1u << 1,  // another storage has the same memory until one is written
  BRIDGE_TORCH_OWN = 1u << 2,            // torch allocated the memory, and only this storage has it
};

typedef void (*BridgeTorchRelease)(void* context);

struct BridgeTorchHold;

// What a tensor is. The pointers stay valid as long as the tensor does and is not changed.
struct BridgeTorchView {
  void* data;                // the element whose indices are all zero
  const int64_t* sizes;
  const int64_t* strides;    // in elements
  int64_t rank;
  size_t available;          // bytes of storage from `data` on
  void* context;             // of bridge_torch_wrap, where the storage was made by it
  int32_t scalar_type;       // c10::ScalarType
  int32_t device_type;       // c10::DeviceType
  int32_t device_index;
  uint32_t obstacles;        // where not 0, the other fields may be empty
  uint32_t traits;
};

const char* bridge_torch_message();

// The bytes of host memory that could not be had, where the last status on this thread says so.
uint64_t bridge_torch_requested();

// The version of libtorch that this was compiled for, and the instructions that its kernels use.
const char* bridge_torch_version();
const char* bridge_torch_cpu_capability();

// Describes a tensor. `release` is the function that bridge_torch_wrap was called with. Where this
// fails, the view says as much as was found: the device first.
int32_t bridge_torch_view(
    const at::Tensor* tensor,
    BridgeTorchRelease release,
    BridgeTorchView* view);

// Keeps the memory of a tensor valid and where it is, whatever is done with other handles of its
// storage: they can be given another storage, dropped or written to, and cannot grow any more.
int32_t bridge_torch_hold(const at::Tensor* tensor, BridgeTorchHold** hold);
void bridge_torch_let_go(BridgeTorchHold* hold);

// Another handle of the memory of a lazily copied tensor, with a storage of its own: the memory stays
// as it is and where it is while the handle lives.
int32_t bridge_torch_lazy_clone(const at::Tensor* tensor, at::Tensor** made);

// Makes a tensor over foreign memory; `bytes` is how far it reaches. Libtorch calls `release` with
// `context` once, on whichever thread the last alias dies. Where this fails, it does not.
int32_t bridge_torch_wrap(
    void* data,
    size_t bytes,
    const int64_t* sizes,
    const int64_t* strides,
    int64_t rank,
    int32_t scalar_type,
    int32_t device_type,
    int32_t device_index,
    void* context,
    BridgeTorchRelease release,
    at::Tensor** made);

// Takes the context out of a tensor whose view has one, so that `release` is not called; the tensor
// must not be read any more.
void bridge_torch_release_context(at::Tensor* tensor);

// CUDA. Everything below loads libtorch's CUDA library at its first use.

// How many CUDA devices there are; where there is none, the message says why.
int32_t bridge_torch_cuda_devices();

// A copy without gaps, row-major, with these axes the other way round; on a CUDA device, or on the CPU
// (device -1).
int32_t bridge_torch_copied(
    const at::Tensor* tensor,
    const int64_t* backwards,
    int64_t count,
    int32_t device,
    at::Tensor** made);

// Zeroed bytes on a CUDA device.
int32_t bridge_torch_cuda_zeros(int64_t bytes, int32_t device, at::Tensor** made);

int32_t bridge_torch_cuda_synchronize(int32_t device);

// The native handle of the stream that libtorch works on; 0 is the legacy default one.
int32_t bridge_torch_cuda_stream(int32_t device, uint64_t* handle);

// Makes libtorch's current stream wait for what has been submitted to another.
int32_t bridge_torch_cuda_wait(int32_t device, uint64_t handle);

// Bytes of the device: free and all; and of the caching allocator: in use and reserved.
int32_t bridge_torch_cuda_memory(int32_t device, uint64_t figures[4]);

int32_t bridge_torch_cuda_empty_cache();

// Whether libtorch's CUDA library is loaded and the device has a context, so that libtorch may hold
// memory of it. Loads nothing; 1 where it cannot be told.
int32_t bridge_torch_cuda_in_use(int32_t device);
}
