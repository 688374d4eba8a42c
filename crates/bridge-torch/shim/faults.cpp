// Mistakes on purpose, for tests of what catches them.

#include <c10/util/Exception.h>

#include <cstdlib>
#include <new>
#include <stdexcept>

#include "bridge_torch.h"
#include "guard.h"

extern "C" {

// Throws what the number stands for, and answers as every function of the shim does.
int32_t bridge_torch_fault_throw(int32_t what) {
  return guarded([what] {
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
