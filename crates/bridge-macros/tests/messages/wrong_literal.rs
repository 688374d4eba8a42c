use bridge_macros::on;

#[on(torch, device = 0)]
fn device(#[array] x: &Tensor) -> Tensor {}

#[on(torch, oom_recovery(retries = "twice"))]
fn retries(#[array] x: &Tensor) -> Tensor {}

#[on(torch, dtype = 32)]
fn dtype(#[array] x: &Tensor) -> Tensor {}

#[on(torch, rescale = range(0.0))]
fn range(#[array] x: &Tensor) -> Tensor {}

#[on(torch, output = 1)]
fn output(#[array] x: &Tensor) -> Tensor {}

#[on(torch, contract)]
fn contract(#[array] x: &Tensor) -> Tensor {}

#[on(torch, within)]
fn within(#[array] x: &Tensor) -> Tensor {}

#[on(torch, pool)]
fn pool(#[array] x: &Tensor) -> Tensor {}

fn main() {}
