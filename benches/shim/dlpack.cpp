// libtorch's own DLPack functions, as peers.

#include <ATen/DLConvertor.h>

extern "C" {

at::Tensor* bench_from_dlpack(DLManagedTensorVersioned* header) {
  return new at::Tensor(at::fromDLPackVersioned(header));
}

DLManagedTensorVersioned* bench_to_dlpack(const at::Tensor* tensor) {
  return at::toDLPackVersioned(*tensor);
}
}
