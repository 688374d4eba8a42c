// Turns exceptions into a status and a message.
#pragma once

#include <c10/util/Exception.h>

#include <exception>
#include <new>

#include "bridge_torch.h"

// Keeps a message for bridge_torch_message().
void bridge_torch_remember(const char* message) noexcept;

template <typename Work>
int32_t guarded(Work&& work) noexcept {
  try {
    work();
    return BRIDGE_TORCH_OK;
  } catch (const c10::OutOfMemoryError& error) {
    bridge_torch_remember(error.what_without_backtrace());
    return BRIDGE_TORCH_OUT_OF_MEMORY;
  } catch (const std::bad_alloc& error) {
    bridge_torch_remember(error.what());
    return BRIDGE_TORCH_OUT_OF_MEMORY;
  } catch (const c10::Error& error) {
    bridge_torch_remember(error.what_without_backtrace());
  } catch (const std::exception& error) {
    bridge_torch_remember(error.what());
  } catch (...) {
    bridge_torch_remember("an exception of an unknown type");
  }
  return BRIDGE_TORCH_FAILED;
}
