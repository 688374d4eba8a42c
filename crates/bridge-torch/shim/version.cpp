// What libtorch is.

#include <ATen/Version.h>
#include <torch/csrc/api/include/torch/version.h>

#include <string>

#include "bridge_torch.h"
#include "guard.h"

extern "C" {

const char* bridge_torch_version() { return TORCH_VERSION; }

const char* bridge_torch_cpu_capability() {
  static const std::string capability = [] {
    std::string found;
    (void)guarded([&found] { found = at::get_cpu_capability(); });
    return found;
  }();
  return capability.c_str();
}
}
