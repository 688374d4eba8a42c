// What went wrong last on a thread.

#include <c10/core/TensorImpl.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "bridge_torch.h"
#include "guard.h"

namespace {

thread_local std::string last_message;
thread_local uint64_t last_requested;

}  // namespace

void bridge_torch_remember(const char* message) noexcept {
  try {
    last_message = message;
  } catch (...) {
    last_message.clear();
  }
}

int32_t bridge_torch_lacks_host_memory(const char* message) noexcept {
  bridge_torch_remember(message);
  // libtorch's allocator says it; else it was one of the objects around the elements.
  const char* said = std::strstr(message, "you tried to allocate ");
  last_requested = said == nullptr
      ? sizeof(c10::TensorImpl)
      : std::strtoull(said + std::strlen("you tried to allocate "), nullptr, 10);
  return BRIDGE_TORCH_OUT_OF_HOST_MEMORY;
}

bool bridge_torch_is_about_host_memory(const char* message) noexcept {
  return std::strstr(message, "DefaultCPUAllocator: can't allocate memory") != nullptr ||
      std::strstr(message, "DefaultCPUAllocator: not enough memory") != nullptr;
}

extern "C" {

const char* bridge_torch_message() { return last_message.c_str(); }

uint64_t bridge_torch_requested() { return last_requested; }
}
