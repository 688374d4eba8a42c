//! Modules and their functions. What runs is registered: see `kernels`.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};

use super::super::arguments::{Out, Text};
use super::super::code::{Code, Outcome};
use super::super::handle::{FunctionId, ModuleId};
use super::super::ptx;
use super::super::simulation::{Function, Module, Simulation};

export! {
    fn cuModuleLoad(cuda, module: Out<usize>, path: Text<'_>) {
        let text = std::fs::read_to_string(path.get()?).map_err(|_| Code::FILE_NOT_FOUND)?;
        load(cuda, &module, &text)
    }

    fn cuModuleLoadData(cuda, module: Out<usize>, image: Text<'_>) {
        load(cuda, &module, image.get().map_err(|_| Code::INVALID_IMAGE)?)
    }

    fn cuModuleLoadDataEx(cuda, module: Out<usize>, image: Text<'_>, count: u32, options: *mut c_int, values: *mut *mut c_void) {
        load(cuda, &module, image.get().map_err(|_| Code::INVALID_IMAGE)?)
    }

    fn cuModuleUnload(cuda, module: usize) {
        let id = cuda.module(module)?;
        let context = cuda.modules[&id].context;
        cuda.modules.remove(&id);
        cuda.functions.retain(|_, function| function.module != id);
        cuda.healthy(context)
    }

    fn cuModuleGetFunction(cuda, function: Out<usize>, module: usize, name: Text<'_>) {
        let (module, name) = (cuda.module(module)?, name.get()?);
        if let Some(known) = cuda.modules[&module].functions.get(name) {
            return function.set(known.to_raw());
        }
        let found = &cuda.modules[&module];
        let entry = found.entries.iter().find(|(entry, _)| entry == name).ok_or(Code::NOT_FOUND)?;
        let (name, parameters) = entry.clone();
        let new = Function { module, context: found.context, name: name.clone(), parameters };
        let id = FunctionId::numbered(cuda.number());
        cuda.functions.insert(id, new);
        if let Some(module) = cuda.modules.get_mut(&module) {
            module.functions.insert(name, id);
        }
        function.set(id.to_raw())
    }

    fn cuModuleGetGlobal_v2(cuda, address: Out<u64>, bytes: Out<usize>, module: usize, name: Text<'_>) {
        cuda.module(module)?;
        Err(Code::NOT_FOUND)
    }

    fn cuFuncGetAttribute(cuda, value: Out<c_int>, attribute: c_int, function: usize) {
        cuda.function(function)?;
        value.set(match attribute {
            0 => 1024, // threads of a block
            4 => 16,   // registers
            5 | 6 => cuda.config.compute_capability,
            1..=20 => 0,
            _ => return Err(Code::INVALID_VALUE),
        })
    }

    fn cuFuncSetAttribute(cuda, function: usize, attribute: c_int, value: c_int) {
        cuda.function(function).map(drop)
    }

    fn cuFuncSetCacheConfig(cuda, function: usize, config: c_int) {
        cuda.function(function).map(drop)
    }
}

fn load(cuda: &mut Simulation, module: &Out<usize>, text: &str) -> Outcome {
    let context = cuda.current()?;
    if module.is_null() {
        return Err(Code::INVALID_VALUE);
    }
    let entries = ptx::entries(text).ok_or(Code::INVALID_PTX)?;
    let sequence = cuda.number();
    let id = ModuleId::numbered(sequence);
    cuda.modules.insert(id, Module { context, sequence, entries, functions: BTreeMap::new() });
    module.set(id.to_raw())
}
