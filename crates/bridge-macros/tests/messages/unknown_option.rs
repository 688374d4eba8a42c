use bridge_macros::on;

#[on(torch, devise = "cuda:0")]
fn unknown(#[array] x: &Tensor) -> Tensor {}

#[on(torch, by_slice, by_slice)]
fn twice(#[array] x: &Tensor) -> Tensor {}

#[on(torch, oom_recovery(attempts = 3))]
fn inner(#[array] x: &Tensor) -> Tensor {}

#[on(torch, dtype = float16)]
fn mode(#[array] x: &Tensor) -> Tensor {}

#[on(torch, rescale = minmax)]
fn rule(#[array] x: &Tensor) -> Tensor {}

fn main() {}
