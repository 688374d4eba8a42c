use bridge_macros::on;

#[on(tourch)]
fn letters_apart(#[array] x: &Tensor) -> Tensor {}

#[on(jax)]
fn of_another_crate(#[array] x: &Tensor) -> Tensor {}

#[on]
fn none(#[array] x: &Tensor) -> Tensor {}

#[on(device = "cuda:0")]
fn forgotten(#[array] x: &Tensor) -> Tensor {}

fn main() {}
