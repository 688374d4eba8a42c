// Turns exceptions into a status and a message.
#pragma once

#include <c10/util/Exception.h>

#include <exception>
#include <new>

#include "bridge_torch.h"

// Keeps a message for bridge_torch_message().
void bridge_torch_remember(const char* message) noexcept;

// The same, and how much host memory was asked for.
int32_t bridge_torch_lacks_host_memory(const char* message) noexcept;

// Whether this is what libtorch's allocator of host memory says, whose exception has no type of its
// own.
bool bridge_torch_is_about_host_memory(const char* message) noexcept;

#ifdef BRIDGE_TORCH_FAULTS
// Throws here where a test has asked for it.
void bridge_torch_fault_point();
#else
inline void bridge_torch_fault_point() {}
#endif

template <typename Work>
int32_t guarded(Work&& work) noexcept {
  try {
    work();
    return BRIDGE_TORCH_OK;
  } catch (const c10::OutOfMemoryError& error) {
    bridge_torch_remember(error.what_without_backtrace());
    return BRIDGE_TORCH_OUT_OF_MEMORY;
  } catch (const std::bad_alloc& error) {
    return bridge_torch_lacks_host_memory(error.what());
  } catch (const c10::Error& error) {
    const char* message = error.what_without_backtrace();
    if (bridge_torch_is_about_host_memory(message)) {
      return bridge_torch_lacks_host_memory(message);
    }
    bridge_torch_remember(message);
  } catch (const std::exception& error) {
    bridge_torch_remember(error.what());
  } catch (...) {
    bridge_torch_remember("an exception of an unknown type");
  }
  return BRIDGE_TORCH_FAILED;
}
