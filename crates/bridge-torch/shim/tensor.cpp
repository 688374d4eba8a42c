// Tensors in and out: the hot path. One call a direction.

#include <ATen/core/Tensor.h>
#include <ATen/ops/_lazy_clone.h>
#include <c10/core/ScalarTypeToTypeMeta.h>
#include <c10/core/StorageImpl.h>
#include <c10/core/impl/COW.h>

#include <utility>

#include "bridge_torch.h"
#include "guard.h"

namespace {

uint32_t obstacles_of(const c10::TensorImpl& impl) {
  uint32_t found = 0;
  const auto add = [&found](bool there, BridgeTorchObstacle obstacle) {
    found |= there ? static_cast<uint32_t>(obstacle) : 0u;
  };
  const auto layout = impl.layout();
  add(impl.requires_grad(), BRIDGE_TORCH_REQUIRES_GRAD);
  add(impl.is_conj(), BRIDGE_TORCH_CONJUGATED);
  add(impl.is_neg(), BRIDGE_TORCH_NEGATED);
  add(layout == c10::Layout::Mkldnn, BRIDGE_TORCH_MKLDNN);
  add(impl.is_nested() || layout == c10::Layout::Jagged, BRIDGE_TORCH_NESTED);
  add(layout != c10::Layout::Strided && layout != c10::Layout::Mkldnn &&
          layout != c10::Layout::Jagged,
      BRIDGE_TORCH_SPARSE);
  add(impl.is_quantized(), BRIDGE_TORCH_QUANTIZED);
  add(impl.is_meta(), BRIDGE_TORCH_META);
  add(!impl.has_storage() || impl.key_set().has(c10::DispatchKey::ZeroTensor),
      BRIDGE_TORCH_NO_STORAGE);
  return found;
}

bool has_other_handles(const at::Tensor& tensor) {
  return tensor.use_count() > 1 || tensor.storage().use_count() > 1;
}

// Whether nothing but this handle keeps the storage: no alias, no view, no graph, no weak handle.
bool is_alone(const at::Tensor& tensor) {
  // The count of weak handles holds one for all strong ones, and this one.
  constexpr size_t ONLY_OURS = 2;
  return !has_other_handles(tensor) && tensor.weak_use_count() == 1 &&
      tensor.storage().getWeakStorageImpl().weak_use_count() == ONLY_OURS &&
      tensor.unsafeGetTensorImpl()->autograd_meta() == nullptr;
}

}  // namespace

extern "C" {

int32_t bridge_torch_view(
    const at::Tensor* tensor,
    bool handing_over,
    BridgeTorchRelease release,
    BridgeTorchView* view) {
  *view = BridgeTorchView{};
  if (!tensor->defined()) {
    view->obstacles = BRIDGE_TORCH_UNDEFINED;
    return BRIDGE_TORCH_OK;
  }
  return guarded([&] {
    const auto& impl = *tensor->unsafeGetTensorImpl();
    const auto device = impl.device();
    view->scalar_type = static_cast<int32_t>(c10::typeMetaToScalarType(impl.dtype()));
    view->device_type = static_cast<int32_t>(device.type());
    view->device_index = device.index();
    bridge_torch_fault_point();
    view->obstacles = obstacles_of(impl);
    if (view->obstacles != 0) {
      return;
    }
    auto& storage = *impl.storage().unsafeGetStorageImpl();
    const auto sizes = impl.sizes();
    view->sizes = sizes.data();
    view->strides = impl.strides().data();
    view->rank = static_cast<int64_t>(sizes.size());
    view->data = const_cast<void*>(impl.data());
    bridge_torch_fault_point();
    const auto offset = static_cast<size_t>(impl.storage_offset()) * impl.itemsize();
    view->available = storage.nbytes() > offset ? storage.nbytes() - offset : 0;
    const auto& pointer = storage.data_ptr();
    if (pointer.get_deleter() == release) {
      view->context = pointer.get_context();
      if (is_alone(*tensor)) {
        view->traits = BRIDGE_TORCH_ALONE;
      }
    } else if (c10::impl::cow::is_cow_data_ptr(pointer)) {
      view->traits = BRIDGE_TORCH_LAZILY_COPIED;
    } else if (handing_over && storage.resizable() && has_other_handles(*tensor)) {
      // As numpy() of Python does it. Who has the only handle hands the right to grow over with it.
      storage.set_resizable(false);
    }
    bridge_torch_fault_point();
  });
}

int32_t bridge_torch_pin(const at::Tensor* tensor, at::Tensor** made) {
  return guarded([&] {
    bridge_torch_fault_point();
    *made = new at::Tensor(at::_lazy_clone(*tensor));
  });
}

int32_t bridge_torch_adopt(
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
    at::Tensor** made) {
  return guarded([&] {
    bridge_torch_fault_point();
    const c10::Device device(
        static_cast<c10::DeviceType>(device_type), static_cast<c10::DeviceIndex>(device_index));
    const auto key = device.is_cpu() ? c10::DispatchKey::CPU : c10::DispatchKey::CUDA;
    c10::Storage storage(
        c10::Storage::use_byte_size_t(), bytes, c10::DataPtr(data, device), /*allocator=*/nullptr,
        /*resizable=*/false);
    auto* storage_impl = storage.unsafeGetStorageImpl();
    bridge_torch_fault_point();
    auto tensor = at::detail::make_tensor<c10::TensorImpl>(
        std::move(storage), c10::DispatchKeySet(key),
        c10::scalarTypeToTypeMeta(static_cast<c10::ScalarType>(scalar_type)));
    bridge_torch_fault_point();
    const auto length = static_cast<size_t>(rank);
    tensor.unsafeGetTensorImpl()->set_sizes_and_strides(
        c10::IntArrayRef(sizes, length), c10::IntArrayRef(strides, length));
    bridge_torch_fault_point();
    auto* handle = new at::Tensor(std::move(tensor));
    // From here on nothing throws: only now does libtorch own the context.
    storage_impl->set_data_ptr_noswap(c10::DataPtr(data, context, release, device));
    *made = handle;
  });
}

void bridge_torch_disown(at::Tensor* tensor) {
  auto* storage = tensor->storage().unsafeGetStorageImpl();
  (void)storage->_mutable_data_ptr_no_checks().release_context();
}
}
