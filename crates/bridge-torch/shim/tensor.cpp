// Tensors in and out: the hot path. One call a direction.

#include <ATen/core/Tensor.h>
#include <ATen/ops/_lazy_clone.h>
#include <c10/core/ScalarTypeToTypeMeta.h>
#include <c10/core/StorageImpl.h>
#include <c10/core/impl/COW.h>

#include <atomic>
#include <memory>
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

// Whether nothing but this handle keeps the storage: no alias, no view, no graph, no weak handle.
bool is_alone(const at::Tensor& tensor) {
  // The count of weak handles holds one for all strong ones, and this one.
  constexpr size_t ONLY_OURS = 2;
  return tensor.use_count() == 1 && tensor.storage().use_count() == 1 &&
      tensor.weak_use_count() == 1 &&
      tensor.storage().getWeakStorageImpl().weak_use_count() == ONLY_OURS &&
      tensor.unsafeGetTensorImpl()->autograd_meta() == nullptr;
}

// The memory of a storage, held by several.
using Memory = std::shared_ptr<c10::DataPtr>;

void release_memory(void* context) { delete static_cast<Memory*>(context); }

// Shares the memory with its storage. A storage can change its memory for a copy: a lazy clone makes it
// do so when it is next written to. Null where the memory is not of the kind that is lazily cloned.
// On CUDA devices it is left as it is, since the caching allocator must recognize it.
Memory share_memory(c10::StorageImpl& storage) {
  auto& pointer = storage._mutable_data_ptr_no_checks();
  if (const auto* shared = pointer.cast_context<Memory>(&release_memory)) {
    return *shared;
  }
  if (!pointer.device().is_cpu() || !c10::impl::cow::has_simple_data_ptr(storage)) {
    return nullptr;
  }
  auto memory = std::make_shared<c10::DataPtr>();
  auto context = std::make_unique<Memory>(memory);
  bridge_torch_fault_point();
  // From here on nothing throws. The address in the storage stays the same throughout.
  c10::DataPtr shared(pointer.get(), context.release(), &release_memory, pointer.device());
  *memory = std::move(pointer);
  pointer = std::move(shared);
  return memory;
}

// Whether torch allocated the memory, and nobody but the storage holds it: it is not memory that
// somebody else has lent to torch.
bool is_own(const c10::StorageImpl& storage) {
  const auto* shared = storage.data_ptr().cast_context<Memory>(&release_memory);
  return shared == nullptr ? c10::impl::cow::has_simple_data_ptr(storage) : shared->use_count() == 1;
}

}  // namespace

struct BridgeTorchHold {
  c10::Storage storage;
  Memory memory;
};

extern "C" {

int32_t bridge_torch_view(
    const at::Tensor* tensor,
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
    if (is_alone(*tensor)) {
      view->traits |= BRIDGE_TORCH_ALONE;
    }
    const auto& pointer = storage.data_ptr();
    if (pointer.get_deleter() == release) {
      view->context = pointer.get_context();
    } else if (c10::impl::cow::is_cow_data_ptr(pointer)) {
      view->traits |= BRIDGE_TORCH_LAZILY_COPIED;
    } else if (is_own(storage)) {
      view->traits |= BRIDGE_TORCH_OWN;
    }
    // What others did with the memory before they let go of it has happened.
    std::atomic_thread_fence(std::memory_order_acquire);
    bridge_torch_fault_point();
  });
}

int32_t bridge_torch_hold(const at::Tensor* tensor, BridgeTorchHold** hold) {
  return guarded([&] {
    bridge_torch_fault_point();
    auto made = std::make_unique<BridgeTorchHold>();
    made->storage = tensor->storage();
    auto& storage = *made->storage.unsafeGetStorageImpl();
    made->memory = share_memory(storage);
    // As numpy() of Python does it: growing would move what is held.
    storage.set_resizable(false);
    *hold = made.release();
  });
}

void bridge_torch_let_go(BridgeTorchHold* hold) { delete hold; }

int32_t bridge_torch_lazy_clone(const at::Tensor* tensor, at::Tensor** made) {
  return guarded([&] {
    bridge_torch_fault_point();
    *made = new at::Tensor(at::_lazy_clone(*tensor));
  });
}

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

void bridge_torch_release_context(at::Tensor* tensor) {
  auto* storage = tensor->storage().unsafeGetStorageImpl();
  (void)storage->_mutable_data_ptr_no_checks().release_context();
}
}
