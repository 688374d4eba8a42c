use bridge_macros::on;

#[on(torch)]
fn no_arrays(x: &Tensor, factor: f32) -> Tensor {}

#[on(torch)]
fn written_to(#[array] x: &mut Tensor) {}

#[on(torch)]
fn taken_apart(#[array] (x, y): (Tensor, Tensor)) {}

#[on(torch, oom_recovery)]
fn taken(#[array] x: Tensor) -> Result<Tensor, Error> {}

#[on(torch, oom_recovery)]
fn infallible(#[array] x: &Tensor) -> Tensor {}

#[on(torch, by_slice)]
fn many_taken(#[array] x: &Tensor, #[array] y: Tensor) -> Tensor {}

fn main() {}
