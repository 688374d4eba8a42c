//! What the driver knows of a pointer.

use std::ffi::{c_int, c_void};

use super::super::arguments::{In, Out};
use super::super::code::{Code, Outcome};
use super::super::memory::{Block, Kind, Life};
use super::super::simulation::Simulation;

export! {
    fn cuPointerGetAttribute(cuda, value: *mut c_void, attribute: c_int, address: u64) {
        let answer = attribute_of(cuda, attribute, address)?.ok_or(Code::INVALID_VALUE)?;
        answer.store(value)
    }

    fn cuPointerGetAttributes(cuda, count: u32, attributes: In<c_int>, values: In<*mut c_void>, address: u64) {
        for at in 0..count as usize {
            let attribute = attributes.at(at)?;
            let answer = attribute_of(cuda, attribute, address)?;
            // A pointer that is not the driver's, and what it has not, are answered with nothing.
            answer.unwrap_or_else(|| Answer::nothing(attribute)).store(values.at(at)?)?;
        }
        Ok(())
    }

    fn cuPointerSetAttribute(cuda, value: In<u32>, attribute: c_int, address: u64) {
        value.get()?;
        cuda.known(address, 1)?;
        if attribute == 6 { Ok(()) } else { Err(Code::INVALID_VALUE) }
    }

    fn cuMemGetAddressRange_v2(cuda, start: Out<u64>, bytes: Out<usize>, address: u64) {
        let block = alive(cuda, address).filter(|block| !block.is_host_memory());
        let block = block.ok_or(Code::NOT_FOUND)?;
        start.set_if_wanted(block.start);
        bytes.set_if_wanted(block.bytes as usize);
        Ok(())
    }
}

/// A value of 4 or of 8 bytes.
enum Answer {
    Small(u32),
    Wide(u64),
}

impl Answer {
    fn nothing(attribute: c_int) -> Self {
        match attribute {
            2 | 6 | 8 | 10 | 13 | 14 | 15 | 16 => Self::Small(0),
            9 => Self::Small(-2_i32 as u32), // the ordinal that is none
            _ => Self::Wide(0),
        }
    }

    fn store(self, value: *mut c_void) -> Outcome {
        match self {
            Self::Small(small) => Out::of(value.cast()).set(small),
            Self::Wide(wide) => Out::of(value.cast()).set(wide),
        }
    }
}

fn alive(cuda: &mut Simulation, address: u64) -> Option<&Block> {
    cuda.memory().find(address).filter(|block| block.life == Life::Alive)
}

/// `None`: the pointer is not the driver's, or has no such attribute.
fn attribute_of(cuda: &mut Simulation, attribute: c_int, address: u64) -> Outcome<Option<Answer>> {
    if !(1..=17).contains(&attribute) {
        return Err(Code::INVALID_VALUE);
    }
    let Some(block) = alive(cuda, address) else { return Ok(None) };
    let on_host = block.is_host_memory();
    Ok(Some(match attribute {
        // Stream-ordered memory belongs to no context.
        1 => Answer::Wide(if block.pool.is_some() { 0 } else { block.context.to_raw() as u64 }),
        2 => Answer::Small(if on_host { 1 } else { 2 }),
        3 => Answer::Wide(address),
        4 if block.kind == Kind::Device => return Ok(None),
        4 => Answer::Wide(address),
        7 => Answer::Wide(block.sequence),
        8 => Answer::Small(u32::from(block.kind == Kind::Managed)),
        9 => Answer::Small(block.device as u32),
        11 => Answer::Wide(block.start),
        12 => Answer::Wide(block.bytes),
        13 => Answer::Small(1),
        17 => Answer::Wide(block.pool.map_or(0, |pool| pool.to_raw() as u64)),
        other => Answer::nothing(other),
    }))
}
