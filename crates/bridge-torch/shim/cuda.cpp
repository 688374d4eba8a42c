// CUDA devices, through interfaces that need no header of the CUDA toolkit.

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/Stream.h>

#ifndef _WIN32
#include <dlfcn.h>
#endif

#include <mutex>
#include <string>

#include "bridge_torch.h"
#include "guard.h"

namespace {

constexpr auto CUDA = c10::DeviceType::CUDA;

#ifndef _WIN32
// The folder that libtorch was loaded from.
std::string folder_of_libtorch() {
  Dl_info found;
  const auto* inside = reinterpret_cast<void*>(&at::detail::getCUDAHooks);
  if (dladdr(inside, &found) == 0 || found.dli_fname == nullptr) {
    return {};
  }
  const std::string path(found.dli_fname);
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash + 1);
}

// Loads what libtorch has for CUDA, and says why it cannot. A linker leaves that library out of
// programs, since nothing refers to it by name; and a program that never asks for a device starts
// sooner without it.
std::string load_cuda() {
  if (dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL) == nullptr) {
    return "there is no NVIDIA driver (libcuda.so.1)";
  }
  const auto library = folder_of_libtorch() + "libtorch_cuda.so";
  if (dlopen(library.c_str(), RTLD_LAZY | RTLD_GLOBAL) == nullptr) {
    const char* reason = dlerror();
    return "libtorch has no CUDA library that can be loaded: " +
        std::string(reason == nullptr ? library : reason);
  }
  return {};
}
#else
std::string load_cuda() { return {}; }
#endif

// Whether libtorch's CUDA library is there already, loaded by load_cuda or linked to the program.
bool is_loaded() {
#ifndef _WIN32
  const auto library = folder_of_libtorch() + "libtorch_cuda.so";
  void* found = dlopen(library.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  if (found != nullptr) {
    dlclose(found);  // gives back what was taken here; whoever loaded it keeps it
  }
  return found != nullptr;
#else
  return true;
#endif
}

// Empty where CUDA can be used, else the reason. The devices are counted once.
struct Cuda {
  std::string reason;
  int devices = 0;

  Cuda() : reason(load_cuda()) {
    if (!reason.empty()) {
      return;
    }
    const auto& hooks = at::detail::getCUDAHooks();
    devices = hooks.hasCUDA() ? hooks.getNumGPUs() : 0;
    if (devices == 0) {
      reason = "libtorch sees no CUDA device (" + std::string(hooks.hasCUDA() ? "" : "not ") +
          "built with CUDA)";
    }
  }
};

const Cuda& cuda() {
  static const Cuda found;
  return found;
}

c10::Device device_at(int32_t index) {
  return c10::Device(CUDA, static_cast<c10::DeviceIndex>(index));
}

void require(int32_t index) {
  TORCH_CHECK(index >= 0 && index < cuda().devices, "there is no device cuda:", index);
}

c10::DeviceAllocator& allocator() {
  auto* found = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(CUDA));
  TORCH_CHECK(found != nullptr, "the allocator that is set for CUDA keeps no statistics");
  return *found;
}

// DLPack's numbers for streams and libtorch's differ in the default one only.
c10::Stream stream_of(c10::Device device, uint64_t handle) {
  if (handle <= 1) {
    return c10::Stream(c10::Stream::DEFAULT, device);
  }
  return c10::Stream(c10::Stream::UNSAFE, device, static_cast<c10::StreamId>(handle));
}

}  // namespace

extern "C" {

int32_t bridge_torch_cuda_devices() {
  int32_t devices = 0;
  const auto status = guarded([&] {
    devices = cuda().devices;
    bridge_torch_remember(cuda().reason.c_str());
  });
  return status == BRIDGE_TORCH_OK ? devices : 0;
}

int32_t bridge_torch_copied(
    const at::Tensor* tensor,
    const int64_t* backwards,
    int64_t count,
    int32_t device,
    at::Tensor** made) {
  return guarded([&] {
    auto target = c10::Device(c10::DeviceType::CPU);
    if (device >= 0) {
      require(device);
      target = device_at(device);
    }
    const c10::IntArrayRef axes(backwards, static_cast<size_t>(count));
    const auto forwards = axes.empty() ? *tensor : tensor->flip(axes);
    const auto compact = forwards.contiguous();
    const bool copy = compact.is_same(*tensor) || compact.device() != target;
    *made = new at::Tensor(compact.to(
        compact.options().device(target), /*non_blocking=*/false, copy,
        c10::MemoryFormat::Contiguous));
  });
}

int32_t bridge_torch_cuda_zeros(int64_t bytes, int32_t device, at::Tensor** made) {
  return guarded([&] {
    require(device);
    const auto options = at::TensorOptions().dtype(at::kByte).device(device_at(device));
    *made = new at::Tensor(at::zeros({bytes}, options));
  });
}

int32_t bridge_torch_cuda_synchronize(int32_t device) {
  return guarded([&] {
    require(device);
    at::detail::getCUDAHooks().deviceSynchronize(static_cast<c10::DeviceIndex>(device));
  });
}

int32_t bridge_torch_cuda_stream(int32_t device, uint64_t* handle) {
  return guarded([&] {
    require(device);
    const c10::impl::VirtualGuardImpl guard(CUDA);
    const auto current = guard.getStream(device_at(device));
    *handle = reinterpret_cast<uint64_t>(current.native_handle());
  });
}

int32_t bridge_torch_cuda_wait(int32_t device, uint64_t handle) {
  return guarded([&] {
    require(device);
    const auto place = device_at(device);
    const c10::impl::VirtualGuardImpl guard(CUDA);
    const auto current = guard.getStream(place);
    const auto producer = stream_of(place, handle);
    if (producer == current) {
      return;
    }
    const c10::DeviceGuard on(place);
    c10::Event ready(CUDA);
    ready.record(producer);
    ready.block(current);
  });
}

int32_t bridge_torch_cuda_memory(int32_t device, uint64_t figures[4]) {
  return guarded([&] {
    require(device);
    const auto index = static_cast<c10::DeviceIndex>(device);
    const c10::DeviceGuard on(device_at(device));
    at::detail::getCUDAHooks().init();
    const auto [free, total] = allocator().getMemoryInfo(index);
    const auto whole = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    const auto statistics = allocator().getDeviceStats(index);
    figures[0] = free;
    figures[1] = total;
    figures[2] = static_cast<uint64_t>(statistics.allocated_bytes[whole].current);
    figures[3] = static_cast<uint64_t>(statistics.reserved_bytes[whole].current);
  });
}

int32_t bridge_torch_cuda_in_use(int32_t device) {
  bool in_use = true;
  const auto status = guarded([&] {
    in_use = is_loaded() && device >= 0 && device < cuda().devices &&
        at::detail::getCUDAHooks().hasPrimaryContext(static_cast<c10::DeviceIndex>(device));
  });
  return status != BRIDGE_TORCH_OK || in_use ? 1 : 0;
}

int32_t bridge_torch_cuda_empty_cache() {
  return guarded([&] {
    if (cuda().devices > 0) {
      allocator().emptyCache();
    }
  });
}
}
