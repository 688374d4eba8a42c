// Mistakes on purpose, for tests of what catches them.

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <cstdlib>
#include <new>
#include <stdexcept>

#include "bridge_torch.h"
#include "guard.h"

namespace {

// How many fault points are passed before one throws; none where it is negative.
thread_local int32_t passed_before_fault = -1;
thread_local int32_t what_is_thrown = 0;

[[noreturn]] void throw_fault(int32_t what) {
  switch (what) {
    case 0:
      TORCH_CHECK_WITH(OutOfMemoryError, false, "no memory on the device");
    case 1:
      throw std::bad_alloc();
    case 2:
      TORCH_CHECK(false, "a check of libtorch's");
    case 3:
      throw std::runtime_error("an exception of the library's");
    default:
      throw 42;
  }
}

}  // namespace

void bridge_torch_fault_point() {
  if (passed_before_fault >= 0 && passed_before_fault-- == 0) {
    throw_fault(what_is_thrown);
  }
}

extern "C" {

// Throws what the number stands for, and answers as every function of the shim does.
int32_t bridge_torch_fault_throw(int32_t what) {
  return guarded([what] { throw_fault(what); });
}

// Lets the fault point behind the next `passed` ones of this thread throw; none where that is
// negative. Says whether the one that was asked for before is still to come.
bool bridge_torch_fault_plan(int32_t passed, int32_t what) {
  const bool to_come = passed_before_fault >= 0;
  passed_before_fault = passed;
  what_is_thrown = what;
  return to_come;
}

// A tensor on the meta device, which tch cannot make.
int32_t bridge_torch_fault_meta(at::Tensor** made) {
  return guarded([made] {
    *made = new at::Tensor(at::empty({2, 2}, at::TensorOptions().device(c10::DeviceType::Meta)));
  });
}

// Reads memory that has been freed, or never frees it.
int32_t bridge_torch_fault_memory(int32_t what) {
  // Read anew at each use, so that no compiler sees what is wrong.
  volatile int32_t* volatile memory = static_cast<volatile int32_t*>(std::malloc(64));
  memory[0] = 7;
  if (what == 1) {
    return memory[0];
  }
  std::free(const_cast<int32_t*>(memory));
  return memory[0];
}
}
